"""Finds imports that would end a model's script at once, without running it.

Only what is certain is a fault: the version that runs is replaced by one that passes. So the
reading follows the script and the model's modules that it imports, as Python would run them, and
ends before the first statement after which a module may be found that is not found now: one that
changes `sys.path` or `sys.modules`, or calls what might do so or install something.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import stat
from contextlib import suppress
from typing import Any, Iterable, Iterator

from ..faults import ModelFiles, Problem, make_problem, open_at_once  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..strict_json import describe  # noqa: TID252  # as above

_MESSAGE = (
    "{} imports `{}`, which neither the model's files nor its environment have: the script would "
    "end there at once."
)
_LARGEST = 1 << 20  # bytes of a file
_MOST_NAMES = 20_000  # of files; of a model with more, nothing is said
_MOST_PROBLEMS = 20
# Modules and builtins whose calls neither import nor install anything.
_HARMLESS_CALLS = {
    *(
        "abc",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "functools",
    ),
    *("itertools", "json", "logging", "math", "random", "re", "time", "typing", "warnings"),
    *("dotenv", "matplotlib", "numpy", "pandas"),
    *("os.environ", "os.getenv", "os.path"),
    *("bool", "dict", "float", "int", "len", "list", "print", "range", "set", "str", "tuple"),
    *("classmethod", "property", "staticmethod"),
}
_HARMLESS_OF_SYS = {"argv", "executable", "platform", "stderr", "stdout", "version", "version_info"}
# Importing one of them makes modules of another language importable.
_BRIDGES = {"clr", "jpype", "pythonnet"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def missing_imports(script: str, files: ModelFiles) -> list[Problem]:
    """Return an error for each module that the script imports in any case and that is nowhere.

    `sys.path` has to be the script's own, and the package has to be imported already.
    """
    reading = _Reading(script, files)
    with suppress(RecursionError):  # what was found until then holds
        reading.read(os.path.realpath(script), is_certain=True)
    return reading.problems


class _Reading:
    """Reads files as Python would run them; `is_over` when it is no longer sure of what follows."""

    def __init__(self, script: str, files: ModelFiles) -> None:
        self.problems: list[Problem] = []
        self.is_over = False
        self._script = os.path.realpath(script)
        self._files = files
        self._own_names: set[str] | None = None
        self._read: set[str] = set()

    def read(self, path: str, *, is_certain: bool) -> None:
        """Read a file, which is run in any case if that `is_certain`."""
        if path in self._read or self.is_over:
            return
        self._read.add(path)
        tree = _parsed(path)
        if tree is None:
            self.is_over = True
            return
        bound: dict[str, str] = {}
        for statement in tree.body:
            self._statement(statement, path, bound, is_certain=is_certain)

    def _statement(
        self, statement: ast.stmt, path: str, bound: dict[str, str], *, is_certain: bool
    ) -> None:
        is_import = isinstance(statement, (ast.Import, ast.ImportFrom))
        for node in _run(statement):
            if self.is_over:
                return
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    bound[alias.asname or top] = top
                    self._import(alias.name, [], node, path, is_certain=is_certain and is_import)
            elif isinstance(node, ast.ImportFrom):
                self._import_from(node, path, bound, is_certain=is_certain and is_import)
            elif not _is_harmless(node, bound):
                self.is_over = True

    def _import_from(
        self, node: ast.ImportFrom, path: str, bound: dict[str, str], *, is_certain: bool
    ) -> None:
        names = [alias.name for alias in node.names]
        for alias in node.names:
            bound[alias.asname or alias.name] = (node.module or "").partition(".")[0]
        if not node.level:
            # `from sys import path` may be followed by a change of it.
            if node.module == "sys" and not _HARMLESS_OF_SYS.issuperset(names):
                self.is_over = True
            self._import(node.module or "", names, node, path, is_certain=is_certain)
        elif path == self._script:  # there it fails, unless the script makes itself a package
            self.is_over = True
        else:
            folder = path
            for _ in range(node.level):
                folder = os.path.dirname(folder)
            parts = node.module.split(".") if node.module else []
            self._read_inside([folder], parts, names, is_certain=is_certain)

    def _import(
        self, name: str, names: list[str], node: ast.stmt, path: str, *, is_certain: bool
    ) -> None:
        """Follow the import of a module, and of `names` from it."""
        top, *parts = name.split(".")
        try:
            spec = importlib.util.find_spec(top)
        except Exception:  # noqa: BLE001  # it is there without a spec, or a finder of a package fails
            return
        if spec is not None:
            self.is_over = self.is_over or top in _BRIDGES
            self._read_own(spec, parts, names, is_certain=is_certain)
        elif self._has_file(top):
            self.is_over = True  # it is imported by some way of its own
        elif is_certain and len(self.problems) < _MOST_PROBLEMS:
            self._add(top, node, path)

    def _read_own(self, spec: Any, parts: list[str], names: list[str], *, is_certain: bool) -> None:
        """Read a module and those inside it, if it is one of the model's."""
        folders = list(spec.submodule_search_locations or [])
        if spec.has_location and spec.origin:
            if self._files.relative(spec.origin) is None:
                return
            self.read(os.path.realpath(spec.origin), is_certain=is_certain)
        self._read_inside(folders, parts, names, is_certain=is_certain)

    def _read_inside(
        self, folders: Iterable[str], parts: list[str], names: list[str], *, is_certain: bool
    ) -> None:
        """Read the modules in the folders of a package that the rest of an import runs."""
        folders = list(folders)
        for part in parts:
            self._read_first(folders, part, is_certain=is_certain)
            folders = [os.path.join(folder, part) for folder in folders]
        if not parts:  # of a relative import: the package itself
            self._read_first(folders, "__init__", is_certain=is_certain)
        for name in names:
            self._read_first(folders, name, is_certain=is_certain)

    def _read_first(self, folders: Iterable[str], name: str, *, is_certain: bool) -> None:
        for folder in folders:
            for path in (
                os.path.join(folder, name, "__init__.py"),
                os.path.join(folder, f"{name}.py"),
            ):
                if self._files.relative(path) is not None:
                    self.read(os.path.realpath(path), is_certain=is_certain)
                    return

    def _has_file(self, name: str) -> bool:
        """Whether a file or folder of the model is called so, wherever, with whatever ending."""
        if self._own_names is None:
            self._own_names = set()
            for _, folders, names in os.walk(self._files.root):
                self._own_names.update(one.partition(".")[0] for one in (*folders, *names))
                if len(self._own_names) > _MOST_NAMES:
                    break
        return name in self._own_names or len(self._own_names) > _MOST_NAMES

    def _add(self, name: str, node: ast.stmt, path: str) -> None:
        hint = self._files.fault(ModuleNotFoundError(name=name)).hint
        shown = describe(os.path.relpath(path, self._files.root).replace(os.sep, "/"))
        message = _MESSAGE.format(shown, describe(name))
        self.problems.append(make_problem("error", message, hint, shown, node.lineno))


