"""What is wrong with a page fails a test of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import Browse
from tests.support.browser import Device, Window
from tests.support.local_server import LocalHandler, LocalServer
from tests.support.waiting import wait_for

POLICY = "default-src 'none'; script-src 'self'; img-src *; connect-src *"
PAGES = {
    "/good": "<h1>Good</h1><button>Go</button>",
    "/inline": "<h1>A</h1><script>1</script>",
    "/style": "<h1>A</h1><p style='color: red'>A</p>",
    "/raises": "<h1>A</h1><script src=/raises.js></script>",
    "/raises.js": "null.nothing",
    "/elsewhere": "<h1>A</h1><img alt='' src=http://127.0.0.1:9/x.png>",
    "/dialog": "<h1>A</h1><script src=/dialog.js></script>",
    "/dialog.js": "alert('a')",
    "/unlabelled": "<h1>A</h1><input>",
    "/wide": f"<h1>{'A' * 500}</h1>",
}


class Handler(LocalHandler):
    def answer(self) -> None:
        body = PAGES.get(self.path, "")
        if not self.path.endswith(".js"):
            head = "<meta charset=utf-8><meta name=viewport content='width=device-width'>"
            body = f"<!DOCTYPE html><html lang=en>{head}<title>A</title><main>{body}</main>"
        kind = "text/javascript" if self.path.endswith(".js") else "text/html"
        headers = {"Content-Type": kind, "Content-Security-Policy": POLICY}
        self.send(200, body.encode(), headers)


class PagesServer(LocalServer):
    handler = Handler


@pytest.fixture
def url() -> Iterator[str]:
    with PagesServer() as server:
        yield server.origin


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/inline", "refused by the security policy: script-src"),
        ("/style", "refused by the security policy: style-src"),
        ("/raises", "a script: "),
        ("/elsewhere", "a request to somebody else: http://127.0.0.1:9/x.png"),
        ("/elsewhere", "a failed request"),
        ("/dialog", "a dialog: a"),
    ],
)
def test_what_goes_wrong_is_noticed(url: str, browse: Browse, path: str, fault: str) -> None:
    window: Window = browse(url)

    window.open(path)

    def is_noticed() -> bool:
        window.page.evaluate("0")  # the browser tells of it some time
        return any(fault in each for each in window.faults)

    wait_for(is_noticed)
    window.allowed.append("")


@pytest.mark.parametrize(
    ("path", "check"),
    [("/unlabelled", Window.assert_accessible), ("/wide", Window.assert_fits)],
)
def test_what_shuts_readers_out_is_noticed(
    url: str, browse: Browse, path: str, check: Callable[[Window], None]
) -> None:
    window: Window = browse(url, Device.TELEPHONE)
    window.open("/good")
    check(window)
    window.tab_to("Go")
    assert window.faults == []

    window.open(path)
    with pytest.raises(AssertionError):
        check(window)
