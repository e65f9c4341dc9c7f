"""What is wrong with the content of a `blankly.json`: its keys, their values, its secrets.

The JSON schema says what the keys are, to editors as well as to this check. Its `errorMessage`s,
which editors show too, say what a key must be.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_action.errors import Problem, Severity
from deploy_action.model.json_schema import fits
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.text.cron import cron_fault
from deploy_action.text.harmless import cut, is_placeholder
from deploy_action.text.located_json import JsonValue, LocatedJson, Redact
from deploy_action.text.python_version import python_fault

if TYPE_CHECKING:
    from jsonschema import ValidationError

PATH_KEYS = ("main_script", "requirements", "working_directory")
SECRET_KEYS = ("api_key", "api_pass")
# The defaults of the package (blankly 1.18, default_deploy_settings in utils/utils.py).
DEFAULT_PATHS = {
    "main_script": "./bot.py",
    "requirements": "./requirements.txt",
    "working_directory": ".",
}

LEADS_OUT = "leads out of the model"
MAX_PROBLEMS = 50
_MAX_UNKNOWN_KEYS = 10
_LONGEST_KEY = 60
_KINDS = {
    "string": "a string",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}

_Path = tuple[str | int, ...]


def schema_text() -> str:
    """Return the JSON schema of `blankly.json` as shipped."""
    return (Path(__file__).parents[1] / "blankly.schema.json").read_text(encoding="utf-8")


def check_backtest_args(
    args: Mapping[str, JsonValue], *, redact: Redact = str
) -> tuple[Problem, ...]:
    """Check arguments of a backtest that come not only from the manifest but also from an input.

    The problems have no place, and name the arguments as `backtest_args.NAME`. Whatever they quote
    goes through `redact` before it is cut.
    """
    document = LocatedJson.without_places({"backtest_args": dict(args)}, redact)
    problems = [*_schema_problems(document), *_unknown_keys(document, "backtest_args")]
    return tuple(problems)


def is_argument(name: str) -> bool:
    """Whether `Strategy.backtest()` has an argument of this name."""
    return name in _known_keys("backtest_args")


def is_alien(value: Mapping[str, JsonValue]) -> bool:
    """Whether an object comes from an unrelated file: it has keys, and none is a model's."""
    keys = set(value) - {"$schema"}
    return bool(keys) and keys.isdisjoint(_known_keys())