def _parsed(path: str) -> ast.Module | None:
    try:
        with open(path, "rb", opener=open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                return None
            return ast.parse(file.read(), path)
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError):  # or a compiled module
        return None


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a statement and what is inside it in the order of the text, but no bodies of functions.

    Those run when they are called, and what calls one ends the reading.
    """
    yield node
    for name, value in ast.iter_fields(node):
        if isinstance(node, _FUNCTIONS) and name == "body":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _run(child)


def _is_harmless(node: ast.AST, bound: dict[str, str]) -> bool:
    """Return whether a part of a statement leaves it as certain what can be imported."""
    if isinstance(node, (ast.Raise, ast.Await)):
        return False
    if isinstance(node, ast.Attribute) and _module_of(node.value, bound) == "sys":
        return node.attr in _HARMLESS_OF_SYS
    called: list[ast.expr] = list(getattr(node, "decorator_list", []))
    if isinstance(node, ast.Call):
        called.append(node.func)
    return all(_is_harmless_call(one, bound) for one in called)


def _module_of(node: ast.expr, bound: dict[str, str]) -> str | None:
    return bound.get(node.id) if isinstance(node, ast.Name) else None


def _is_harmless_call(function: ast.expr, bound: dict[str, str]) -> bool:
    parts: list[str] = []
    while isinstance(function, (ast.Attribute, ast.Call)):
        if isinstance(function, ast.Attribute):
            parts.append(function.attr)
            function = function.value
        else:  # what a call returns, such as logging.getLogger().setLevel
            function = function.func
    if isinstance(function, ast.Constant):  # "{}".format
        return True
    if not isinstance(function, ast.Name):
        return False
    root = bound.get(function.id, function.id)
    if root == "os" and function.id == "os" and parts:
        root = f"os.{parts[-1]}"
    return root in _HARMLESS_CALLS
