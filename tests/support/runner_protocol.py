"""The runner's side of its protocol: what it takes for a command, and how it reads outputs.

Written after the runner's sources (ActionCommand.cs and FileCommandManager.cs, version 2.336), and
stricter: every name counts as a command, not only the registered ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# What .NET's `TrimStart` takes off: white space by Unicode.
_BLANKS = "".join(map(chr, [*range(9, 14), *range(0x2000, 0x200B)])) + (
    " \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
)
_UNESCAPED = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}


@dataclass(frozen=True, slots=True)
class Command:
    """A workflow command as the runner understood it."""

    name: str
    message: str = ""
    properties: dict[str, str] = field(default_factory=dict)


def commands_in(log: str) -> list[Command]:
    """Return the commands of a log, of both forms."""
    # StreamReader.ReadLine ends a line at CR, LF or both.
    return [command for line in re.split(r"\r\n|\r|\n", log) for command in _in_line(line)]


def _in_line(line: str) -> Iterator[Command]:
    trimmed = line.lstrip(_BLANKS)
    head, colons, message = trimmed[2:].partition("::")
    if trimmed.startswith("::") and colons:
        name, _, pairs = head.partition(" ")
        properties = dict(pair.split("=", 1) for pair in pairs.split(",") if "=" in pair)
        yield Command(
            name, _unescape(message), {key: _unescape(value) for key, value in properties.items()}
        )
    elif old := re.search(r"##\[([^\]]*)\](.*)", line):
        yield Command(old[1], old[2])


def _unescape(text: str) -> str:
    return re.sub(r"%(?:0D|0A|3A|2C|25)", lambda found: _UNESCAPED[found[0]], text)


def read_entries(path: Path) -> dict[str, str]:
    """Read a file of outputs: lines end at LF alone, and the first of `=` and `<<` decides.

    Raises:
        ValueError: for what makes the runner fail the step, and for blank lines between entries,
            which other runners refuse.
    """
    lines = path.read_bytes().decode("utf-8").split("\n")
    if lines.pop() != "":
        message = "the last line has no end"
        raise ValueError(message)
    entries: dict[str, str] = {}
    pending = iter(lines)
    for line in pending:
        found = re.match(r"(?s)(.+?)(=|<<)(.*)", line)
        if found is None:
            message = f"not an entry: {line!r}"
            raise ValueError(message)
        name, mark, rest = found.groups()
        entries[name] = rest if mark == "=" else "\n".join(_until(pending, rest))
    return entries


def _until(lines: Iterator[str], delimiter: str) -> Iterator[str]:
    for line in lines:
        if line == delimiter:
            return
        yield line
    message = f"no end of the value: {delimiter!r}"
    raise ValueError(message)
