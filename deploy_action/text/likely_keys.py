"""Finds what looks like a key or a password in source code, notebooks and settings.

The forms are those that the services document, and of which `gitleaks` and `detect-secrets` keep
lists. `detect-secrets` itself takes ten seconds for a megabyte, too long for each run. Any other
text counts only if it looks like a key and is assigned to a name such as `api_key`: false alarms
would teach people to overlook the right ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import is_placeholder
from deploy_action.text.redaction import HIDDEN, looks_like_key

# Every repetition has a bound: others write these texts, and must not make a search take minutes.
# What it is, a part of it that is looked for first because that is fast, and its form.
_FORMS: Final = tuple(
    (what, part, lazy_regex(form))
    for what, part, form in (
        ("a private key", b"PRIVATE KEY-", rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY-----"),
        (
            "a token of Telegram",
            b":AA",
            rb"(?<![0-9A-Za-z])[0-9]{8,10}:AA[0-9A-Za-z_-]{33}(?![\w-])",
        ),
        ("a webhook of Discord", b"/api/webhooks/", rb"/api/webhooks/[0-9]{17,20}/[\w-]{60,100}"),
        (
            "a webhook of Slack",
            b"hooks.slack.com/",
            rb"hooks\.slack\.com/services/T\w{1,30}/B\w{1,30}/\w{20,100}",
        ),
        (
            "a token of Slack",
            b"xox",
            rb"\bxox[abeoprs]-(?:[0-9A-Za-z]{1,40}-){1,4}[0-9A-Za-z]{20,200}",
        ),
        ("a key of AWS", b"AKIA", rb"\bAKIA[A-Z2-7]{16}\b"),
        ("a key of Google", b"AIza", rb"\bAIza[\w-]{35}(?![\w-])"),
        *(
            ("a token of GitHub", part, rb"\bgh[pousr]_[0-9A-Za-z]{36,251}\b")
            for part in (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")
        ),
        ("a token of GitHub", b"github_pat_", rb"\bgithub_pat_\w{82}\b"),
        ("a key of OpenAI", b"T3BlbkFJ", rb"\bsk-[\w-]{20,100}T3BlbkFJ[\w-]{20,100}"),
        ("a key of Anthropic", b"sk-ant-", rb"\bsk-ant-[\w-]{80,120}"),
        ("a key of Stripe", b"k_live_", rb"\b[rs]k_live_[0-9A-Za-z]{24,250}"),
    )
)
# Forms that begin with nothing special, as whole values in quotes, and how long these are. Alpaca's
# key ids are PK (paper) or AK (live) and 18 capitals and digits, since 2025 24; Binance's keys have
# 64 letters and digits.
_WORDS: Final = (
    ("a key of Alpaca", lazy_regex(rb"[AP]K(?=[A-Z]*[0-9])[0-9A-Z]{18}(?:[0-9A-Z]{6})?")),
    ("a token of OANDA", lazy_regex(rb"[0-9a-f]{32}-[0-9a-f]{32}")),
    (
        "a key of an exchange",
        lazy_regex(rb"(?=[0-9a-z]*[A-Z])(?=[0-9A-Z]*[a-z])(?=[A-Za-z]*[0-9])[0-9A-Za-z]{64}"),
    ),
)
_LENGTHS: Final = frozenset({20, 26, 64, 65})
_QUOTED: Final = lazy_regex(rb"[\"']([0-9A-Za-z+/=_.:-]{8,200}+)(?=\\?[\"'])")
# What every value has that `_is_key`, and what is before one that `_NAMED` finds. Few pass both of
# these, which are fast.
_OF_KEY: Final = lazy_regex(rb"[0-9]|[A-Za-z]{16}")
_ASSIGNS: Final = frozenset(b":=")
_BEFORE_QUOTE: Final = b" \t\n\r\f\v\\"
_MOST_BEFORE_QUOTE: Final = 7
_NAMED: Final = lazy_regex(
    rb"(?P<name>\w{0,30}(?:secret|token|passw(?:or)?d|passphrase|(?:api|private|access)_?-?(?:key|pass))"
    rb"\w{0,30})\\?[\"']?\]?\s{0,4}(?::\s{0,2}str\s{0,2})?[:=]\s{0,4}\\?$",
    re.IGNORECASE,
)
_LINE: Final = lazy_regex(
    rb"^[ \t-]{0,80}(?:export[ \t]{1,4})?(?P<name>[\w.-]{3,80})[ \t]{0,4}[:=][ \t]{0,4}"
    rb"(?P<value>[0-9A-Za-z+/=_.:-]{8,200})[ \t\r]*(?:#.*)?$",
    re.MULTILINE,
)
_PRIVATE: Final = lazy_regex("-----BEGIN .*PRIVATE KEY")
_MOST_LINES_OF_KEY: Final = 100
_LONGEST_BEFORE: Final = 80
_IN_ADDRESS: Final = lazy_regex(rb"://[^\s/:@\"']{1,64}:(?P<value>[^\s/:@\"']{8,128})@")
# Names of tokens that are traded, and of what is public.
_PUBLIC_NAME: Final = lazy_regex(
    rb"addr|mint|contract|program|symbol|ur[il]|name|type|path|file|pair|hash|public|_ids?$|_id_",
    re.IGNORECASE,
)
_ADDRESS: Final = lazy_regex(rb"0x[0-9A-Fa-f]{40}")
# Settings, and addresses without a password.
_PLAIN: Final = lazy_regex(
    r".{0,5}|[0-9.,:+-]{1,7}|true|false|development|production|https?://[^@?]*|<.*>|\$\{.*\}",
    re.IGNORECASE,
)
_EXAMPLE: Final = lazy_regex(
    rb"your|xxxx|exampl|placehold|change_?me|dummy|insert|replace|sample|0000|1234567|abcdef|\.\.\.",
    re.IGNORECASE,
)

# Where it is, what it may be, and itself.
_Place = tuple[int, str, bytes]


@dataclass(frozen=True, slots=True)
class LikelyKey:
    """What looks like a key: the line, from 1, what it may be, and itself, to be masked."""

    line: int
    what: str
    value: str = field(repr=False)


def likely_keys(data: bytes, *, is_code: bool = True) -> list[LikelyKey]:
    """Return what looks like a key in a text, one a line, in the order of the lines.

    Without `is_code`, values need no quotes, as in YAML and INI files.
    """
    found: dict[int, LikelyKey] = {}
    places = [*_places(data), *(() if is_code else _bare(data))]
    line, counted = 1, 0
    for start, what, value in sorted(places, key=itemgetter(0)):
        line += data.count(b"\n", counted, start)
        counted = start
        found.setdefault(line, LikelyKey(line, what, value.decode("utf-8", "replace")))
    return list(found.values())


def without_keys(source: str, *, is_code: bool = True) -> str:
    """Return a source in which each line with what looks like a key is `***`.

    Of a private key, all lines up to its end are. `is_code` is as in `likely_keys`.
    """
    lines = source.split("\n")
    for key in likely_keys(source.encode("utf-8", "replace"), is_code=is_code):
        last = key.line
        if _PRIVATE.search(key.value):
            ends = (at for at in range(key.line, len(lines) + 1) if "-----END" in lines[at - 1])
            last = next(ends, min(len(lines), key.line + _MOST_LINES_OF_KEY))
        lines[key.line - 1 : last] = [HIDDEN] * (last - key.line + 1)
    return "\n".join(lines)


def looks_real(value: str) -> bool:
    """Whether a value in a file of secrets is one: not blank, no number or switch, no example."""
    text = value.strip()
    is_plain = is_placeholder(text) or _PLAIN.fullmatch(text) is not None
    return not is_plain and not _EXAMPLE.search(text.encode("utf-8", "replace"))


def _places(data: bytes) -> Iterator[_Place]:
    for what, part, form in _FORMS:
        if part in data:
            for match in form.finditer(data):
                if not _EXAMPLE.search(match[0]):
                    yield match.start(), what, match[0]
    yield from _quoted(data)
    for match in _IN_ADDRESS.finditer(data) if b"://" in data else ():
        if _is_key(match["value"]):
            yield match.start(), "a password in an address", match["value"]


def _quoted(data: bytes) -> Iterator[_Place]:
    """Yield quoted values that have the form of a key, or the name of one before them."""
    for match in _QUOTED.finditer(data):
        value, start = match[1], match.start()
        if len(value) in _LENGTHS:
            for what, form in _WORDS:
                if form.fullmatch(value) and not _EXAMPLE.search(value):
                    yield match.start(1), what, value
        before = data[max(0, start - _MOST_BEFORE_QUOTE) : start].rstrip(_BEFORE_QUOTE)
        if before and before[-1] in _ASSIGNS and _OF_KEY.search(value):
            named = _NAMED.search(data, max(0, start - _LONGEST_BEFORE), start)
            if named and not _PUBLIC_NAME.search(named["name"]) and _is_key(value):
                yield match.start(1), "a key or a password", value


def _bare(data: bytes) -> Iterator[_Place]:
    """Yield values without quotes that are assigned on a line of their own."""
    for match in _LINE.finditer(data):
        if not _OF_KEY.search(match["value"]):
            continue
        named = _NAMED.search(data, match.start("name"), match.start("value"))
        if named and not _PUBLIC_NAME.search(named["name"]) and _is_key(match["value"]):
            yield match.start("value"), "a key or a password", match["value"]


def _is_key(value: bytes) -> bool:
    is_public = _ADDRESS.fullmatch(value) or _EXAMPLE.search(value)
    return not is_public and looks_like_key(value.decode("utf-8", "replace"))
