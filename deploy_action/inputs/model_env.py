"""Reads `model-env`: variables for the model's process, `NAME=VALUE` one a line as in `.env` files.

A `#` at the beginning of a line starts a comment. Blanks around name and value, and one pair of
quotes around the value, are left out. Nothing is expanded, and nothing else has a meaning. No
message shows a value, nor text of a line that might be a part of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.records import dataclass
from deploy_action.text.quantities import count
from deploy_action.text.redaction import SHORTEST_KEY, looks_like_key
from deploy_action.text.variables import (
    MOST_BYTES,
    NAME_RULE,
    RESERVED,
    is_name,
    is_reserved,
    is_secret,
    is_text,
    named,
    size_of,
)

INPUT: Final = "model-env"
_FORM_HINT: Final = (
    "Write one variable a line, such as `TELEGRAM_TOKEN=${{ secrets.TELEGRAM_TOKEN }}`. A value "
    "takes one line: encode one of several lines, for example in base64."
)
_MOST_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that is no comment; `name` is None if it is not `NAME=VALUE`."""

    number: int
    text: str
    name: str | None
    value: str


def parse_model_env(text: str) -> tuple[Mapping[str, str], tuple[Problem, ...]]:
    """Return the variables by name, and what is wrong; a problem names the line."""
    variables: dict[str, str] = {}
    first: dict[str, int] = {}
    problems = []
    for line in _lines(text):
        if fault := _fault_of(line, first):
            problems.append(_problem(f", line {line.number}: {fault[0]}", fault[1]))
        elif line.name is not None:
            first[line.name], variables[line.name] = line.number, line.value
    if not problems and size_of(variables) > MOST_BYTES:
        message = f" has more than {MOST_BYTES >> 10} KiB, the most that a model gets."
        problems.append(_problem(message, "Put files into the model's directory."))
    left = len(problems) - _MOST_PROBLEMS
    if left > 0:
        more = _problem(f": {count(left, 'more line')} cannot be read.", "Correct these first.")
        problems = [*problems[:_MOST_PROBLEMS], more]
    return variables, tuple(problems)


def secret_values(text: str) -> Iterator[str]:
    """Yield what is to be masked: each value of eight characters or more.

    Of a line that cannot be read, its whole text and what may be the value in it.
    """
    for line in _lines(text):
        candidates = [line.value]
        if line.name is None:
            parts = re.split(r"[=:]", line.text, maxsplit=1)
            candidates = [line.text, line.text.rstrip("="), *map(_unquoted, parts[1:])]
        yield from (one.strip() for one in candidates if is_secret(one))


def notices(text: str) -> Iterator[Problem]:
    """Yield notices of values that are not masked because they are short, and of blank ones."""
    lines = [line for line in _lines(text) if line.name is not None]
    short = [line.name or "" for line in lines if 0 < len(line.value.strip()) < SHORTEST_KEY]
    blank = [line.name or "" for line in lines if not line.value.strip()]
    if short:
        yield Problem(
            message=f"Input `{INPUT}` has {count(len(short), 'value')} of fewer than "
            f"{SHORTEST_KEY} characters, not masked: {named(short)}. That would blank words in "
            "logs, and outputs in other jobs.",
            hint="If one of them is secret, such as a passphrase, replace it by a longer one.",
            severity=Severity.NOTICE,
        )
    if blank:
        yield Problem(
            message=f"Input `{INPUT}` gives {named(blank)} without a value.",
            hint="A secret that does not exist is blank, and so is every secret in the workflow of "
            "a pull request from a fork.",
            severity=Severity.NOTICE,
        )


def _lines(text: str) -> Iterator[_Line]:
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        written, sign, value = (part.strip() for part in line.partition("="))
        # The last line of a key in base64 is no name without a value.
        is_read = sign and is_name(written) and (value.strip("=") or not looks_like_key(written))
        yield _Line(number, line, written if is_read else None, _unquoted(value))


def _unquoted(value: str) -> str:
    value = value.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value


def _fault_of(line: _Line, first: Mapping[str, int]) -> tuple[str, str] | None:
    """Return what is wrong with a line and what to do, None if nothing is."""
    if line.name is None:
        if re.match(r"export\s", line.text):
            return "it starts with `export`.", "Leave `export` out: write NAME=VALUE alone."
        return f"it is not NAME=VALUE, where {NAME_RULE}.", _FORM_HINT
    if is_reserved(line.name):
        why = f"`{line.name}` may not be given: {RESERVED} are those of platform and runner."
        return why, "Take another name, and read that in the model."
    if line.name in first:
        return f"`{line.name}` is given in line {first[line.name]}, too.", "Remove one of the two."
    if not is_text(line.value):
        return f"the value of `{line.name}` is no text.", "Encode it, for example in base64."
    return None


def _problem(message: str, hint: str) -> Problem:
    return Problem(message=f"Input `{INPUT}`{message}", hint=hint)
