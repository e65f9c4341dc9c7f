"""Reads requirements files as pip reads them: a file, and those that it includes.

It follows pip's own reader (`pip/_internal/req/req_file.py`): encodings by byte-order mark or
declaration, continuation lines, comments, options. What a line means is for the callers to say.
"""

from __future__ import annotations

import codecs
import errno
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from deploy_action.errors import InvalidInputError, Problem
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field
from deploy_action.regular_files import SourceTree

_MAX_BYTES: Final = 1024 * 1024
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FOR_HOSTS: Final = frozenset({"idna", "punycode"})
_DECLARED_ENCODING: Final = lazy_regex(rb"coding[:=]\s*([-\w.]+)")
# As pip has it, but for the blanks before it: to look for those takes the square of their number.
_COMMENT: Final = lazy_regex(r"(?:^|(?<=\s))#.*$")
_VARIABLE: Final = lazy_regex(r"\$\{([A-Z0-9_]+)\}")
_OPTION: Final = lazy_regex(r"(--[a-z][a-z-]*|-[a-zA-Z])\s*=?\s*(.*)$")
_URL: Final = lazy_regex(r"(?:(?:git|hg|svn|bzr)\+[a-z+]+|https?|ftp|file):\S+$", re.IGNORECASE)
_ARCHIVE: Final = lazy_regex(r"\.(?:whl|zip|tar|tgz|tbz|txz|tar\.\w+)$", re.IGNORECASE)
_GIT: Final = lazy_regex(r"(?:^|@\s*)(git\+(?:https?|ssh|git)://\S+)", re.IGNORECASE)
# Scheme, user, host, port, path, ref, fragment. `@` comes before a branch, tag or commit. A host
# has a dot: a password with a slash would make its user look like one.
_REPOSITORY: Final = lazy_regex(
    r"git\+\w+://(?:(?P<user>[^/@]*)@)?(?P<host>[\w-]+(?:\.[\w-]+)+)(?P<port>:\d+)?"
    r"/(?P<path>[^@#?:]+?)/?"
    r"(?:\.git)?(?:@(?P<ref>[^#]+))?(?:#(?P<fragment>.*))?",
    re.IGNORECASE,
)
_ONLY_VARIABLES: Final = lazy_regex(r"\$\{[A-Z0-9_]+\}(?::\$\{[A-Z0-9_]+\})?")
_IN_FRAGMENT: Final = lazy_regex(r"(?:^|&)(egg|subdirectory)=([^&]+)")

