"""Which files' texts no page shows, and which lines of others are hidden.

Hiding too much does little harm here: a line that changed is still seen to have changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from deploy_action.bundle.secret_files import names_secrets
from deploy_action.text.likely_keys import likely_keys
from deploy_action.text.redaction import looks_like_key

KEYS_NAME: Final = "keys.json"
_OF_SECRETS: Final = re.compile(
    r"notify\.json|keys?\..+|.*(?:secret|credential|passw).*|.+\.(?:key|pem)"
    r"|(?:.*(?:wallet|service.?account|token).*|auth)\.(?:json|ya?ml|toml|ini|cfg|conf|txt|csv)",
    re.IGNORECASE,
)
_PRIVATE: Final = b"PRIVATE KEY"
_CODE: Final = (".py", ".ipynb")
_SHORTEST: Final = 8  # shorter values of variables are words such as `true`
# Others write these texts: no part of these patterns may go back.
_WORD: Final = (
    r"(?:secret|token|passw|passphrase|pass(?![a-z])|pwd|auth(?!or(?!i[sz]))|bearer|credential|mnemonic"
    r"|(?:api|private|access)_?-?(?:key|pass))"
)
_NAMED: Final = re.compile(rf"{_WORD}|seed", re.IGNORECASE)
_AFTER: Final = r"[\w.-]{0,40}+\\?+[\"']?+\]?+\s{0,4}+"
# In code a literal, in settings any value. A seed that is a number is one of random numbers.
_IN_CODE: Final = re.compile(
    rf"(?:{_WORD}|seed){_AFTER}(?::\s{{0,2}}+str\s{{0,2}}+)?[:=]\s{{0,4}}+[rbf]?\\?[\"'][^\"'\\]",
    re.IGNORECASE,
)
_IN_SETTINGS: Final = re.compile(
    rf"{_WORD}{_AFTER}[:=]\s{{0,4}}+[\"']?[^\s\"'\[{{,}}]|seed{_AFTER}[:=]\s{{0,4}}+[\"']?[A-Za-z]"
    r"|(?:^|\s)(?:-u|--user)[ =]\s?[^\s:]{1,64}+:\S",
    re.IGNORECASE,
)
# What follows on the next lines, as in `API_SECRET = (`.
_OPEN: Final = re.compile(
    rf"(?:{_WORD}|seed){_AFTER}[:=]\s{{0,4}}+[(\[{{|>\\-]{{0,3}}+\s{{0,4}}+$", re.IGNORECASE
)
_CLOSING: Final = (")", "]", "}")
_MOST_OPEN: Final = 50  # lines
# What looks like a key, whatever it is assigned to, and without quotes; checksums are public.
_LITERAL: Final = re.compile(
    r"[\"'](?!(?:sha(?:1|256|384|512)|md5)[:=-])([0-9A-Za-z+/=_.:-]{16,200})\\?[\"']"
)
_RUN: Final = re.compile(r"(?<![0-9A-Za-z+/=_-])[0-9A-Za-z+/=_-]{20,200}")
_PIN: Final = re.compile(r"(?:sha(?:1|256|384|512)|md5)[:=-]", re.IGNORECASE)
_JSON_TEXT: Final = re.compile(r'"([^"\\\r\n]{8,200})"')
_LONGEST_SEARCHED: Final = 2_000  # in characters; of longer lines each that names a key is hidden


def is_secret_file(name: str, data: bytes = b"") -> bool:
    """Whether a file, by its name below the model's directory or by what is in it, has secrets."""
    last = name.rpartition("/")[2]
    is_named = names_secrets(last) or _OF_SECRETS.fullmatch(last) is not None
    return is_named or _PRIVATE in data


def keys_in(keys_json: bytes) -> set[str]:
    """Return the texts of a `keys.json` that look like keys, whatever else is wrong with it."""
    found = _JSON_TEXT.findall(keys_json.decode("utf-8", "replace"))
    return {text for text in found if looks_like_key(text)}


def secret_values(variables: Mapping[str, str]) -> set[str]:
    """Return the lines of variables' values that are long enough to be secrets."""
    lines = (line.strip() for value in variables.values() for line in value.splitlines())
    return {line for line in lines if len(line) >= _SHORTEST}


def hidden_lines(
    name: str, lines: Sequence[str], numbers: Collection[int], secrets: Collection[str]
) -> frozenset[int]:
    """Return which of the lines with these numbers, from 0, are not shown.

    A key, a password, or one of `secrets` may be in them.
    """
    chosen = sorted(numbers)
    is_code = name.lower().endswith(_CODE)
    text = "\n".join(lines[number] for number in chosen)
    found = {chosen[key.line - 1] for key in likely_keys(text.encode(), is_code=is_code)}
    known = [secret for secret in secrets if secret in text]
    found |= {
        number
        for number in chosen
        if _may_have_key(lines[number], is_code=is_code)
        or any(secret in lines[number] for secret in known)
    }
    return frozenset(found | (set(_opened(lines, chosen)) & set(chosen)))


def _may_have_key(line: str, *, is_code: bool) -> bool:
    assigned = _IN_CODE if is_code else _IN_SETTINGS
    named = assigned if len(line) <= _LONGEST_SEARCHED else _NAMED
    if named.search(line) is not None:
        return True
    if any(map(looks_like_key, _LITERAL.findall(line))):
        return True
    return not _PIN.search(line) and any(map(looks_like_key, _RUN.findall(line)))


def _opened(lines: Sequence[str], numbers: Sequence[int]) -> Iterator[int]:
    """Yield the lines of values that begin on a line of their own, as far as they matter."""
    near = {one for number in numbers for one in range(max(0, number - _MOST_OPEN), number + 1)}
    for number in sorted(near):
        line = lines[number]
        if len(line) > _LONGEST_SEARCHED or not _OPEN.search(line):
            continue
        yield number
        margin = _margin(line)
        for following in range(number + 1, min(len(lines), number + 1 + _MOST_OPEN)):
            stripped = lines[following].strip()
            if following > number + 1 and stripped and _margin(lines[following]) <= margin:
                break
            yield following
            if stripped.startswith(_CLOSING):
                break


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())
