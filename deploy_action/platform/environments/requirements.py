"""Reads what the installer must know of a model's requirements files."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from deploy_action.errors import Problem
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.records import dataclass, field, replace
from deploy_action.regular_files import SourceTree
from deploy_action.text.harmless import excerpt
from deploy_action.text.requirements import (
    Line,
    RequirementsFile,
    Walk,
    is_file_inside,
    is_inside,
    is_url,
    looks_like_path,
    variables_in,
    with_variables,
)

_LONGEST_PATH: Final = 200
_HASH: Final = re.compile(r"(?:^|\s)--(?:hash|require-hashes)\b")
_LOCAL_URL: Final = re.compile(r"(?:^|@\s*|\+)file:", re.IGNORECASE)
_FIND_LINKS: Final = frozenset({"-f", "--find-links"})
_INDEXES: Final = _FIND_LINKS | {"-i", "--index-url", "--extra-index-url"}
_USER_OF_INDEX: Final = re.compile(
    r"^([^\S\n]*(?:-i|--index-url|--extra-index-url)(?:[^\S\n]|=)+[a-z]+://)[^\s/@]+@", re.MULTILINE
)
# Those that uv reads as pip does; seen with uv 0.13: it takes UTF-32 and declared ones for UTF-8.
_READ_BY_UV: Final = frozenset({"utf-8", "utf-16-le", "utf-16-be"})


@dataclass(frozen=True, slots=True)
class ModelRequirements:
    """What the requirements of a model say.

    `texts` has every file, decoded, by its path relative to the model, `name` first. `rewritten`
    has those that uv has to read in another form: with variables filled in, or encoded otherwise.
    `filled` are the variables that are filled in, and may be secrets; `shows_filled` says that they
    are elsewhere than before the `@` of an index, so that the installer keeps them in its cache.
    `is_hashed`: a line has a hash, so all must be right. `is_local`: something that is installed
    comes out of the model itself, so that the text does not tell what it is. `names_sources`: a
    line names a place other than the configured package index. `from_git` is the first line that
    needs git, as it is written.
    """

    model: Path
    name: str
    texts: Mapping[str, str]
    rewritten: Mapping[str, str] = field(repr=False)
    filled: Mapping[str, str] = field(repr=False)
    shows_filled: bool
    installs_anything: bool
    is_hashed: bool
    is_local: bool
    names_sources: bool
    from_git: Line | None = None

    def copied_to(self, directory: Path) -> ModelRequirements:
        """Write all files to a new directory, as uv reads them, and return those."""
        directory.mkdir(mode=0o700)
        for name, text in self.texts.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.rewritten.get(name, text), encoding="utf-8", newline="")
        return replace(self, model=directory, rewritten={})

    @contextmanager
    def readable_by_uv(self) -> Iterator[None]:
        """Let the rewritten files be on the disk, in UTF-8, inside the block.

        In their places, because the files include each other by relative paths. They stay where a
        package of the model has put a link in the way since, or has removed the others.
        """
        aside: list[tuple[Path, Path, str]] = []
        try:
            for name, text in self.rewritten.items():
                path = self.model / name
                original = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
                path.rename(original)
                aside.append((original, path, os.path.realpath(path.parent)))
                path.write_text(text, encoding="utf-8", newline="")
            yield
        finally:
            for original, path, directory in aside:
                if os.path.realpath(path.parent) == directory:
                    with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                        original.replace(path)


def read_requirements(
    model: Path, written: str, variables: Mapping[str, str] | None = None
) -> ModelRequirements:
    """Read the requirements file at a path relative to the model, and all that it includes.

    Of the `variables`, those that their lines name as `${NAME}` are filled in.

    Raises:
        EnvironmentFailedError: one of them is missing, outside the model, or no text, or names a
            variable that is not given.
    """
    name = posixpath.normpath(written.strip() or ".")
    files = SourceTree.at(model)
    if not is_file_inside(files, name):
        message = f"The model has no requirements file {_quoted(written)}."
        hint = "Add the file, with a line for each package, or correct requirements in blankly.json"
        raise _failed(message, f"{hint}.", name if is_inside(name) else None)
    given = {one: value for one, value in (variables or {}).items() if _may_be_filled_in(value)}
    walk = Walk(files, name, on_unreadable=_refuse, fill=lambda text: with_variables(text, given))
    read = list(_read_all(walk, variables or {}))
    lines = [line for file in read for line in file.lines]
    named = [one for file in read for one in variables_in(file.text) if one in given]
    return ModelRequirements(
        model=Path(files.root),
        name=name,
        texts={file.name: file.text for file in read},
        rewritten={
            file.name: file.filled
            for file in read
            if file.filled != file.text or file.encoding.lower() not in _READ_BY_UV
        },
        filled={one: given[one] for one in sorted(named)},
        shows_filled=any(_shows_variable(file.text) for file in read),
        installs_anything=any(map(_installs, lines)),
        is_hashed=any(_HASH.search(line.text) for line in lines),
        is_local=any(map(_is_local, lines)),
        names_sources=any(map(_names_source, lines)),
        from_git=next(filter(_needs_git, (one for file in read for one in file.written)), None),
    )


def _may_be_filled_in(value: str) -> bool:
    """Whether a value stays what it is in a requirements file: uv fills in variables itself."""
    return not variables_in(value) and len(value.splitlines()) <= 1


def _shows_variable(text: str) -> bool:
    """Whether a text has a variable anywhere but in user and password of an index."""
    return bool(variables_in(_USER_OF_INDEX.sub(r"\1", text)))


def _read_all(walk: Walk, variables: Mapping[str, str]) -> Iterator[RequirementsFile]:
    for file in walk:
        yield file
        for line in file.lines:
            for name in variables_in(line.text):
                raise _not_filled_in(name, line, is_given=name in variables)
            if line.is_include and not line.is_remote:
                if not is_file_inside(walk.files, line.target):
                    message = f"{_quoted(line.word)} is not a file of the model."
                    hint = (
                        f"Correct the path after {line.option}, which is relative to {file.name}."
                    )
                    raise _failed(message, hint, file.name, line.number)
                walk.follow(line)


def _not_filled_in(name: str, line: Line, *, is_given: bool) -> EnvironmentFailedError:
    if is_given:
        message = f"The value of `{name}` cannot be put into requirements."
        hint = "It may have no line break, and no variable such as `${NAME}`: encode it for a URL."
    else:
        message = f"The requirements name the variable `{name}`, which is not given."
        hint = f"Give it in `model-env`, as `{name}=VALUE`: requirements see no other variables."
    return _failed(message, hint, line.file, line.number)


def _refuse(problem: Problem) -> NoReturn:
    raise EnvironmentFailedError(problem)


def _installs(line: Line) -> bool:
    if line.is_include:
        return line.is_remote and not line.is_constraint
    return line.is_editable or (line.is_requirement and line.installs)


def _is_local(line: Line) -> bool:
    """Whether a line installs from the model itself, or looks there for packages."""
    if line.is_requirement:
        is_named_path = "@" in line.value and "://" not in line.value  # as uv reads it
        is_path = is_named_path or (not is_url(line.value) and looks_like_path(line.value))
        return is_path or bool(_LOCAL_URL.search(line.value))
    if line.is_editable:
        return not is_url(line.word) or bool(_LOCAL_URL.search(line.word))
    return line.option in _FIND_LINKS and not is_url(line.word)


def _needs_git(line: Line) -> bool:
    return line.installs and bool(line.from_git)


def _names_source(line: Line) -> bool:
    if line.is_requirement:
        return "://" in line.value or looks_like_path(line.value)
    return line.is_editable or line.is_remote or line.option in _INDEXES


def _quoted(written: str) -> str:
    return excerpt(written, _LONGEST_PATH) or "''"


def _failed(
    message: str, hint: str, path: str | None, line: int | None = None
) -> EnvironmentFailedError:
    return EnvironmentFailedError(Problem(message=message, hint=hint, path=path, line=line))
