"""Secrets made at run time, and the search for them in whatever a run leaves behind.

The search shares no code with what hides secrets. It undoes all escapes of a text, in every order
and several times, takes out white space and markup, and looks for pieces of the secrets in what it
then reads, and in base64 of it. A piece of `_PIECE` characters counts, so half a secret is found.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from tests.support.runner_protocol import commands_in

_PIECE: Final = 12
"""Of hexadecimal digits, chance has as many in a row once in ten billion megabytes."""
_STEP: Final = 3  # of each text, every third piece is looked at: fifteen characters are found
_SHORTEST: Final = 8  # shorter lines are no secrets by themselves, and base64 has letters of words
_DEPTH: Final = 3  # how often a text may be escaped
_LARGE: Final = 200_000  # texts that are read once only
_GAPS: Final = re.compile("[\\s\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff⏎]+|\\\\(?=\n)")
_TAGS: Final = re.compile(r"<[^<>]{1,400}>|\x1b\[[0-9;]*m")
_BACKSLASHES: Final = re.compile(
    r"(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
    r"|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}|\\.)"
)
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


# --------------------------------------------------------------------------- making them


def letters(chance: Random, length: int) -> str:
    """Return letters and digits, as many keys have."""
    return "".join(chance.choices(_ALPHABET, k=length))


def _around(*marks: str) -> Callable[[Random], str]:
    """Return a maker of secrets with these marks between letters."""

    def make(chance: Random) -> str:
        parts = [letters(chance, chance.randint(3, 9)) for _ in range(len(marks) + 1)]
        shuffled = chance.sample(marks, len(marks))
        mixed = zip(parts, [*shuffled, ""], strict=True)
        return "".join(part + mark for part, mark in mixed) + letters(chance, 8)

    return make


def _pem(chance: Random) -> str:
    lines = [base64.b64encode(chance.randbytes(48)).decode() for _ in range(chance.randint(2, 5))]
    last = base64.b64encode(chance.randbytes(chance.randint(9, 30))).decode()
    begin, end = (f"-----{word} PRIVATE KEY-----" for word in ("BEGIN", "END"))
    return "\n".join([begin, *lines, last, end])


# One word, of characters that a header takes: as a token has to be.
WORDS: Final[Mapping[str, Callable[[Random], str]]] = {
    "hexadecimal": lambda chance: chance.randbytes(20).hex(),
    "base64": lambda chance: base64.b64encode(chance.randbytes(32)).decode(),
    "base64 for URLs": lambda chance: base64.urlsafe_b64encode(chance.randbytes(25)).decode(),
    "a JWT": lambda chance: ".".join(
        base64.urlsafe_b64encode(chance.randbytes(size)).decode().rstrip("=")
        for size in (27, 60, 32)
    ),
    "short": lambda chance: letters(chance, 8),
    "marks of URLs": _around("/", "?", "&", "=", "#", "+", "@", ":"),
    "per cents": _around("%", "%25", "%0A", "%2F", "%%"),
    "quotes": _around("'", '"', "`", "\\", "$(", ")"),
    "HTML": _around("<b>", "&amp;", "</b>", "&#39;", "<!--"),
    "commands": _around("::", "##[", "]", "::", ","),
    "JSON": _around("{", '"', ":", "}", "\\n", "\\u00e9"),
    "Markdown": _around("*", "_", "|", "~~", "[", "](", ")"),
    "template": _around("${", "}", "{{", "}}", "$$"),
}
# As servers make tokens (RFC 6750, section 2.1).
BEARERS: Final = {
    name: WORDS[name] for name in ("hexadecimal", "base64", "base64 for URLs", "a JWT")
}
# One line, of any characters.
LINES: Final = {
    **WORDS,
    "blanks": _around(" ", "  ", " = ", "\t"),
    "letters of the world": _around("ä", "€", "漢字", "🙂", "é"),
}
# Any text.
TEXTS: Final = {
    **LINES,
    "a private key": _pem,
    "several lines": lambda chance: "\n".join(letters(chance, 20) for _ in range(3)),
    "lines of Windows": lambda chance: "\r\n".join(letters(chance, 20) for _ in range(3)),
}


def a_secret(chance: Random, shapes: Mapping[str, Callable[[Random], str]] = WORDS) -> str:
    """Return a new secret of any of these shapes."""
    return shapes[chance.choice(sorted(shapes))](chance)


# --------------------------------------------------------------------------- writing them


def _units(text: str) -> list[str]:
    return re.findall("....", text.encode("utf-16-be").hex())


def _base64(before: str, encode: Callable[[bytes], bytes]) -> Callable[[str], str]:
    return lambda text: encode(f"{before}{text}".encode()).decode()


def _named(text: str) -> str:
    return html.escape(text).replace("/", "&sol;").replace("+", "&plus;").replace("=", "&equals;")


# How texts that others write may have a secret in them.
WAYS: Final[Mapping[str, Callable[[str], str]]] = {
    "as it is": str,
    "URL": lambda text: quote(text, safe=""),
    "URL, small letters": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), quote(text, safe="")
    ),
    "form": quote_plus,
    "URL twice": lambda text: quote(quote(text, safe=""), safe=""),
    "all of it in a URL": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "JSON, large": lambda text: "".join(f"\\u{unit.upper()}" for unit in _units(text)),
    "JSON, small": lambda text: "".join(f"\\u{unit.lower()}" for unit in _units(text)),
    "HTML, decimal": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(char):x};" for char in text),
    "HTML, named": _named,
    "shell": lambda text: "'" + text.replace("'", "'\\''") + "'",
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda text: repr(text.encode()),
    "base64": _base64("", base64.b64encode),
    "base64 of user and password": _base64("user:", base64.b64encode),
    "base64 at another place": _base64("me", base64.b64encode),
    "base64 for URLs": _base64("me:", base64.urlsafe_b64encode),
    "base64 in lines": _base64("user:", base64.encodebytes),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "base64 in an object": lambda text: f'{{"a": "{base64.b64encode(text.encode()).decode()}"}}',
    "with tags": lambda text: f"{text[:5]}<b>{text[5:]}</b>" if "<" not in text else text,
    "in lines": lambda text: text if " " in text else f"{text[:5]}\n    {text[5:]}",
}


# --------------------------------------------------------------------------- finding them


@dataclass(slots=True)
class SecretHunter:
    """The secrets of a test by their names, and the search for them."""

    secrets: dict[str, str] = field(default_factory=dict)
    # What is looked for, and of which secret: in texts, and in base64.
    _long: tuple[dict[str, str], dict[str, str]] = field(default_factory=lambda: ({}, {}))
    _short: tuple[dict[str, str], dict[str, str]] = field(default_factory=lambda: ({}, {}))

    def add(self, name: str, secret: str) -> str:
        """Know a secret from now on, and return it."""
        self.secrets[name] = secret
        for number, pieces in enumerate((_plain_pieces(secret), _pieces_in_base64(secret))):
            for piece in pieces:
                kept = self._long if len(piece) == _PIECE else self._short
                kept[number][piece] = name
        return secret

    def find(self, text: str | bytes, *, spared: Iterable[str] = ()) -> list[str]:
        """Return the names of the secrets that a text has, each with what is around it."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        found: dict[str, str] = {}
        for read in _readings(text):
            for in_base64 in (False, True):
                searched = read.translate(_URL_SAFE) if in_base64 else read
                for name, at in self._places(searched, in_base64=in_base64):
                    if name not in spared:
                        found.setdefault(name, f"{name} in {searched[max(0, at - 40) : at + 60]!r}")
        return sorted(found.values())

    def find_all(
        self, texts: Mapping[str, str | bytes], *, spared: Iterable[str] = ()
    ) -> list[str]:
        """Return what was found in several texts, with their names."""
        return [
            f"{where}: {what}"
            for where, text in texts.items()
            for what in self.find(text, spared=spared)
        ]

    def _places(self, text: str, *, in_base64: bool) -> Iterator[tuple[str, int]]:
        long, short = self._long[in_base64], self._short[in_base64]
        for at in range(0, len(text) - _PIECE + 1, _STEP):
            if (piece := text[at : at + _PIECE]) in long:
                yield long[piece], at
        for piece, name in short.items():
            if (at := text.find(piece)) >= 0:
                yield name, at


