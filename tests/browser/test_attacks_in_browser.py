"""What another site can do with the browser of somebody who is signed in: nothing.

The other site is another port of this computer, which is the worst case: browsers send it the
cookies of all ports, and call it the same site.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from deploy_action.platform.web.routes import ROUTES
from tests.browser.conftest import Browse
from tests.support.browser import Window
from tests.support.local_server import LocalHandler, LocalServer
from tests.support.scripted_live_server import LivePlatform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow


class Handler(LocalHandler):
    def answer(self) -> None:
        server: OtherSite = self.server.owner  # type: ignore[attr-defined]  # its listener
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        server.asked.append(f"{self.path} {self.headers.get('Cookie', '')}")
        body = f"<!DOCTYPE html><title>Other</title><body>{server.body}"
        self.send(200, body.encode(), {"Content-Type": "text/html"})


class OtherSite(LocalServer):
    """Serves one page under every path; `asked` are the paths and cookies of its visitors."""

    handler = Handler

    def __init__(self, body: str) -> None:
        self.body = body
        self.asked: list[str] = []


@contextmanager
def visiting(window: Window, body: str) -> Iterator[OtherSite]:
    """Look at a page of another site, in the same window."""
    with OtherSite(body) as site:
        window.allowed += ["a request to somebody else: ", site.origin]
        window.page.goto(f"{site.origin}/")
        yield site


@pytest.fixture
def window(live: LivePlatform, browse: Browse) -> Window:
    """Return a window of somebody who is signed in, and runs a model."""
    window: Window = browse(live.parts.url)
    live.run_a_version(live.create_model())
    window.sign_in(live.refresh_token)
    window.open("/")
    window.page.get_by_text("Golden cross").wait_for()
    return window


def test_another_site_cannot_show_the_pages_in_a_frame(window: Window) -> None:
    window.allowed += ["frame-ancestors", "X-Frame-Options", "ERR_BLOCKED_BY_RESPONSE"]
    body = f"<iframe src='{window.url}/'></iframe>"
    with visiting(window, body):
        (frame,) = window.page.frames[1:]
        wait_for(lambda: frame.url.startswith("chrome-error:") or window.page.title() != "Other")

        assert frame.url.startswith("chrome-error:")
        assert "Golden cross" not in frame.content()


def _actions(live: LivePlatform) -> list[str]:
    """Return the paths of all that pages can change."""
    (model,) = live.post("/model/list", projectId=live.user_id).json()
    (version,) = live.versions(model["id"])
    parts = {"project": live.user_id, "model": model["id"], "version": version["versionId"]}
    return [route.path.format(**parts) for route in ROUTES if route.method == "POST"]


def test_a_form_of_another_site_changes_nothing(live: LivePlatform, window: Window) -> None:
    """The cookie comes along with it, so it is the server that has to refuse."""
    window.allowed.append("403")
    for action in _actions(live):
        form = f"<form method=post action='{window.url}{action}'><button>Win</button></form>"
        with visiting(window, form):
            sent = window.page.expect_request(f"{window.url}{action}")
            with sent as request, window.page.expect_navigation():
                window.click("Win")
            assert "session=" in request.value.all_headers().get("cookie", "")
            answer = request.value.response()
            assert answer is not None
            assert answer.status == 403, action

    window.open("/")
    assert "Golden cross" in window.text()
    assert len(live.parts.host.running) == 1


def test_a_script_of_another_site_reads_nothing(window: Window) -> None:
    """It sends the cookie, sees no answer, and no page's window."""
    window.allowed += ["CORS policy", "net::ERR_FAILED", "a failed request", "Cross-Origin"]
    with visiting(window, "<button>Win</button>"):
        read = window.page.evaluate(
            """url => fetch(url, {credentials: 'include'}).then(answer => answer.text())
                 .catch(error => error.name)""",
            f"{window.url}/",
        )
        assert read == "TypeError"
        assert window.page.evaluate("document.cookie") == ""
        seen = window.page.evaluate(
            """async url => {
                 const other = open(url);
                 for (let look = 0; look < 100 && !other.closed; look++)
                   await new Promise(done => setTimeout(done, 100));
                 return other.closed;
               }""",
            f"{window.url}/",
        )
        assert seen, "its window can be seen and sent elsewhere"


def test_no_script_reads_the_cookie(window: Window) -> None:
    assert window.page.evaluate("document.cookie") == ""
    (cookie,) = window.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")


@pytest.mark.parametrize(
    "target",
    ["//{other}", "http://{other}/", "/\\{other}", "/%09/{other}", "///{other}", "/%5C{other}",
     "http:{other}", "\\\\{other}", "/.//{other}", "/..//{other}"],
)  # fmt: skip
def test_signing_in_leads_to_no_other_site(target: str, live: LivePlatform, browse: Browse) -> None:
    """Browsers read addresses in other ways than servers, so one is asked."""
    window: Window = browse(live.parts.url)
    window.allowed.append("404")
    with OtherSite("") as site:
        address = target.format(other=site.origin.removeprefix("http://"))
        window.open(f"/login?next={quote(address, safe='%')}")
        window.page.get_by_label("Refresh token").fill(live.refresh_token)
        with window.page.expect_navigation():
            window.click("Sign in")

        assert window.page.url.startswith(f"{window.url}/")
        assert site.asked == []


def test_going_back_after_signing_out_shows_nothing(live: LivePlatform, window: Window) -> None:
    window.open("/?a=b")
    window.click("Sign out")
    window.page.get_by_label("Refresh token").wait_for()

    for _ in range(2):
        window.page.go_back()
        window.page.get_by_label("Refresh token").wait_for()
        assert "Golden cross" not in window.page.content()

    window.page.get_by_label("Refresh token").fill(live.refresh_token)
    window.click("Sign in")
    window.page.get_by_text("Golden cross").wait_for()
