"""The scripts of a model as they are parsed, and where they find each other."""

from __future__ import annotations

import ast
import builtins
import posixpath
from collections.abc import Callable
from io import BytesIO
from typing import Final

from deploy_action.records import dataclass, field
from deploy_action.text.requirements import check_encoding

_MOST_MODULES: Final = 50


@dataclass(slots=True)
class Module:
    """A file of the model: `names` leads from what it imports to dotted names.

    `stored` has for each name what is assigned to it anywhere in the file, None if not an
    expression.
    """

    file: str
    tree: ast.Module
    is_main: bool = False
    names: dict[str, str] = field(default_factory=dict)
    stored: dict[str, list[ast.expr | None]] = field(default_factory=dict)
    parts: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        assigned: dict[int, ast.expr | None] = {}
        for node in ast.walk(self.tree):  # an assignment comes before the names in it
            match node:
                case ast.Name(ctx=ast.Store()):
                    self.stored.setdefault(node.id, []).append(assigned.get(id(node)))
                case ast.Assign():
                    assigned |= {id(target): node.value for target in node.targets}
                case ast.AnnAssign() | ast.NamedExpr():
                    assigned[id(node.target)] = node.value
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    self.parts.setdefault(node.name, []).append(node)
                case ast.arg():
                    self.stored.setdefault(node.arg, []).append(None)
                case ast.Import() | ast.ImportFrom():
                    self._note_imports(node)
                case _:
                    pass

    def source_of(self, node: ast.ImportFrom) -> str:
        """Return the dotted name of what is imported from, from the model's root if relative."""
        if not node.level:
            return node.module or ""
        package = posixpath.dirname(self.file).split("/")
        package = package[: len(package) - node.level + 1]
        return ".".join(filter(None, (*package, node.module)))

    def _note_imports(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                self.names[alias.asname or alias.name] = f"{self.source_of(node)}.{alias.name}"
            elif alias.asname:
                self.names[alias.asname] = alias.name
            else:
                first = alias.name.partition(".")[0]
                self.names[first] = first

    def dotted(self, node: ast.expr) -> str:
        """Return a dotted name as the package calls it, such as `os.environ`; "" for others."""
        if isinstance(node, ast.Attribute):
            before = self.dotted(node.value)
            return f"{before}.{node.attr}" if before else ""
        if not isinstance(node, ast.Name) or node.id in self.stored or node.id in self.parts:
            return ""
        return self.names.get(node.id, node.id)


@dataclass(slots=True)
class Modules:
    """The files of a model by their path; `directory` is that of its script.

    `is_backtest` says that they run in a backtest, and else they are deployed.
    """

    read: Callable[[str], bytes | None]
    directory: str
    is_backtest: bool = False
    _known: dict[str, Module | None] = field(default_factory=dict)

    def parsed(self, file: str) -> Module | None:
        """Return a file, None if there is none. What cannot be parsed is empty."""
        if file not in self._known:
            data = self.read(file) if len(self._known) < _MOST_MODULES else None
            try:
                tree = None if data is None else ast.parse(readable(data))
            except (SyntaxError, ValueError, LookupError, MemoryError, RecursionError):
                tree = ast.Module([], [])
            self._known[file] = None if tree is None else Module(file, tree)
        return self._known[file]

    def imported(self, dotted: str) -> Module | None:
        """Return a module by its dotted name, beside the script or in the root; None for others."""
        path = dotted.replace(".", "/")
        for directory in dict.fromkeys((self.directory, "")):
            for name in (f"{path}.py", f"{path}/__init__.py"):
                if path and (found := self.parsed(posixpath.join(directory, name))):
                    return found
        return None

    def owner(self, dotted: str) -> tuple[Module | None, str]:
        """Return the module in which something is, and its name there."""
        place, _, name = dotted.rpartition(".")
        return (self.imported(place) if place else None), name


def readable(data: bytes) -> bytes:
    """Return the bytes of a script.

    Raises:
        SyntaxError, LookupError: Python cannot decode them, or takes the square of their length.
    """
    from tokenize import detect_encoding

    encoding, _ = detect_encoding(BytesIO(data).readline)
    check_encoding(encoding)
    return data


def is_text(node: ast.expr) -> bool:
    """Whether an expression is a string."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def catches(handler: ast.ExceptHandler, error: type[Exception]) -> bool:
    """Whether a handler catches a built-in exception, or may do so."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    for kind in kinds:
        caught = getattr(builtins, kind.id, None) if isinstance(kind, ast.Name) else None
        if not isinstance(caught, type) or issubclass(error, caught):
            return True
    return False
