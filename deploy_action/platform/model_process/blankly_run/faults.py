"""Turns exceptions of a model into problems with a place in the model's files and a hint."""

from __future__ import annotations

import functools
import os
import stat
import traceback
from contextlib import suppress
from typing import Any, Dict, Iterator, NamedTuple

from .hints import find_hint
from .strict_json import describe

Problem = Dict[str, Any]

_OWN_DIRECTORY = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_LONGEST_TEXT = 500
# Characters of a message or a hint. The platform shows 4,000, without the model's secrets, which it
# must see whole; and it ignores an event of more than 520 KiB.
_LONGEST_IN_PROBLEM = 16_000
_DEEPEST_CHAIN = 20
_LONGEST_SOURCE = 16 << 20  # bytes; in a longer file, every line is taken for one that exists


class Fault(NamedTuple):
    """An exception as text, with the place in the model's files."""

    words: str  # "KeyError: 'BTC'"
    path: str | None
    line: int | None
    hint: str


def make_problem(
    severity: str, message: str, hint: str = "", path: str | None = None, line: int | None = None
) -> Problem:
    """Return a problem in the form that the parent reads."""
    message, hint = message[:_LONGEST_IN_PROBLEM], hint[:_LONGEST_IN_PROBLEM]
    return {"severity": severity, "message": message, "hint": hint, "path": path, "line": line}


def problem_of(fault: Fault, consequence: str = "") -> Problem:
    """Return an exception as an error, followed by what it led to, if that is said."""
    message = f"{fault.words.rstrip('.')}: {consequence}" if consequence else fault.words
    return make_problem("error", message, fault.hint, fault.path, fault.line)


class ModelFiles:
    """Tells the model's own files from those of packages."""

    def __init__(self, root: str, *, is_live: bool = False) -> None:
        """Relative names are resolved against the current directory of this moment.

        Hints for a model that `is_live` are not those for its backtest.
        """
        self.root = os.path.realpath(root)
        self._is_live = is_live
        self._start = os.getcwd()
        self._known: dict[str, str | None] = {}
        self._lengths: dict[str, int | None] = {}

    def relative(self, filename: str) -> str | None:
        """Return a file's POSIX path relative to the root; None if the model has no such file.

        A frame may name a file that does not exist: those of compiled modules name their sources,
        such as `pandas/_libs/tslibs/parsing.pyx`, and code that a model compiles has any name.
        """
        if filename not in self._known:
            self._known[filename] = self._relative(filename)
        return self._known[filename]

    def place(self, error: BaseException) -> tuple[str | None, int | None]:
        """Return file and line of the innermost frame of the model, in the error or its causes."""
        for one in _chain(error):
            if isinstance(one, SyntaxError) and one.filename:
                path = self._with_line(one.filename, one.lineno)
                if path is not None:
                    return path, one.lineno
            for frame, line in reversed(list(traceback.walk_tb(one.__traceback__))):
                path = self._with_line(frame.f_code.co_filename, line)
                if path is not None:
                    return path, line
        return None, None

    def caller(self, frame: Any) -> tuple[str | None, int | None]:
        """Return file and line of the nearest frame of the model, from `frame` outwards."""
        while frame is not None:
            path = self._with_line(frame.f_code.co_filename, frame.f_lineno)
            if path is not None:
                return path, frame.f_lineno
            frame = frame.f_back
        return None, None

    def fault(self, error: BaseException) -> Fault:
        """Describe an exception, with the model's place and a hint if they can be found."""
        path, line, hint = None, None, ""
        with suppress(BaseException):  # the class of the exception is the model's own
            path, line = self.place(error)
            hint = find_hint(_chain(error), self.root, is_live=self._is_live)
        return Fault(words=in_words(error), path=path, line=line, hint=hint)

    def _with_line(self, filename: str, line: int | None) -> str | None:
        """Return the path of a file of the model that has this line, else None."""
        path = self.relative(filename)
        if path is None or line is None:
            return path
        if filename not in self._lengths:
            self._lengths[filename] = _lines_of(os.path.join(self._start, filename))
        length = self._lengths[filename]
        return path if length is None or line <= length else None

    def _relative(self, filename: str) -> str | None:
        if filename.startswith("<"):
            return None
        real = os.path.realpath(os.path.join(self._start, filename))
        if not real.startswith(self.root + os.sep) or is_own(filename):
            return None
        if not os.path.isfile(real):
            return None
        parts = real[len(self.root) + 1 :].split(os.sep)
        # A virtual environment inside the model contains other people's code.
        if "site-packages" in parts or "dist-packages" in parts:
            return None
        return describe("/".join(parts))


def _lines_of(path: str) -> int | None:
    """Return how many lines a file has; None if it is too long to count them."""
    try:
        with open(path, "rb", opener=open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST_SOURCE:
                return None
            return len(file.read().splitlines())
    except OSError:
        return None


def open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting; an opener for `open`."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # the model may replace it by a pipe


@functools.lru_cache(maxsize=None)
def is_own(filename: str) -> bool:
    """Return whether a file is ours: its frames do not help the model's author."""
    return os.path.realpath(filename).startswith(_OWN_DIRECTORY + os.sep)


def in_words(error: BaseException) -> str:
    """Return an exception like the last line of its traceback, as one line."""
    try:
        return _in_words(error)
    except BaseException:  # noqa: BLE001  # the class of the exception is the model's own
        return "an exception that cannot be shown"


def _in_words(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    said = error.msg if isinstance(error, SyntaxError) else error
    text = shortened(said, _LONGEST_TEXT)
    return f"{name}: {text}" if text else name


def shortened(said: object, most: int) -> str:
    """Return a text as one line, cut between words if it is longer.

    The platform hides secrets that are there whole, and could not tell the half of one.
    """
    text = " ".join(describe(said).split())
    return text if len(text) <= most else f"{text[:most].rpartition(' ')[0]} …".lstrip()


def without_own_frames(error: BaseException) -> None:
    """Remove our frames from the tracebacks of an exception and its causes."""
    for one in _chain(error):
        one.__traceback__ = _without_own(one.__traceback__)


def _without_own(trace: Any) -> Any:
    """Return the traceback without our frames."""
    first = last = None
    while trace is not None:
        if not is_own(trace.tb_frame.f_code.co_filename):
            if last is None:
                first = trace
            else:
                last.tb_next = trace
            last = trace
        trace = trace.tb_next
    if last is not None:
        last.tb_next = None
    return first


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, nearest first."""
    following: BaseException | None = error
    seen: list[BaseException] = []
    while following is not None and len(seen) < _DEEPEST_CHAIN:
        if any(one is following for one in seen):
            return
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__
