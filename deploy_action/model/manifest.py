"""`blankly.json` → `Manifest`, or everything that is wrong with it, each at its place.

The JSON schema beside this module says what the keys are, to editors as well as to this check. Its
`errorMessage`s, which editors show too, are the words for what a key must be.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from deploy_action.errors import Problem, Severity
from deploy_action.text.harmless import is_placeholder, redacted
from deploy_action.text.located_json import JsonValue, LocatedJson, Redact, parse_json

if TYPE_CHECKING:
    from jsonschema import ValidationError

MANIFEST_NAME = "blankly.json"
PATH_KEYS = ("main_script", "requirements", "working_directory")
SECRET_KEYS = ("api_key", "api_pass")
# The defaults of the package (blankly 1.18, default_deploy_settings in utils/utils.py).
DEFAULT_PATHS = {
    "main_script": "./bot.py",
    "requirements": "./requirements.txt",
    "working_directory": ".",
}
_DEFAULT_IGNORE_FILES = ("price_caches", ".git", ".idea", ".vscode")
_DEFAULT_BACKTEST_ARGS: Mapping[str, JsonValue] = {"to": "1y"}

MAX_FILE_BYTES = 1024 * 1024
_MAX_PROBLEMS = 50
_MAX_UNKNOWN_KEYS = 10
_SHOWN_LENGTH = 60
_LONGEST_SCHEDULE = 200
_SHORTEST_SECRET_NUMBER = 6
_CRON_FIELDS = 5
_SEARCH_DEPTH = 3
_MAX_DIRECTORIES_SEARCHED = 1000
_MAX_FOUND = 5
_NOT_SEARCHED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_KINDS = {
    "string": "a string",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `blankly.json` says, the package's defaults filled in.

    Paths are as written (`./bot.py`), relative to the model's directory, and lead nowhere else.
    `python_version` and `schedule` are None when missing, ids, names and the plan also when they
    are placeholders (empty, or runs of asterisks). `secrets` are all real values of `api_key` and
    `api_pass`, numbers as they are written, to be masked.
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
        """Give line and column of the value at that path, None if it is absent."""
        return self.document.locate(*path) if self.document else None


def schema_text() -> str:
    """Give the JSON schema of `blankly.json`, as it is shipped."""
    return (Path(__file__).parents[1] / "blankly.schema.json").read_text(encoding="utf-8")


def load_manifest(
    model_dir: Path, *, redact: Redact = str
) -> tuple[Manifest | None, tuple[Problem, ...]]:
    """Read the `blankly.json` of a model; never raises for what the file holds.

    Beside errors there is still a manifest where the file holds an object, so that the model's
    files can be checked in the same run: paths that cannot be used are blank in it. A missing
    `python_version` is no problem here: an input may supply it. What messages show of the file
    goes through `redact` first, before it is cut, and holds none of the file's own secrets.
    """
    data, problem = _read(model_dir)
    if problem:
        return None, (problem,)
    document = _parse(data, redact)
    problems = list(document.problems)
    manifest = None
    if document.readable and isinstance(document.value, dict) and not _is_alien(document.value):
        problems += _content_problems(document, document.value)
        manifest = _manifest(document, document.value)
    elif document.readable and not problems:
        problems.append(_wrong_file(document))
    return manifest, _in_order(problems)


def _parse(data: bytes, redact: Redact) -> LocatedJson:
    """Read the file twice: which keys must not be shown is known only at its end."""
    known = _secrets(parse_json(data))
    return parse_json(data, redact=lambda text: redact(redacted(text, known)))


def check_backtest_args(
    args: Mapping[str, JsonValue], *, redact: Redact = str
) -> tuple[Problem, ...]:
    """Check arguments of a backtest that come from elsewhere too, such as an input.

    The problems have no place, and name the arguments as `backtest_args.NAME`; what they show goes
    through `redact` before it is cut.
    """
    document = LocatedJson.without_places({"backtest_args": dict(args)}, redact)
    problems = [*_schema_problems(document), *_unknown_keys(document, "backtest_args")]
    return tuple(problems)


# Reading the file


def _read(model_dir: Path) -> tuple[bytes, Problem | None]:
    path = model_dir / MANIFEST_NAME
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            return b"", _unreadable(f"is {kind}")
        if status.st_size > MAX_FILE_BYTES:
            return b"", _unreadable(f"has {status.st_size:,} bytes, more than 1 MiB")
        return path.read_bytes(), None
    except (FileNotFoundError, NotADirectoryError):
        return b"", _missing(model_dir)
    except OSError as error:
        return b"", _unreadable(f"cannot be read: {error.strerror}")


def _unreadable(why: str) -> Problem:
    return Problem(
        message=f"{MANIFEST_NAME} {why}.",
        hint="Put a regular, readable file there that describes the model.",
        path=MANIFEST_NAME,
    )


def _missing(model_dir: Path) -> Problem:
    """Say which directory has no manifest, and where there is one instead."""
    if not model_dir.is_dir():
        message = f"The model's directory {model_dir} does not exist, or is not a directory."
        return Problem(message=message, hint="Correct model-path, and check out the repository.")
    found = [_for_model_path(path, model_dir) for path in _find_nearby(model_dir)]
    if len(found) > 1:
        hint = f"Set model-path to one of these: {', '.join(found)}"
    elif found:
        hint = f"There is one further down: set model-path: {found[0]}"
    elif misnamed := _misnamed(model_dir):
        hint = f"Rename {misnamed} to {MANIFEST_NAME}."
    else:
        hint = "Set model-path to the directory of the model, and check out the repository first."
    return Problem(message=f"There is no {MANIFEST_NAME} in {model_dir}.", hint=hint)


def _find_nearby(model_dir: Path) -> list[Path]:
    """Find directories below that hold a manifest, the nearest first."""
    found: list[Path] = []
    waiting = deque([(model_dir, 0)])
    searched = 0
    while waiting and searched < _MAX_DIRECTORIES_SEARCHED and len(found) < _MAX_FOUND:
        directory, depth = waiting.popleft()
        searched += 1
        if (directory / MANIFEST_NAME).is_file():
            found.append(directory)
        if depth < _SEARCH_DEPTH:
            waiting.extend((child, depth + 1) for child in _subdirectories(directory))
    return found


def _subdirectories(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    wanted = (name for name in sorted(names) if not name.startswith("."))
    return [directory / name for name in wanted if name not in _NOT_SEARCHED]


def _for_model_path(found: Path, model_dir: Path) -> str:
    """Write a directory as `model-path` takes it: relative to the workspace, if that is known."""
    real = found.resolve()
    workspace = Path.cwd()  # on the runner, and where else would a path on a terminal start
    base = workspace if real.is_relative_to(workspace) else model_dir.resolve()
    return real.relative_to(base).as_posix()


def _misnamed(model_dir: Path) -> str | None:
    """Find a file whose name differs in case only, or by an extension an editor added."""
    lookalikes = {MANIFEST_NAME, MANIFEST_NAME + ".txt", "blankly.jsonc", "blankly.json5"}
    names = sorted(path.name for path in model_dir.iterdir())
    return next((name for name in names if name.lower() in lookalikes), None)


def _wrong_file(document: LocatedJson) -> Problem:
    kind = "an object with none of the keys of a model" if _is_object(document) else "no object"
    line, column = document.locate() or (1, 1)
    return Problem(
        message=f"This {MANIFEST_NAME} does not describe a Blankly model: it holds {kind}.",
        hint='Set model-path to the model\'s directory, or start from {"main_script": "./bot.py", '
        '"python_version": "3.10"}.',
        path=MANIFEST_NAME,
        line=line,
        column=column,
    )


def _is_object(document: LocatedJson) -> bool:
    return isinstance(document.value, dict)


def _is_alien(value: Mapping[str, JsonValue]) -> bool:
    """Say whether an object is an unrelated file: it has keys, and none is a model's."""
    keys = set(value) - {"$schema"}
    return bool(keys) and keys.isdisjoint(_schema_properties())


