"""Compiles a model's sources without running them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Any, Iterator

from ..faults import ModelFiles, Problem, make_problem, open_at_once  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..strict_json import describe  # noqa: TID252  # as above

_MOST_FILES = 5_000
_MOST_WARNINGS = 20
_LARGEST = 16 << 20  # bytes
_FOREIGN = {"site-packages", "dist-packages", "node_modules", "__pycache__"}


def compile_sources(script: str, files: ModelFiles) -> tuple[list[Problem], list[Problem]]:
    """Return what keeps the script from being compiled, and warnings for the model's other files.

    A file that nothing imports may be broken for years, so it is no error.
    """
    main = os.path.realpath(script)
    faults = [problem for problem in [_compiled(script, files, "error")] if problem]
    others = (path for path in _sources(files.root) if os.path.realpath(path) != main)
    warnings = [
        problem for problem in (_compiled(one, files, "warning") for one in others) if problem
    ]
    return faults, warnings[:_MOST_WARNINGS]


def _sources(root: str) -> Iterator[str]:
    """Yield the model's files that end in `.py`."""
    left = _MOST_FILES
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _FOREIGN)
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.join(folder, name)
                left -= 1
                if left == 0:
                    return


def _compiled(path: str, files: ModelFiles, severity: str) -> Problem | None:
    """Compile a file; return what is wrong with it, or None."""
    name = describe(os.path.relpath(path, files.root).replace(os.sep, "/"))
    try:
        with open(path, "rb", opener=open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                return None
            compile(file.read(), path, "exec", dont_inherit=True)
    except SyntaxError as error:
        fault = files.fault(error)
        problem = make_problem(severity, fault.words, fault.hint, name, _number(error.lineno))
        return {**problem, "column": _number(error.offset)}
    except (ValueError, MemoryError, RecursionError) as error:  # a null byte, or nested too deep
        message = f"{name} cannot be compiled: {describe(error) or type(error).__name__}."
        return make_problem(severity, message, path=name)
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}."
        return make_problem(severity, message, path=name)
    return None


def _number(value: Any) -> int | None:
    """Return a line or column, which count from 1; older Pythons say 0 for unknown ones."""
    with suppress(TypeError):
        return value if value > 0 else None
    return None
