"""The embedded platform as an HTTP server on a background thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deploy_action.errors import RefusedError
from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.assembly import (
    BacktestSettings,
    LiveSettings,
    make_backtests,
)
from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.daily import DailyCleaning

if TYPE_CHECKING:
    from deploy_action.platform.api.http.server import HttpServer
    from deploy_action.platform.live.reports import Reports
    from deploy_action.platform.runs.backtests import Backtests


def _discard(_: str) -> None:
    """Ignore an error."""


class PlatformServer:
    """The Deployment API over HTTP, as a context manager that starts and closes it."""

    def __init__(  # noqa: PLR0913  # by keyword, most with defaults
        self,
        data: Path,
        *,
        refresh_token: str,
        strict: bool,
        address: tuple[str, int] = ("127.0.0.1", 0),
        clock: Callable[[], float] = time.time,
        on_error: Callable[[str], None] = _discard,
        running: BacktestSettings | None = None,
        live: LiveSettings | None = None,
        homes: Iterable[Path] = (),
    ) -> None:
        """Prepare to serve the data directory `data` on `address` (port 0: any free one).

        Unless `strict`, projects and models that are named and do not exist are created on use.
        `clock` returns seconds since the epoch. `on_error` gets the tracebacks that clients do not
        see. Without `live`, deployed versions are stored and nothing runs. `homes` are directories
        of a runner, whose owners may own the data, too. Nothing is opened before `start`.
        """
        self._data = data
        self._refresh_token = refresh_token
        self._strict = strict
        self._address = address
        self._clock = clock
        self._on_error = on_error
        self._running = running or BacktestSettings()
        self._live = live
        self._homes = homes
        self._backtests: Backtests | None = None
        self._store: Store | None = None
        self._reports: Reports | None = None
        self._server: HttpServer | None = None
        self._cleaning: DailyCleaning | None = None

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash; known once started."""
        if self._server is None:
            raise RuntimeError("the server is not running")
        host, port = self._server.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def most_connections(self) -> int | None:
        """How many clients can be connected at once, if the limit of open files is the reason."""
        if self._server is None or self._server.most_connections == Limits().connections:
            return None
        return self._server.most_connections

    def start(self) -> None:
        """Serve on a background thread; connections are accepted when it returns.

        Raises `InvalidInputError` when the data directory cannot be used, `RefusedError` when
        the address cannot be listened on, or too few files may be open.
        """
        from deploy_action.platform.api.app import PlatformApp
        from deploy_action.platform.api.credentials import Credentials
        from deploy_action.platform.api.http.server import HttpServer
        from deploy_action.platform.api.routes import make_routes
        from deploy_action.platform.live.reports import Reports

        store = Store(self._data, self._clock, self._homes)
        try:
            credentials = Credentials(store, self._refresh_token, self._clock)
            backtests = make_backtests(store, self._running, self._on_error)
            reports = Reports(store, self._on_error)
            routes = make_routes(store, credentials, backtests, reports, strict=self._strict)
            app = PlatformApp(store, credentials, routes, on_error=self._on_error).asgi()
            server = HttpServer(self._address, app, self._on_error, Limits())
            server.start()
        except OSError as error:
            store.close()
            host, port = self._address
            raise RefusedError.of(
                message=f"The platform cannot listen on {host} port {port}: {error}.",
                hint="Choose another port, or stop the program that listens there.",
            ) from error
        except BaseException:
            store.close()
            raise
        self._store, self._backtests, self._server = store, backtests, server
        self._reports = reports
        if self._live is not None:
            self._cleaning = DailyCleaning(store, self._live.rules, self._on_error)
            self._cleaning.start()

    def close(self) -> None:
        """Stop the backtests, give other requests a few seconds to finish, and stop."""
        if self._backtests is not None:
            self._backtests.close()
            self._backtests = None
        if self._store is not None:
            self._store.logs.close()  # which ends the answers that follow them
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._cleaning is not None:
            self._cleaning.close()
            self._cleaning = None
        if self._reports is not None:
            self._reports.close()
            self._reports = None
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
