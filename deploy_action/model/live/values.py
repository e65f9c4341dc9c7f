"""Works out expressions as they are for a deployed model, or in a backtest.

They are known where they depend on that alone. Platforms set the variable BACKTESTING, and some
that begin like it, for backtests only; and the package says `is_deployed` on a platform.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from deploy_action.model.live.modules import Module, Modules, is_text
from deploy_action.records import dataclass

UNKNOWN: Final = object()
_DEEPEST: Final = 50
_READS_VARIABLE: Final = frozenset({"os.environ.get", "os.getenv"})
_BACKTESTING: Final = "BACKTESTING"
_CONVERSIONS: Final[Mapping[str, Callable[[object], object]]] = {
    "bool": bool,
    "str": str,
    "int": lambda value: int(str(value)),
}
_OF_TEXT: Final = frozenset({"lower", "upper", "strip", "casefold"})


def value_of(node: ast.expr, module: Module, modules: Modules, depth: int = 0) -> object:
    """Return what an expression of a module is when the model runs, or `UNKNOWN`."""
    if depth > _DEEPEST:  # or defined by itself
        return UNKNOWN
    return _Value(modules, module, depth).of(node)


@dataclass(frozen=True, slots=True)
class _Value:
    """Works out expressions that depend on nothing but how the model runs."""

    modules: Modules
    module: Module
    depth: int

    def of(self, node: ast.expr) -> object:
        found: object = UNKNOWN
        match node:
            case ast.Constant():
                found = node.value
            case ast.Name() | ast.Attribute():
                found = self._of_name(node)
            case ast.BoolOp():
                found = self._of_choice(node)
            case ast.UnaryOp(op=ast.Not()):
                value = self._inner(node.operand)
                found = value if value is UNKNOWN else not value
            case ast.IfExp():
                test = self._inner(node.test)
                if test is not UNKNOWN:
                    found = self._inner(node.body if test else node.orelse)
            case ast.Compare(ops=[sign], comparators=[right]):
                found = self._of_comparison(node.left, sign, right)
            case ast.Call():
                found = self._of_call(node)
            case _:
                pass
        return found

    def _inner(self, node: ast.expr, module: Module | None = None) -> object:
        return value_of(node, module or self.module, self.modules, self.depth + 1)

    def _of_name(self, node: ast.Name | ast.Attribute) -> object:
        if isinstance(node, ast.Name):
            if node.id == "__name__":
                return "__main__" if self.module.is_main else UNKNOWN
            if node.id in self.module.stored:
                return self._of_stored(self.module, node.id)
        dotted = self.module.dotted(node)
        if dotted == "blankly.is_deployed":
            return True
        if dotted == "blankly._backtesting":
            return self.modules.is_backtest
        module, name = self.modules.owner(dotted)
        return UNKNOWN if module is None else self._of_stored(module, name)

    def _of_stored(self, module: Module, name: str) -> object:
        stored = module.stored.get(name, ())
        if len(stored) != 1 or stored[0] is None or name in module.names:
            return UNKNOWN
        return self._inner(stored[0], module)

    def _of_choice(self, node: ast.BoolOp) -> object:
        value: object = UNKNOWN
        is_known = True
        for one in node.values:
            value = self._inner(one)
            if value is UNKNOWN:
                is_known = False
            elif bool(value) is isinstance(node.op, ast.Or):
                # Of `a and b`, one that is false decides, whatever the others are.
                return value if is_known else bool(value)
        return value if is_known else UNKNOWN

    def _of_comparison(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> object:
        first, second = self._inner(left), self._inner(right)
        if isinstance(sign, ast.In | ast.NotIn):
            if self.module.dotted(right) == "os.environ" and _is_of_backtests(first):
                return isinstance(sign, ast.In) is self.modules.is_backtest
            return UNKNOWN
        if first is UNKNOWN or second is UNKNOWN:
            return UNKNOWN
        if isinstance(sign, ast.Eq | ast.Is):
            return first == second
        return first != second if isinstance(sign, ast.NotEq | ast.IsNot) else UNKNOWN

    def _of_call(self, node: ast.Call) -> object:
        dotted = self.module.dotted(node.func)
        if dotted in _READS_VARIABLE:
            return self._of_variable(node.args)
        if dotted.endswith("utils.check_backtesting"):
            return self.modules.is_backtest
        if dotted in _CONVERSIONS and len(node.args) == 1:
            return self._converted(node.args[0], _CONVERSIONS[dotted])
        if isinstance(node.func, ast.Attribute) and node.func.attr in _OF_TEXT and not node.args:
            text = self._inner(node.func.value)
            return getattr(text, node.func.attr)() if isinstance(text, str) else UNKNOWN
        return self._of_function(node.func)

    def _of_variable(self, arguments: Sequence[ast.expr]) -> object:
        name = self._inner(arguments[0]) if arguments else UNKNOWN
        if not _is_of_backtests(name):
            return UNKNOWN
        if self.modules.is_backtest:
            return "1" if name == _BACKTESTING else UNKNOWN
        return self._inner(arguments[1]) if len(arguments) > 1 else None

    def _converted(self, node: ast.expr, convert: Callable[[object], object]) -> object:
        value = self._inner(node)
        try:
            return value if value is UNKNOWN else convert(value)
        except ValueError:
            return UNKNOWN

    def _of_function(self, node: ast.expr) -> object:
        """Return what a function returns that does nothing else."""
        module: Module | None = self.module
        if isinstance(node, ast.Name) and node.id in self.module.parts:
            name = node.id
        else:
            module, name = self.modules.owner(self.module.dotted(node))
        parts = [] if module is None else module.parts.get(name, [])
        if len(parts) != 1 or not isinstance(parts[0], ast.FunctionDef):
            return UNKNOWN
        *before, last = parts[0].body
        is_plain = all(isinstance(one, ast.Expr) and is_text(one.value) for one in before)
        if not is_plain or not isinstance(last, ast.Return) or last.value is None:
            return UNKNOWN
        return self._inner(last.value, module)


def _is_of_backtests(name: object) -> bool:
    """Whether a variable is one that only backtests have."""
    return isinstance(name, str) and name.startswith(_BACKTESTING)
