"""Reads JSON by the standard: Python's own reader accepts more.

A value takes up to thirty times the memory of its text. What is large is therefore checked as text,
and only what is needed of it is made into values.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, replace

if TYPE_CHECKING:
    import msgspec

LONGEST_TOKEN: Final = 1 << 20  # bytes of a text or a number

# One escape in a string: half a surrogate pair is in the group, a whole pair is not.
_ESCAPE: Final = lazy_regex(
    rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL
)
_SURROGATE: Final = lazy_regex(rb"\\u[dD][89a-fA-F]")
_REPLACEMENT: Final = rb"\ufffd"
_STRING: Final = lazy_regex(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_TOKENS: Final = lazy_regex(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_NUMBER: Final = lazy_regex(rb"-?\d[\d.eE+-]*+")
_IN_NUMBERS: Final = b"0123456789.eE+-"
# Only a number with one of these can be too large, all digits written as 0, without plus signs.
_LARGE_EXPONENT: Final = lazy_regex(rb"e000")  # a third of the time that `in` takes
_LONG: Final = b"0" * 200
_BEFORE_NUMBER: Final = b" \t\r\n,:["
_ALIKE: Final = bytes.maketrans(b"123456789E", b"000000000e")
_MOST_DIGITS: Final = 300
_LINE_BREAKS: Final = str.maketrans("\r\n", "  ")

Data: TypeAlias = "bytes | bytearray | msgspec.Raw"


def strict_loads(data: Data) -> object:
    r"""Return the value of JSON, which passes `strict_text`.

    Half of a surrogate pair, such as `\ud800`, becomes U+FFFD: JSON can escape it, and no UTF-8
    can hold it.
    """
    import msgspec

    return msgspec.json.decode(strict_text(data))


def strict_text(data: Data) -> Data:
    r"""Return JSON that was checked without making values of it, half surrogate pairs replaced.

    Raises:
        ValueError: it is not JSON (RFC 8259), not UTF-8, begins with a byte-order mark, has a
            number beyond any float or an integer of more than 300 digits, has a text or a number
            of more than 1 MiB, or is nested too deep.
    """
    flaw = _flaw_of(data)
    if flaw is not None:
        whole = _without_half_pairs(data)
        if whole is None or _flaw_of(whole) is not None:
            raise flaw
        data = whole
    for block in _blocks(data):
        _check_texts(block)
        _check_numbers(block)
    return data


@dataclass(frozen=True, slots=True)
class JsonText:
    """JSON that passed `strict_text`, kept as text; `rewrites` are applied to each text in it."""

    text: Data
    rewrites: tuple[Callable[[str], str], ...] = ()

    def rewritten(self, rewrite: Callable[[str], str]) -> JsonText:
        """Return it with another function for its texts, keys among them."""
        return replace(self, rewrites=(*self.rewrites, rewrite))

    def blocks(self) -> Iterator[str]:
        """Yield the JSON in ASCII, on one line, in blocks of about a MiB."""
        for block in _blocks(self.text):
            yield self._block(block).decode("ascii").translate(_LINE_BREAKS)

    def _block(self, block: bytes) -> bytes:
        # Few texts change, and most are repeated: replacing each one takes five times as long.
        rewritten = ((string, self._rewritten(string)) for string in set(_STRING.findall(block)))
        changed = {old: new for old, new in rewritten if new != old}
        if not changed:
            return block
        return _STRING.sub(lambda found: changed.get(found[0], found[0]), block)

    def _rewritten(self, string: bytes) -> bytes:
        is_plain = b"\\" not in string and string.isascii()
        before = after = string[1:-1].decode() if is_plain else json.loads(string)
        for rewrite in self.rewrites:
            after = rewrite(after)
        return string if is_plain and after == before else json.dumps(after).encode()


def _flaw_of(data: Data) -> ValueError | None:
    """Return why it is not JSON: texts and numbers are not checked in full."""
    import msgspec

    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except RecursionError:
        return ValueError("it is nested too deep")
    except msgspec.DecodeError as error:
        return ValueError(f"it is not JSON: {str(error).removeprefix('JSON is malformed: ')}")
    return None


def _blocks(data: Data) -> Iterator[bytes]:
    """Yield JSON in blocks of about a MiB, cut between two tokens."""
    view = memoryview(data)
    position = 0
    while position < len(view):
        block = bytes(view[position : position + LONGEST_TOKEN])
        if position + len(block) < len(view):
            block = block[: _end_of_tokens(block)].rstrip(_IN_NUMBERS)
        if not block:
            raise ValueError("it has a text or a number of more than 1 MiB")
        position += len(block)
        yield block


def _end_of_tokens(block: bytes) -> int:
    """Return where the last text ends that is whole, or what follows it."""
    if b"\\" not in block:  # much faster than the expression
        return block.rindex(b'"') if block.count(b'"') % 2 else len(block)
    found = _TOKENS.match(block)
    return found.end() if found else 0


def _check_texts(block: bytes) -> None:
    try:
        block.isascii() or block.decode()
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error


def _check_numbers(block: bytes) -> None:
    alike = block.translate(_ALIKE, delete=b"+")
    if _LONG not in alike and not any(
        _may_end_number(alike, found.start()) for found in _LARGE_EXPONENT.finditer(alike)
    ):  # much faster than reading the numbers
        return
    for found in _NUMBER.finditer(_STRING.sub(b'""', block)):
        number = found[0].removeprefix(b"-")
        is_whole = number.isdigit()
        if not math.isfinite(float(number)) or (is_whole and len(number) > _MOST_DIGITS):
            raise ValueError("it has a number that is too large")


def _may_end_number(alike: bytes, end: int) -> bool:
    """Whether what is before `end` may be a number, and not a part of an identifier in hex."""
    start = end - 1
    while start >= 0 and alike[start] in b"0.":
        start -= 1
    if start >= 0 and alike[start] == ord("-"):
        start -= 1
    return start < 0 or alike[start] in _BEFORE_NUMBER


def _without_half_pairs(data: Data) -> bytearray | None:
    """Return it with half surrogate pairs replaced, None if it has none. It keeps its length."""
    whole: bytearray | None = None
    position = 0
    try:
        for block in _blocks(data):
            if _SURROGATE.search(block):
                for found in _ESCAPE.finditer(block):
                    if found[1]:
                        whole = whole or bytearray(memoryview(data))
                        start = position + found.start()
                        whole[start : start + len(_REPLACEMENT)] = _REPLACEMENT
            position += len(block)
    except ValueError:
        return None
    return whole
