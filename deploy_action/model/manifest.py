"""Reads `blankly.json` into a `Manifest`, with every problem at its place."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from deploy_action.errors import Problem
from deploy_action.model.manifest_checks import (
    DEFAULT_PATHS,
    MAX_PROBLEMS,
    content_problems,
    is_alien,
    path_fault,
)
from deploy_action.model.manifest_search import MANIFEST_NAME, missing_manifest
from deploy_action.records import dataclass, field, replace
from deploy_action.regular_files import SourceTree
from deploy_action.text.harmless import is_placeholder
from deploy_action.text.located_json import JsonValue, LocatedJson, Redact, parse_json
from deploy_action.text.redaction import key_lines, redacted

_DEFAULT_IGNORE_FILES = ("price_caches", ".git", ".idea", ".vscode")
_DEFAULT_BACKTEST_ARGS: Mapping[str, JsonValue] = {"to": "1y"}

MAX_FILE_BYTES = 1024 * 1024
_LONGEST_KEY = 60

_REGULAR_HINT: Final = "Put a regular, readable file there that describes the model."


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `blankly.json` says, with the package's defaults filled in.

    Paths are as written (`./bot.py`), relative to the model's directory, and lead nowhere else.
    `python_version` and `schedule` are None when missing; ids, names and the plan also when they
    are placeholders (empty, or runs of asterisks). `secrets` are the values of `api_key` and
    `api_pass` that look like keys, to be masked, numbers as they are written.
    """

    main_script: str
    requirements: str
    working_directory: str
    python_version: str | None
    ignore_files: tuple[str, ...]
    backtest_args: Mapping[str, JsonValue]
    type: Literal["strategy", "screener"]
    schedule: str | None
    project_id: str | None
    model_id: str | None
    model_name: str | None
    plan: str | None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    document: LocatedJson | None = field(default=None, repr=False, compare=False)

    def locate(self, *path: str | int) -> tuple[int, int] | None:
        """Return line and column of the value at that path, None if it is absent."""
        return self.document.locate(*path) if self.document else None


def load_manifest(
    model_dir: Path, *, redact: Redact = str, for_runner: bool = True
) -> tuple[Manifest | None, tuple[Problem, ...]]:
    """Read the `blankly.json` of a model; never raises, whatever the file holds.

    If the file holds an object, there is a manifest despite errors, so that the model's files can
    be checked in the same run; unusable paths are blank in it. A missing `python_version` is no
    problem here, because an input may supply it. Whatever messages quote from the file goes
    through `redact` before it is cut, and holds none of the file's own secrets. Hints are for a
    workflow, or without `for_runner` for a terminal.
    """
    data, problem = _read(model_dir, for_runner=for_runner)
    if problem:
        return None, (problem,)
    document = _parse(data, redact)
    problems = list(document.problems)
    manifest = None
    if document.readable and isinstance(document.value, dict) and not is_alien(document.value):
        problems += content_problems(document, document.value)
        manifest = _manifest(document, document.value)
    elif document.readable and not problems:
        problems.append(_wrong_file(document))
    return manifest, _in_order(problems)


def peek_manifest(model_dir: Path) -> Manifest | None:
    """Return what `blankly.json` says, unchecked; None if it cannot be read or is another file.

    It takes a hundredth of the time, for those who look at hundreds of models.
    """
    data, problem = _read(model_dir, for_runner=True)
    document = parse_json(data)
    value = document.value if problem is None and document.readable else None
    if not isinstance(value, dict) or is_alien(value):
        return None
    return _manifest(document, value)


def _parse(data: bytes, redact: Redact) -> LocatedJson:
    """Parse the data twice: its secrets are known only at its end, and no message may show them."""
    known = _secrets(parse_json(data))
    return parse_json(data, redact=lambda text: redact(redacted(text, known)))


