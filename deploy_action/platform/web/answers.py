"""What a view answers, and the headers with which it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from deploy_action.platform.api.operations.logs import LogText
from deploy_action.platform.web.sessions import SESSION_SECONDS, Session, cookie_name
from deploy_action.records import dataclass, field

if TYPE_CHECKING:
    from starlette.responses import Response

# Where the sign-in of a program on the user's own computer waits for the token.
TOKEN_RECEIVER: Final = "http://localhost:9082"  # noqa: S105  an address
_SECURITY: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; frame-ancestors 'none';"
        f" form-action 'self' {TOKEN_RECEIVER}"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the name of its template, and the values for it."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    status: int = HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class SeeOther:
    """Another page to look at, as after a form was sent.

    `begins` is a session that begins with this answer; `ends_session` says that one ends.
    """

    location: str
    begins: Session | None = None
    ends_session: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is no page: its bytes and their media type. `is_kept`: it never changes."""

    content: bytes
    media_type: str
    status: int = HTTPStatus.OK
    is_kept: bool = False


Answer = Page | SeeOther | Content | LogText
"""A `LogText` is sent as its lines come."""


def html_response(html: str, status: int) -> Response:
    """Return a page as it is sent."""
    from starlette.responses import Response

    content = html.encode("utf-8", "replace")
    return Response(content, status, _SECURITY, "text/html; charset=utf-8")


def redirect_response(answer: SeeOther, *, is_secure: bool) -> Response:
    """Return the way to another page, with the cookie of a session that begins or ends."""
    from starlette.responses import Response

    headers = {**_SECURITY, "Location": answer.location}
    response = Response(status_code=HTTPStatus.SEE_OTHER, headers=headers)
    name = cookie_name(is_secure=is_secure)
    if answer.begins is not None:
        response.set_cookie(
            name,
            answer.begins.token,
            max_age=SESSION_SECONDS,
            secure=is_secure,
            httponly=True,
            samesite="lax",
        )
    elif answer.ends_session:
        response.delete_cookie(name, secure=is_secure, httponly=True, samesite="lax")
    return response


def content_response(answer: Content) -> Response:
    """Return bytes as they are sent."""
    from starlette.responses import Response

    kept = {"Cache-Control": "public, max-age=31536000, immutable"} if answer.is_kept else {}
    return Response(answer.content, answer.status, {**_SECURITY, **kept}, answer.media_type)