# What is wrong with the content


def _content_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    yield from _schema_problems(document)
    yield from _path_problems(document, value)
    yield from _schedule_problems(document, value)
    yield from _secret_problems(document, value)
    for parent in ((), ("screener",), ("backtest_args",)):
        yield from _unknown_keys(document, *parent)


def _problem(
    document: LocatedJson,
    path: _Path,
    message: str,
    hint: str,
    severity: Severity = Severity.ERROR,
) -> Problem:
    """Make a problem at the value at a path, or at what would contain it."""
    place = document.locate(*path)
    while place is None and path:
        path = path[:-1]
        place = document.locate(*path)
    line, column = place or (None, None)
    where = MANIFEST_NAME if place else None
    return Problem(
        message=message, hint=hint, severity=severity, path=where, line=line, column=column
    )


@cache
def _schema() -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", json.loads(schema_text()))


def _schema_properties(*parent: str) -> Mapping[str, JsonValue]:
    schema = _schema()
    if parent == ("backtest_args",):
        schema = _object(_object(schema["$defs"])["backtest_args"])
    elif parent:
        schema = _object(_object(schema["properties"])[parent[0]])
    return _object(schema["properties"])


def _object(value: JsonValue) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", value)


def _schema_problems(document: LocatedJson) -> Iterator[Problem]:
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(_schema()).iter_errors(document.value)
    for error in islice(errors, _MAX_PROBLEMS * 2):
        path: _Path = tuple(error.absolute_path)
        if error.validator == "required":
            path = (*path, _missing_key(error))
        yield _problem(document, path, *_words(document, path, error))


