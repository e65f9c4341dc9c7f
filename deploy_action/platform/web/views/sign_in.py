"""Signing in and out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from deploy_action.platform.api.sign_in_limits import TooManyTokensError
from deploy_action.platform.web.answers import Answer, Page, SeeOther
from deploy_action.platform.web.site import Site, Visit
from deploy_action.text.quantities import duration

NOT_DONE: Final = "not_done"
"""In an address: a form was sent by somebody who is not signed in any more."""
_NOTHING_WAS_DONE: Final = (
    "Nothing was done: you are not signed in any more. Sign in, and then press the button again."
)


def show_form(_: Site, visit: Visit) -> Answer:
    """Ask for the refresh token; who is signed in goes on at once."""
    following = _local(visit.query.get("next", ""))
    if visit.session is not None:
        return SeeOther(following)
    return _form(visit, following, _NOTHING_WAS_DONE if NOT_DONE in visit.query else "")


def sign_in(site: Site, visit: Visit) -> Answer:
    """Begin a session, if the refresh token is right."""
    following = _local(visit.form.get("next", ""))
    token = visit.form.get("token", "").strip()
    try:
        is_right = site.credentials.recognises(token, visit.address)
    except TooManyTokensError as error:
        message = f"{error} Wait {duration(error.seconds)}."
        return _form(visit, following, message, HTTPStatus.TOO_MANY_REQUESTS)
    if not is_right:
        return _form(visit, following, "That is not the token of this server.", 401)
    return SeeOther(following, begins=site.sessions.begin())


def sign_out(site: Site, visit: Visit) -> Answer:
    """End the session."""
    if visit.session is not None:
        site.sessions.end(visit.session)
    return SeeOther("/login", ends_session=True)


def _form(visit: Visit, following: str, problem: str = "", status: int = HTTPStatus.OK) -> Page:
    is_open = not visit.is_secure and not visit.is_local
    values = {"next": following, "problem": problem, "is_readable_by_others": is_open}
    return Page("login.html", values, status)


def _local(target: str) -> str:
    """Return a path of this server, the home page for everything else."""
    is_text = target.isascii() and target.isprintable()  # as a header can hold it
    is_path = target.startswith("/") and target[1:2] not in {"/", "\\"}
    return target if is_text and is_path else "/"
