"""Decides which paths are ignored, by patterns with the semantics of `.gitignore`.

The rules are those of gitignore(5) and of git's `wildmatch.c`: the last matching pattern decides;
a pattern without a slash matches the name, one with a slash the whole path; a trailing slash
matches directories only. The caller walks from the top and skips ignored directories, as git does.
One difference is on purpose: git matches bytes, so that its `?` is a quarter of an emoji; here it
is one code point.

Libraries were compared with `git check-ignore`: pathspec is wrong about character classes and
escapes, and takes seconds for `*a*a*a*b`; dulwich is wrong about escapes. A pattern that is read
differently from git leaks a file or loses one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass

_POSIX_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
MAX_PATTERN_LENGTH: Final = 4096  # characters: what Linux takes for a path
_SLASH: Final = "/"
_STAR: Final = "*"
# A `**` that crosses folders, with the slash after it: anything below, any number of folders, or,
# because git does not skip an escaped slash, one folder and more.
_REST: Final = "**"
_FOLDERS: Final = "**/"
_SOME_FOLDERS: Final = "**\\/"
_CROSSING: Final = (_FOLDERS, _SOME_FOLDERS, _REST)
_ONE_CHARACTER: Final = "[^/]"
_ONE_FOLDER: Final = "[^/]*/"  # blank where a `**` starts inside a name, as in `a**/b`
_SPECIAL: Final = lazy_regex(r"[*?\[\\]")


class InvalidPatternError(ValueError):
    """The pattern can match nothing. Git skips it silently; we report it."""


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """One pattern, compiled."""

    text: str
    includes_again: bool
    directories_only: bool
    name_only: bool
    regex: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """Patterns in order of precedence: the last one given comes first."""

    rules: tuple[IgnoreRule, ...]

    def ignoring(self, path: str, name: str, *, is_directory: bool) -> IgnoreRule | None:
        """Return the rule that ignores `path`, None if it is kept.

        `path` is POSIX and relative to the root, `name` its last part.
        """
        rule = self.deciding(path, name, is_directory=is_directory)
        return None if rule is None or rule.includes_again else rule

    def deciding(self, path: str, name: str, *, is_directory: bool) -> IgnoreRule | None:
        """Return the rule that ignores `path` or takes it back, None if none is about it."""
        for rule in self.rules:
            if rule.directories_only and not is_directory:
                continue
            if rule.regex.fullmatch(name if rule.name_only else path):
                return rule
        return None


def compile_rules(patterns: Iterable[str]) -> tuple[IgnoreRules, tuple[tuple[str, str], ...]]:
    """Compile patterns; blank ones and comments are skipped.

    Returns the rules, and for each invalid pattern its text and the reason.
    """
    rules: list[IgnoreRule] = []
    invalid: list[tuple[str, str]] = []
    for pattern in patterns:
        try:
            rule = _compile(pattern)
        except InvalidPatternError as error:
            invalid.append((pattern, str(error)))
        else:
            if rule is not None:
                rules.append(rule)
    return IgnoreRules(tuple(reversed(rules))), tuple(invalid)


def _compile(text: str) -> IgnoreRule | None:
    pattern = _without_trailing_spaces(text.removesuffix("\r"))
    if not pattern or pattern.startswith("#"):
        return None
    if len(pattern) > MAX_PATTERN_LENGTH:
        reason = f"it has {len(pattern):,} characters, and at most {MAX_PATTERN_LENGTH:,} are read"
        raise InvalidPatternError(reason)
    includes_again = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    directories_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    if not pattern:
        return None
    return IgnoreRule(
        text=text,
        includes_again=includes_again,
        directories_only=directories_only,
        name_only="/" not in pattern,
        regex=re.compile(_path_regex(list(_tokens(pattern.removeprefix("/")))), re.DOTALL),
    )


def _without_trailing_spaces(line: str) -> str:
    """Drop trailing spaces, except one that a backslash protects."""
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return kept + " " if backslashes % 2 and len(line) > len(kept) else kept


def _tokens(pattern: str) -> Iterator[str]:
    """Yield `/`, `*`, one of `_CROSSING`, or the regex of one character."""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "*":
            end = position + len(pattern[position:]) - len(pattern[position:].lstrip("*"))
            token = _stars(pattern, position, end)
            yield token
            position = end + max(0, len(token) - len(_REST))
        elif character == "?":
            yield _ONE_CHARACTER
            position += 1
        elif character == "[":
            position, regex = _bracket(pattern, position + 1)
            yield regex
        elif character == "\\":
            if position + 1 == len(pattern):
                reason = "it ends with a backslash that escapes nothing"
                raise InvalidPatternError(reason)
            escaped = pattern[position + 1]
            yield _SLASH if escaped == "/" else re.escape(escaped)
            position += 2
        else:
            yield _SLASH if character == "/" else re.escape(character)
            position += 1


def _stars(pattern: str, start: int, end: int) -> str:
    """Return the token for the stars from `start` to `end`, with the slash that belongs to it.

    Git compares what is before the first special character by itself, and then takes stars that
    follow at once for the start of a pattern: `a**/b` matches `a/x/b`, and `*a**/b` does not.
    """
    is_start = start == 0 or pattern[start - 1] == "/" or not _SPECIAL.search(pattern[:start])
    if end - start > 1 and is_start:
        if end == len(pattern):
            return _REST
        for token in (_FOLDERS, _SOME_FOLDERS):
            if pattern.startswith(token.removeprefix(_REST), end):
                return token
    return _STAR


def _bracket(pattern: str, position: int) -> tuple[int, str]:
    """Translate a bracket expression from after its `[`; return the position after its `]`, too."""
    negated = pattern[position : position + 1] in {"!", "^"}
    position += negated
    items: list[str] = []
    first, previous = True, ""
    while first or pattern[position : position + 1] != "]":
        first = False
        if (
            pattern.startswith("[:", position)
            and (name := _class_name(pattern, position)) is not None
        ):
            if name not in _POSIX_CLASSES:
                reason = f"it names an unknown character class, [:{name}:]"
                raise InvalidPatternError(reason)
            items.append(_POSIX_CLASSES[name])
            position, previous = position + len(name) + 4, ""
        elif (
            pattern[position : position + 1] == "-"
            and previous
            and _has_range_end(pattern, position)
        ):
            position, last = _bracket_character(pattern, position + 1)
            if previous <= last:
                items.append(f"{re.escape(previous)}-{re.escape(last)}")
            previous = ""
        else:
            position, previous = _bracket_character(pattern, position)
            items.append(re.escape(previous))
    return position + 1, _bracket_regex("".join(items), negated=negated)


def _class_name(pattern: str, position: int) -> str | None:
    """Return NAME of `[:NAME:]` at `position`, None if it is not a class."""
    end = pattern.find("]", position + 2)
    if end == -1:
        reason = "it has a [ without its ]"
        raise InvalidPatternError(reason)
    inner = pattern[position + 2 : end]
    return inner[:-1] if inner.endswith(":") else None


def _has_range_end(pattern: str, position: int) -> bool:
    return pattern[position + 1 : position + 2] not in {"", "]"}


def _bracket_character(pattern: str, position: int) -> tuple[int, str]:
    if pattern[position : position + 1] == "\\":
        position += 1
    if position >= len(pattern):
        reason = "it has a [ without its ]"
        raise InvalidPatternError(reason)
    return position + 1, pattern[position]


def _bracket_regex(items: str, *, negated: bool) -> str:
    if not items:
        return _ONE_CHARACTER if negated else "(?!)"
    return f"[^/{items}]" if negated else f"(?!/)[{items}]"


def _path_regex(tokens: Sequence[str]) -> str:
    """Join tokens to a regex without exponential backtracking.

    Between two `**`, and between two `*`, the first match is as good as any other, so an atomic
    group stops the search for another: `*a*a*a*b` stays fast.
    """
    crossings = [index for index, token in enumerate(tokens) if token in _CROSSING]
    first, *ends = (*crossings, len(tokens))
    regex = _run_regex(tokens[:first])
    for start, end in zip(crossings, ends, strict=True):
        run = _run_regex(tokens[start + 1 : end])
        if tokens[start] == _REST:
            return f"{regex}.*"
        some = _ONE_FOLDER if tokens[start] == _SOME_FOLDERS else ""
        part = f"{some}(?:{_ONE_FOLDER})*?{run}"
        regex += part if end == len(tokens) else f"(?>{part})"
    return regex


def _run_regex(tokens: Sequence[str]) -> str:
    return "/".join(_segment_regex(segment) for segment in _split(tokens, _SLASH))


def _segment_regex(tokens: Sequence[str]) -> str:
    first, *rest = _split(tokens, _STAR)
    regex = "".join(first)
    if not rest:
        return regex
    *middle, last = rest
    regex += "".join(f"(?>{_ONE_CHARACTER}*?{''.join(part)})" for part in middle)
    return f"{regex}{_ONE_CHARACTER}*{''.join(last)}"


def _split(tokens: Sequence[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
