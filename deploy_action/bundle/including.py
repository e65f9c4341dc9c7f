"""Files of the workspace that a bundle gets beside those of the model's directory."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.bundle.never_packed import is_never_packed
from deploy_action.errors import Problem
from deploy_action.records import dataclass
from deploy_action.regular_files import SourceTree, is_within

_CORRECT: Final = "Correct the path: it starts at the repository, or on a terminal where you are."
_NEVER: Final = (
    "is never packed: it is, or is in, .git, __pycache__, a virtual environment, or a directory "
    "of this run"
)
_IN_THE_WORKSPACE: Final = "Include files and directories of the repository only."


@dataclass(frozen=True, slots=True)
class Include:
    """A file or directory of the workspace that appears in the bundle under a name.

    Both are POSIX paths, normalised: `source` is relative to the workspace, `name` to the model's
    root.
    """

    source: str
    name: str


def place_includes(
    workspace: Path, model_dir: Path, include: Sequence[Include], excluded: Container[str]
) -> tuple[SourceTree, tuple[Problem, ...]]:
    """Return where the files of a model are, and what is wrong with those that are included.

    `excluded` are real paths that are never packed. Without includes, files are opened from the
    model's directory, else from the workspace, which holds it.
    """
    root, top = os.path.realpath(model_dir), os.path.realpath(workspace)
    placed: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for one in include:
        real = os.path.realpath(f"{top}/{one.source}")
        if fault := next(_faults(top, root, real, excluded), None):
            message, hint = fault
            problems.append(
                Problem(message=f"Input `include`: `{one.source}` {message}.", hint=hint)
            )
        else:
            placed.append((one.name, real))
    return SourceTree(root, tuple(placed), top if placed else root), tuple(problems)


def _faults(top: str, root: str, real: str, excluded: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, and the way out."""
    if not is_within(top, real):
        yield "leads out of the workspace through a link", _IN_THE_WORKSPACE
    if not os.path.exists(real):  # noqa: PTH110  # a name with NUL is no file
        yield "does not exist in the workspace", _near(top, real) or _CORRECT
    if is_within(real, root):
        yield "holds the model itself", "Include the directory in it that the model needs."
    if is_never_packed(top, real, excluded):
        yield _NEVER, _IN_THE_WORKSPACE


def _near(top: str, missing: str) -> str:
    """Suggest a file or directory in place of a missing one, if one beside it has such a name."""
    from difflib import get_close_matches

    directory, name = os.path.split(missing)
    with suppress(OSError):
        if found := get_close_matches(name, _names_in(directory), n=1):
            return f"Did you mean `{os.path.relpath(f'{directory}/{found[0]}', top)}`?"
    return ""


def _names_in(directory: str) -> list[str]:
    return [one.name for one in Path(directory).iterdir()]
