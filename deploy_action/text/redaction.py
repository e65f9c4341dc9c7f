"""Hides secrets in what others wrote, however they are written there."""

from __future__ import annotations

import re
from binascii import b2a_base64
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import ESCAPES

HIDDEN: Final = "***"
SHORTEST: Final = 4
"""Shorter secrets stay: replacing every `us` would tell more than it hides."""
SHORTEST_KEY: Final = 8

# How often a text may be escaped: as JSON in a page of HTML, for example.
_MOST_READINGS: Final = 3
# What may stand within a secret: tags and escape sequences of a terminal, which may also hold one,
_MARKUP: Final = lazy_regex(f"</?[A-Za-z!][^<>]{{0,300}}>|{ESCAPES.pattern}")
# a line break with the indentation after it, also as `one_line` shows it, and what has no width.
_GAP: Final = (
    r"(?:\r\n?|\n)[ \t]*+| ?⏎[ \t]*+|[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]"
)
# A character as shells (a quote, in a text in quotes), URLs, HTML, JSON, JavaScript and Python's
# `repr` write it.
_ESCAPED: Final = lazy_regex(
    r"'\\''|'\"'\"'|%[0-7][0-9A-Fa-f]|(?:%[89A-Fa-f][0-9A-Fa-f])+"
    r"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][0-9A-Za-z]{1,31});"
    r"|\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}"
    r"|(?:\\x[89a-fA-F][0-9a-fA-F]){2,}"
    r"|\\(?:u[0-9A-Fa-f]{4}|U00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[nrt]|[^\w\s])"
)
_GAPS: Final = lazy_regex(_GAP)
# The mark before a line break that goes on with the same line: in mails, and in shells. It may also
# be the end of a secret.
_SOFT_GAPS: Final = lazy_regex(rf"[=\\](?:\r\n?|\n)[ \t]*+|{_GAP}")
_MAY_BE_SOFT: Final = lazy_regex(r"(?:[=\\]|%(?:3[dD]|5[cC])|;)[\r\n\\%&]")  # escaped, too
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_URL_SAFE: Final = str.maketrans("-_", "+/")
_IN_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

_PADDING: Final = frozenset("=")

_LIKE_A_KEY: Final = lazy_regex(r"[A-Za-z0-9+/=_.:-]{8,}")
_WORDS: Final = lazy_regex(r"[A-Za-z0-9]{8,}")
_LONG: Final = 16
_CHANGES: Final = 3
_MOST_KEYS: Final = 200


