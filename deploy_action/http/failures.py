"""Why an exchange failed: what the HTTP libraries raise, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_LONGEST_REASON: Final = 200


class BrokenAnswerError(OSError):
    """The server began to answer, and the answer cannot be read to its end."""


class StillAtWorkError(OSError):
    """The server sends interim answers, and no other."""


def library_errors() -> tuple[type[Exception], ...]:
    """Return what the HTTP libraries raise when an exchange fails."""
    import requests
    from urllib3.exceptions import HTTPError

    return (requests.RequestException, HTTPError, OSError)


def is_hopeless(error: BaseException) -> bool:
    """Tell whether every further try would fail: the address is invalid, or TLS does not work."""
    import ssl

    import requests
    from urllib3.exceptions import LocationParseError

    lost = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    kinds = (requests.exceptions.InvalidURL, LocationParseError, ssl.SSLError)
    return any(
        isinstance(cause, kinds) and not isinstance(cause, lost) for cause in causes_of(error)
    )


def never_connected(error: BaseException) -> bool:
    """Tell whether the failure came before a connection was made."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

    kinds = (NewConnectionError, ConnectTimeoutError, ProxyError)
    return any(isinstance(cause, kinds) for cause in causes_of(error))


def was_cut(error: BaseException) -> bool:
    """Tell whether the connection was lost before any answer."""
    import ssl

    causes = list(causes_of(error))
    is_lost = any(isinstance(cause, (ConnectionError, ssl.SSLError)) for cause in causes)
    return is_lost and not any(isinstance(one, BrokenAnswerError) for one in causes)


def timed_out(error: BaseException) -> bool:
    """Tell whether nothing came for too long, or only interim answers."""
    return any(isinstance(cause, (TimeoutError, StillAtWorkError)) for cause in causes_of(error))


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those it wraps: urllib3 keeps them as `reason`, requests as arguments."""
    pending, seen = [error], set[int]()
    while pending:
        cause = pending.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        wrapped = (getattr(cause, "reason", None), cause.__cause__, *cause.args)
        pending += [one for one in wrapped if isinstance(one, BaseException)]


def explain(error: BaseException) -> str:
    """Return the reason as a clause without a full stop, the system's own words in brackets."""
    import http.client
    import socket
    import ssl

    from urllib3.exceptions import ConnectTimeoutError, DecodeError

    # The first match counts, so subclasses come before their bases.
    explanations: tuple[tuple[type[BaseException], str], ...] = (
        (socket.gaierror, "there is no address for that host name ({})"),
        (ConnectionRefusedError, "nothing listens there ({})"),
        (ConnectTimeoutError, "connecting took too long"),
        (ssl.SSLCertVerificationError, "its certificate is not trusted ({})"),
        (ssl.SSLEOFError, "the TLS connection was cut"),
        (ssl.SSLError, "TLS failed, perhaps because nothing there speaks TLS ({})"),
        (http.client.RemoteDisconnected, "the connection was closed without an answer"),
        (http.client.IncompleteRead, "the answer ends too early"),
        (http.client.HTTPException, "the answer is not HTTP"),
        (DecodeError, "the answer is not compressed as its header says"),
        (TimeoutError, "no data was transferred for too long ({})"),
        (ConnectionError, "the connection was cut ({})"),
    )
    causes = list(causes_of(error))
    for kind, explanation in explanations:
        for cause in causes:
            if isinstance(cause, kind):
                return explanation.format(_words_of(cause))
    return _words_of(causes[-1])


def _words_of(error: BaseException) -> str:
    """Return an error's own words on one line, such as `Connection refused`."""
    text = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error
    words = " ".join(str(text).split())[:_LONGEST_REASON].rstrip(".")
    return words or type(error).__name__
