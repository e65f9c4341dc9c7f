"""The Deployment API as a WSGI application: who may call what, and how it is answered.

The answers are those of the last published server, an Express application, so that its clients
work unchanged.
"""

from __future__ import annotations

import html
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from deploy_action.platform.api.credentials import TOKEN_LIFE_SECONDS, Credentials
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.api.routes import FILE_FIELD, Pending, PlainText, Route, Routes
from deploy_action.platform.api.uploads import Body, FileSlot, Form, UploadError, read_form
from deploy_action.platform.storage.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Of a client that has not shown a token of ours; enough for a bundle with one that has expired.
_STRANGER_BYTES = 64 << 20
_STRANGER_SECONDS = 10
_REFUSED_SECONDS = 2
_TOKEN_ROUTE = ("POST", "/auth/token")
# Proxies wait a minute for a byte; a client that is gone should be noticed sooner.
_SECONDS_BETWEEN_SIGNS = 1.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What goes back to the client."""

    status: int
    content_type: str
    body: bytes


class _PatientAnswer:
    """An answer whose end takes long: until then a blank now and then says that we are alive.

    JSON may begin with blanks. A client that is gone is noticed when one is sent, and then the
    backtest, for which nobody waits any more, is stopped.
    """

    status = HTTPStatus.OK
    content_type = "application/json; charset=utf-8"

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def __iter__(self) -> Iterator[bytes]:
        yield b" "
        while not self._pending.job.done.wait(_SECONDS_BETWEEN_SIGNS):
            yield b" "
        yield self._pending.body()

    def close(self) -> None:
        """Stop what goes on: called once the answer was sent, or could not be."""
        self._pending.job.cancel("the client that asked for it is gone")


class PlatformApp:
    """The application: a callable for any WSGI server that streams request bodies."""

    def __init__(
        self,
        store: Store,
        credentials: Credentials,
        routes: Routes,
        *,
        on_error: Callable[[str], None],
    ) -> None:
        """Serve `routes`; `on_error` gets the traceback of each 500."""
        self._store = store
        self._credentials = credentials
        self._routes = routes.table()
        self._on_error = on_error

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, once all of it has been read: for strangers, some of it."""
        body = _request_body(environ)
        body.restrict(_STRANGER_BYTES, _STRANGER_SECONDS)
        answer: _Answer | _PatientAnswer
        try:
            answer = self._answer(environ, body)
        except UploadError as error:
            answer = _json(error.status, {"error": str(error)})
        except Exception:  # noqa: BLE001  the last resort: a page for the client, the rest for us
            self._on_error("".join(traceback.format_exception(*sys.exc_info())))
            answer = _page(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
        _drain_quietly(body)
        return _send(answer, environ, start_response)

    def _answer(self, environ: WSGIEnvironment, body: Body) -> _Answer | _PatientAnswer:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        # Express matches HEAD like GET, in any case, with or without a slash at the end.
        key = ("GET" if method == "HEAD" else method, path.lower().removesuffix("/"))
        content_type = environ.get("CONTENT_TYPE", "")
        if key == _TOKEN_ROUTE:
            return self._exchange_token(read_form(body, content_type))
        route = self._routes.get(key)
        if route is None:
            body.hurry(_REFUSED_SECONDS)
            return _page(HTTPStatus.NOT_FOUND, f"Cannot {method} {_quote_path(path)}")
        if not self._credentials.admits(environ.get("HTTP_TOKEN", "")):
            body.hurry(_REFUSED_SECONDS)
            return _page(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        body.trust()
        try:
            result = self._run(route, body, content_type)
        except ApiError as error:
            return _json(error.status, {"error": str(error)})
        return _good(result)

    def _run(self, route: Route, body: Body, content_type: str) -> object:
        if not route.takes_file:
            return route.handler(Request(read_form(body, content_type).fields))
        with self._store.incoming() as path:
            form = read_form(body, content_type, FileSlot(FILE_FIELD, path))
            return route.handler(Request(form.fields, form.file))

    def _exchange_token(self, form: Form) -> _Answer:
        if "refreshToken" not in form.fields:
            # The original throws.
            return _page(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
        id_token = self._credentials.exchange(str(form.fields["refreshToken"]))
        if id_token is None:
            return _text(HTTPStatus.UNAUTHORIZED, "Error")
        data = {
            "user_id": self._store.user_id,
            "id_token": id_token,
            "token_type": "Bearer",
            "expires_in": str(TOKEN_LIFE_SECONDS),
        }
        return _json(HTTPStatus.OK, {"idToken": id_token, "status": "success", "data": data})


def _request_body(environ: WSGIEnvironment) -> Body:
    if environ.get("wsgi.input_terminated"):
        return Body(environ["wsgi.input"], None)
    return Body(environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0))


def _drain_quietly(body: Body) -> None:
    try:
        body.drain()
    except UploadError:
        return  # there is nobody left to tell


def _quote_path(path: str) -> str:
    return quote(path.encode("latin-1"), safe="/:@!$&'()*+,;=~")


def _good(result: object) -> _Answer | _PatientAnswer:
    if isinstance(result, Pending):
        return _PatientAnswer(result)
    if isinstance(result, PlainText):
        return _text(HTTPStatus.OK, result)
    return _json(HTTPStatus.OK, result)


def _json(status: int, value: object) -> _Answer:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate, which JSON can escape and UTF-8 cannot hold, is escaped.
    body = text.encode(errors="backslashreplace")
    return _Answer(status, "application/json; charset=utf-8", body)


def _text(status: int, text: str) -> _Answer:
    # Express calls any text HTML.
    return _Answer(status, "text/html; charset=utf-8", text.encode())


def _page(status: int, message: str) -> _Answer:
    """Return the page Express shows for an error."""
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Error</title>\n</head>\n<body>\n<pre>{html.escape(message)}</pre>\n"
        "</body>\n</html>\n"
    )
    return _text(status, page)


def _send(
    answer: _Answer | _PatientAnswer, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    headers = [
        ("Content-Type", answer.content_type),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if isinstance(answer, _Answer):
        headers.append(("Content-Length", str(len(answer.body))))
    start_response(f"{int(answer.status)} {HTTPStatus(answer.status).phrase}", headers)
    if isinstance(answer, _PatientAnswer):
        return answer
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
