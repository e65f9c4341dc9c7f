"""The metrics for Prometheus, and the page that says how to get them."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from deploy_action.platform.web.answers import Answer, Content, Page
from deploy_action.platform.web.metrics import MOST_MODELS, render_metrics
from deploy_action.platform.web.site import Site, Visit

_TEXT: Final = "text/plain; charset=utf-8"
_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
_REFUSED: Final = (
    "Send the token of the page /monitoring as `Authorization: Bearer TOKEN`, or sign in.\n"
)
_MISSING: Final = "Install `prometheus-client` beside the server, as the extra `server` does.\n"


def show_metrics(site: Site, visit: Visit) -> Answer:
    """Answer with all metrics to who is signed in, or has the token for them."""
    if visit.session is None and not _has_token(site, visit):
        return Content(_REFUSED.encode(), _TEXT, HTTPStatus.UNAUTHORIZED)
    try:
        return Content(render_metrics(site), _FORMAT)
    except ImportError:
        return Content(_MISSING.encode(), _TEXT, HTTPStatus.NOT_IMPLEMENTED)


def show_help(site: Site, visit: Visit) -> Answer:
    """Say how Prometheus gets the metrics, with a token that is good for nothing else."""
    parts = urlsplit(visit.origin)
    values = {
        "token": _token(site),
        "scheme": parts.scheme,
        "target": parts.netloc,
        "most_models": MOST_MODELS,
    }
    return Page("monitoring.html", values)


def _token(site: Site) -> str:
    return site.credentials.signature("metrics", "")


def _has_token(site: Site, visit: Visit) -> bool:
    scheme, _, given = visit.authorization.partition(" ")
    is_right = secrets.compare_digest(
        given.strip().encode("utf-8", "replace"), _token(site).encode()
    )
    return scheme.lower() == "bearer" and is_right
