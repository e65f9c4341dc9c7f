"""Encodes any value in a model's result as strict JSON.

NaN and infinities become null. Numbers and arrays of numpy, pandas and `decimal` become numbers
and lists; dates and times become seconds since 1970 (in UTC if they have no zone, as in `blankly`),
durations seconds, sets lists, and everything else its text.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import os
from typing import Any, Callable, Iterator, Mapping

_DEEPEST = 100
_LONGEST_ARGUMENTS = 64 << 10  # characters of JSON (ASCII); the platform has the same limit
_DEEPEST_ARGUMENT = 20
_TOO_LARGE = 10**300  # readers of strict JSON may not accept more
_CHUNK = 10_000  # items that are encoded at once: bounds the memory for a long list


def write_json(path: str, content: Mapping[str, Any]) -> None:
    """Write an object as strict JSON, long lists in pieces; the file appears atomically.

    Raises:
        OSError: the file cannot be written.
    """
    partial = path + ".partial"
    try:
        with open(partial, "w", encoding="ascii") as file:
            file.writelines(_pieces(content))
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


def encode(value: object) -> str:
    """Return a value as strict JSON; plain values take the fast path."""
    try:
        return json.dumps(value, allow_nan=False, default=simplify)
    except (
        ValueError,
        TypeError,
        RecursionError,
    ):  # NaN, other keys than text, a circular reference
        return json.dumps(make_strict(value), allow_nan=False)


def make_strict(value: object, depth: int = 0) -> Any:
    """Return a copy that JSON can represent; values nested too deeply become their type's name."""
    if value is None or isinstance(value, (bool, str, int, float)):
        return _strict_scalar(value)
    if depth > _DEEPEST:
        return type(value).__name__
    if isinstance(value, dict):
        return {_key(key): make_strict(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_strict(item, depth + 1) for item in value]
    return make_strict(simplify(value), depth + 1)


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of a call that JSON can represent.

    Arguments beyond 64 KiB of JSON in total are left out.
    """
    plain: dict[str, Any] = {}
    left = _LONGEST_ARGUMENTS
    for name, value in arguments.items():
        try:
            item = _plain(value, 0)
            size = len(json.dumps([name, item]))  # the same size as in an object
        except Exception:  # noqa: BLE001, S112  # an object of the model may raise anything
            continue
        if size <= left:
            left -= size
            plain[clean(name)] = item
    return plain


def simplify(value: object) -> Any:
    """Return a simpler value for one that JSON cannot represent."""
    for kinds, simpler in _SIMPLER:
        if isinstance(value, kinds):
            return simpler(value)
    return _simplify_foreign(value)


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def describe(value: object) -> str:
    """Return str(value), or its type's name if that fails."""
    try:
        return clean(str(value))
    except BaseException:  # noqa: BLE001  # the model's own __str__ may do anything
        return type(value).__name__


def _plain(value: object, depth: int) -> Any:
    """Return a copy of a value that is JSON, a number, a date or time, or an enumeration.

    Raises:
        ValueError: it is something else, or too large.
    """
    if value is None or isinstance(value, (bool, str, int, float)):
        if isinstance(value, (int, float)) and not abs(value) < _TOO_LARGE:  # also true for NaN
            raise ValueError("no number of JSON")
        return _strict_scalar(value)
    if depth > _DEEPEST_ARGUMENT:
        raise ValueError("nested too deep")
    if isinstance(value, (dict, list, tuple)):
        if len(value) > _LONGEST_ARGUMENTS:
            raise ValueError("too long")
        if isinstance(value, dict):
            return {_plain_key(key): _plain(item, depth + 1) for key, item in value.items()}
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, (enum.Enum, decimal.Decimal, dt.date, dt.timedelta)):
        return _plain(simplify(value), depth + 1)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # of numpy or pandas
        return _plain(value.tolist(), depth + 1)
    raise ValueError("no JSON")


def _plain_key(key: object) -> str:
    if key is None or isinstance(key, (bool, str, int, float, enum.Enum)):
        return _key(key)
    raise ValueError("no key of JSON")


def _strict_scalar(value: str | float | None) -> str | float | None:
    """Return a scalar of a built-in type; NaN, infinities and huge integers become None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(str.__str__(value))
    if isinstance(value, int):
        return int(value) if abs(value) < _TOO_LARGE else None
    return float(value) if math.isfinite(value) else None


def _pieces(content: Mapping[str, Any]) -> Iterator[str]:
    separator = "{"
    for key, value in content.items():
        yield separator + json.dumps(_key(key)) + ": "
        separator = ",\n"
        if isinstance(value, (list, tuple)) and len(value) > _CHUNK:
            yield from _list_pieces(value)
        else:
            yield encode(value)
    yield "{}\n" if separator == "{" else "}\n"


def _list_pieces(values: Any) -> Iterator[str]:
    separator = "["
    for start in range(0, len(values), _CHUNK):
        yield separator + encode(list(values[start : start + _CHUNK]))[1:-1]
        separator = ",\n"
    yield "]"


def _key(key: object) -> str:
    if isinstance(key, enum.Enum):
        return _key(key.value)
    if key is None or isinstance(key, bool):
        return json.dumps(key)  # as the json module writes such keys
    return describe(key)


def _listed(values: Any) -> list[Any]:
    """Return a set's items sorted, so that the order is the same in every run."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=describe)


def _seconds(value: dt.date | dt.timedelta) -> float | None:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001  # set below
    if value != value:  # noqa: PLR0124  # NaT, pandas' missing time, is not equal to itself
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.timezone.utc)
    return value.timestamp()


def _simplify_foreign(value: Any) -> Any:
    """Simplify values of numpy and pandas without importing them."""
    try:
        if hasattr(value, "tolist"):  # arrays and numbers of numpy, columns of pandas
            simpler = value.tolist()
            return float(value) if type(simpler) is type(value) else simpler
        if hasattr(value, "to_dict"):  # data frames of pandas
            return value.to_dict("records")
    except Exception:  # noqa: BLE001  # an object that only looks like one
        return describe(value)
    return describe(value)


_SIMPLER: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (enum.Enum, lambda value: value.value),
    (decimal.Decimal, lambda value: float(value) if value.is_finite() else None),
    ((dt.date, dt.timedelta), _seconds),
    ((bytes, bytearray), lambda value: bytes(value).decode("utf-8", "replace")),
    ((set, frozenset), _listed),
    (Mapping, dict),
)
