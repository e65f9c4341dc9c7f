"""JSON from others, read as the standard has it: Python's own reader takes more."""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn

# Only what has one of these can be beyond any float, or an integer too long to work with.
_SUSPICIOUS: Final = re.compile(rb"[eE]\+?[0-9]{2}|(?<![0-9])[0-9]{200}")
_MOST_DIGITS: Final = 300


def strict_loads(data: bytes) -> object:
    """Return the value that UTF-8 text in JSON says; every number in it is finite.

    Raises:
        ValueError: it is not JSON (RFC 8259), not UTF-8, begins with a byte-order mark, has a
            number beyond any float or an integer of more than 300 digits, or is nested too deep.
    """
    is_suspicious = _SUSPICIOUS.search(data) is not None
    try:
        return json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse,
            # Two calls for each number: a million of them take a second.
            parse_float=_finite if is_suspicious else None,
            parse_int=_short if is_suspicious else None,
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("it has a number that is too large")
    return number


def _short(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("it has a number that is too large")
    return int(digits)
