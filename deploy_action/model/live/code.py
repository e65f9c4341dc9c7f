"""What of a model's scripts runs when it is deployed, read from their source.

A platform runs the same script for a backtest, with the variable BACKTESTING, and when the model is
deployed, without it. Conditions on that are worked out as they are for a deployed model, and what
they rule out is left out. What depends on anything else may run or not: it is not certain.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy_action.model.live.modules import Module, Modules
from deploy_action.model.live.values import UNKNOWN, value_of

STRATEGIES: Final = frozenset({"Strategy", "FuturesStrategy"})
SCREENER: Final = "Screener"
_ENDS: Final = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_EXITS: Final = frozenset({"sys.exit", "exit", "quit", "os._exit"})


@dataclass(frozen=True, slots=True)
class Use:
    """A class of the `blankly` package that is called, and whether it certainly is."""

    name: str
    file: str
    line: int
    column: int
    is_certain: bool
    call: ast.Call = field(repr=False)


@dataclass(slots=True)
class LiveCode:
    """What was found in the code that runs when the model is deployed.

    `attributes` are the names after a dot, and `texts` the strings. `passes_on`: a strategy or a
    screener is an argument of something else than the package, which may do anything with it.
    """

    uses: list[Use] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    passes_on: bool = False

    def of(self, names: Iterable[str], *, certain: bool = False) -> list[Use]:
        """Return the uses of some classes, with `certain` those that are certain."""
        wanted = set(names)
        return [use for use in self.uses if use.name in wanted and (use.is_certain or not certain)]


def read_live_code(read: Callable[[str], bytes | None], script: str) -> LiveCode:
    """Read a script and what it imports of the model.

    `read` returns a file of the model by its path, None if there is none. What cannot be parsed is
    left out.
    """
    modules, found = Modules(read, posixpath.dirname(script)), LiveCode()
    main = modules.parsed(script)
    if main is None:
        return found
    main.is_main = True
    try:
        _Reader(modules, found).run(main, is_certain=True)
    except RecursionError:  # an expression that is nested too deep for us
        return LiveCode()
    return found


@dataclass(slots=True)
class _Reader:
    """Reads each piece of code once, or twice if it turns out to be certain."""

    modules: Modules
    found: LiveCode
    _done: set[tuple[int, bool]] = field(default_factory=set)

    def run(self, module: Module, *, is_certain: bool) -> None:
        if self._is_new(module.tree, is_certain=is_certain):
            _Walk(self, module, is_certain).block(module.tree.body)

    def _is_new(self, node: ast.AST, *, is_certain: bool) -> bool:
        """Note that code is read; what was read as certain is not read again."""
        if self._done & {(id(node), True), (id(node), is_certain)}:
            return False
        self._done.add((id(node), is_certain))
        return True

    def enter(self, module: Module, name: str, *, is_certain: bool) -> None:
        """Read the functions and classes of a name, which is used somewhere."""
        for part in module.parts.get(name, ()):
            if not self._is_new(part, is_certain=is_certain):
                continue
            if not isinstance(part, ast.ClassDef):
                _Walk(self, module, is_certain).block(part.body)
                continue
            for inner in part.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    is_called = is_certain and inner.name == "__init__"
                    _Walk(self, module, is_called).block(inner.body)


@dataclass(slots=True)
class _Walk:
    """Goes through the statements of one block of code, in the order in which they run."""

    reader: _Reader
    module: Module
    is_certain: bool

    def block(self, statements: Sequence[ast.stmt]) -> bool:
        """Go through statements; return whether they may end the code that they are in."""
        may_end = False
        for statement in statements:
            ends = self._statement(statement)
            may_end |= ends is not False
            if ends is True:
                return True
            if ends is None:  # what follows runs only if that did not
                self.is_certain = False
        return may_end

    def _statement(self, node: ast.stmt) -> bool | None:
        """Go through a statement; return whether it ends its block, None if it may."""
        ends: bool | None = False
        match node:
            case ast.If():
                ends = self._choice(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.expressions(node.decorator_list)
            case ast.Import() | ast.ImportFrom():
                self._imports(node)
            case ast.While():
                self._loop(node)
            case ast.Match():
                self.expression(node.subject)
                may_end = [self._branch(case.body, is_certain=False) for case in node.cases]
                ends = None if any(may_end) else False
            case ast.Try():
                ends = self._attempt(node)
            case ast.With() | ast.AsyncWith():
                self.expressions([item.context_expr for item in node.items])
                ends = self._ending(node.body)
            case _:
                for _, part in ast.iter_fields(node):
                    self._part(part)
                is_exit = isinstance(node, ast.Expr) and self._is_exit(node.value)
                ends = is_exit or isinstance(node, _ENDS)
        return ends

    def _loop(self, node: ast.While) -> None:
        value = self._value(node.test)
        self.expression(node.test)
        if value is UNKNOWN or value:
            self._branch(node.body, is_certain=value is not UNKNOWN)

    def _part(self, part: object) -> None:
        for one in part if isinstance(part, list) else [part]:
            if isinstance(one, ast.expr):
                self.expression(one)
            elif isinstance(one, ast.stmt):
                self._branch([one], is_certain=True)

    def _branch(self, statements: Sequence[ast.stmt], *, is_certain: bool) -> bool:
        return self._copy(is_certain=is_certain).block(statements)

    def _choice(self, node: ast.If) -> bool | None:
        value = self._value(node.test)
        self.expression(node.test)
        if value is UNKNOWN:
            ends = [self._branch(part, is_certain=False) for part in (node.body, node.orelse)]
            return None if any(ends) else False
        return self._ending(node.body if value else node.orelse)

    def _ending(self, statements: Sequence[ast.stmt]) -> bool | None:
        """Go through statements that run for certain; return whether they end the block."""
        walk = self._copy()
        ended = walk.block(statements)
        if ended and walk.is_certain == self.is_certain:
            return True
        return None if ended else False

    def _attempt(self, node: ast.Try) -> bool | None:
        ends = [self._branch(node.body, is_certain=True)]
        ends += [self._branch(one.body, is_certain=False) for one in node.handlers]
        ends += [self._branch(part, is_certain=True) for part in (node.orelse, node.finalbody)]
        return None if any(ends) else False

    def _imports(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            source = self.module.source_of(node)
            names = [source, *(f"{source}.{name}" for name in names)]
        for name in names:
            if module := self.reader.modules.imported(name):
                self.reader.run(module, is_certain=self.is_certain)
                self.reader.found.passes_on |= "*" in (alias.name for alias in node.names)

    def expressions(self, nodes: Sequence[ast.expr]) -> None:
        for node in nodes:
            self.expression(node)

    def expression(self, node: ast.expr) -> None:
        match node:
            case ast.IfExp():
                self._conditional(node)
                return
            case ast.BoolOp():
                self._choices(node)
                return
            case ast.Lambda():
                self._copy(is_certain=False).expression(node.body)
                return
            case ast.Call():
                self._call(node)
            case ast.Name(ctx=ast.Load()) | ast.Attribute(ctx=ast.Load()):
                self._name(node)
            case ast.Constant(value=str() as text):
                self.reader.found.texts.add(text)
            case _:
                pass
        self.expressions(list(_inside(node)))

    def _copy(self, *, is_certain: bool = True) -> _Walk:
        return _Walk(self.reader, self.module, self.is_certain and is_certain)

    def _conditional(self, node: ast.IfExp) -> None:
        value = self._value(node.test)
        self.expression(node.test)
        if value is not UNKNOWN:
            self.expression(node.body if value else node.orelse)
            return
        for one in (node.body, node.orelse):
            self._copy(is_certain=False).expression(one)

    def _choices(self, node: ast.BoolOp) -> None:
        walk = self._copy()
        for one in node.values:
            walk.expression(one)
            value = self._value(one)
            if value is UNKNOWN:
                walk.is_certain = False
            elif bool(value) is isinstance(node.op, ast.Or):
                return

    def _call(self, node: ast.Call) -> None:
        dotted = self.module.dotted(node.func)
        found = self.reader.found
        if dotted.startswith("blankly."):
            name, line, column = dotted.rpartition(".")[2], node.lineno, node.col_offset + 1
            use = Use(name, self.module.file, line, column, self.is_certain, node)
            found.uses.append(use)
            return
        arguments = [*node.args, *(one.value for one in node.keywords)]
        found.passes_on |= any(map(self._is_strategy, arguments))

    def _is_strategy(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            stored = self.module.stored.get(node.id, ())
            return any(one is not None and self._makes_strategy(one) for one in stored)
        return self._makes_strategy(node)

    def _makes_strategy(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Call):
            return False
        place, _, name = self.module.dotted(node.func).rpartition(".")
        return name in {*STRATEGIES, SCREENER} and place.partition(".")[0] == "blankly"

    def _name(self, node: ast.Name | ast.Attribute) -> None:
        if isinstance(node, ast.Attribute):
            self.reader.found.attributes.add(node.attr)
        elif node.id in self.module.parts:
            self.reader.enter(self.module, node.id, is_certain=self.is_certain)
            return
        module, name = self.reader.modules.owner(self.module.dotted(node))
        if module is not None:
            self.reader.enter(module, name, is_certain=self.is_certain)

    def _is_exit(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and self.module.dotted(node.func) in _EXITS

    def _value(self, node: ast.expr) -> object:
        return value_of(node, self.module, self.reader.modules)


def _inside(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the expressions right inside an expression."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.keyword):
            yield child.value
        elif isinstance(child, ast.comprehension):
            yield from (child.iter, *child.ifs)
