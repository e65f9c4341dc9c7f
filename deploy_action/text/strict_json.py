"""Reads JSON by the standard: Python's own reader accepts more."""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar, overload

_Value = TypeVar("_Value")
# One escape in a string: half a surrogate pair is in the group, a whole pair is not.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL
)
_MOST_DIGITS: Final = 300
# An integer that is too long is looked for in every tenth byte, with all digits alike: a regular
# expression over all bytes takes longer than reading them.
_STEP: Final = 10
_ALIKE: Final = bytes.maketrans(b"123456789", b"0" * 9)
_LONG: Final = b"0" * (_MOST_DIGITS // _STEP)


@overload
def strict_loads(data: bytes) -> object: ...
@overload
def strict_loads(data: bytes, kind: type[_Value]) -> _Value: ...
def strict_loads(data: bytes, kind: Any = Any) -> Any:
    r"""Return the value of JSON in UTF-8; every number in it is finite.

    Half of a surrogate pair, such as `\ud800`, becomes U+FFFD: JSON can escape it, and no UTF-8
    can hold it. With a `kind` for msgspec, what it leaves out is not checked in full.

    Raises:
        ValueError: it is not JSON (RFC 8259), not UTF-8, begins with a byte-order mark, has a
            number beyond any float or an integer of more than 300 digits, or is nested too deep.
        msgspec.ValidationError: it is JSON, but not of that kind.
    """
    import msgspec

    try:
        if kind is Any and _LONG in data[::_STEP].translate(_ALIKE):  # or a fraction, or a string
            json.loads(data, parse_int=_short)
        return _decode(data, kind)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except msgspec.ValidationError as error:
        if "out of range" in str(error):
            raise ValueError("it has a number that is too large") from error
        raise
    except msgspec.DecodeError as error:
        flaw = str(error).removeprefix("JSON is malformed: ")
        raise ValueError(f"it is not JSON: {flaw}") from error


def split_member(data: bytes, name: str) -> tuple[bytes, bytes | None]:
    """Return a JSON object without one of its members, and the JSON of that member.

    For a large member that is read in its own way. Data that is not a JSON object is returned
    unchanged.
    """
    import msgspec

    try:
        members = strict_loads(data, dict[str, msgspec.Raw])
    except (ValueError, msgspec.ValidationError):
        return data, None
    member = members.pop(name, None)
    return msgspec.json.encode(members), None if member is None else bytes(member)


def _decode(data: bytes, kind: Any) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        whole = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], data)
        if whole == data:
            raise
        return msgspec.json.decode(whole, type=kind)


def _short(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("it has a number that is too large")
    return 0
