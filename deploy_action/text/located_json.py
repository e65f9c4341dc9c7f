"""Reads JSON that people write by hand, and knows the place of every value and key.

The standard library stops at the first mistake, accepts duplicate keys and NaN, and does not say
where a value is. Here every value and key has a line and a column. Harmless mistakes (a trailing
comma, a comment, a duplicate key) are reported and skipped, so that one run shows them all.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeAlias

from deploy_action.errors import Problem
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import cut

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

Redact: TypeAlias = Callable[[str], str]
Scalar: TypeAlias = tuple[tuple[str, ...], str]

MAX_DEPTH = 100
MAX_PROBLEMS = 20
_LONGEST_QUOTED = 60

# Possessive quantifiers: no input makes them backtrack.
_SPACE = lazy_regex(r"[ \t\r\n]*+")
_LINE_END = lazy_regex(r"\r\n?|\n")
_COMMENT = lazy_regex(r"(?://|\#)[^\r\n]*+|/\*[\s\S]*?(?:\*/|\Z)")
_STRING_BODY = lazy_regex(r"""(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+""")
_SINGLE_QUOTED = lazy_regex(r"'([^'\\\r\n]*+)'")
_NUMBER = lazy_regex(r"(-?(?:0|[1-9][0-9]*+))((?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)")
_NUMBER_LIKE = lazy_regex(r"[-+.0-9][-+.0-9A-Za-z_]*+")
_WORD = lazy_regex(r"[A-Za-z_$][A-Za-z0-9_$]*+")
_SURROGATE = lazy_regex("[\ud800-\udfff]")
_KEY_AHEAD = lazy_regex(_STRING_BODY.pattern + r'"[ \t\r\n]*+:')

_WORDS: dict[str, JsonValue] = {"true": True, "false": False, "null": None}
_PYTHON_WORDS: dict[str, tuple[JsonValue, str]] = {
    "True": (True, "true"),
    "False": (False, "false"),
    "None": (None, "null"),
}
_NOT_FINITE = frozenset({"NaN", "Infinity"})
_CURLY_QUOTES = frozenset("\u2018\u2019\u201c\u201d\u00ab\u00bb")
_OPENERS = {"}": "object", "]": "list"}


class _Place(NamedTuple):
    """Where a value starts (in code points from 0), and where its items and keys start."""

    start: int
    items: list[_Place] | dict[str, _Place] | None = None
    keys: dict[str, int] | None = None


class _HopelessError(Exception):
    """The rest of the document cannot be read reliably."""


class _Lines:
    """Converts positions in a text to lines and columns, by binary search."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def of(self, position: int) -> tuple[int, int]:
        """Return line and column of a position, both from 1."""
        line = bisect_right(self._starts, position)
        return line, position - self._starts[line - 1] + 1


@dataclass(frozen=True, slots=True)
class LocatedJson:
    """A document with its problems and the places of its values.

    If there are `problems`, it is not valid JSON; `readable` says whether `value` is what the
    author meant despite them. `scalars` are all strings, decoded, and numbers, as written, each
    with the keys above it; they include values before a fatal mistake, and those of duplicate keys.
    Whatever is shown of the document must go through `redact`. The repr has neither text nor
    values, because they may be secrets.
    """

    value: JsonValue = field(repr=False)
    problems: tuple[Problem, ...]
    readable: bool
    text: str = field(repr=False)
    _place: _Place | None = field(repr=False)
    _lines: _Lines = field(repr=False, compare=False)
    scalars: tuple[Scalar, ...] = field(default=(), repr=False)
    redact: Redact = field(default=str, repr=False, compare=False)

    @classmethod
    def without_places(cls, value: JsonValue, redact: Redact = str) -> LocatedJson:
        """Return a document for a value that does not come from a file."""
        lines = _Lines("")
        return cls(value, (), readable=True, text="", _place=None, _lines=lines, redact=redact)

    def locate(self, *path: str | int) -> tuple[int, int] | None:
        """Return line and column of the value at a path of keys and indexes; None if absent."""
        place = self._find(path)
        return None if place is None else self._lines.of(place.start)

    def locate_key(self, *path: str | int) -> tuple[int, int] | None:
        """Return line and column of the last key of a path; None if absent."""
        if not path:
            return None
        parent = self._find(path[:-1])
        keys = (parent.keys if parent else None) or {}
        start = keys.get(str(path[-1]))
        return None if start is None else self._lines.of(start)

    def written(self, *path: str | int) -> str:
        """Return the number or word at a path as written in the file; "" for other values."""
        place = self._find(path)
        literal = None if place is None else _NUMBER_LIKE.match(self.text, place.start)
        return "" if literal is None else literal.group()

    def quoted(self, value: JsonValue) -> str:
        """Return a string or number as JSON, redacted before it is cut at 60 code points."""
        return _quoted(value, self.redact)

    def _find(self, path: tuple[str | int, ...]) -> _Place | None:
        place = self._place
        for step in path:
            if place is None:
                return None
            place = _child(place, step)
        return place


def _quoted(value: JsonValue, redact: Redact) -> str:
    if isinstance(value, str):
        return json.dumps(cut(redact(value), _LONGEST_QUOTED), ensure_ascii=False)
    return cut(redact(json.dumps(value)), _LONGEST_QUOTED)


def _child(place: _Place, step: str | int) -> _Place | None:
    items = place.items
    if isinstance(items, dict):
        return items.get(step) if isinstance(step, str) else None
    if items is None or isinstance(step, str) or not 0 <= step < len(items):
        return None
    return items[step]


def parse_json(data: bytes, *, redact: Redact = str) -> LocatedJson:
    """Read a JSON document; never raises, whatever the bytes.

    Keys in messages go through `redact` before they are cut, because it would not recognise a part
    of a secret.
    """
    content = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return _undecodable(content, error)
    parser = _Parser(text, redact)
    readable = True
    value: JsonValue = None
    place: _Place | None = None
    try:
        value, place = parser.document()
    except _HopelessError:
        readable = False
    return LocatedJson(
        value,
        tuple(parser.problems),
        readable,
        text,
        place,
        parser.lines,
        tuple(parser.scalars),
        redact,
    )


def _undecodable(content: bytes, error: UnicodeDecodeError) -> LocatedJson:
    before = content[: error.start].decode()
    lines = _Lines(before)
    line, column = lines.of(len(before))
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    what = "it is encoded as UTF-16" if wide else f"byte 0x{content[error.start]:02X} is not UTF-8"
    problem = Problem(
        message=f"Not valid JSON: {what}.", hint="Save the file as UTF-8.", line=line, column=column
    )
    return LocatedJson(None, (problem,), readable=False, text="", _place=None, _lines=lines)


class _Parser:
    """A recursive descent parser, at most MAX_DEPTH deep; reads each character once or twice."""

    def __init__(self, text: str, redact: Redact) -> None:
        self.text = text
        self.lines = _Lines(text)
        self.problems: list[Problem] = []
        self.scalars: list[Scalar] = []
        self._keys: tuple[str, ...] = ()  # above the value that is being read
        self._redact = redact
        self._at = 0

    def document(self) -> tuple[JsonValue, _Place]:
        if not self._next_token():
            self._fail(0, "the file is empty", "It holds an object: {…}.")
        result = self._value(1)
        if self._next_token():
            self._fail(self._at, "something follows the end of the document", "Remove it.")
        return result

    # What is wrong, and where

    def _report(self, position: int, message: str, hint: str) -> None:
        line, column = self.lines.of(position)
        text = f"Not valid JSON: {message}."
        self.problems.append(Problem(message=text, hint=hint, line=line, column=column))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _HopelessError

    def _fail(self, position: int, message: str, hint: str) -> NoReturn:
        self._report(position, message, hint)
        raise _HopelessError

    def _fail_at_character(self, expected: str) -> NoReturn:
        character = self.text[self._at]
        if character in _CURLY_QUOTES:
            self._fail(self._at, "a curly quote", 'Strings and keys are in straight quotes: "…".')
        shown = f'"{character}"' if character.isprintable() else f"U+{ord(character):04X}"
        self._fail(self._at, f"{shown} where {expected} is expected", "Correct or remove it.")

    # Tokens

    def _next_token(self) -> str:
        """Move to the next token and return its first character; "" at the end of the text."""
        while True:
            self._at = _end_of(_SPACE, self.text, self._at)
            comment = _COMMENT.match(self.text, self._at)
            if comment is None:
                return self.text[self._at : self._at + 1]
            self._report(self._at, "a comment: JSON has none", "Remove it.")
            self._at = comment.end()

    def _value(self, depth: int) -> tuple[JsonValue, _Place]:
        first = self._next_token()
        start = self._at
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._list(depth)
        value = self._scalar(first)
        written = value if isinstance(value, str) else self.text[start : self._at]
        if isinstance(value, str) or _NUMBER_LIKE.match(written):
            self.scalars.append((self._keys, written))
        return value, _Place(start)

    def _scalar(self, first: str) -> JsonValue:
        if first == '"':
            return self._string()
        if first == "'":
            return self._single_quoted()
        number = _NUMBER_LIKE.match(self.text, self._at)
        if number:
            return self._number(number.group())
        word = _WORD.match(self.text, self._at)
        if word:
            return self._word(word.group())
        if not first:
            self._fail(self._at, "the file ends where a value is expected", "Complete it.")
        return self._fail_at_character("a value")

    # Objects and lists

    def _object(self, depth: int) -> tuple[JsonValue, _Place]:
        opened = self._open(depth)
        values: dict[str, JsonValue] = {}
        places: dict[str, _Place] = {}
        keys: dict[str, int] = {}
        above = self._keys
        while self._has_next(opened, "}", first=not keys):
            start = self._at
            key = self._key()
            if key in keys:
                line, column = self.lines.of(keys[key])
                twice = f"appears twice, first in line {line}, column {column}"
                self._report(start, f"the key {_quoted(key, self._redact)} {twice}", "Keep one.")
            self._colon()
            keys[key] = start
            self._keys = (*above, key)
            values[key], places[key] = self._value(depth + 1)
        self._keys = above
        return values, _Place(opened, places, keys)

    def _list(self, depth: int) -> tuple[JsonValue, _Place]:
        opened = self._open(depth)
        values: list[JsonValue] = []
        places: list[_Place] = []
        while self._has_next(opened, "]", first=not values):
            value, place = self._value(depth + 1)
            values.append(value)
            places.append(place)
        return values, _Place(opened, places)

    def _open(self, depth: int) -> int:
        opened = self._at
        if depth > MAX_DEPTH:
            message = f"objects and lists are nested more than {MAX_DEPTH} deep"
            self._fail(opened, message, "Flatten it.")
        self._at += 1
        return opened

    def _has_next(self, opened: int, closer: str, *, first: bool) -> bool:
        """Move to the next item and return True, or past the closing bracket and return False."""
        comma = self._commas(first=first)
        token = self._next_token()
        if token == closer:
            if comma is not None and not first:
                self._report(comma, f'a trailing comma before "{closer}"', "Remove the comma.")
            self._at += 1
            return False
        if not token:
            self._unclosed(opened, closer)
        if token in _OPENERS:
            line, column = self.lines.of(opened)
            what = f"the {_OPENERS[closer]} that starts in line {line}, column {column}"
            self._fail(self._at, f'"{token}" where "{closer}" has to close {what}', "Correct it.")
        if not first and comma is None:
            self._missing_comma(closer)
        return True

    def _commas(self, *, first: bool) -> int | None:
        """Move past the comma between items and return its place; report surplus commas."""
        comma = None
        while self._next_token() == ",":
            if comma is not None or first:
                self._report(self._at, "a comma too many", "Remove the comma.")
            comma = self._at
            self._at += 1
        return comma

    def _unclosed(self, opened: int, closer: str) -> NoReturn:
        line, column = self.lines.of(opened)
        what = f"the {_OPENERS[closer]} that starts in line {line}, column {column}, is not closed"
        self._fail(self._at, f"the file ends, but {what}", f'Add the missing "{closer}".')

    def _missing_comma(self, closer: str) -> None:
        """Report a missing comma if an item starts here; only a key is quoted, never a value."""
        character = self.text[self._at]
        starts_item = "\"'_" if closer == "}" else "\"'_-{["
        if character not in starts_item and not character.isalnum():
            self._fail_at_character(f'a comma or "{closer}"')
        what = "the next value"
        if character == '"' and (key := _KEY_AHEAD.match(self.text, self._at + 1)):
            what = _quoted(key.group().rstrip(": \t\r\n")[:-1], self._redact)
        self._report(self._at, f"missing comma before {what}", "Add a comma.")

    def _key(self) -> str:
        character = self.text[self._at]
        if character == '"':
            return self._string()
        if character == "'":
            return self._single_quoted()
        word = _WORD.match(self.text, self._at)
        if word is None:
            self._fail_at_character("a key in double quotes")
        self._report(self._at, "a key without double quotes", 'Write the key as "key".')
        self._at = word.end()
        return word.group()

    def _colon(self) -> None:
        if self._next_token() != ":":
            # The key is not quoted: without a colon it may be a value, and a secret.
            self._fail(self._at, "missing colon after a key", "Add the colon.")
        self._at += 1

    # Strings, numbers and words

    def _string(self) -> str:
        start = self._at
        end = _end_of(_STRING_BODY, self.text, start + 1)
        if self.text[end : end + 1] != '"':
            self._broken_string(start, end)
        self._at = end + 1
        literal = self.text[start : end + 1]
        if "\\" not in literal:
            return literal[1:-1]
        decoded = str(json.loads(literal))
        if _SURROGATE.search(decoded):
            message = r"half a character: a \uD800 to \uDFFF that is not part of a pair"
            self._report(start, message, "Write both halves, or the character itself.")
        return _SURROGATE.sub("\ufffd", decoded)

    def _broken_string(self, start: int, end: int) -> NoReturn:
        stopped_by = self.text[end : end + 1]
        if stopped_by in {"", "\r", "\n"}:
            message = "a string without a closing quote, which must be on the same line"
            self._fail(start, message, r'Add the ", or write \n for a line break.')
        if stopped_by == "\\":
            message = "a backslash that starts no escape JSON knows"
            self._fail(end, message, r"Write \\ for a backslash, / in paths.")
        name = "a tab" if stopped_by == "\t" else f"the control character U+{ord(stopped_by):04X}"
        self._fail(end, f"{name} inside a string", f"Write \\u{ord(stopped_by):04x} for it.")

    def _single_quoted(self) -> str:
        self._report(self._at, "single quotes", 'Strings and keys are in double quotes: "…".')
        literal = _SINGLE_QUOTED.match(self.text, self._at)
        if literal is None:
            raise _HopelessError
        self._at = literal.end()
        return literal.group(1)

    def _number(self, literal: str) -> int | float:
        """Read a number; the literal is not quoted, because it may be a secret without quotes."""
        start = self._at
        self._at += len(literal)
        parts = _NUMBER.fullmatch(literal)
        if parts is None:
            self._report(start, _what_number(literal), "Write it as 1, 0.5 or -2e3.")
            return 0
        number = float(literal)
        if math.isinf(number):  # integers, too: none may have more digits than Python prints
            self._report(start, "a number too large to be read", "Write a smaller one.")
            return 0
        return number if parts.group(2) else int(literal)

    def _word(self, word: str) -> JsonValue:
        start = self._at
        self._at += len(word)
        if word in _WORDS:
            return _WORDS[word]
        if word in _NOT_FINITE:
            self._report(start, f"{word}: JSON has no such number", "Write a number, or null.")
            return 0
        if word in _PYTHON_WORDS:
            value, correct = _PYTHON_WORDS[word]
            self._report(start, f"{word}: JSON spells it {correct}", f"Write {correct}.")
            return value
        return self._fail(start, "text without double quotes", 'Write it as "text".')


def _what_number(literal: str) -> str:
    unsigned = literal.lstrip("+-")
    if unsigned in _NOT_FINITE:
        return f"{literal}: JSON has no such number"
    if literal.startswith("+"):
        return "a number with a plus sign"
    if re.match(r"0[0-9]", unsigned):
        return "a number with a leading zero"
    if unsigned.startswith(".") or re.search(r"\.(?![0-9])", unsigned):
        return "a number with no digit before or after its point"
    return "something that starts like a number but is not one"


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return the end of a match at a position, or the position if nothing matches."""
    match = pattern.match(text, position)
    return match.end() if match else position
