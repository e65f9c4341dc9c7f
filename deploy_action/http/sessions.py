"""Connections to servers: kept between requests, through proxies, with the right authorities."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from deploy_action import __version__
from deploy_action.http.certificates import authorities
from deploy_action.http.failures import InvalidRequestError, StillAtWorkError
from deploy_action.http.proxies import address_of_proxy, credentials_for
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field

if TYPE_CHECKING:
    import ssl

    from urllib3 import BaseHTTPResponse, PoolManager

    class Body(Protocol):
        """What is streamed: it is sent with its length, and read in blocks."""

        def __len__(self) -> int: ...

        def read(self, size: int, /) -> bytes:
            """Return the next block of at most `size` bytes, empty at the end."""
            ...


# Each block has to be sent within the connect time-out: 128 KiB in 15 s is 9 kB/s.
BLOCK_SIZE: Final = 128 * 1024

_MOST_INTERIM_ANSWERS: Final = 100
# No ends of lines, not even those that http.client lets pass because the next line is indented.
_HEADER_VALUE: Final = lazy_regex(r"[\t\x20-\x7e\x80-\xff]*")
_HEADERS: Final = {
    "User-Agent": f"blankly-deploy-action/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
}


@dataclass(slots=True)
class Session:
    """Sends requests, and keeps the connections open for the next ones.

    `use_environment` says whether proxies are taken from the environment.
    """

    use_environment: bool
    _managers: dict[tuple[str, bool], PoolManager] = field(default_factory=dict, init=False)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | bytes | None,
        *,
        timeout: tuple[float, float],
    ) -> BaseHTTPResponse:
        """Send a request once and return the answer, its body unread. Redirects are not followed.

        `timeout` is for connecting, and between two bytes of the answer.

        Raises:
            urllib3.exceptions.HTTPError, OSError: see `library_errors`.
        """
        from urllib3 import Timeout

        if not all(map(_HEADER_VALUE.fullmatch, headers.values())):
            # The value is not named: it may be a secret.
            raise InvalidRequestError("a header has characters that HTTP does not allow")
        # Otherwise a stream would be sent in chunks, which not all servers read.
        length = {} if body is None else {"Content-Length": str(len(body))}
        return self._manager(url).urlopen(
            method,
            url,
            body=body,
            headers={**_HEADERS, **length, **headers},
            timeout=Timeout(connect=timeout[0], read=timeout[1]),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Close the connections that are kept open."""
        for manager in self._managers.values():
            manager.clear()

    def _manager(self, url: str) -> PoolManager:
        proxy = address_of_proxy(url) if self.use_environment else ""
        is_secure = "https:" in (url[:6].lower(), proxy[:6].lower())
        if (known := self._managers.get((proxy, is_secure))) is None:
            known = self._managers[proxy, is_secure] = _new_manager(proxy, is_secure=is_secure)
        return known


def _new_manager(proxy: str, *, is_secure: bool) -> PoolManager:
    """Return what opens connections, through a proxy unless that is blank.

    Raises:
        urllib3.exceptions.HTTPError: the address of the proxy is invalid.
    """
    from urllib3 import PoolManager, ProxyManager
    from urllib3.connection import HTTPConnection

    context = _tls(authorities()) if is_secure else None
    options: dict[str, Any] = {
        "blocksize": BLOCK_SIZE,
        "socket_options": [*HTTPConnection.default_socket_options, *_keep_alive_options()],
        "ssl_context": context,
    }
    if proxy:
        manager: PoolManager = ProxyManager(
            proxy,
            proxy_headers=credentials_for(proxy),
            proxy_ssl_context=context,
            **options,
        )
    else:
        manager = PoolManager(**options)
    manager.pool_classes_by_scheme = _patient_pools()
    return manager


@cache
def _tls(authorities: str) -> ssl.SSLContext:
    """Return the settings of TLS: reading all authorities takes longer than a handshake."""
    import ssl

    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(authorities)
    return context


def _patient_pools() -> dict[str, type[Any]]:
    """Return pools of connections that skip interim answers (1xx).

    The standard library skips only 100, and as many as come (RFC 9110, section 15.2).
    """
    import http.client

    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class FinalAnswer(http.client.HTTPResponse):
        def _read_status(self) -> tuple[str, int, str]:
            for _ in range(_MOST_INTERIM_ANSWERS):
                version, status, reason = super()._read_status()  # type: ignore[misc]
                if not _is_interim(status):
                    return version, status, reason
                http.client.parse_headers(self.fp)
            raise StillAtWorkError("only interim answers came")

    class Connection(HTTPConnection):
        response_class = FinalAnswer

    class TlsConnection(HTTPSConnection):
        response_class = FinalAnswer

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


def _is_interim(status: int) -> bool:
    """Tell whether another answer follows; after 101 the connection speaks another protocol."""
    return 100 <= status < 200 and status != 101  # noqa: PLR2004  # RFC 9110, section 15.2


def _keep_alive_options() -> list[tuple[int, int, int]]:
    """Return options that keep a connection open on which nothing is said for minutes.

    Networks forget connections that are idle, that of GitHub's runners after four minutes; and a
    server that died without a word is noticed.
    """
    import socket

    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    seconds = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
    known = {name: value for name, value in seconds.items() if hasattr(socket, name)}
    return [
        *options,
        *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in known.items()),
    ]
