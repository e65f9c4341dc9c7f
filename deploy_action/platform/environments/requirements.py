"""The requirements file of a model with all it includes, as far as an installer must be told."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.text.requirements import (
    EDITABLE,
    INCLUDING,
    UnreadableTextError,
    first_word,
    has_variable,
    is_url,
    logical_lines,
    looks_like_path,
    option_of,
    read_text,
    without_options,
)

_SHOWN_CHARACTERS: Final = 200
_HASH: Final = re.compile(r"(?:^|\s)--(?:hash|require-hashes)\b")
_LOCAL_URL: Final = re.compile(r"(?:^|@\s*|\+)file:", re.IGNORECASE)
_FIND_LINKS: Final = frozenset({"-f", "--find-links"})
# Those that uv reads as pip does; seen with uv 0.13: it takes UTF-32 and declared ones for UTF-8.
_READ_BY_UV: Final = frozenset({"utf-8", "utf-16-le", "utf-16-be"})


@dataclass(frozen=True, slots=True)
class ModelRequirements:
    """What the requirements of a model say.

    `texts` has every file, decoded, by its path relative to the model, `name` first. `is_hashed`:
    a line has a hash, so all must be right. `is_local`: something that is installed comes out of
    the model itself, so that the text does not tell what it is.
    """

    model: Path
    name: str
    texts: Mapping[str, str]
    recoded: tuple[str, ...]
    installs_anything: bool
    is_hashed: bool
    is_local: bool

    @contextmanager
    def readable_by_uv(self) -> Iterator[None]:
        """Let the files be UTF-8 on the disk inside the block, where uv could not read them.

        In their places, because the files include each other by relative paths.
        """
        aside: list[tuple[Path, Path]] = []
        try:
            for name in self.recoded:
                path = self.model / name
                original = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
                path.rename(original)
                aside.append((original, path))
                path.write_text(self.texts[name], encoding="utf-8", newline="")
            yield
        finally:
            for original, path in aside:
                original.replace(path)


def read_requirements(model: Path, written: str) -> ModelRequirements:
    """Read the requirements file at a path relative to the model, and all that it includes.

    Raises:
        EnvironmentFailedError: one of them is missing, outside the model, or no text.
    """
    name = posixpath.normpath(written.strip() or ".")
    root = model.resolve()
    if not _is_file_inside(root, name):
        message = f"The model has no requirements file {_shown(written)}."
        hint = "Add the file, with a line for each package, or correct requirements in blankly.json"
        raise _failed(message, f"{hint}.", name if _is_inside(name) else None)
    reader = _Reader(root)
    reader.read_all(name)
    return ModelRequirements(
        model=root,
        name=name,
        texts=reader.texts,
        recoded=tuple(reader.recoded),
        installs_anything=reader.installs_anything,
        is_hashed=reader.is_hashed,
        is_local=reader.is_local,
    )


@dataclass(slots=True)
class _Reader:
    model: Path
    texts: dict[str, str] = field(default_factory=dict)
    recoded: list[str] = field(default_factory=list)
    installs_anything: bool = False
    is_hashed: bool = False
    is_local: bool = False

    def read_all(self, name: str) -> None:
        """Read a file and those it includes, each once; not recursively, for the stack's sake."""
        left = [(name, True)]
        while left:
            current, installs = left.pop(0)
            if current not in self.texts:
                left += self._read(current, installs=installs)

    def _read(self, name: str, *, installs: bool) -> list[tuple[str, bool]]:
        try:
            text, encoding = read_text(self.model / name, name)
        except UnreadableTextError as error:
            raise EnvironmentFailedError(error.problem) from error
        self.texts[name] = text
        if encoding.lower() not in _READ_BY_UV:
            self.recoded.append(name)
        included = []
        for number, line in logical_lines(text):
            self.is_hashed |= bool(_HASH.search(line))
            if not line.startswith("-"):
                self._see_requirement(without_options(line), installs=installs)
            elif target := self._see_option(name, number, *option_of(line)):
                included.append((target[0], installs and target[1]))
        return included

    def _see_requirement(self, requirement: str, *, installs: bool) -> None:
        self.installs_anything |= installs
        is_path = not is_url(requirement) and looks_like_path(requirement)
        self.is_local |= is_path or bool(_LOCAL_URL.search(requirement))

    def _see_option(
        self, name: str, number: int, option: str, value: str
    ) -> tuple[str, bool] | None:
        """Note what an option says; return the file it includes, and whether that is installed."""
        written = first_word(value)
        if option in EDITABLE:
            self.installs_anything = True
            self.is_local |= not is_url(written) or bool(_LOCAL_URL.search(written))
        elif option in _FIND_LINKS:
            self.is_local |= not is_url(written)
        elif option in INCLUDING and (is_url(written) or has_variable(written)):
            self.installs_anything |= INCLUDING[option]
        elif option in INCLUDING:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), written))
            if not _is_file_inside(self.model, target):
                message = f"{_shown(written)} is no file of the model."
                hint = f"Correct the path after {option}, which is relative to {name}."
                raise _failed(message, hint, name, number)
            return target, INCLUDING[option]
        return None


def _is_inside(name: str) -> bool:
    return not posixpath.isabs(name) and name != ".." and not name.startswith("../")


def _is_file_inside(model: Path, name: str) -> bool:
    try:
        path = (model / name).resolve()
        return _is_inside(name) and path.is_relative_to(model) and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _shown(written: str) -> str:
    cut = written[:_SHOWN_CHARACTERS]
    return cut if cut.isprintable() and cut.strip() else repr(cut)


def _failed(
    message: str, hint: str, path: str | None, line: int | None = None
) -> EnvironmentFailedError:
    return EnvironmentFailedError(Problem(message=message, hint=hint, path=path, line=line))
