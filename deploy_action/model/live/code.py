"""What of a model's scripts runs when it is deployed, or in a backtest, read from their source.

A platform runs the same script for a backtest, with the variable BACKTESTING, and when the model is
deployed, without it. Conditions on that are worked out for one of the two, and what they rule out
is left out. What depends on anything else may run or not: it is not certain.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final

from deploy_action.bundle.selection import Selection
from deploy_action.model.live.modules import Module, Modules, catches
from deploy_action.model.live.values import UNKNOWN, value_of
from deploy_action.records import dataclass, field

STRATEGIES: Final = frozenset({"Strategy", "FuturesStrategy"})
SCREENER: Final = "Screener"
_ENDS: Final = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_EXITS: Final = frozenset({"sys.exit", "exit", "quit", "os._exit"})
_MOST_BYTES: Final = 1 << 20  # larger scripts take seconds to parse
_PACKAGE: Final = "blankly."
_DOTENV: Final = "dotenv."
_GETS_VARIABLE: Final = frozenset({"os.environ.get", "os.getenv"})
_SETS_VARIABLES: Final = frozenset({"os.environ.setdefault", "os.environ.update", "os.putenv"})


class Reach(IntEnum):
    """Whether code runs: perhaps, certainly at some time, or before the script has ended.

    Functions that are passed on, such as callbacks, run at some time; so does what is called where
    an exception is caught.
    """

    MAYBE = 0
    LATER = 1
    AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Use:
    """A function or class of `blankly` or `dotenv` that is called, and whether it certainly is."""

    name: str
    file: str
    line: int
    column: int
    is_certain: bool
    call: ast.Call = field(repr=False)


@dataclass(frozen=True, slots=True)
class VariableRead:
    """Where an environment variable is read without a default.

    `raises`: as `os.environ["NAME"]`, which raises `KeyError` where it is not set.
    """

    name: str
    raises: bool
    reach: Reach
    module: Module = field(repr=False)
    node: ast.expr = field(repr=False)


@dataclass(slots=True)
class Code:
    """What was found in the code that runs.

    `modules` has the files of the model that are imported, and how certainly they are; `parsed` has
    what is in them. `attributes` are the names after a dot, and `texts` the strings. `sets` are the
    variables that the code sets or looks for, None among them if it may set any. `passes_on`: a
    strategy or a screener is an argument of something else than the package, which may do anything
    with it.
    """

    uses: list[Use] = field(default_factory=list)
    modules: dict[str, Reach] = field(default_factory=dict)
    parsed: dict[str, Module] = field(default_factory=dict)
    reads: list[VariableRead] = field(default_factory=list)
    sets: set[str | None] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    passes_on: bool = False

    def of(self, names: Iterable[str], *, certain: bool = False) -> list[Use]:
        """Return the uses of some classes, with `certain` those that are certain."""
        wanted = set(names)
        return [use for use in self.uses if use.name in wanted and (use.is_certain or not certain)]


def read_code(script: str, selection: Selection, *, is_backtest: bool = False) -> Code:
    """Read a script and what it imports of the model, as it runs deployed or in a backtest.

    Of what cannot be parsed, only the name is known, and files of over 1 MiB are not read.
    """

    def read(name: str) -> bytes | None:
        try:
            return selection.files.read(name, _MOST_BYTES) if selection.includes(name) else None
        except OSError:
            return None

    script = posixpath.normpath(script or ".")
    modules = Modules(read, posixpath.dirname(script), is_backtest=is_backtest)
    found, main = Code(), modules.parsed(script)
    if main is None:
        return found
    main.is_main = True
    try:
        _Reader(modules, found).run(main, Reach.AT_ONCE)
    except RecursionError:  # an expression that is nested too deep for us
        return Code()
    return found


@dataclass(slots=True)
class _Reader:
    """Reads each piece of code once, or again if it turns out to run more certainly."""

    modules: Modules
    found: Code
    _done: dict[int, Reach] = field(default_factory=dict)

    def run(self, module: Module, reach: Reach) -> None:
        known = self.found.modules
        known[module.file] = max(reach, known.get(module.file, reach))
        self.found.parsed[module.file] = module
        if self._is_new(module.tree, reach):
            _Walk(self, module, reach).block(module.tree.body)

    def _is_new(self, node: ast.AST, reach: Reach) -> bool:
        """Note that code is read; it is not read again unless it runs more certainly."""
        if self._done.get(id(node), -1) >= reach:
            return False
        self._done[id(node)] = reach
        return True

    def enter(self, module: Module, name: str, reach: Reach) -> None:
        """Read the functions and classes of a name, which is used somewhere."""
        for part in module.parts.get(name, ()):
            if not self._is_new(part, reach):
                continue
            if not isinstance(part, ast.ClassDef):
                _Walk(self, module, reach).block(part.body)
                continue
            for inner in part.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    is_called = inner.name == "__init__"
                    _Walk(self, module, reach if is_called else Reach.MAYBE).block(inner.body)


@dataclass(slots=True)
class _Walk:
    """Goes through the statements of one block of code, in the order in which they run."""

    reader: _Reader
    module: Module
    reach: Reach
    # Whether a missing variable is caught here.
    is_guarded: bool = False

    def block(self, statements: Sequence[ast.stmt]) -> bool:
        """Go through statements; return whether they may end the code that they are in."""
        may_end = False
        for statement in statements:
            ends = self._statement(statement)
            may_end |= ends is not False
            if ends is True:
                return True
            if ends is None:  # what follows runs only if that did not
                self.reach = Reach.MAYBE
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
        if ended and walk.reach == self.reach:
            return True
        return None if ended else False

    def _attempt(self, node: ast.Try) -> bool | None:
        body = self._copy()
        body.is_guarded |= any(catches(one, KeyError) for one in node.handlers)
        ends = [body.block(node.body)]
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
                self.reader.run(module, self._entering())
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
                return
            case ast.Subscript():
                self._subscript(node)
            case ast.Compare():
                self._look_for_variable(node)
            case ast.Name(ctx=ast.Load()) | ast.Attribute(ctx=ast.Load()):
                self._name(node)
            case ast.Constant(value=str() as text):
                self.reader.found.texts.add(text)
            case _:
                pass
        self.expressions(list(_inside(node)))

    def _copy(self, *, is_certain: bool = True) -> _Walk:
        reach = self.reach if is_certain else Reach.MAYBE
        return _Walk(self.reader, self.module, reach, self.is_guarded)

    def _entering(self, *, is_called: bool = True) -> Reach:
        """Return how certainly other code runs that is used here."""
        return self.reach if is_called and not self.is_guarded else min(self.reach, Reach.LATER)

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
                walk.reach = Reach.MAYBE
            elif bool(value) is isinstance(node.op, ast.Or):
                return

    def _call(self, node: ast.Call) -> None:
        dotted = self.module.dotted(node.func)
        found = self.reader.found
        arguments = [*node.args, *(one.value for one in node.keywords)]
        if dotted.startswith((_PACKAGE, _DOTENV)):
            name, line, column = dotted.rpartition(".")[2], node.lineno, node.col_offset + 1
            is_certain = self.reach > Reach.MAYBE
            found.uses.append(Use(name, self.module.file, line, column, is_certain, node))
        if not dotted.startswith(_PACKAGE):
            found.passes_on |= any(map(self._is_strategy, arguments))
        if dotted in _GETS_VARIABLE and len(arguments) == 1:
            self._read_variable(arguments[0], node, raises=False)
        elif dotted in _SETS_VARIABLES:
            self._set_variable(arguments[0] if len(arguments) > 1 else None)
        if isinstance(node.func, ast.Name | ast.Attribute):
            self._name(node.func, is_called=True)
            arguments = [*_inside(node.func), *arguments]
        else:
            arguments = [node.func, *arguments]
        self.expressions(arguments)

    def _subscript(self, node: ast.Subscript) -> None:
        if self.module.dotted(node.value) != "os.environ":
            return
        if isinstance(node.ctx, ast.Load):
            self._read_variable(node.slice, node, raises=True)
        else:
            self._set_variable(node.slice)

    def _look_for_variable(self, node: ast.Compare) -> None:
        """Note a variable that the script looks for: it knows what to do without it."""
        if any(self.module.dotted(one) == "os.environ" for one in node.comparators):
            self._set_variable(node.left)

    def _read_variable(self, written: ast.expr, node: ast.expr, *, raises: bool) -> None:
        name = self._value(written)
        if isinstance(name, str) and not (raises and self.is_guarded):
            read = VariableRead(name, raises, self.reach, self.module, node)
            self.reader.found.reads.append(read)

    def _set_variable(self, written: ast.expr | None) -> None:
        name = UNKNOWN if written is None else self._value(written)
        self.reader.found.sets.add(name if isinstance(name, str) else None)

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

    def _name(self, node: ast.Name | ast.Attribute, *, is_called: bool = False) -> None:
        reach = self._entering(is_called=is_called)
        if isinstance(node, ast.Attribute):
            self.reader.found.attributes.add(node.attr)
        elif node.id in self.module.parts:
            self.reader.enter(self.module, node.id, reach)
            return
        module, name = self.reader.modules.owner(self.module.dotted(node))
        if module is not None:
            self.reader.enter(module, name, reach)

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
