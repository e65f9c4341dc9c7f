"""Warns of imports of code that is in the repository, but not in the bundle, where it has to be."""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.model.live.code import Code
from deploy_action.model.live.modules import Module, catches
from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_search import Folder, read_folder
from deploy_action.model.requirements import read_requirements
from deploy_action.records import dataclass, replace

_MOST_DIRECTORIES: Final = 300
_PACKAGE: Final = "blankly"


@dataclass(frozen=True, slots=True)
class Outside:
    """Looks for what a model imports in the `workspace`, outside of the model in `directory`.

    Both are absolute, without links. Hints are for a workflow, or without `for_runner` for a
    terminal. With `names`, only imports that begin with one of them are looked at.
    `read` reads a directory; for many models, it should remember them.
    """

    workspace: Path
    directory: Path
    for_runner: bool
    names: frozenset[str] | None = None
    read: Callable[[Path], Folder] = read_folder

    def warnings(self, manifest: Manifest, selection: Selection, code: Code) -> Iterator[Problem]:
        """Yield a warning for each package or module of the repository that the bundle lacks."""
        for entry, problem in self.missing(manifest, selection, code):
            way = f"`include: {entry}`" if self.for_runner else f'`--include "{entry}"`'
            yield replace(problem, hint=f"Put it into the bundle with {way}.")

    def missing(
        self, manifest: Manifest, selection: Selection, code: Code
    ) -> Iterator[tuple[str, Problem]]:
        """Yield what `include` has to name for each of them, and what is wrong without it.

        `code` is that of the model's script (`read_code`).
        """
        if self.directory == self.workspace or not manifest.main_script:
            return  # everything is inside
        roots = cache(lambda: tuple(self._roots()))
        known: set[str] = set()
        for file, node, dotted in _imports(code, selection):
            if self.names is not None and dotted.partition(".")[0] not in self.names:
                continue
            found = next((one for one in roots() if _is_module(one, dotted)), None)
            if found is None:
                continue
            known |= {_PACKAGE, *read_requirements(selection.files, manifest.requirements)}
            first = dotted.partition(".")[0]
            if first.lower().replace("_", "-") not in known:
                known.add(first.lower().replace("_", "-"))
                yield self._warning(file, node, dotted, found)

    def _warning(self, file: str, node: ast.stmt, dotted: str, root: Path) -> tuple[str, Problem]:
        path = root / dotted.partition(".")[0]
        if not path.is_dir() or self.directory.is_relative_to(path):
            # What holds the model cannot be included.
            path = root / dotted.replace(".", "/")
            path = path if path.is_dir() else path.with_name(f"{path.name}.py")
        place, name = path.relative_to(self.workspace).as_posix(), path.relative_to(root).as_posix()
        entry = place if path.name == name else f"{place} => {name}"
        return entry, Problem(
            message=f"`{dotted}` is outside the model, in {place}: only the bundle is there when "
            "the model runs.",
            severity=Severity.WARNING,
            path=file,
            line=node.lineno,
            column=node.col_offset + 1,
        )

    def _roots(self) -> Iterator[Path]:
        """Yield where the code may be: in the directories around the model, then in others."""
        around = [one for one in self.directory.parents if one.is_relative_to(self.workspace)]
        yield from around
        waiting = deque([self.workspace])
        for _ in range(_MOST_DIRECTORIES):
            if not waiting:
                return
            directory = waiting.popleft()
            folder = self.read(directory)
            if folder.is_environment or directory == self.directory:
                continue
            if not folder.is_model and directory not in around:
                yield directory
            waiting.extend(folder.children)


def _imports(code: Code, selection: Selection) -> Iterator[tuple[str, ast.stmt, str]]:
    """Yield what the scripts import and nothing in the bundle answers, the main script's first.

    Each with its file, its statement and its dotted name.
    """
    names = (one.name.removesuffix(".py") for one in selection.entries)
    known = {part for name in names for part in name.split("/")} | sys.stdlib_module_names
    for module in code.parsed.values():
        for node in _statements(module.tree):
            for dotted in _names(module, node):
                if dotted.partition(".")[0] not in known:
                    yield module.file, node, dotted


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that the model may need: not for checkers of types, nor tried only."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import() | ast.ImportFrom():
                yield node
            case ast.If() if _is_for_checkers(node.test):
                for part in node.orelse:
                    yield from _statements(ast.Module([part], []))
            case ast.expr():
                pass
            case _ if not _tries_imports(node):
                yield from _statements(node)
            case _:
                pass


def _is_for_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _tries_imports(node: ast.AST) -> bool:
    handlers = node.handlers if isinstance(node, ast.Try | ast.TryStar) else []
    return any(catches(one, ModuleNotFoundError) for one in handlers)


def _names(module: Module, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    source = module.source_of(node)
    return [source, *(f"{source}.{one.name}" for one in node.names)] if source else []


def _is_module(root: Path, dotted: str) -> bool:
    path = root / dotted.replace(".", "/")
    return path.with_name(f"{path.name}.py").is_file() or _has_scripts(path)


def _has_scripts(directory: Path) -> bool:
    try:
        return any(directory.glob("*.py"))
    except OSError:
        return False
