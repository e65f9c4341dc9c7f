"""Says what an exchange answered where the package could not download prices, or only some.

The interfaces of blankly 1.18.25b0 read every answer as a good one. An error becomes a `KeyError`
somewhere, a web page a `JSONDecodeError`, and on OANDA a time without bars. Most of them wait for
an answer for ever.
"""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator
from urllib.parse import urlsplit

from ..faults import Problem, in_words, make_problem, shortened  # noqa: TID252  # as in `keeping`
from ..hints import KEYS, REFUSED_PLACE, find_hint  # noqa: TID252  # as in `keeping`
from ..market import RefusedRunError  # noqa: TID252  # as in `keeping`
from ..strict_json import describe  # noqa: TID252  # as in `keeping`

_TIMEOUT = (30.0, 120.0)  # seconds, for a connection and without a byte
_LONGEST_QUOTE = 200
_LONGEST_ERROR = 100_000  # bytes
_FIRST_ERROR = 400
_DEEPEST_WRAPPING = 4
_ERROR_NAMES = ("message", "msg", "errorMessage", "error")
_OWN_FILE = "blankly.KeylessExchange reads prices from a file of the model and asks no exchange."
_LATER = f"Run the backtest again later. {_OWN_FILE}"
_HINTS = {
    401: KEYS,
    403: KEYS,
    404: f"Check the symbol, and that this exchange has it. {_OWN_FILE}",
    429: f"The exchange limits how much it is asked for: ask for less, or later. {_OWN_FILE}",
    451: REFUSED_PLACE,
}


class _Answers:
    """The answers to the requests of one download."""

    def __init__(self, own_hosts: set[str | None]) -> None:
        """`own_hosts` are the exchange's; the package asks others where they do not matter."""
        self.last: Any = None  # None: the last request got no answer
        self.refusals: dict[str, Any] = {}  # by address, unless it was asked again with success
        self._own_hosts = own_hosts

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note what this thread is answered through the package `requests`."""
        requests: Any = sys.modules.get("requests")
        if requests is None:
            yield
            return
        original, thread = requests.Session.send, threading.get_ident()

        @functools.wraps(original)
        def send(session: Any, request: Any, **options: Any) -> Any:
            if threading.get_ident() != thread:
                return original(session, request, **options)
            if options.get("timeout") is None:
                options["timeout"] = _TIMEOUT
            self.last = None
            self.last = answer = original(session, request, **options)
            self._note(str(request.url), answer)
            return answer

        requests.Session.send = send
        try:
            yield
        finally:
            requests.Session.send = original

    def _note(self, url: str, answer: Any) -> None:
        is_own = urlsplit(url).hostname in self._own_hosts
        if (is_own and answer.status_code >= _FIRST_ERROR) or _error_in(answer):
            self.refusals[url] = answer
        else:
            self.refusals.pop(url, None)


def watched(interface: Any) -> Callable[..., Any]:
    """Return the download of an interface, which raises `RefusedRunError` where it goes wrong."""
    download = interface.get_product_history

    def history(symbol: Any, *positional: Any, **named: Any) -> Any:
        answers = _Answers(_hosts(interface))
        try:
            with answers.listening():
                frame = download(symbol, *positional, **named)
        except Exception as error:
            raise RefusedRunError(_failed(symbol, error, answers.last)) from error
        for answer in answers.refusals.values():
            raise RefusedRunError(_incomplete(symbol, answer))
        return frame

    return history


def _failed(symbol: Any, error: Exception, answer: Any) -> Problem:
    message = f"The prices of {describe(symbol)} could not be downloaded"
    if answer is None:
        hint = find_hint(iter((error,)), "/") or _LATER
        return make_problem("error", f"{message}: {in_words(error)}.", hint)
    message = f"{message}: {_said(answer)} ({type(error).__name__})."
    return make_problem("error", message, _hint(answer))


def _incomplete(symbol: Any, answer: Any) -> Problem:
    message = (
        f"The prices of {describe(symbol)} are incomplete: {_said(answer)} to a part of the "
        "download, which blankly takes for a time without prices."
    )
    return make_problem("error", message, _hint(answer))


def _hint(answer: Any) -> str:
    return _HINTS.get(answer.status_code, _LATER)


def _said(answer: Any) -> str:
    """Return who answered what, in some words."""
    host = describe(urlsplit(str(answer.url)).hostname)
    return f"{host} answered {answer.status_code} with {_body(answer)}"


def _body(answer: Any) -> str:
    if words := _error_in(answer):
        return f"“{words}”"
    content = answer.content.strip()
    if not content:
        return "nothing"
    if content[:1] in b"{[":
        return "other JSON than prices"
    return "a web page" if b"<html" in content[:_LONGEST_ERROR].lower() else "what is not JSON"


def _error_in(answer: Any) -> str:
    """Return the words of an error that is sent as JSON, as all of these exchanges do."""
    if len(answer.content) > _LONGEST_ERROR:
        return ""
    with suppress(ValueError, RecursionError):
        document = answer.json()
        for name in _ERROR_NAMES if isinstance(document, dict) else ():
            said = document.get(name)
            if isinstance(said, str) and said.strip():
                return shortened(said, _LONGEST_QUOTE).rstrip(".")
    return ""


def _hosts(interface: Any) -> set[str | None]:
    """Return the hosts of the exchange itself, as far as the package's clients name them."""
    found: set[str | None] = set()
    for _ in range(_DEEPEST_WRAPPING):  # paper trading, an interface, its client
        interface = getattr(interface, "calls", None)
        values = list(getattr(interface, "__dict__", {}).values())
        with suppress(ValueError):
            addresses = [one for one in values if isinstance(one, str) and one.startswith("http")]
            found |= {urlsplit(one).hostname for one in addresses}
    return found - {None}