# Options that include another file, and whether its packages are installed or only constrained.
_INCLUDING: Final = {"-r": True, "--requirement": True, "-c": False, "--constraint": False}
_EDITABLE: Final = frozenset({"-e", "--editable"})


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line: where it starts, and how pip splits it.

    `file` is its name in the model; lines count from 1. `option` is "" for a
    requirement, and for a line that starts with `-` but is not an option. `value` is what follows
    the option, or the requirement without its own options such as `--hash`. `installs` is false in
    constraints and what they include.
    """

    file: str
    number: int
    text: str
    option: str
    value: str
    installs: bool

    @property
    def is_requirement(self) -> bool:
        """Whether the line names a package, an address or a path to install."""
        return not self.text.startswith("-")

    @property
    def is_editable(self) -> bool:
        """Whether the line installs a project in place (`-e`)."""
        return self.option in _EDITABLE

    @property
    def is_include(self) -> bool:
        """Whether the line includes another file, as requirements or as constraints."""
        return self.option in _INCLUDING

    @property
    def is_constraint(self) -> bool:
        """Whether the line includes a file that installs nothing, but limits versions."""
        return self.is_include and not _INCLUDING[self.option]

    @property
    def word(self) -> str:
        """The first word of the value, without quotes: the file that an option names."""
        words = self.value.split()
        return words[0].strip("\"'") if words else ""

    @property
    def from_git(self) -> str:
        """The address of the git repository that the line installs from; blank without one."""
        installs = self.word if self.is_editable else self.value if self.is_requirement else ""
        found = _GIT.search(installs)
        return found[1] if found else ""

    @property
    def from_archive(self) -> str:
        """A requirement of the archive of that repository, which the forge makes without git.

        It keeps a user only if that is a variable. The forms are those of GitHub and Gitea, GitLab,
        and Bitbucket.
        """
        found = _REPOSITORY.fullmatch(self.from_git)
        if found is None:
            return ""
        user, host, path = found["user"] or "", found["host"], found["path"]
        ref, facts = found["ref"] or "HEAD", dict(_IN_FRAGMENT.findall(found["fragment"] or ""))
        last = posixpath.basename(path)
        if "gitlab" in host.lower():
            archive = f"/-/archive/{ref}/{last}-{ref.replace('/', '-')}.zip"
        elif "bitbucket" in host.lower():
            archive = f"/get/{ref}.zip"
        else:
            archive = f"/archive/{ref}.zip"
        # The port of another scheme is not that of https.
        port = found["port"] if found["port"] and "https:" in self.from_git.lower() else ""
        address = (
            f"https://{f'{user}@' if _ONLY_VARIABLES.fullmatch(user) else ''}{host}{port or ''}"
        )
        subdirectory = f"#subdirectory={facts['subdirectory']}" if "subdirectory" in facts else ""
        name = self.value.partition("@")[0].strip() if self.is_requirement else ""
        name = facts.get("egg", "") if not name or name.startswith("git+") else name
        return f"{f'{name} @ ' if name else ''}{address}/{path}{archive}{subdirectory}"

    @property
    def is_remote(self) -> bool:
        """Whether the included file is a URL, or may be one that a variable holds."""
        return has_variable(self.word) or is_url(self.word)

    @property
    def target(self) -> str:
        """The name of the included file in the model, normalised."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.file), self.word))


@dataclass(frozen=True, slots=True)
class RequirementsFile:
    """A file that was read, its text decoded and without byte-order mark.

    `filled` is the text with its variables filled in, of which `lines` are the lines; those of
    the text itself are `written`.
    """

    name: str
    text: str
    filled: str
    encoding: str
    lines: tuple[Line, ...]
    written: tuple[Line, ...]


@dataclass(slots=True)
class Walk:
    """Iterates over a requirements file and the included ones, each once.

    The caller decides which includes to `follow`. Names are normalised. A
    file that cannot be read is left out, after `on_unreadable` was called with the problem. `fill`
    fills in the variables of a text.
    """

    files: SourceTree
    start: str
    on_unreadable: Callable[[Problem], None]
    fill: Callable[[str], str] = str
    # A queue instead of recursion: a chain of files may be longer than the stack is deep.
    _left: list[tuple[str, bool]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def follow(self, line: Line) -> None:
        """Read the file that a line includes, unless it was or will be read."""
        self._add(line.target, installs=line.installs and not line.is_constraint)

    def __iter__(self) -> Iterator[RequirementsFile]:
        self._add(self.start, installs=True)
        while self._left:
            name, installs = self._left.pop(0)
            try:
                text, encoding = _read_text(self.files, name)
            except InvalidInputError as error:
                self.on_unreadable(*error.problems)
            else:
                filled = self.fill(text)
                written = tuple(_lines(name, text, installs=installs))
                is_same = filled == text
                lines = written if is_same else tuple(_lines(name, filled, installs=installs))
                yield RequirementsFile(name, text, filled, encoding, lines, written)

    def _add(self, name: str, *, installs: bool) -> None:
        if name not in self._seen:
            self._seen.add(name)
            self._left.append((name, installs))


def check_encoding(encoding: str) -> None:
    """Refuse the encodings of host names: to read a long text takes the square of its length.

    Raises:
        LookupError: it is one of those, or Python does not know it.
    """
    if codecs.lookup(encoding).name in _FOR_HOSTS:
        raise LookupError(encoding)


def is_inside(name: str) -> bool:
    """Whether a normalised path is relative, and does not start above its root."""
    return not posixpath.isabs(name) and name != ".." and not name.startswith("../")


def is_file_inside(files: SourceTree, name: str) -> bool:
    """Whether a normalised path is a file of the model, and no link leads out of there."""
    return is_inside(name) and files.has_file(name)


def _read_text(files: SourceTree, name: str) -> tuple[str, str]:
    """Return the text of a file of at most 1 MiB, without byte-order mark, and its encoding."""
    try:
        data = files.read(name, _MAX_BYTES)
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}."
        hint = "Put the text file there that pip reads, and make it readable."
        if error.errno == errno.EFBIG:
            hint = "Name the file that pip reads: a list of packages is small."
        raise _unreadable(name, message, hint) from error
    return _decode(name, data)