def _missing_key(error: ValidationError) -> str:
    instance = cast("Mapping[str, object]", error.instance)
    return next(key for key in cast("list[str]", error.validator_value) if key not in instance)


def _words(document: LocatedJson, path: _Path, error: ValidationError) -> tuple[str, str]:
    """Say in words what the schema asks and what is there instead, and the way out."""
    name = _name(document, path)
    found = cast("JsonValue", error.instance)
    if path == ("python_version",) and _kind(found) == "a number":
        return _unquoted_version(_cut(document.redact(document.written(*path) or str(found))))
    schema = cast("Mapping[str, JsonValue]", error.schema)
    if error.validator == "required":
        return f"{name} {schema['errorMessage']}.", f'Add "{path[-1]}".'
    if error.validator == "minLength":
        return f"{name} is empty.", "Give it a value, or leave the key out."
    must = str(schema.get("errorMessage") or _must(error))
    hint = "Correct the value, or leave the key out."
    if error.validator == "enum" and isinstance(found, str):
        nearest = _nearest(found, cast("list[str]", error.validator_value))
        hint = f'Did you mean "{nearest}"?' if nearest else hint
    instead = _not_what_is_there(document, path, found) if must.startswith("must") else ""
    return f"{name} {must}{instead}.", hint


def _unquoted_version(written: str) -> tuple[str, str]:
    message = (
        f"python_version is the number {written}, and must be a string: "
        "as a number, 3.10 is read as 3.1."
    )
    return message, f'Quote it: "{written}"'


def _must(error: ValidationError) -> str:
    allowed = cast("str | list[str]", error.validator_value)
    if error.validator == "enum":
        return "must be " + " or ".join(f'"{choice}"' for choice in allowed)
    kinds = [allowed] if isinstance(allowed, str) else allowed
    return "must be " + " or ".join(_KINDS[kind] for kind in kinds)


def _not_what_is_there(document: LocatedJson, path: _Path, found: JsonValue) -> str:
    """Say what is there instead, without showing a secret, or more than a line of anything."""
    kind = _kind(found)
    if isinstance(found, bool):
        return f", not {str(found).lower()}"
    if path[0] in SECRET_KEYS or isinstance(found, dict | list) or found is None:
        return f", not {kind}"
    return f", not {kind} ({_shown(document, found)})"


