"""A request for the headers alone has an answer at once, and leaves its connection to the next."""

from __future__ import annotations

from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from deploy_action.platform.web.routes import ROUTES
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import TIMEOUT, Visitor
from tests.support.waiting import wait_for

OF_PAGES = [route.path for route in ROUTES if route.method == "GET"]
STREAMS = "/{project}/{model}/log/follow"


@pytest.fixture
def paths(live: LivePlatform) -> dict[str, str]:
    """Return an address for the path of each route that is read."""
    model_id = live.create_model()
    version_id = live.run_a_version(model_id)
    backtest_id = live.backtest(model_id).json()["backtestId"]
    live.parts.store.logs.open(version_id).write("out", "bought")
    values = {
        "project": live.user_id,
        "model": model_id,
        "version": version_id,
        "backtest": backtest_id,
        "order": "1",
        "name": "style.css",
    }
    of_api = [route.path for route in live.parts.routes.all if route.method == "GET"]
    found = {path: path.format(**values) for path in (*OF_PAGES, *of_api)}
    found[STREAMS] += f"?after={version_id}/1-0"
    return found


def test_without_a_session_it_is_no_form_that_was_lost(
    paths: dict[str, str], live: LivePlatform
) -> None:
    visitor = Visitor(live.parts.url)
    path = paths["/{project}/{model}/overview"]
    found = {
        visitor.session.request(
            method, live.parts.url + path, allow_redirects=False, timeout=TIMEOUT
        ).headers["Location"]
        for method in ("GET", "HEAD")
    }
    assert len(found) == 1
    assert "not_done" not in found.pop()


def test_it_is_answered_on_every_route_as_the_page_would_be(
    paths: dict[str, str], live: LivePlatform, reader: Visitor
) -> None:
    server = urlsplit(live.parts.url).netloc
    cookies = "; ".join(f"{name}={value}" for name, value in reader.session.cookies.items())
    headers = {**live.headers, "Cookie": cookies}

    for route, path in paths.items():
        connection = HTTPConnection(server, timeout=TIMEOUT)
        connection.request("HEAD", path, headers=headers)
        answer = connection.getresponse()
        assert answer.read() == b""
        own = connection.sock.getsockname()
        # What has not ended would not let another request through.
        connection.request("GET", paths["/login"] if route == STREAMS else path, headers=headers)
        assert connection.sock.getsockname() == own, route
        shown = connection.getresponse()
        assert (route, answer.status) == (route, 200 if route == STREAMS else shown.status)
        shown.read()
        if route != STREAMS:
            assert answer.getheader("Content-Type") == shown.getheader("Content-Type"), route
        connection.close()


def test_one_that_asks_for_the_headers_of_a_log_is_no_follower(
    paths: dict[str, str], live: LivePlatform, reader: Visitor
) -> None:
    for _ in range(3):
        answer = reader.session.head(f"{live.parts.url}{paths[STREAMS]}", timeout=TIMEOUT)
        assert answer.status_code == 200

    wait_for(lambda: live.parts.routes.logs.followers.number == 0)
