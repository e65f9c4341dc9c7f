"""The pages as an ASGI application, beside the API."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match
from starlette.routing import Route as StarletteRoute

from deploy_action.pages.rendering import Renderer
from deploy_action.platform.api.answers import LogAnswer
from deploy_action.platform.api.credentials import Credentials
from deploy_action.platform.api.forms import Body, read_form
from deploy_action.platform.api.operations.logs import LogText
from deploy_action.platform.api.request import ApiError
from deploy_action.platform.api.routes import Routes
from deploy_action.platform.api.sign_in_limits import client_address
from deploy_action.platform.live.models import LiveModels
from deploy_action.platform.runs.backtests import Backtests
from deploy_action.platform.storage.damage.database import DAMAGED, is_damage
from deploy_action.platform.storage.data_directory import is_disk_full
from deploy_action.platform.storage.store import Store
from deploy_action.platform.web.answers import (
    Answer,
    Content,
    Page,
    SeeOther,
    content_response,
    html_response,
    redirect_response,
)
from deploy_action.platform.web.routes import ROUTES
from deploy_action.platform.web.sessions import Session, Sessions
from deploy_action.platform.web.site import PageRoute, Site, Visit
from deploy_action.platform.web.views.sign_in import NOT_DONE

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_TEMPLATES: Final = Path(__file__).parent / "templates"
_FORM_BYTES: Final = 16 << 10
_FORM_SECONDS: Final = 10
_CSRF_FIELD: Final = "csrf"
_FORGED: Final = (
    "This form was not sent by a page of this server, or you signed in again since. Go back, load"
    " the page again, and repeat it."
)


def with_pages(  # noqa: PLR0913  # all that a server consists of
    api: ASGIApp,
    store: Store,
    credentials: Credentials,
    backtests: Backtests,
    live: LiveModels,
    routes: Routes,
    *,
    name: str,
    on_error: Callable[[str], None],
) -> ASGIApp:
    """Return an application that serves pages beside an API.

    `routes` are the API's, `name` is the server's. `on_error` gets tracebacks.
    """
    site = Site(
        store=store,
        credentials=credentials,
        sessions=Sessions(store, credentials),
        live=live,
        backtests=backtests,
        models=routes.models,
        logs=routes.logs,
        api=routes.all,
        name=name,
    )
    return Website(site, api, on_error)


class Website:
    """Serves pages where there are some, and the API everywhere else."""

    def __init__(self, site: Site, api: ASGIApp, on_error: Callable[[str], None]) -> None:
        """Serve pages beside `api`, whose paths are never pages."""
        self._site = site
        self._api = api
        self._api_paths = {route.path for route in site.api}
        self._on_error = on_error
        self._renderer = Renderer(_TEMPLATES, clock=site.store.clock)
        self._app = Starlette(
            routes=[
                StarletteRoute(route.path, partial(self._serve, route), methods=[route.method])
                for route in ROUTES
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        app = self._app if self._is_page(scope) else self._api
        await app(scope, receive, send)

    def _is_page(self, scope: Scope) -> bool:
        if scope["path"].lower().removesuffix("/") in self._api_paths:
            return False
        return any(route.matches(scope)[0] is Match.FULL for route in self._app.routes)

    async def _serve(self, route: PageRoute, request: HttpRequest) -> Response:
        is_secure, session = _is_secure(request), None
        try:
            session = await run_in_threadpool(
                self._site.sessions.find, request.cookies, is_secure=is_secure
            )
            if session is not None:
                request.state.connection.sign_in()
            elif not route.is_open:
                return redirect_response(SeeOther(_sign_in_path(request)), is_secure=is_secure)
            form: Mapping[str, str] = {}
            if route.method == "POST":
                form = await self._read_form(request, None if route.is_open else session)
            visit = _visit(request, form, session, is_secure=is_secure)
            answer = await run_in_threadpool(route.view, self._site, visit)
            return await run_in_threadpool(self._response, answer, request, visit)
        except ApiError as error:
            return self._refusal(str(error), error.status, session)
        except Exception as error:  # noqa: BLE001  # any bug: the visitor gets a page, we get the traceback
            return self._failure(error, session)

    async def _read_form(self, request: HttpRequest, session: Session | None) -> Mapping[str, str]:
        """Return the fields of a form that a page of this server sent, or raise `ApiError`.

        With a session, the form has to be one of that session.
        """
        if not _is_same_site(request):
            raise ApiError(_FORGED, HTTPStatus.FORBIDDEN)
        body = Body(request, _FORM_BYTES, _FORM_SECONDS)
        fields = (await read_form(body, request.headers.get("content-type", ""))).fields
        form = {name: value for name, value in fields.items() if isinstance(value, str)}
        csrf = form.pop(_CSRF_FIELD, "")
        if session is not None and not self._site.sessions.is_form_of(session, csrf):
            raise ApiError(_FORGED, HTTPStatus.FORBIDDEN)
        return form

    def _response(self, answer: Answer, request: HttpRequest, visit: Visit) -> Response:
        match answer:
            case Page():
                html = self._render(answer, visit.session)
                return html_response(html, answer.status)
            case SeeOther():
                return redirect_response(answer, is_secure=visit.is_secure)
            case Content():
                return content_response(answer)
            case LogText():
                return LogAnswer(answer, request.state.connection)

    def _render(self, page: Page, session: Session | None) -> str:
        common = {"session": session, "server": self._site.name}
        return self._renderer.render(page.template, {**common, **page.values})

    def _refusal(self, message: str, status: int, session: Session | None) -> Response:
        title = HTTPStatus(status).phrase
        page = Page("problem.html", {"title": title, "message": message}, status)
        return html_response(self._render(page, session), status)

    def _failure(self, error: Exception, session: Session | None) -> Response:
        if is_disk_full(error):
            self._on_error(f"the disk is full: {error}")
            message = "The disk of the server is full, so nothing was stored."
            return self._refusal(message, HTTPStatus.INSUFFICIENT_STORAGE, session)
        if is_damage(error):
            self._on_error(f"the database is damaged: {error}")
            return self._refusal(DAMAGED, HTTPStatus.INTERNAL_SERVER_ERROR, session)
        self._on_error(traceback.format_exc())
        message = "This page could not be made. The log of the server says why."
        return self._refusal(message, HTTPStatus.INTERNAL_SERVER_ERROR, session)


def _visit(
    request: HttpRequest, form: Mapping[str, str], session: Session | None, *, is_secure: bool
) -> Visit:
    peer = request.client.host if request.client else ""
    address = client_address(peer, request.headers.getlist("x-forwarded-for"))
    return Visit(
        url=_own_url(request),
        origin=_origin(request, is_secure=is_secure),
        path=request.path_params,
        query=dict(request.query_params),
        form=form,
        session=session,
        authorization=request.headers.get("authorization", ""),
        address=address,
        is_secure=is_secure,
        is_local=request.url.hostname in {"localhost", "127.0.0.1", "::1"},
    )


def _own_url(request: HttpRequest) -> str:
    """Return the path and the query that were asked for."""
    query = request.scope["query_string"].decode("ascii", "replace")
    path = quote(request.scope["raw_path"], safe="%/:@!$&'()*+,;=~")
    return f"{path}?{query}" if query else path


def _origin(request: HttpRequest, *, is_secure: bool) -> str:
    """Return the server's address as the browser knows it."""
    return f"{'https' if is_secure else 'http'}://{request.headers.get('host', '')}"


def _sign_in_path(request: HttpRequest) -> str:
    """Return the way to sign in, and from there to the page that was asked for, or its form's."""
    if request.method in {"GET", "HEAD"}:
        return f"/login?next={quote(_own_url(request), safe='')}"
    own = _origin(request, is_secure=_is_secure(request))
    before = request.headers.get("referer", "").removeprefix(own)
    return f"/login?{NOT_DONE}=true&next={quote(before, safe='')}"


def _is_secure(request: HttpRequest) -> bool:
    """Whether the browser speaks TLS, with the proxy in front: this server speaks plain HTTP."""
    return request.headers.get("x-forwarded-proto", "").strip().lower() == "https"


def _is_same_site(request: HttpRequest) -> bool:
    """Whether a form comes from a page of this server, as far as the browser tells."""
    told = request.headers.get("sec-fetch-site")  # not without TLS, but from this computer itself
    if told is not None:
        return told in {"same-origin", "none"}
    origin, host = request.headers.get("origin", "").lower(), request.headers.get("host", "")
    return not origin or origin in {f"{scheme}://{host.lower()}" for scheme in ("http", "https")}
