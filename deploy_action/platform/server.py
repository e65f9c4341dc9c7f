"""The embedded platform as an HTTP server on a background thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deploy_action.errors import RefusedError
from deploy_action.platform.api.http.limits import Limits
from deploy_action.platform.assembly import (
    BacktestSettings,
    LiveSettings,
    make_backtests,
    make_live,
)
from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.daily import DailyCleaning
from deploy_action.platform.upkeep.full_disk import FullDiskAlarm

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from deploy_action.platform.api.http.server import HttpServer
    from deploy_action.platform.live.models import LiveModels
    from deploy_action.platform.live.reports import Reports
    from deploy_action.platform.notifications import Notifier
    from deploy_action.platform.runs.backtests import Backtests


def _discard(_: str) -> None:
    """Ignore an error."""


def _tell_damage(notices: Notifier, what: str) -> None:
    from deploy_action.platform.storage.damage.database import DAMAGED

    notices.send("The server's database is damaged", f"{DAMAGED} ({what})", "failure")


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
        self._data = data.absolute()  # models run in directories of their own
        self._refresh_token = refresh_token
        self._strict = strict
        self._address = address
        self._clock = clock
        self._on_error = on_error
        self._running = running or BacktestSettings()
        self._live = live
        self._homes = homes
        self._server: HttpServer | None = None
        self._parts = ExitStack()

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
        from deploy_action.platform.api.http.server import HttpServer
        from deploy_action.platform.live.reports import Reports
        from deploy_action.platform.notifications import Notifier

        with ExitStack() as parts:
            notices = Notifier(
                self._live.notify if self._live is not None else (),
                log=self._on_error,
                name=self._live.name if self._live is not None else "",
                secrets=lambda: (self._refresh_token,),
            )
            parts.callback(notices.close)  # at last: how the models stopped is sent, too
            store = Store(self._data, self._clock, self._homes)
            parts.callback(store.close)
            store.database.on_damage = partial(_tell_damage, notices)
            alarm = FullDiskAlarm(store.lack_of_room, partial(notices.send, kind="warning"))
            reports = Reports(store, self._on_error)
            parts.callback(reports.close)
            stops = [store.logs.close]  # which ends the answers that follow them
            backtests = make_backtests(store, self._running, self._on_error)
            stops.append(backtests.close)
            live = None
            if self._live is not None:
                cleaning = DailyCleaning(store, self._live.rules, self._on_error)
                cleaning.start()
                parts.callback(cleaning.close)
                alarm.start()
                parts.callback(alarm.close)
                live = make_live(store, self._running, self._live, reports, notices, self._on_error)
                stops.append(live.close)
                if self._live.has_pages:
                    self._keep_figures(store, backtests, parts)
            for stop in stops:  # if this server cannot listen
                parts.callback(stop)
            app = self._application(store, backtests, reports, live, alarm)
            server = self._server = HttpServer(self._address, app, self._on_error, Limits())
            self._listen(server)
            parts.callback(server.close)
            for stop in stops:  # before the server closes the connections that wait for them
                parts.callback(stop)
            if live is not None:
                live.recover()
            self._parts = parts.pop_all()

    def _keep_figures(self, store: Store, backtests: Backtests, parts: ExitStack) -> None:
        """Compute the figures that the pages show, from now on until `parts` are closed."""
        from deploy_action.platform.web.backtests.keeper import FigureKeeper

        keeper = FigureKeeper(store, self._on_error)
        backtests.tell(keeper.wake)
        keeper.start()
        parts.callback(keeper.close)

    def _application(
        self,
        store: Store,
        backtests: Backtests,
        reports: Reports,
        live: LiveModels | None,
        alarm: FullDiskAlarm,
    ) -> ASGIApp:
        """Return what answers requests: the API, and beside it the pages if there are some."""
        from deploy_action.platform.api.app import PlatformApp
        from deploy_action.platform.api.credentials import Credentials
        from deploy_action.platform.api.routes import make_routes

        credentials = Credentials(self._refresh_token, self._clock)
        has_pages = self._live is not None and self._live.has_pages
        routes = make_routes(
            *(store, credentials, backtests, reports),
            strict=self._strict,
            live=live,
            has_pages=has_pages,
        )
        app = PlatformApp(
            store, credentials, routes.all, on_error=self._on_error, on_full=alarm.tell
        )
        if live is None or self._live is None or not has_pages:
            return app.asgi()
        from deploy_action.platform.web.website import with_pages

        return with_pages(
            app.asgi(),
            *(store, credentials, backtests, live, routes),
            name=self._live.name,
            on_error=self._on_error,
        )

    def _listen(self, server: HttpServer) -> None:
        try:
            server.start()
        except OSError as error:
            host, port = self._address
            raise RefusedError.of(
                message=f"The platform cannot listen on {host} port {port}: {error}.",
                hint="Choose another port, or stop the program that listens there.",
            ) from error

    def close(self) -> None:
        """Stop the models and the backtests, give requests a few seconds to finish, and stop."""
        self._parts.close()
        self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
