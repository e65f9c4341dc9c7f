"""The embedded platform as an HTTP server on a background thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from deploy_action.errors import Problem, RefusedError
from deploy_action.platform.app import PlatformApp
from deploy_action.platform.credentials import Credentials
from deploy_action.platform.routes import Routes
from deploy_action.platform.store import Store

if TYPE_CHECKING:
    from deploy_action.platform.http_server import HttpServer


def _discard(_: str) -> None:
    """Tell nobody."""


class PlatformServer:
    """The Deployment API over HTTP, as a context manager that starts and closes it."""

    def __init__(
        self,
        data: Path,
        *,
        refresh_token: str,
        strict: bool,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        on_error: Callable[[str], None] = _discard,
    ) -> None:
        """Prepare to serve the data directory `data` on `host` and `port` (0: any free one).

        Unless `strict`, projects and models that are named and do not exist are made on use.
        `clock` gives seconds since the epoch; `on_error` gets the tracebacks that clients do not
        see. Nothing is opened before `start`.
        """
        self._data = data
        self._refresh_token = refresh_token
        self._strict = strict
        self._address = (host, port)
        self._clock = clock
        self._on_error = on_error
        self._store: Store | None = None
        self._server: HttpServer | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end; known once started."""
        if self._server is None:
            raise RuntimeError("the server is not running")
        host, port = self._server.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Serve on a background thread; connections are accepted when it returns.

        Raises `InvalidInputError` when the data directory cannot be used, `RefusedError` when
        the address cannot be listened on.
        """
        from deploy_action.platform.http_server import HttpServer

        store = Store(self._data, self._clock)
        try:
            credentials = Credentials(store, self._refresh_token, self._clock)
            routes = Routes(store, strict=self._strict)
            app = PlatformApp(store, credentials, routes, on_error=self._on_error)
            server = HttpServer(self._address, app, self._on_error)
            server.start()
        except OSError as error:
            store.close()
            host, port = self._address
            raise RefusedError(
                Problem(
                    message=f"The platform cannot listen on {host} port {port}: {error}.",
                    hint="Choose another port, or stop what listens there.",
                )
            ) from error
        except BaseException:
            store.close()
            raise
        self._store, self._server = store, server

    def close(self) -> None:
        """Finish the requests in progress, for a few seconds at most, and stop."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