def _decode(name: str, data: bytes) -> tuple[str, str]:
    mark, encoding = _encoding(data)
    try:
        check_encoding(encoding)
        text = data[len(mark) :].decode(encoding)
        text.encode()  # some encodings have half a character, which no UTF-8 can hold
    except LookupError as error:
        message = f"{name} declares an encoding that Python does not know, or that is not "
        message += "for texts."
        raise _unreadable(name, message, "Save it as UTF-8, without a declaration.") from error
    except UnicodeError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        message = f"{name} is not valid {encoding.upper()}."
        raise _unreadable(name, message, "Save it as UTF-8.", line) from error
    if "\0" in text:
        message = f"{name} is not plain text: it may be UTF-16 without a byte-order mark."
        raise _unreadable(name, message, "Save it as UTF-8.")
    return text, encoding


def _unreadable(name: str, message: str, hint: str, line: int = 1) -> InvalidInputError:
    return InvalidInputError(Problem(message=message, hint=hint, path=name, line=line, column=1))


def _encoding(data: bytes) -> tuple[bytes, str]:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return mark, encoding
    for line in data.split(b"\n", 2)[:2]:
        declared = _DECLARED_ENCODING.search(line) if line.startswith(b"#") else None
        if declared:
            return b"", declared.group(1).decode("ascii", "replace")
    return b"", "utf-8"


def _lines(file: str, text: str, *, installs: bool) -> Iterator[Line]:
    for number, joined in _logical_lines(text):
        match = _OPTION.match(joined)
        option, value = match.groups() if match else ("", "" if joined[0] == "-" else joined)
        if not option or option in _EDITABLE:
            value = re.split(r"\s-", value, maxsplit=1)[0].strip()
        yield Line(file, number, joined, option, value, installs)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines joined at backslashes, without comments, with the number of their first line."""
    parts: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if parts else number
        is_comment = line.lstrip().startswith("#")
        parts.append(f" {line}" if is_comment else line.rstrip("\\"))
        if line.endswith("\\") and not is_comment:
            continue
        joined = _COMMENT.sub("", "".join(parts)).strip()
        parts = []
        if joined:
            yield first, joined
    if joined := "".join(parts).strip():
        yield first, joined


def has_variable(text: str) -> bool:
    """Whether the text has a variable, such as `${TOKEN}`, that pip takes from the environment."""
    return bool(_VARIABLE.search(text))


def variables_in(text: str) -> tuple[str, ...]:
    """Return the names of the variables in a text, each once."""
    return tuple(dict.fromkeys(_VARIABLE.findall(text)))


def with_variables(text: str, variables: Mapping[str, str]) -> str:
    """Return a text in which the given variables are filled in, and others stay."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), text)


def is_url(text: str) -> bool:
    """Whether a requirement or an included file is a URL."""
    return bool(_URL.match(text))


def looks_like_path(requirement: str) -> bool:
    """Whether pip would read a requirement as a file or directory to install."""
    before_url = requirement.split("@", 1)[0]
    if " @" in requirement or not re.search(r"[/.]", before_url) or re.search(r"\s", requirement):
        return False
    return "/" in before_url or before_url.startswith(".") or bool(_ARCHIVE.search(before_url))
