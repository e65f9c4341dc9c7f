"""A log that is followed in a browser, and the sign-in of a program."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_action.deployment_api.login import DEFAULT_PORT
from deploy_action.platform.storage.logs import Bounds, VersionLog
from tests.browser.conftest import Browse
from tests.support.relay import Relay
from tests.support.showcase import TOKEN, Showcase
from tests.support.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.slow
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31mred\x1b[0m \u202egnp.exe"


def _log(showcase: Showcase, name: str) -> tuple[str, VersionLog]:
    """Return the path of a model's log, and what writes it."""
    details = showcase.live.live(showcase.models[name])
    path = f"/{showcase.live.user_id}/{showcase.models[name]}/log"
    return path, showcase.live.parts.store.logs.open(str(details["versionId"]))


def test_a_log_is_followed_and_waits_for_a_reader(showcase: Showcase, browse: Browse) -> None:
    path, log = _log(showcase, "cross")
    for number in range(100):
        log.write("out", f"early {number}")
    window = browse(showcase.url)
    window.sign_in(TOKEN)
    window.open(path)
    page = window.page

    log.write("err", HOSTILE)
    line = page.locator("#log .line.err", has_text="</script><img src=x onerror=alert(1)>red")
    line.wait_for()
    assert "\\u202e" in line.inner_text()
    assert line.is_visible()

    page.locator("#log").evaluate("log => { log.scrollTop = -300 }")
    log.write("out", "comes while somebody reads")
    page.get_by_role("button", name="new lines: jump to the newest").wait_for()
    assert page.get_by_text("comes while somebody reads").count() == 0
    page.get_by_role("button", name="new lines: jump to the newest").click()
    page.get_by_text("comes while somebody reads").wait_for()
    assert page.locator("#log").evaluate("log => Math.abs(log.scrollTop)") < 8


def test_the_filter_is_for_what_comes_too(showcase: Showcase, browse: Browse) -> None:
    path, log = _log(showcase, "cross")
    window = browse(showcase.url)
    window.sign_in(TOKEN)
    window.open(f"{path}?err=on")

    log.write("out", "nobody wants this")
    log.write("err", "but this")

    window.page.get_by_text("but this").wait_for()
    assert window.page.get_by_text("nobody wants this").count() == 0


def test_a_follower_who_is_cut_off_is_told_and_misses_nothing(
    showcase: Showcase, browse: Browse
) -> None:
    path, log = _log(showcase, "cross")
    with Relay(int(showcase.url.rpartition(":")[2])) as relay:
        window = browse(f"http://127.0.0.1:{relay.port}")
        window.allowed += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING"]
        window.sign_in(TOKEN)
        window.open(path)
        log.write("out", "before the cut")
        window.page.get_by_text("before the cut").wait_for()

        relay.cut()
        window.page.get_by_text("the server cannot be reached. The next try is in").wait_for()
        assert "No new lines since" in window.text()
        log.write("out", "during the cut")
        relay.mend()

        window.page.get_by_text("during the cut").wait_for()
        assert window.page.get_by_text("during the cut").count() == 1
        assert window.page.get_by_text("before the cut").count() == 1
        assert window.page.get_by_text("the server cannot be reached").count() == 0
        window.page.goto("about:blank")


def test_the_page_keeps_a_bounded_number_of_lines(showcase: Showcase, browse: Browse) -> None:
    path, log = _log(showcase, "cross")
    log._bounds = Bounds(lines_a_second=10**9, bytes_a_second=10**12)  # noqa: SLF001  # no flood
    window = browse(showcase.url)
    window.sign_in(TOKEN)
    window.open(path)

    for number in range(6_000):
        log.write("out", f"flood {number}")

    window.page.get_by_text("flood 5999", exact=True).wait_for()
    shown = window.page.locator("#log .line")
    assert 4_900 < shown.count() <= 5_000


def test_a_follower_who_is_signed_out_is_told(showcase: Showcase, browse: Browse) -> None:
    path, _ = _log(showcase, "cross")
    window = browse(showcase.url)
    window.sign_in(TOKEN)
    window.open(path)
    other = window.context.new_page()
    other.goto(window.url)
    other.get_by_role("button", name="Sign out").click()

    window.page.get_by_text("you are signed out. Load the page again to sign in.").wait_for()
    assert "No new lines since" in window.text()


@pytest.mark.xdist_group("port 9082")
def test_login_gets_the_token_of_a_server_of_ones_own(
    showcase: Showcase, browse: Browse, tmp_path: Path
) -> None:
    """The whole way: the command opens a page, a button sends the token, the command prints it."""
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n', encoding="utf-8")
    browser.chmod(0o755)
    wait_for(_is_port_free)
    command = [sys.executable, "-m", "deploy_action", "login", "--app-url", showcase.url]
    login = subprocess.Popen(
        command,
        env={**os.environ, "BROWSER": str(browser)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: opened.exists() and opened.read_text(encoding="utf-8").endswith("\n"))
        url = opened.read_text(encoding="utf-8").strip()
        assert url == f"{showcase.url}/auth/signin?redirectUrl=/deploy"
        window = browse(showcase.url)
        window.allowed.append("to somebody else: http://localhost:9082/")
        window.open(url.removeprefix(showcase.url))
        window.page.get_by_label("Refresh token").fill(TOKEN)
        window.click("Sign in")
        window.assert_accessible()
        window.click("Send the token to this computer")
        window.page.get_by_role("heading", name="Token received").wait_for()
        assert window.page.url == "http://localhost:9082/"
        out, err = login.communicate(timeout=PATIENCE)
    finally:
        login.kill()
        login.wait()
    assert (login.returncode, out) == (0, f"{TOKEN}\n")
    assert f"The token is that of user {showcase.live.user_id} at {showcase.url}" in err
    assert "hosted service" not in err
    assert f"`api-url: {showcase.url}`" in err


def _is_port_free() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", DEFAULT_PORT)) != 0
