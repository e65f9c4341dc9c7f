"""Parsers of the inputs, one for each kind of value. They take text without blanks at its ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import basename, normpath
from typing import TYPE_CHECKING, Final

from deploy_action.bundle.including import Include
from deploy_action.errors import InvalidInputError
from deploy_action.inputs.definitions import LOCAL, Comment, Mode
from deploy_action.text.harmless import LONGEST_DESCRIPTION, excerpt, tidy

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.shards import Shard
    from deploy_action.text.located_json import JsonValue

# Whether known-good constraints may be added to a model's requirements.
CONSTRAINTS_VARIABLE: Final = "BLANKLY_DEPLOY_CONSTRAINTS"
BOOLEANS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Tools that write YAML 1.1 turn an unquoted `off` into `false`.
_SWITCH: Final = {"": True, "on": True, "off": False, "true": True, "false": False}
_SHOWN_VALUE_LENGTH: Final = 80
_LONGEST_ID: Final = 200
_LONGEST_TOKEN: Final = 16_384
_LONGEST_TIMEOUT_MINUTES: Final = 60 * 24 * 30
_INCLUDE_HINT: Final = (
    "A line takes a path relative to the repository's root (on a terminal, to where you are), and "
    "may give it a name in the bundle: `libs/common => common`."
)


class BadValueError(Exception):
    """A value that is not allowed. The message ends the sentence `Input X is Y: …`."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def shown(text: str) -> str:
    """Quote a value for a message: at most 80 characters, and no credentials of a URL."""
    quoted = text.strip()
    if "//" in quoted:
        quoted = re.sub(r"[?#].*", "?…", re.sub(r"//.*@", "//…@", quoted))
    return f"`{excerpt(quoted, _SHOWN_VALUE_LENGTH)}`"


def parse_switch(environ: Mapping[str, str], name: str) -> bool:
    """Return whether a variable is on, which it is if it is not set.

    Raises:
        InvalidInputError: the variable is neither blank, nor `on` or `off`, nor what YAML makes
            of those.
    """
    given = environ.get(name, "")
    try:
        return _SWITCH[given.strip().lower()]
    except KeyError:
        message = f"The variable {name} is {shown(given)}."
        hint = "It takes `on` or `off`; `true` and `false` mean the same."
        raise InvalidInputError.of(message=message, hint=hint) from None


def parse_disk(environ: Mapping[str, str], name: str, default: int) -> int | None:
    """Return the bytes that a variable says in GB; None for 0, which is no limit.

    Raises:
        InvalidInputError: it is neither blank nor a number.
    """
    given = environ.get(name, "").strip()
    if not given:
        return default
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,9})?", given):
        message = f"The variable {name} is {shown(given)}."
        hint = "It takes what the files of a model may have, in GB, such as `20`; `0` is no limit."
        raise InvalidInputError.of(message=message, hint=hint)
    return int(float(given) * 1_000_000_000) or None


def parse_mode(text: str) -> Mode:
    """Accept the modes that are built."""
    try:
        return Mode(text)
    except ValueError:
        *others, last = (f"`{mode}`" for mode in Mode)
        raise BadValueError(f"it takes {', '.join(others)} or {last}.") from None


def parse_unchanged(text: str) -> bool:
    """Return whether a deploy that would change nothing is skipped."""
    if text not in {"deploy", "skip"}:
        raise BadValueError("it takes `deploy` or `skip`.")
    return text == "skip"


def parse_boolean(text: str) -> bool:
    """Accept the booleans of the YAML 1.2 core schema, and nothing else."""
    try:
        return BOOLEANS[text]
    except KeyError:
        raise BadValueError("it takes `true` or `false`.") from None


def parse_comment(text: str) -> Comment:
    """Accept a boolean, or `on-problem`."""
    if text == Comment.ON_PROBLEM:
        return Comment.ON_PROBLEM
    if text not in BOOLEANS:
        raise BadValueError("it takes `true`, `false` or `on-problem`.")
    return Comment.ALWAYS if BOOLEANS[text] else Comment.NEVER


def parse_line(text: str) -> str:
    """Accept a name or a ref: one line of at most 2,000 characters."""
    if tidy(text) != text or "\n" in text:
        raise BadValueError(
            f"it takes one line of at most {LONGEST_DESCRIPTION} characters, without control "
            "characters."
        )
    return text


def parse_model_path(text: str) -> str:
    """Accept a path that stays in the workspace."""
    if normpath(parse_line(text)).split("/")[0] == "..":
        raise BadValueError(
            "it leads out of the workspace.",
            hint="Name a directory inside the repository, relative to its root.",
        )
    return text


