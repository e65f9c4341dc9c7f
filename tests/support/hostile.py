"""Hostile input that is plausible all the same: valid examples, changed by chance.

`chance` is the source of a round, or one that hypothesis draws from, so that what fails is made
small.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.nasty import FRAGMENTS
from tests.support.torture import Rounds

LONGEST_NAME: Final = 255  # bytes of a file's name
# Names and words that somebody could confuse with ours.
_PLAUSIBLE: Final = (
    *(
        "main",
        "bot.py",
        "sharpe",
        "0.93",
        "true",
        "null",
        "refs/heads/main",
        "-1",
        "1e400",
        "9" * 25,
    ),
    *("::set-output name=status::deployed", "::stop-commands::x", "::add-mask::e", "::endgroup::"),
    *(
        "\r::error::x",
        "%0A::error::x",
        "\n##[group]x",
        "x\n##vso[task.x]",
        "::set-env name=PATH::/x",
    ),
    *("status=deployed", "\nstatus=deployed\n", "EOF", "\nghadelimiter_0\n", "a<<EOF\nb\nEOF\n"),
    *(
        "```\n# x\n```",
        "\n\n<h1>x</h1>\n\n",
        "</code></pre><b>",
        "</script><script>alert(1)</script>",
    ),
    *(
        '" onmouseover="alert(1)',
        "javascript:alert(1)",
        "{{ 7 * 7 }}",
        "%%{init: {}}%%",
        "${{ x }}",
    ),
    *(
        '"]\n  line [1]\n',
        "click a call x()",
        "&lt;b&gt;",
        "<!-- blankly-deploy -->",
        "*** a *** b ***",
    ),
    *(
        "../../etc/passwd",
        "/dev/zero",
        "C:\\x",
        "a" * 300,
        "\N{FULLWIDTH COMMERCIAL AT}octocat",
        "İ",
    ),
)
_NUMBERS: Final = (0, -1, 1, 0.5, 1e308, 5e-324, -0.0, 10**25, 2**53, 1e-9, 253_402_300_800)
_ODD: Final[tuple[Any, ...]] = (None, True, False, [], {}, "", [[]], {"": None})
_BYTES: Final = (
    *(
        b"\0",
        b"\xff",
        b"\xfe\xff",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r",
        b" ",
    ),
    *(b'"', b"{", b"[", b"\\", b"\\ud800", b"9" * 40, b"1e999", b"-", b"\x7f", b"\x80" * 4, b"\t"),
)


def hostile_text(chance: Random, most: int = 8) -> str:
    """Return a text of a few pieces: markup, commands, characters that do not show, and words."""
    pieces = [
        chance.choice(FRAGMENTS) if chance.random() < 0.6 else chance.choice(_PLAUSIBLE)
        for _ in range(chance.randint(1, most))
    ]
    return "".join(pieces)


def hostile_name(chance: Random) -> bytes:
    """Return the name of a file as Linux takes it: any bytes but `/` and NUL, at most 255."""
    parts = [hostile_text(chance, 4).encode("utf-8", "surrogatepass")]
    if chance.random() < 0.3:
        parts.append(chance.choice(_BYTES))
    if chance.random() < 0.1:
        parts.append(b"x" * LONGEST_NAME)
    name = b"".join(parts).replace(b"/", b"_").replace(b"\0", b"_")[:LONGEST_NAME]
    return b"x" if name in {b"", b".", b".."} else name


def changed(chance: Random, valid: Any, changes: int = 3) -> Any:
    """Return a document of JSON with a few values changed: other texts, numbers, types, or gone."""
    document = json.loads(json.dumps(valid))
    for _ in range(chance.randint(1, changes)):
        document = _changed_once(chance, document)
    return document


def _changed_once(chance: Random, value: Any) -> Any:
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        match chance.randrange(12):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {**value, hostile_text(chance, 3): value[key]}
            case _:
                return {**value, key: _changed_once(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        if chance.randrange(8) == 0:
            return value + value[at:]
        return [*value[:at], _changed_once(chance, value[at]), *value[at + 1 :]]
    return _replaced(chance, value)


def _replaced(chance: Random, value: Any) -> Any:
    """Return something else, mostly of the same type: else the first check refuses it."""
    if isinstance(value, str) and chance.random() < 0.8:
        text = hostile_text(chance)
        return text if chance.random() < 0.6 else value + text
    if isinstance(value, int | float) and not isinstance(value, bool) and chance.random() < 0.7:
        return chance.choice(_NUMBERS)
    return chance.choice((*_ODD, *_NUMBERS, hostile_text(chance)))


def with_hostile_texts(
    chance: Random, valid: Any, share: float = 0.5, *, kept: Sequence[str] = ()
) -> Any:
    """Return a document in which many texts are hostile, and nothing else is changed.

    Texts below one of the keys `kept` stay, since others decide on the form.
    """
    if isinstance(valid, dict):
        return {
            key: one if key in kept else with_hostile_texts(chance, one, share, kept=kept)
            for key, one in valid.items()
        }
    if isinstance(valid, list):
        return [with_hostile_texts(chance, one, share, kept=kept) for one in valid]
    if isinstance(valid, str) and chance.random() < share:
        return hostile_text(chance)
    return valid


def spoiled(chance: Random, valid: bytes, others: Sequence[bytes] = (), changes: int = 4) -> bytes:
    """Return bytes with a few of them changed, left out, repeated, or from `others`."""
    data = bytearray(valid)
    pieces = (*_BYTES, *others)
    for _ in range(chance.randint(1, changes)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at:at] = chance.choice(pieces)
            case 2:
                del data[at : at + chance.randint(1, 24)]
            case 3:
                piece = data[at : at + chance.randint(1, 40)]
                data[at:at] = piece * chance.randint(1, 4)
            case 4 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 5:
                del data[at:]
            case _:
                data[at:at] = hostile_text(chance, 4).encode("utf-8", "surrogatepass")
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Attack:
    """A text that is long by repetition, as it takes to make a parser slow."""

    start: str
    unit: str
    end: str

    def text(self, times: int) -> str:
        """Return it with so many repetitions."""
        return self.start + self.unit * times + self.end


def an_attack(chance: Random) -> Attack:
    """Return pieces of which a long text could be slow to read."""

    def piece() -> str:
        return "".join(chance.choices(FRAGMENTS, k=chance.randint(1, 2)))

    start = piece() if chance.random() < 0.7 else ""
    return Attack(start, piece(), piece() if chance.random() < 0.7 else "")


def explore(rounds: Rounds, what: str, check: Callable[[Random], None], examples: int) -> None:
    """Let hypothesis choose what `check` decides by chance, anew in each round."""
    for chance in rounds:
        explored = settings(
            max_examples=examples,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )(given(st.randoms(use_true_random=False))(check))
        seed(chance.getrandbits(64))(explored)()
        rounds.count(what, examples)