_URL_SAFE: Final = str.maketrans("-_", "+/")


def _plain_pieces(secret: str) -> Iterator[str]:
    """Yield what is looked for of a secret. The first and last line of a private key are none."""
    lines = [line for line in secret.splitlines() if not line.startswith("-----")]
    yield from _windows(_squeezed("".join(lines)))
    for line in map(_squeezed, lines):
        yield from _windows(line) if len(line) >= _SHORTEST else ()


def _pieces_in_base64(secret: str) -> Iterator[str]:
    """Yield what all base64 of texts with this secret has, wherever it stands in them."""
    lines = [line for line in secret.splitlines() if not line.startswith("-----")]
    whole = [] if len(lines) < len(secret.splitlines()) else [secret]
    for data in (text.encode() for text in (*whole, *lines) if len(text) >= _SHORTEST):
        for before in range(3):
            encoded = base64.b64encode(bytes(before) + data).decode()
            yield from _windows(encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6])


def _windows(text: str) -> Iterator[str]:
    if len(text) < _PIECE:
        yield text
    for at in range(len(text) - _PIECE + 1):
        yield text[at : at + _PIECE]


def _squeezed(text: str) -> str:
    return _GAPS.sub("", text)


def _readings(text: str) -> Iterator[str]:
    """Yield a text as everybody may read it who undoes escapes, without white space."""
    seen, latest = {text}, [text]
    for _ in range(1 if len(text) > _LARGE else _DEPTH):
        following = {undo(one) for one in latest for undo in _UNDOING} - seen
        seen |= following
        latest = [*following]
    yield from {_squeezed(one) for one in seen} | {_squeezed(_TAGS.sub("", one)) for one in seen}


def _without_backslashes(text: str) -> str:
    def undone(found: re.Match[str]) -> str:
        escape = found[0]
        if escape[1] not in "uUx" or len(escape) == len("\\u"):
            return _LETTERS.get(escape[1], escape[1])
        units = (chr(int(unit[1:], 16)) for unit in escape.split("\\")[1:])
        return "".join(units).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    return _BACKSLASHES.sub(undone, text)


_BYTES: Final = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")


def _without_bytes(text: str) -> str:
    """Undo what `repr` makes of bytes that are UTF-8."""

    def undone(found: re.Match[str]) -> str:
        return bytes.fromhex(found[0].replace("\\x", "")).decode("utf-8", "replace")

    return _BYTES.sub(undone, text)


_UNDOING: Final = (
    unquote,
    unquote_plus,
    html.unescape,
    _without_backslashes,
    _without_bytes,
    lambda text: text.replace("'\\''", "'").replace("'\"'\"'", "'"),  # as shells quote it
)


# --------------------------------------------------------------------------- where to look


def without_masks(log: str) -> str:
    """Return a log without the commands that the runner reads and does not print."""
    return "\n".join(
        line
        for line in log.split("\n")
        if not any(command.name == "add-mask" for command in commands_in(line))
    )


def files_below(root: Path) -> dict[str, bytes]:
    """Return all regular files below a directory, by their paths."""
    found = {}
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(root))] = path.read_bytes()
    return found
