"""The text of requirements files, read as pip reads it.

It follows pip's own reader (`pip/_internal/req/req_file.py`): encodings by their byte-order mark or
declaration, continuation lines, comments, options. What the lines mean is for others to say.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem

MAX_BYTES: Final = 1024 * 1024
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED_ENCODING: Final = re.compile(rb"coding[:=]\s*([-\w.]+)")
_COMMENT: Final = re.compile(r"(?:^|\s+)#.*$")
_VARIABLE: Final = re.compile(r"\$\{[A-Z0-9_]+\}")
_OPTION: Final = re.compile(r"(--[a-z][a-z-]*|-[a-zA-Z])\s*=?\s*(.*)$")
_URL: Final = re.compile(r"(?:(?:git|hg|svn|bzr)\+[a-z+]+|https?|ftp|file):\S+$", re.IGNORECASE)
_ARCHIVE: Final = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tar\.\w+)$", re.IGNORECASE)

# Options that name another file; whether what it lists is installed, or only constrains.
INCLUDING: Final = {"-r": True, "--requirement": True, "-c": False, "--constraint": False}
EDITABLE: Final = frozenset({"-e", "--editable"})


class UnreadableTextError(Exception):
    """A requirements file cannot be read as text; `problem` says why, and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read_text(path: Path, name: str) -> tuple[str, str]:
    """Read a file of at most 1 MiB; give its text, without a byte-order mark, and its encoding.

    `name` is what problems call it. Raises `UnreadableTextError`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(
            name, f"{name} cannot be read: {error.strerror}.", "Make it readable."
        ) from error
    if len(data) > MAX_BYTES:
        hint = "Name the file that pip reads."
        raise _unreadable(name, f"{name} is larger than 1 MiB.", hint)
    return _decode(name, data)


def _decode(name: str, data: bytes) -> tuple[str, str]:
    mark, encoding = _encoding(data)
    try:
        text = data[len(mark) :].decode(encoding)
    except LookupError as error:
        message = f"{name} declares an encoding that Python does not know."
        raise _unreadable(name, message, "Save it as UTF-8, without a declaration.") from error
    except UnicodeError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        message = f"{name} is not valid {encoding.upper()}."
        raise _unreadable(name, message, "Save it as UTF-8.", line) from error
    if "\0" in text:
        message = f"{name} is not plain text: it may be UTF-16 without a byte-order mark."
        raise _unreadable(name, message, "Save it as UTF-8.")
    return text, encoding


def _unreadable(name: str, message: str, hint: str, line: int = 1) -> UnreadableTextError:
    return UnreadableTextError(Problem(message=message, hint=hint, path=name, line=line, column=1))


def _encoding(data: bytes) -> tuple[bytes, str]:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return mark, encoding
    for line in data.split(b"\n", 2)[:2]:
        declared = _DECLARED_ENCODING.search(line) if line.startswith(b"#") else None
        if declared:
            return b"", declared.group(1).decode("ascii", "replace")
    return b"", "utf-8"


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Give each line that says something, with the number of the first of those it joins."""
    parts: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if parts else number
        is_comment = _COMMENT.match(line) is not None
        parts.append(f" {line}" if is_comment else line.rstrip("\\"))
        if line.endswith("\\") and not is_comment:
            continue
        joined = _COMMENT.sub("", "".join(parts)).strip()
        parts = []
        if joined:
            yield first, joined
    if joined := "".join(parts).strip():
        yield first, joined


def option_of(line: str) -> tuple[str, str]:
    """Split a line that starts with `-` into the option and its value, ("", "") if it is none."""
    match = _OPTION.match(line)
    return (match[1], match[2]) if match else ("", "")


def first_word(value: str) -> str:
    """Return the file that the value of an option names, "" if none."""
    words = value.split()
    return words[0].strip("\"'") if words else ""


def without_options(line: str) -> str:
    """Cut what follows a requirement, such as `--hash=…`."""
    return re.split(r"\s-", line, maxsplit=1)[0].strip()


def has_variable(text: str) -> bool:
    """Whether the environment has a say in what the text means."""
    return bool(_VARIABLE.search(text))


def is_url(text: str) -> bool:
    """Whether a requirement, or a file that is included, is given by its address."""
    return bool(_URL.match(text))


def looks_like_path(requirement: str) -> bool:
    """Whether pip would take a requirement for a file or directory to install."""
    before_url = requirement.split("@", 1)[0]
    if " @" in requirement or not re.search(r"[/.]", before_url) or re.search(r"\s", requirement):
        return False
    return "/" in before_url or before_url.startswith(".") or bool(_ARCHIVE.search(before_url))