def redacted(text: str, secrets: Iterable[str], *, keep_lines: bool = False) -> str:
    """Return `text` with each secret replaced by `***`; overlapping ones are replaced together.

    With `keep_lines`, one that goes over several lines is replaced in each of them.

    They are found as they are, escaped in a URL, in HTML, in JSON or by Python, in base64, and
    interrupted by line breaks and tags. Secrets shorter than four characters stay.

    The beginning of a secret is not looked for, also where a text was cut: whoever writes texts
    could guess a secret letter by letter.
    """
    needles = [_needles(secret) for secret in secrets if len(secret.strip()) >= SHORTEST]
    if not any(len(text) >= one.shortest for one in needles):
        return text
    found = sorted(span for view in _views(text) for span in view.places(needles))
    parts, end = [], 0
    for start, stop in found:
        if start >= end:
            parts += [text[end:start], HIDDEN]
        if keep_lines:
            parts += [f"\n{HIDDEN}"] * text.count("\n", max(start, end), stop)
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def beginning(text: str, redact: Callable[[str], str], most: int) -> str:
    """Return the redacted beginning of a text of which at most so many characters are read.

    Half a secret at the end of what was read is not found, so a quarter of that is not shown.
    """
    if len(text) <= most:
        return redact(text)
    shown = redact(text[:most])
    return shown[: max(0, len(shown) - most // 4)]


def lines_of(secret: str) -> list[str]:
    """Return the lines of a secret, which programs print one by one, without blanks at their ends.

    Of several, those of eight characters or more: the last line of a private key may have one.
    """
    lines = [line.strip() for line in secret.splitlines()]
    return lines if len(lines) == 1 else [line for line in lines if len(line) >= SHORTEST_KEY]


def looks_like_key(text: str) -> bool:
    """Whether a value that anybody may have written looks like a key, and not like words.

    It has eight characters or more, all of them letters, digits and `+/=_.:-`. Between these marks
    it has 16 letters and digits or more, save for words such as `pullRequestTarget`, or eight or
    more with a digit, in which letters and digits alternate at least three times, counting capitals
    within a word like digits. So `successful`, `refs/heads/main`, `python3.11`, `sha256sum` and
    dates are no keys.
    """
    return _LIKE_A_KEY.fullmatch(text) is not None and any(map(_is_random, _WORDS.findall(text)))


def key_lines(values: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of values that look like keys, each once, and at most the first 200.

    Each text is searched for each of them: a file of thousands would stall the run.
    """
    lines = (line.strip() for value in values for line in value.splitlines())
    found: dict[str, None] = {}
    for line in lines:
        if looks_like_key(line):
            found[line] = None
            if len(found) == _MOST_KEYS:
                break
    return tuple(found)


def _is_random(word: str) -> bool:
    kinds = ["0" if char.isdecimal() else "A" if char.isupper() else "a" for char in word]
    changes = sum(pair[0] != pair[1] and pair != ("A", "a") for pair in pairwise(kinds))
    has_digit, is_long = "0" in kinds, len(word) >= _LONG
    if is_long and (has_digit or len({*kinds}) == 1):
        return True
    return changes >= _CHANGES and (has_digit or is_long)


@dataclass(frozen=True, slots=True)
class _Needles:
    """A secret as it is looked for: in texts that were read, and in base64."""

    plain: tuple[str, ...]
    base64: tuple[tuple[str, int], ...]
    shortest: int


@lru_cache(1024)
def _needles(secret: str) -> _Needles:
    import json
    from urllib.parse import quote_plus

    joined = _without(_GAPS, _View(secret))
    unescaped = _without(_GAPS, _unescaped(joined))
    read = {secret, *(view.text for view in (joined, unescaped, _without(_MARKUP, joined)))}
    plain = {one for one in read if len(one) >= SHORTEST}
    plain |= {one.replace(" ", "+") for one in plain}  # as a form of HTML writes blanks
    plain = {one.replace("\t", " ") for one in plain}
    # Gateways repeat the body of a request in base64, in which a form or JSON has escaped it; a
    # model may print what it knows so, in which JSON or Python's `repr` has escaped JSON again.
    forms = {secret, quote_plus(secret, errors="replace")}
    for one in (secret, json.dumps(secret)[1:-1]):
        # With a quote of the other kind around, `repr` escapes those in the text.
        forms |= {json.dumps(one)[1:-1], repr(one)[1:-1], repr(f'{one}"')[1:-2]}
    base64 = tuple(
        needle for form in forms for needle in _base64_needles(form.encode("utf-8", "replace"))
    )
    shortest = min(map(len, (*plain, *(needle for needle, _ in base64))))
    return _Needles(tuple(plain), base64, shortest)


def _base64_needles(secret: bytes) -> Iterator[tuple[str, int]]:
    """Yield what all base64 of texts with this secret has, for each place modulo three bytes.

    The number is how many characters before it are made of the secret in part.
    """
    if len(secret) < SHORTEST_KEY:
        return  # a few letters of base64 would be found in words
    for before in range(3):
        whole = (before + len(secret)) * 8 // 6
        start = -(-before * 8 // 6)
        yield b2a_base64(bytes(before) + secret)[start:whole].decode(), 1 if before else 0


@dataclass(slots=True)
class _View:
    """A text as somebody who unescapes it reads it, and where its pieces come from.

    Piece n starts at `at[n]` in `text`, and is what is between `begins[n]` and `ends[n]` of the
    text that was read. A piece that was escaped is read from all that is there.
    """

    text: str
    inner: _View | None = None
    at: list[int] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def places(self, needles: Iterable[_Needles]) -> Iterator[tuple[int, int]]:
        """Yield where the secrets are, as places in the text that was not read at all."""
        text = self.text.replace("\t", " ")  # as `one_line` shows it
        encoded = self.text.translate(_URL_SAFE)
        for one in needles:
            for needle in one.plain:
                for start in _find_all(text, needle):
                    yield self._origin(start, start + len(needle))
            for needle, before in one.base64:
                for start in _find_all(encoded, needle):
                    yield self._with_neighbours(encoded, start, start + len(needle), before)

    def _with_neighbours(self, encoded: str, start: int, stop: int, before: int) -> tuple[int, int]:
        """Return the place of base64 with the characters around it that it shares with others.

        Not those of another line: a secret may begin there.
        """
        begin, end = self._origin(start, stop)
        if start >= before > 0 and self._origin(start - before, start)[1] == begin:
            begin = self._origin(start - before, start)[0]
        is_shared = True
        while encoded[stop : stop + 1] in (_IN_BASE64 if is_shared else _PADDING):
            following = self._origin(stop, stop + 1)
            if following[0] != end:
                break
            stop, end, is_shared = stop + 1, following[1], False
        return begin, end

    def _origin(self, start: int, stop: int) -> tuple[int, int]:
        if self.inner is None:
            return start, stop
        first, last = bisect_right(self.at, start) - 1, bisect_right(self.at, stop - 1) - 1
        begin, end = self.begins[first], self.ends[last]
        if self._is_copy(first):
            begin += start - self.at[first]
        if self._is_copy(last):
            end = self.begins[last] + stop - self.at[last]
        return self.inner._origin(begin, end)  # noqa: SLF001  # of the same class

    def _is_copy(self, piece: int) -> bool:
        following = self.at[piece + 1] if piece + 1 < len(self.at) else len(self.text)
        return following - self.at[piece] == self.ends[piece] - self.begins[piece]


def _views(text: str) -> Iterator[_View]:
    whole = _View(text)
    yield from _readings(whole, _GAPS)
    joined = _without(_GAPS, whole)
    if joined is not whole:
        yield from _readings(joined, _GAPS)
    if _MAY_BE_SOFT.search(text):
        yield from _readings(_without(_SOFT_GAPS, whole), _SOFT_GAPS)


def _readings(view: _View, gaps: re.Pattern[str]) -> Iterator[_View]:
    """Yield a text as it is, and as somebody reads it who unescapes it once or several times.

    A gap may be within an escape, and within a secret that looks like one; or the gap may only seem
    to make an escape of what is around it. So a text is read with its gaps and without them.
    """
    for _ in range(_MOST_READINGS + 1):
        yield view
        without_markup = _without(_MARKUP, view)
        if without_markup is not view:
            yield without_markup
            yield _without(gaps, without_markup)
        unescaped = _unescaped(view)
        if unescaped is view:
            return
        view = _without(gaps, unescaped)


def _without(removed: re.Pattern[str], view: _View) -> _View:
    return _replaced(removed, view, lambda _: "")


def _unescaped(view: _View) -> _View:
    """Return a text with one layer of escapes undone."""
    return _replaced(_ESCAPED, view, _character)


def _replaced(units: re.Pattern[str], inner: _View, read: Callable[[str], str]) -> _View:
    """Return the text in which each unit is what it is read as; the same view if it has none."""
    view, text, parts, end, length = _View("", inner), inner.text, [], 0, 0

    def add(part: str, begin: int, stop: int) -> None:
        nonlocal length
        view.at.append(length)
        view.begins.append(begin)
        view.ends.append(stop)
        parts.append(part)
        length += len(part)

    for found in units.finditer(text):
        if end < found.start():
            add(text[end : found.start()], end, found.start())
        if character := read(found[0]):
            add(character, found.start(), found.end())
        end = found.end()
    if end == 0:
        return inner
    if end < len(text):
        add(text[end:], end, len(text))
    view.text = "".join(parts)
    return view


def _character(escaped: str) -> str:
    if escaped[0] == "&":
        from html import unescape

        return unescape(escaped)
    if escaped[0] == "%" or escaped.count("\\x") > 1:  # bytes
        return _decoded(bytes.fromhex(re.sub(r"%|\\x", "", escaped)))
    if escaped[1] in "uUx":
        units = (chr(int(unit[1:], 16)) for unit in escaped.split("\\")[1:])
        return "".join(units).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    # A quote of a shell, or what a backslash stands before.
    return "'" if escaped[0] == "'" else _LETTERS.get(escaped[1], escaped[1])


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _find_all(text: str, needle: str) -> Iterator[int]:
    start = text.find(needle)
    while start >= 0:
        yield start
        start = text.find(needle, start + 1)