def content_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Yield everything that is wrong with the object in a `blankly.json`, in no order."""
    yield from _schema_problems(document)
    yield from _path_problems(document, value)
    yield from _python_problems(document, value)
    yield from _schedule_problems(document, value)
    yield from _secret_problems(document, value)
    for parent in ((), ("screener",), ("backtest_args",)):
        yield from _unknown_keys(document, *parent)


def _problem(
    document: LocatedJson, path: _Path, message: str, hint: str, severity: Severity = Severity.ERROR
) -> Problem:
    """Return a problem placed at the value at a path; if absent, at what would contain it."""
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
def _schema() -> Any:
    return json.loads(schema_text())


def _known_keys(*parent: str) -> Collection[str]:
    schema = _schema()
    if parent == ("backtest_args",):
        schema = schema["$defs"]["backtest_args"]
    elif parent:
        schema = schema["properties"][parent[0]]
    return tuple(schema["properties"])


def _schema_problems(document: LocatedJson) -> Iterator[Problem]:
    if fits(document.value, _schema()):
        return
    from jsonschema import Draft202012Validator

    errors = Draft202012Validator(_schema()).iter_errors(document.value)
    for error in islice(errors, MAX_PROBLEMS * 2):
        path: _Path = tuple(error.absolute_path)
        if error.validator == "required":
            path = (*path, next(key for key in error.validator_value if key not in error.instance))
        yield _problem(document, path, *_words(document, path, error))


def _words(document: LocatedJson, path: _Path, error: ValidationError) -> tuple[str, str]:
    """Return message and hint: what the schema asks, what was found instead, what to do."""
    name = _name(document, path)
    found: Any = error.instance
    allowed: Any = error.validator_value
    if path == ("python_version",) and _kind(found) == "a number":
        written = cut(document.redact(document.written(*path) or str(found)), _LONGEST_KEY)
        number = f"python_version is the number {written}, and must be a string"
        return f"{number}: as a number, 3.10 is read as 3.1.", f'Quote it: "{written}"'
    schema: Any = error.schema
    if error.validator == "required":
        return f"{name} {schema['errorMessage']}.", f'Add "{path[-1]}".'
    if error.validator == "minLength":
        return f"{name} is empty.", "Give it a value, or leave the key out."
    must = str(schema.get("errorMessage") or _must(allowed))
    hint = "Correct the value, or leave the key out."
    if error.validator == "enum" and isinstance(found, str):
        nearest = _nearest(found, allowed)
        hint = f'Did you mean "{nearest}"?' if nearest else hint
    instead = _not_what_is_there(document, path, found) if must.startswith("must") else ""
    return f"{name} {must}{instead}.", hint


def _must(allowed: str | list[str]) -> str:
    """Say what the values of an `enum`, or the kinds of a `type`, are."""
    choices = [allowed] if isinstance(allowed, str) else allowed
    return "must be " + " or ".join(_KINDS.get(choice, f'"{choice}"') for choice in choices)


def _not_what_is_there(document: LocatedJson, path: _Path, found: JsonValue) -> str:
    """Name what was found instead, without showing a secret or more than one line."""
    kind = _kind(found)
    if isinstance(found, bool):
        return f", not {str(found).lower()}"
    if path[0] in SECRET_KEYS or isinstance(found, dict | list) or found is None:
        return f", not {kind}"
    return f", not {kind} ({document.quoted(found)})"


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
    return shown if re.fullmatch(r"\$?\w{1,60}", shown) else document.quoted(key)


def _nearest(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that was most likely meant; camelCase and dashes count as snake_case."""
    from difflib import get_close_matches

    by_form = {name.lower(): name for name in known}
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key[:_LONGEST_KEY])
    form = re.sub(r"[-\s.]", "_", snake).lower()
    matches = get_close_matches(form, by_form, n=1)
    return by_form[matches[0]] if matches else None


def _unknown_keys(document: LocatedJson, *parent: str) -> Iterator[Problem]:
    value = document.value
    for step in parent:
        value = value.get(step) if isinstance(value, dict) else None
    known = _known_keys(*parent)
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
            yield _problem(document, (key,), f"{key} {fault}: {document.quoted(path)}.", hint)


def path_fault(path: str) -> str | None:
    """Return why a path cannot be inside the model, as the end of a sentence; None if it can."""
    if "\0" in path:
        return "contains a NUL character"
    if "\\" in path:
        return "contains a backslash, which is part of the name on Linux"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    normal = posixpath.normpath(path)
    return LEADS_OUT if normal == ".." or normal.startswith("../") else None


def _python_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    version = value.get("python_version")
    if isinstance(version, str) and (fault := python_fault(version)):
        message = f"python_version is {document.quoted(version)}: {fault[0]}"
        yield _problem(document, ("python_version",), message, fault[1])


def _schedule_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    screener = value.get("screener")
    schedule = screener.get("schedule") if isinstance(screener, dict) else None
    if not isinstance(schedule, str) or not (fault := cron_fault(schedule)):
        return
    is_screener = value.get("type") == "screener"
    message = f"screener.schedule {fault}: {document.quoted(schedule)}."
    hint = 'Five fields: minute, hour, day of the month, month, day of the week ("30 14 * * 1-5").'
    severity = Severity.ERROR if is_screener else Severity.WARNING  # a strategy does not use it
    yield _problem(document, ("screener", "schedule"), message, hint, severity)


def _secret_problems(document: LocatedJson, value: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for key in SECRET_KEYS:
        if isinstance(text := value.get(key), str) and not is_placeholder(text):
            message = f"{key} holds a real value, which looks committed by mistake: it is a secret."
            hint = "Revoke it on the platform, and remove it from this file and its history."
            yield _problem(document, (key,), message, hint, Severity.WARNING)
