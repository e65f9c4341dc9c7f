"""Why an exchange failed: what the HTTP library raises, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from deploy_action.http.proxies import Proxy
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass

_LONGEST_REASON: Final = 200
# http.client words a refused CONNECT so.
_TUNNEL: Final = lazy_regex(r"Tunnel connection failed: (\d{3}[^'\")]*)")
_WANTS_NAME: Final = "407"
# The codes of X.509 verification: OpenSSL, openssl-verification-options(1) and x509_vfy.h.
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
_NAME_AUTHORITY: Final = (
    "If it was made by an authority of your own, name the file with that authority's certificate "
    "in the variable `REQUESTS_CA_BUNDLE`, with a path in the workspace: everything that the run "
    "starts trusts it then, too."
)
_OPENED: Final = " A proxy that opens TLS connections has such an authority."
_CERTIFICATE_HINTS: Final = {
    9: "The certificate is not valid yet: check the clocks of this machine and of the server.",
    10: "The certificate has expired: renew it on the server, or check the clock of this machine.",
    62: "Reach it by a name that is in the certificate.",
    64: "Reach it by an address that is in the certificate.",
}


class BrokenAnswerError(OSError):
    """The server began to answer, and the answer cannot be read to its end."""


class StillAtWorkError(OSError):
    """The server sends interim answers, and no other."""


class InvalidRequestError(OSError):
    """A request cannot be sent to any server as it is."""


def library_errors() -> tuple[type[Exception], ...]:
    """Return what the HTTP library raises when an exchange fails."""
    from urllib3.exceptions import HTTPError

    return (HTTPError, OSError)


def is_hopeless(error: BaseException) -> bool:
    """Tell whether every further try would fail: the address is invalid, or TLS does not work."""
    import ssl

    from urllib3.exceptions import LocationValueError

    lost = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    kinds = (InvalidRequestError, LocationValueError, ssl.SSLError)
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
    """Yield the error and those it wraps: urllib3 keeps them as `reason` or arguments."""
    pending, seen = [error], set[int]()
    while pending:
        cause = pending.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        wrapped = (getattr(cause, "reason", None), cause.__cause__, *cause.args)
        pending += [one for one in wrapped if isinstance(one, BaseException)]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a server was not reached: a clause without a full stop, and what to do about it."""

    reason: str
    hint: str


def unreachable(error: BaseException, proxy: Proxy | None) -> Failure:
    """Return why no connection was made, if the request went through `proxy`.

    The hint is blank if the reason does not tell what to do.
    """
    from urllib3.exceptions import LocationValueError, ProxyError

    causes = list(causes_of(error))
    fault = next((cause for cause in causes if isinstance(cause, ProxyError)), None)
    if proxy is None:
        return Failure(explain(error), _about_certificate(causes, ""))
    hint = f"Correct {proxy.source}, or name the server in `NO_PROXY` if it needs no proxy."
    # Also for proxies that do not speak HTTP, such as `socks5://…`.
    if any(isinstance(one, LocationValueError) for one in causes):
        form = "`http://HOST:PORT` or `http://NAME:PASSWORD@HOST:PORT`"
        return Failure(
            f"{proxy.named} cannot be used: it is no HTTP proxy, or its address cannot be read",
            f"Write it as {form}, with `/`, `#` and `?` of a password as %2F, %23 and %3F. {hint}",
        )
    if fault is None:
        return Failure(
            f"{explain(error)}, through {proxy.named}", _about_certificate(causes, _OPENED)
        )
    refused = next((found for cause in causes if (found := _TUNNEL.search(str(cause)))), None)
    if refused is None:
        hint = f"{_about_certificate(causes, '')} {hint}".lstrip()
        return Failure(f"{proxy.named} cannot be used: {explain(error)}", hint)
    if refused[1].startswith(_WANTS_NAME):
        hint = (
            f"Put a name and a password into {proxy.source}, from a secret: "
            "`http://NAME:PASSWORD@HOST:PORT`."
        )
    return Failure(f"{proxy.named} did not connect to it: it answered {refused[1]}", hint)


def _about_certificate(causes: Sequence[BaseException], more: str) -> str:
    """Return what to do about a certificate that is not trusted."""
    import ssl

    fault = next((one for one in causes if isinstance(one, ssl.SSLCertVerificationError)), None)
    code = getattr(fault, "verify_code", None)
    if code in _UNKNOWN_AUTHORITY:
        return f"{_NAME_AUTHORITY}{more}"
    return _CERTIFICATE_HINTS.get(code or 0, "")


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
    """Return an error's own words on one line, such as `Connection refused`.

    They are cut between two words: half a secret would not be found when others are hidden.
    """
    text = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error
    words = " ".join(str(text).split())
    if len(words) > _LONGEST_REASON:
        words = words[: _LONGEST_REASON + 1].rpartition(" ")[0]
    return words.rstrip(".") or type(error).__name__
