"""A request to the Deployment API as the operations see it: fields and a file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TypeGuard

from deploy_action.platform.api.fields import (
    MAX_ID_LENGTH,
    NOW_HEADER,
    NUMBER_PATTERN,
    Field,
    Needed,
)
from deploy_action.platform.runs.reported import MAX_ARGUMENTS_BYTES
from deploy_action.records import dataclass
from deploy_action.text import variables as variable_rules

FILE_FIELD = "model"
_MAX_DEPTH = 100
_FIRST_YEAR, _LAST_YEAR = 1971, 9998
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class ApiError(Exception):
    """The request is refused; the message is for the client."""

    def __init__(
        self,
        message: str,
        status: int = HTTPStatus.BAD_REQUEST,
        *,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        """Refuse with a message; `code` tells programs the reason, where one may want to know.

        `retry_after` is when it may be tried again, in seconds.
        """
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that came in: where it is, its size in bytes, its lower-case hex SHA-256."""

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports to the events API: a model, and the time of what it reports, if it tells."""

    project_id: str
    model_id: str
    time: float | None


@dataclass(frozen=True, slots=True)
class Request:
    """The fields of a request, and the model that came with it.

    `key` is the header `Idempotency-Key`: of the uploads that have the same one, one is stored.
    `now` is the header `Backtest-Now`, from which the dates of a backtest count back. `reporter` is
    who sends an event. `address` is the client's.
    """

    fields: Mapping[str, object]
    file: StoredFile | None = None
    key: str = ""
    now: str = ""
    reporter: Reporter | None = None
    address: str = ""

    def has(self, name: str) -> bool:
        """Return whether a field was given; it may be empty."""
        return name in self.fields

    @property
    def creates_model(self) -> bool:
        """Whether an upload asks for a new model, in the documented way."""
        return self.flag("createNew") and not self.text("modelId")

    def require(self, fields: Iterable[Field]) -> None:
        """Refuse a request that lacks a field it needs; the first one is named."""
        for field in fields:
            if field.needed is Needed.NEVER or self.has(field.name):
                continue
            if field.needed is Needed.ALWAYS or not self.creates_model:
                raise _missing(field.name)

    def text(self, name: str, default: str = "") -> str:
        """Return a field as text; other JSON values are written as JSON."""
        value = self._written(name, default)
        _refuse_unless_text(name, value)
        return value

    def identifier(self, name: str) -> str:
        """Return a field that is an id."""
        value = self._written(name, "")
        if not 0 < len(value) <= MAX_ID_LENGTH or not value.isprintable():
            raise ApiError(f"{name} must be 1 to {MAX_ID_LENGTH} printable characters")
        return value

    def _written(self, name: str, default: str) -> str:
        value = self.fields.get(name, default)
        if isinstance(value, str):
            return value
        _refuse_unless_json(name, value)
        return json.dumps(value)

    def flag(self, name: str) -> bool:
        """Return whether a field says `true`."""
        return self.text(name).strip().lower() == "true"

    def number(self, name: str) -> int | None:
        """Return a field that is a whole number of up to five digits; None if it is blank."""
        text = self.text(name).strip()
        if not re.fullmatch(NUMBER_PATTERN, text, re.ASCII):
            raise ApiError(f"{name} must be a whole number")
        return int(text) if text else None

    def backtest_now(self) -> float | None:
        """Return the header `Backtest-Now` in seconds since 1970, None without it."""
        return _moment(NOW_HEADER, self.now)

    def moment(self, name: str) -> float | None:
        """Return a field that is a time in ISO 8601, in seconds since 1970; None if it is blank."""
        return _moment(name, self.text(name).strip())

    def environment(self) -> Mapping[str, str] | None:
        """Return the variables for the model's process, None without the field.

        No error quotes them.
        """
        value = self.fields.get("environment")
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise ApiError("environment is not valid JSON") from None
        if not _is_variables(value):
            raise ApiError("environment is not a JSON object of texts")
        _refuse_variables(value)
        return value

    def backtest_args(self) -> Mapping[str, object]:
        """Return the backtest's arguments, from either of the field's two names.

        The original server demands one name and reads the other, so clients may send both.
        """
        name = "backtestArgs" if self.has("backtestArgs") else "backtestingArgs"
        if not self.has(name):
            raise _missing(name)
        value = self.fields[name]
        if isinstance(value, str):
            try:
                value = json.loads(value, parse_constant=_refuse_constant)
            except (ValueError, RecursionError):
                raise ApiError("backtestArgs is not valid JSON") from None
        if not isinstance(value, dict):
            raise ApiError("backtestArgs is not a JSON object")
        _refuse_unless_json("backtestArgs", value)
        if len(json.dumps(value)) > MAX_ARGUMENTS_BYTES:
            raise ApiError(f"backtestArgs is larger than {MAX_ARGUMENTS_BYTES >> 10} KiB")
        return value


def _is_variables(value: object) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _refuse_variables(variables: Mapping[str, str]) -> None:
    """Refuse what a model's process cannot or must not get; the message has names only."""
    wrong = [name for name in variables if not variable_rules.is_name(name)]
    reserved = [name for name in variables if variable_rules.is_reserved(name)]
    no_text = [name for name, value in variables.items() if not variable_rules.is_text(value)]
    for names, fault in (
        (wrong, f"has a name that is none: {variable_rules.NAME_RULE}"),
        (reserved, f"may not have {variable_rules.named(reserved)}"),
        (no_text, f"has no text in {variable_rules.named(no_text)}"),
    ):
        if names:
            raise ApiError(f"environment {fault}")
    if variable_rules.size_of(variables) > variable_rules.MOST_BYTES:
        raise ApiError(f"environment is larger than {variable_rules.MOST_BYTES >> 10} KiB")


def _moment(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise ApiError(f"{name} must be a time as in ISO 8601, such as 2024-05-31T12:00:00Z")


def _missing(name: str) -> ApiError:
    return ApiError(f"Missing required argument: {name}")


def _refuse_unless_text(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ApiError(f"{name} is not valid Unicode") from None
    if "\0" in value:
        raise ApiError(f"{name} contains a NUL character")


def _refuse_unless_json(name: str, value: object) -> None:
    """Refuse values that `json` reads but cannot write as strict JSON."""
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise ApiError(f"{name} is not accepted: it is nested more than {_MAX_DEPTH} deep")
        if isinstance(item, float) and not math.isfinite(item):
            raise ApiError(f"{name} is not valid JSON: it has a number that is too large")
        if isinstance(item, str) and _LONE_SURROGATE.search(item):
            raise ApiError(f"{name} is not valid JSON: it has half a character, such as \\ud800")
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            waiting += [(part, depth + 1) for part in item]


def _refuse_constant(name: str) -> object:
    raise ValueError(name)