def _read(model_dir: Path, *, for_runner: bool) -> tuple[bytes, Problem | None]:
    try:
        return SourceTree.at(model_dir).read(MANIFEST_NAME, MAX_FILE_BYTES), None
    except (FileNotFoundError, NotADirectoryError):
        return b"", missing_manifest(model_dir, for_runner=for_runner)
    except OSError as error:
        hints = {
            errno.EXDEV: "Copy what the link points to into the model.",
            errno.EFBIG: "Name the file that describes the model, which is small.",
        }
        hint = hints.get(error.errno or 0, _REGULAR_HINT)
        return b"", _unusable_file(f"cannot be read: {error.strerror}", hint)


def _unusable_file(why: str, hint: str = _REGULAR_HINT) -> Problem:
    return Problem(
        message=f"{MANIFEST_NAME} {why}.",
        hint=hint,
        path=MANIFEST_NAME,
    )


def _wrong_file(document: LocatedJson) -> Problem:
    is_object = isinstance(document.value, dict)
    kind = "an object with none of the keys of a model" if is_object else "no object"
    line, column = document.locate() or (1, 1)
    return Problem(
        message=f"This {MANIFEST_NAME} does not describe a Blankly model: it holds {kind}.",
        hint='Set model-path to the model\'s directory, or start from {"main_script": "./bot.py", '
        '"python_version": "3.10"}.',
        path=MANIFEST_NAME,
        line=line,
        column=column,
    )


def _secrets(document: LocatedJson) -> tuple[str, ...]:
    """Return the values of all secret keys that look like keys: repeated, nested, and numbers too.

    Whoever writes the file could otherwise mask words of what is printed, and of later steps.
    """
    return key_lines(
        text for keys, text in document.scalars if any(_is_secret_key(key) for key in keys)
    )


def _is_secret_key(key: str) -> bool:
    """Whether a key is `api_key` or `api_pass`, however it is spelled."""
    return re.sub(r"[-_\s.]", "", key[:_LONGEST_KEY]).lower() in {"apikey", "apipass"}


def _in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Sort by place, add the file's name, and keep only the first 50."""
    placed = [replace(problem, path=MANIFEST_NAME) for problem in problems]
    placed.sort(key=lambda item: (item.line or 0, item.column or 0, item.severity, item.message))
    if len(placed) <= MAX_PROBLEMS:
        return tuple(placed)
    rest = Problem(
        message=f"There are more problems than the first {MAX_PROBLEMS}, which are shown.",
        hint="Correct these first.",
        path=MANIFEST_NAME,
    )
    return (*placed[:MAX_PROBLEMS], rest)


def _manifest(document: LocatedJson, value: Mapping[str, JsonValue]) -> Manifest:
    """Return the manifest, with unusable values blank."""
    given = {key: value.get(key, default) for key, default in DEFAULT_PATHS.items()}
    paths = {key: path for key, path in given.items() if isinstance(path, str)}
    paths = {key: "" if path_fault(path) else path for key, path in paths.items()}
    ignored = value.get("ignore_files", list(_DEFAULT_IGNORE_FILES))
    ignored = ignored if isinstance(ignored, list) else []
    arguments = value.get("backtest_args", dict(_DEFAULT_BACKTEST_ARGS))
    screener = value.get("screener")
    return Manifest(
        main_script=paths.get("main_script", ""),
        requirements=paths.get("requirements", ""),
        working_directory=paths.get("working_directory") or ".",
        python_version=_unless_placeholder(value.get("python_version")),
        ignore_files=tuple(item for item in ignored if isinstance(item, str)),
        backtest_args=arguments if isinstance(arguments, dict) else {},
        type="screener" if value.get("type") == "screener" else "strategy",
        schedule=_unless_placeholder(screener.get("schedule"))
        if isinstance(screener, dict)
        else None,
        project_id=_unless_placeholder(value.get("project_id")),
        model_id=_unless_placeholder(value.get("model_id")),
        model_name=_unless_placeholder(value.get("model_name")),
        plan=_unless_placeholder(value.get("plan")),
        secrets=_secrets(document),
        document=document,
    )


def _unless_placeholder(value: JsonValue) -> str | None:
    """Return a string, None for placeholders and for other types."""
    return value if isinstance(value, str) and not is_placeholder(value) else None
