"""The Deployment API as an ASGI application: authentication, reading requests, answering.

The answers are those of the last published server, an Express application, so that its clients
work unchanged.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.routing import Route as StarletteRoute

from deploy_action.platform.api.answers import (
    LogAnswer,
    PatientAnswer,
    json_answer,
    page,
    streamed_answer,
    text_answer,
)
from deploy_action.platform.api.credentials import Credentials, ProjectKeys
from deploy_action.platform.api.fields import (
    KEY_HEADER,
    KEY_ID_HEADER,
    MAX_ID_LENGTH,
    MODEL_HEADER,
    NOW_HEADER,
    PASS_HEADER,
    TIME_HEADER,
)
from deploy_action.platform.api.forms import Body, FileSlot, read_event, read_form
from deploy_action.platform.api.operations.documents import Details, Pending, Text
from deploy_action.platform.api.operations.logs import LogText
from deploy_action.platform.api.request import FILE_FIELD, ApiError, Reporter, Request
from deploy_action.platform.api.route import Route
from deploy_action.platform.api.sign_in_limits import client_address
from deploy_action.platform.live.reports import ReportError, check_time
from deploy_action.platform.storage.damage.database import DAMAGED, is_damage
from deploy_action.platform.storage.data_directory import is_disk_full
from deploy_action.platform.storage.store import Store

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from deploy_action.platform.api.http.connection import Connection

# For a client without a valid token; enough for a bundle sent with an expired one.
_STRANGER_BYTES = 64 << 20
_STRANGER_SECONDS = 10
_REFUSED_SECONDS = 2
_FULL = "The disk of the server is full, so nothing was stored. `blankly-deploy clean` makes room."


class _ExpressPaths:
    """Matches paths as Express does: in any case, with or without a slash at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode("ascii").lower().replace("%2f", "%252f")  # is no slash
        scope["path"] = unquote(path).lower().removesuffix("/")
        await self._app(scope, receive, send)


