"""Turns exceptions of a model into problems with a place in the model's files and a hint."""

from __future__ import annotations

import functools
import os
import socket
import traceback
from contextlib import suppress
from typing import Any, Dict, Iterator, NamedTuple

from .strict_json import describe

Problem = Dict[str, Any]

_OWN_DIRECTORY = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_LONGEST_TEXT = 500
_DEEPEST_CHAIN = 20
_KEYS_HINT = (
    "An exchange asks for keys: pass the contents of keys.json as the input `keys-json`, or read "
    "prices from a file with blankly.KeylessExchange, which needs none."
)
_NETWORK_HINT = (
    "Prices come over the network: check that this machine can reach the exchange. "
    "blankly.KeylessExchange reads prices from a file of the model and needs no network."
)
_NUMPY_HINT = (
    "A compiled package was built for numpy 1: write numpy<2 and pandas<2.2 into the requirements."
)
_NO_DATA_HINT = (
    "Set a period for which there are prices in backtest_args: to, or start_date with end_date."
)


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
    return {"severity": severity, "message": message, "hint": hint, "path": path, "line": line}


class ModelFiles:
    """Tells the model's own files from those of packages."""

    def __init__(self, root: str) -> None:
        """Relative names are resolved against the current directory of this moment."""
        self.root = os.path.realpath(root)
        self._start = os.getcwd()
        self._known: dict[str, str | None] = {}

    def relative(self, filename: str) -> str | None:
        """Return a file's POSIX path relative to the root; None if it is not the model's."""
        if filename not in self._known:
            self._known[filename] = self._relative(filename)
        return self._known[filename]

    def place(self, error: BaseException) -> tuple[str | None, int | None]:
        """Return file and line of the innermost frame of the model, in the error or its causes."""
        for one in _chain(error):
            if isinstance(one, SyntaxError) and one.filename:
                path = self.relative(one.filename)
                if path is not None:
                    return path, one.lineno
            for frame, line in reversed(list(traceback.walk_tb(one.__traceback__))):
                path = self.relative(frame.f_code.co_filename)
                if path is not None:
                    return path, line
        return None, None

    def caller(self, frame: Any) -> tuple[str | None, int | None]:
        """Return file and line of the nearest frame of the model, from `frame` outwards."""
        while frame is not None:
            path = self.relative(frame.f_code.co_filename)
            if path is not None:
                return path, frame.f_lineno
            frame = frame.f_back
        return None, None

    def fault(self, error: BaseException) -> Fault:
        """Describe an exception, with the model's place and a hint if they can be found."""
        path, line, hint = None, None, ""
        with suppress(BaseException):  # the class of the exception is the model's own
            path, line = self.place(error)
            hint = _hint(error)
        return Fault(words=in_words(error), path=path, line=line, hint=hint)

    def _relative(self, filename: str) -> str | None:
        if filename.startswith("<"):
            return None
        real = os.path.realpath(os.path.join(self._start, filename))
        if not real.startswith(self.root + os.sep) or is_own(filename):
            return None
        parts = real[len(self.root) + 1 :].split(os.sep)
        # A virtual environment inside the model contains other people's code.
        if "site-packages" in parts or "dist-packages" in parts:
            return None
        return describe("/".join(parts))


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
    text = " ".join(describe(said).split())
    if len(text) > _LONGEST_TEXT:
        text = text[: _LONGEST_TEXT - 1] + "…"
    return f"{name}: {text}" if text else name


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


def _hint(error: BaseException) -> str:
    hints = (_one_hint(one) for one in _chain(error))
    return next((hint for hint in hints if hint), "")


def _one_hint(error: BaseException) -> str:
    text = describe(error).lower()
    if "numpy.dtype size changed" in text or "numpy.core.multiarray failed to import" in text:
        return _NUMPY_HINT
    if isinstance(error, ImportError):
        return _import_hint(error)
    if _is_about_keys(error, text):
        return _KEYS_HINT
    if isinstance(error, FileNotFoundError):
        return _missing_file_hint(text)
    if _is_of_network(error):
        return _NETWORK_HINT
    is_empty = "no data given" in text or "no cached or downloaded data" in text
    return _NO_DATA_HINT if is_empty else ""


def _import_hint(error: ImportError) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return "Require the package versions that the model was written for."
    return (
        f"Add the package that provides `{error.name}` to the requirements; if it is a file of "
        "the model, check that ignore_files does not exclude it."
    )


def _missing_file_hint(text: str) -> str:
    for name in ("settings.json", "backtest.json"):
        if f"make sure a {name}" in text or text.endswith(f"{name}'"):
            return (
                f"Put {name} into the model's working_directory (`blankly init` writes one), and "
                "check that ignore_files does not exclude it."
            )
    return (
        "Paths are relative to working_directory, and only files of the bundle are there: check "
        "that ignore_files does not exclude it."
    )


def _is_about_keys(error: BaseException, text: str) -> bool:
    """Return whether keys are missing or wrong, by the words of the package and of exchanges."""
    if type(error).__name__ in ("AuthError", "AuthenticationError"):
        return True
    words = ("keys.json", "the keys file", "api key", "api-key", "apikey", "unauthorized")
    return any(word in text for word in words)


def _is_of_network(error: BaseException) -> bool:
    if isinstance(error, (ConnectionError, socket.timeout, socket.gaierror)):
        return True
    libraries = ("requests", "urllib3", "websocket", "websockets", "aiohttp", "httpx")
    return any(
        kind.__module__.partition(".")[0] in libraries
        for kind in type(error).__mro__
        if "Connect" in kind.__name__ or "Timeout" in kind.__name__ or "SSL" in kind.__name__
    )