def _kind(value: JsonValue) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "true or false"),
        (str, "a string"),
        (dict, "an object"),
        (list, "a list"),
        (int, "a number"),
        (float, "a number"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _name(document: LocatedJson, path: _Path) -> str:
    """Write a path as `backtest_args.initial_values.USD` or `ignore_files[2]`."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{_key(document, step)}" for step in path)
    return "".join(parts).removeprefix(".")


def _key(document: LocatedJson, key: str) -> str:
    shown = document.redact(key)
    return shown if re.fullmatch(r"\$?\w{1,60}", shown) else _shown(document, key)


def _shown(document: LocatedJson, value: JsonValue) -> str:
    """Write a string or number as in the file, its secrets redacted, cut where it is long."""
    if isinstance(value, str):
        return _cut(json.dumps(document.redact(value), ensure_ascii=False))
    return _cut(document.redact(json.dumps(value)))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _nearest(key: str, known: Iterable[str]) -> str | None:
    """Find the known key that was most likely meant, however it was spelled."""
    from difflib import get_close_matches

    by_form = {name.lower(): name for name in known}
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key[:_SHOWN_LENGTH])
    form = re.sub(r"[-\s.]", "_", snake).lower()
    matches = get_close_matches(form, by_form, n=1)
    return by_form[matches[0]] if matches else None


def _unknown_keys(document: LocatedJson, *parent: str) -> Iterator[Problem]:
    value = document.value
    for step in parent:
        value = value.get(step) if isinstance(value, dict) else None
    known = _schema_properties(*parent)
    unknown = [key for key in value if key not in known] if isinstance(value, dict) else []
    for key in unknown[:_MAX_UNKNOWN_KEYS]:
        yield _unknown_key(document, (*parent, key), known)
    if len(unknown) > _MAX_UNKNOWN_KEYS:
        message = f"{len(unknown) - _MAX_UNKNOWN_KEYS} more keys are unknown."
        yield _problem(document, parent, message, "Remove them.", Severity.WARNING)


def _unknown_key(document: LocatedJson, path: tuple[str, ...], known: Iterable[str]) -> Problem:
    nearest = _nearest(path[-1], known)
    what = "argument of a backtest" if path[0] == "backtest_args" else "key"
    line, column = document.locate_key(*path) or (None, None)
    return Problem(
        message=f"{_name(document, path)} is an unknown {what} and has no effect.",
        hint=f'Did you mean "{nearest}"?' if nearest else "Remove it.",
        severity=Severity.WARNING,
        path=MANIFEST_NAME if line else None,
        line=line,
        column=column,
    )


def _path_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for key in PATH_KEYS:
        path = value.get(key)
        if isinstance(path, str) and (fault := path_fault(path)):
            hint = f'Give a path in the model, with forward slashes: "{DEFAULT_PATHS[key]}"'
            yield _problem(document, (key,), f"{key} {fault}: {_shown(document, path)}.", hint)


def path_fault(path: str) -> str | None:
    """Say why a path cannot be one inside the model, None if it can."""
    if "\0" in path:
        return "contains a NUL character"
    if "\\" in path:
        return "contains a backslash, which is part of the name on Linux"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    normal = posixpath.normpath(path)
    return "leads out of the model" if normal == ".." or normal.startswith("../") else None


def _schedule_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    screener = value.get("screener")
    schedule = screener.get("schedule") if isinstance(screener, dict) else None
    if not isinstance(schedule, str) or not (fault := _schedule_fault(schedule)):
        return
    is_screener = value.get("type") == "screener"
    message = f"screener.schedule {fault}: {_shown(document, schedule)}."
    hint = 'Five fields: minute, hour, day of the month, month, day of the week ("30 14 * * 1-5").'
    severity = Severity.ERROR if is_screener else Severity.WARNING  # a strategy does not use it
    yield _problem(document, ("screener", "schedule"), message, hint, severity)


def _schedule_fault(schedule: str) -> str | None:
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    fields = schedule.split()
    if len(schedule) > _LONGEST_SCHEDULE:
        return f"is longer than {_LONGEST_SCHEDULE} characters"
    if len(fields) != _CRON_FIELDS:  # cronsim takes six as well, the first for seconds
        return f"has {len(fields)} fields, and a cron expression has five"
    try:
        CronSim(schedule, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return f"is no cron expression ({str(error).lower()})"
    return None


def _secret_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for key in SECRET_KEYS:
        if isinstance(text := value.get(key), str) and not is_placeholder(text):
            message = f"{key} holds a real value, which looks committed by mistake: it is a secret."
            hint = "Revoke it on the platform, and remove it from this file and its history."
            yield _problem(document, (key,), message, hint, Severity.WARNING)


def _secrets(document: LocatedJson) -> tuple[str, ...]:
    """Give all that the file has for secrets, however often, however deep, of whatever kind."""
    found = (
        text
        for keys, text in document.scalars
        if _is_worth_masking(text) and any(_is_secret_key(key) for key in keys)
    )
    return tuple(dict.fromkeys(found))


def _is_worth_masking(text: str) -> bool:
    """Tell whether a value may be a secret; a 0 would be masked wherever it occurs."""
    return not is_placeholder(text) and (
        len(text) >= _SHORTEST_SECRET_NUMBER or not text.lstrip("-").isdecimal()
    )


def _is_secret_key(key: str) -> bool:
    """Tell whether a key is `api_key` or `api_pass`, in whatever way it is spelled."""
    return re.sub(r"[-_\s.]", "", key[:_SHOWN_LENGTH]).lower() in {"apikey", "apipass"}


def _in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Sort by place, name the file, and cut what is too much for anyone to read."""
    placed = [replace(problem, path=MANIFEST_NAME) for problem in problems]
    placed.sort(key=lambda item: (item.line or 0, item.column or 0, item.severity, item.message))
    if len(placed) <= _MAX_PROBLEMS:
        return tuple(placed)
    rest = Problem(
        message=f"There are more problems than the first {_MAX_PROBLEMS}, which are shown.",
        hint="Correct these first.",
        path=MANIFEST_NAME,
    )
    return (*placed[:_MAX_PROBLEMS], rest)


# What the content says


def _manifest(document: LocatedJson, value: Mapping[str, JsonValue]) -> Manifest:
    """Make the manifest; what cannot be used of it is blank."""
    paths = {key: value.get(key, default) for key, default in DEFAULT_PATHS.items()}
    paths = {key: path if _is_path(path) else "" for key, path in paths.items()}
    ignored = value.get("ignore_files", list(_DEFAULT_IGNORE_FILES))
    ignored = ignored if isinstance(ignored, list) else []
    arguments = value.get("backtest_args", dict(_DEFAULT_BACKTEST_ARGS))
    screener = value.get("screener")
    return Manifest(
        main_script=str(paths["main_script"]),
        requirements=str(paths["requirements"]),
        working_directory=str(paths["working_directory"]) or ".",
        python_version=_text(value.get("python_version")),
        ignore_files=tuple(item for item in ignored if isinstance(item, str)),
        backtest_args=arguments if isinstance(arguments, dict) else {},
        type="screener" if value.get("type") == "screener" else "strategy",
        schedule=_text(screener.get("schedule")) if isinstance(screener, dict) else None,
        project_id=_text(value.get("project_id")),
        model_id=_text(value.get("model_id")),
        model_name=_text(value.get("model_name")),
        plan=_text(value.get("plan")),
        secrets=_secrets(document),
        document=document,
    )


def _is_path(value: JsonValue) -> bool:
    return isinstance(value, str) and bool(value) and not path_fault(value)


def _text(value: JsonValue) -> str | None:
    """Give a string that says something, None for placeholders and what is no string."""
    return value if isinstance(value, str) and not is_placeholder(value) else None