def parse_token(text: str) -> str:
    """Accept one word of at most 16,384 characters, without quotes around it."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        raise BadValueError(
            "it is in quotes, which no token has.",
            hint="Store the secret again, with the token alone.",
        )
    if " " in text or not text.isprintable() or len(text) > _LONGEST_TOKEN:
        raise BadValueError(
            "a token is one word.", hint="Store the secret again, with nothing but the token."
        )
    return text


def parse_identifier(text: str) -> str:
    """Accept an id of a project or model: it becomes part of a URL."""
    if not re.fullmatch(r"[^\s/\\?#\x00-\x1f\x7f]+", text) or len(text) > _LONGEST_ID:
        raise BadValueError(
            f"an id has no spaces and no slashes, and at most {_LONGEST_ID} characters.",
            hint="Copy the id from the address of the model's page, or from `blankly.json`.",
        )
    return text


def parse_api_url(text: str) -> str:
    """Accept the URL of a server, or `local`."""
    return LOCAL if text == LOCAL else parse_url(text, also=" or `local`")


def parse_url(text: str, also: str = "") -> str:
    """Return an http or https URL without its last slash.

    Raises:
        BadValueError: it is not one; `also` says what else the input takes.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise BadValueError(f"it takes a URL such as `https://example.com`{also}.")
    if parts.username is not None or parts.query or parts.fragment or re.search(r"\s", text):
        raise BadValueError("the URL may have no user name, password, query, fragment or spaces.")
    return text.rstrip("/")


def parse_python_version(text: str) -> str:
    """Accept a major and a minor version that models can run on."""
    from deploy_action.text.python_version import python_fault

    if not re.fullmatch(r"[0-9]\.[0-9]{1,2}", text):
        raise BadValueError(
            "it takes a major and a minor version, such as `3.10`.",
            hint="Quote it in YAML, where 3.10 without quotes is the number 3.1.",
        )
    if fault := python_fault(text):
        raise BadValueError(fault[0], hint=fault[1])
    return text


def parse_minutes(text: str) -> float:
    """Return a number of minutes above 0 and at most 30 days."""
    is_number = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[0-9]+)?", text)
    minutes = float(text) if is_number else 0.0
    if not 0 < minutes <= _LONGEST_TIMEOUT_MINUTES:
        raise BadValueError(
            f"it takes a number of minutes above 0, at most {_LONGEST_TIMEOUT_MINUTES}."
        )
    return minutes


def parse_patterns(text: str) -> tuple[str, ...]:
    """Return one pattern a line, blank lines and comments included."""
    return tuple(text.splitlines())


def parse_include(text: str) -> tuple[Include, ...]:
    """Accept `PATH` or `PATH => NAME`, one a line; lines that start with `#` are comments."""
    found: dict[str, Include] = {}
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        written, arrow, given = (part.strip() for part in line.partition("=>"))
        source = _inner_path(written, "workspace")
        if source == "." and not arrow:
            raise BadValueError(
                "the whole workspace has no name of its own.",
                hint="Include the directories in it that the model needs.",
            )
        name = _inner_path(given, "model") if arrow else basename(source)
        if name == ".":
            raise BadValueError(f"{shown(line)} gives no name.", hint=_INCLUDE_HINT)
        if name in found:
            raise BadValueError(f"two lines have the name {shown(name)} in the bundle.")
        found[name] = Include(source, name)
    return tuple(found.values())


def _inner_path(text: str, what: str) -> str:
    """Return a relative path, normalised; its parts are separated by slashes."""
    path = normpath(parse_line(text))
    if not text or path.startswith("/") or path.split("/")[0] == ".." or "\\" in path:
        raise BadValueError(f"{shown(text)} is no path in the {what}.", hint=_INCLUDE_HINT)
    return path


def parse_keys(text: str) -> bytes:
    """Return `keys.json` as the bundle will hold it, without a byte order mark."""
    from deploy_action.text.located_json import parse_json

    document = parse_json(text.encode("utf-8", "surrogatepass"))
    if document.problems:
        # Do not quote the problems: they may quote the secret.
        raise BadValueError(
            "it is not valid JSON, or gives a key twice.",
            hint="Store the whole contents of `keys.json` as a secret, and pass it as "
            "`keys-json: ${{ secrets.BLANKLY_KEYS_JSON }}`.",
        )
    if not isinstance(document.value, dict):
        raise BadValueError("it must be a JSON object: exchange, then portfolio, then keys.")
    return text.removeprefix("\ufeff").strip().encode()


def parse_shard(text: str) -> Shard:
    """Accept `I/N`."""
    from deploy_action.backtest.sweep.shards import MOST_SHARDS, parse_shard

    shard = parse_shard(text)
    if shard is None:
        raise BadValueError(
            f"it is not `I/N`, from `1/N` to `N/N`, with an N of {MOST_SHARDS:,} at most.",
            hint="For example, in a matrix: `${{ matrix.shard }}/10`.",
        )
    return shard


def parse_arguments(text: str) -> Mapping[str, JsonValue]:
    """Accept a mapping in YAML or JSON."""
    from deploy_action.text.yaml_mapping import NotAMappingError, parse_mapping

    try:
        return parse_mapping(text)
    except NotAMappingError as wrong:
        raise BadValueError(
            str(wrong), hint="For example: `{to: 1y, initial_values: {USD: 1000}}`."
        ) from wrong