class PlatformApp:
    """Answers requests: reads them within bounds, and runs their operations on threads."""

    def __init__(
        self,
        store: Store,
        credentials: Credentials,
        routes: Sequence[Route],
        *,
        on_error: Callable[[str], None],
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve `routes` to those whom `credentials` admit.

        `on_error` gets tracebacks; `on_full` is called when there was no room for a write.
        """
        self._store = store
        self._credentials = credentials
        self._keys = ProjectKeys(store)
        self._routes = routes
        self._on_error = on_error
        self._on_full = on_full

    def asgi(self) -> Starlette:
        """Return the application."""
        app = Starlette(
            routes=[
                StarletteRoute(route.path, partial(self._serve, route), methods=[route.method])
                for route in self._routes
            ],
            middleware=[Middleware(_ExpressPaths)],
            exception_handlers={
                HTTPStatus.NOT_FOUND: _refuse_route,
                HTTPStatus.METHOD_NOT_ALLOWED: _refuse_route,
            },
        )
        app.router.redirect_slashes = False
        return app

    async def _serve(self, route: Route, request: HttpRequest) -> Response:
        """Return the answer, or an error once the client has sent the whole body."""
        body = Body(request, _STRANGER_BYTES, _STRANGER_SECONDS)
        try:
            if route.is_open:
                return await self._run(route, request, body)
            if route.is_event:
                reporter = await self._reporter(request)
                request.state.connection.sign_in()
                body = Body(request)
                fields = await read_event(body, request.headers.get("content-type", ""))
                asked = Request(fields, reporter=reporter)
                return await run_in_threadpool(_respond, route, asked, request.state.connection)
            if self._credentials.admits(request.headers.get("token", "")):
                request.state.connection.sign_in()
                body = Body(request)
                return await self._run(route, request, body)
            body = Body(request, _STRANGER_BYTES, _REFUSED_SECONDS)
            response = page(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        except ApiError as error:
            code = {"code": error.code} if error.code else {}
            refused = {"error": str(error), **code}
            response = json_answer(refused, error.status, retry_after=error.retry_after)
        except Exception as error:  # noqa: BLE001  # any bug: the client gets a page, we get the traceback
            response = self._failed(error)
        await body.drain()
        return response

    def _failed(self, error: Exception) -> Response:
        if is_disk_full(error):
            self._on_error(f"the disk is full: {error}")
            self._on_full()
            return json_answer({"error": _FULL}, HTTPStatus.INSUFFICIENT_STORAGE)
        if is_damage(error):
            self._on_error(f"the database is damaged: {error}")
            return json_answer({"error": DAMAGED}, HTTPStatus.INTERNAL_SERVER_ERROR)
        self._on_error(traceback.format_exc())
        return page(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")

    async def _reporter(self, request: HttpRequest) -> Reporter:
        """Return who reports, or raise `ApiError` if the key is none of the model's project."""
        reporter = _read_reporter(request)
        password = request.headers[PASS_HEADER]
        if not await run_in_threadpool(
            self._keys.admits, reporter.project_id, password, reporter.model_id
        ):
            raise ApiError("Not Authenticated", HTTPStatus.UNAUTHORIZED)
        return reporter

    async def _run(self, route: Route, request: HttpRequest, body: Body) -> Response:
        content_type = request.headers.get("content-type", "")
        key, now = _idempotency_key(request), request.headers.get(NOW_HEADER, "").strip()
        if not route.takes_file:
            form = await read_form(body, content_type)
            asked = Request(form.fields, now=now, address=_address(request))
            return await run_in_threadpool(_respond, route, asked, request.state.connection)
        with self._store.incoming() as path:
            form = await read_form(body, content_type, FileSlot(FILE_FIELD, path))
            asked = Request(form.fields, form.file, key, now)
            return await run_in_threadpool(_respond, route, asked, request.state.connection)


def _read_reporter(request: HttpRequest) -> Reporter:
    """Return who says to report; whether that is true is not known yet."""
    given = [request.headers.get(name, "") for name in (KEY_ID_HEADER, MODEL_HEADER, PASS_HEADER)]
    if not all(given):
        raise ApiError("Missing a required header", HTTPStatus.UNAUTHORIZED)
    if any(len(each) > MAX_ID_LENGTH for each in given):
        raise ApiError("Not Authenticated", HTTPStatus.UNAUTHORIZED)
    return Reporter(given[0], given[1], _read_time(request.headers.get(TIME_HEADER, "").strip()))


def _read_time(text: str) -> float | None:
    try:
        return check_time(float(text)) if text else None
    except (ValueError, ReportError):
        raise ApiError(f"The header {TIME_HEADER} must be in seconds since 1970") from None


def _address(request: HttpRequest) -> str:
    peer = request.client.host if request.client else ""
    return client_address(peer, request.headers.getlist("x-forwarded-for"))


def _idempotency_key(request: HttpRequest) -> str:
    """Return the header's text without the quotes that its draft standard asks for."""
    key = request.headers.get(KEY_HEADER, "").strip().strip('"')
    if len(key) > MAX_ID_LENGTH:
        raise ApiError(f"{KEY_HEADER} is longer than {MAX_ID_LENGTH} characters")
    return key


def _respond(route: Route, request: Request, connection: Connection) -> Response:
    result = route.run(request)
    if isinstance(result, Pending):
        return PatientAnswer(result)
    if isinstance(result, LogText):
        return LogAnswer(result, connection)
    if isinstance(result, Details):
        return streamed_answer(result.parts())
    if isinstance(result, Text):
        return text_answer(result.text, result.status)
    return json_answer(result)


async def _refuse_route(request: HttpRequest, _: Exception) -> Response:
    path = quote(request.scope["raw_path"], safe="%/:@!$&'()*+,;=~")
    await Body(request, _STRANGER_BYTES, _REFUSED_SECONDS).drain()
    return page(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {path}")
