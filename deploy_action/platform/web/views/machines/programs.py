"""The sign-in of `blankly-deploy login`: the browser takes the token to a port of its computer."""

from __future__ import annotations

import re
from urllib.parse import quote

from deploy_action.platform.api.request import ApiError
from deploy_action.platform.web.answers import TOKEN_RECEIVER, Answer, Page, SeeOther
from deploy_action.platform.web.site import Site, Visit

# Of the original's pages, the one that sent the token on.
_DEPLOY = "/deploy"


def show_question(site: Site, visit: Visit) -> Answer:
    """Ask whether to send the token, and say where."""
    _check(visit.query.get("redirectUrl", ""))
    is_sendable = re.fullmatch(r"[!-~]+", site.credentials.refresh_token) is not None
    values = {"receiver": TOKEN_RECEIVER, "redirect_url": _DEPLOY, "is_sendable": is_sendable}
    return Page("programs.html", values)


def send_token(site: Site, visit: Visit) -> Answer:
    """Send the browser, and with it the token, to the program that waits on its computer."""
    _check(visit.form.get("redirectUrl", ""))
    return SeeOther(f"{TOKEN_RECEIVER}/?token={quote(site.credentials.refresh_token, safe='')}")


def _check(redirect_url: str) -> None:
    if redirect_url != _DEPLOY:
        raise ApiError(f"There is nothing here but the sign-in for redirectUrl={_DEPLOY}.", 404)
