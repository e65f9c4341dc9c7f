"""`blankly-deploy login` while its server or the browser goes wrong: no token is shown or lost."""

from __future__ import annotations

import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Final

import pytest

from deploy_action.deployment_api import login, transport
from deploy_action.deployment_api.login import is_known_token, wait_for_token
from deploy_action.errors import RefusedError
from tests.support.faults import rules
from tests.support.faults.cases import DRIPS, Case, Sense
from tests.support.faults.damages import ALL
from tests.support.faults.plans import at
from tests.support.faults.stage import Stage, leaks_in
from tests.support.torture import AT_ANY_MOMENT, Rounds
from tests.support.waiting import PATIENCE

CASES: Final = (*ALL, *DRIPS)
QUICK: Final = (
    *("reset after the body", "closed after the body", "hangs", "drips headers", "500", "401"),
    *("200 with a page", "200 with nothing", "200 with null", "200, too large", "429, two hours"),
    *("307 to another host", "announced shorter", "slow", "compressed"),
)
_SECONDS: Final = 2.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "READ_TIMEOUT", 0.7)
    monkeypatch.setattr(login, "_SIGN_IN_MINUTES", _SECONDS / 60)


def ask(stage: Stage, case: Case) -> None:
    """Ask whose token it is, of a server that goes wrong, and check all that has to come of it."""
    said: list[str] = []
    started = time.monotonic()
    with stage.relay(stage.platform.server.url, at(rules.SIGN_IN, case, always=True)) as relay:
        is_known = is_known_token(relay.url, said.append, stage.token)
    text = "\n".join(said)
    assert time.monotonic() - started < _SECONDS + 3, case.name
    assert relay.routes().count(rules.SIGN_IN) == 1, f"{case.name}: {text}"
    assert leaks_in(text, [stage.token, *relay.tokens]) == [], f"{case.name}: {text}"
    assert stage.trap.seen == []
    assert is_known == ("A token came that is not used" not in text), case.name
    # The server alone can say that it does not know a token.
    assert is_known or case.sense is Sense.EXPIRED, f"{case.name}: {text}"
    is_told = f"The token is that of user {stage.platform.user_id}" in text
    assert is_told or not is_known or "It is not known whose token came" in text, text
    if case.sense is Sense.FINE:
        assert is_told, f"{case.name}: {text}"


@pytest.mark.parametrize("name", QUICK)
def test_a_server_that_fails_loses_no_token(stage: Stage, name: str) -> None:
    ask(stage, next(case for case in CASES if case.name == name))


@AT_ANY_MOMENT
@pytest.mark.torture(quick=0)
def test_of_all_faults(stage: Stage, rounds: Rounds) -> None:
    for chance in rounds:
        ask(stage, chance.choice(ALL if chance.random() < 0.95 else DRIPS))
        rounds.count("faults")


# --------------------------------------------------------------------------- the browser


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def send(port: int, data: bytes) -> socket.socket:
    """Connect as a browser, and send a part of a request."""
    opened = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    opened.sendall(data)
    return opened


def redirect(port: int, token: str) -> None:
    """Follow the redirect of the sign-in page."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", f"/?token={token}", headers={"Host": f"localhost:{port}"})
        connection.getresponse().read()
    finally:
        connection.close()


def wait(port: int, act: Callable[[], None], accepts: Callable[[str], bool], seconds: float) -> str:
    """Wait for a token while `act` is done as a browser would."""
    threads: list[threading.Thread] = []

    def open_browser(_url: str) -> bool:
        threads.append(threading.Thread(target=act))
        threads[0].start()
        return True

    try:
        return wait_for_token(
            "https://app.example",
            open_browser=open_browser,
            announce=lambda _line: None,
            accepts=accepts,
            port=port,
            timeout=seconds,
        )
    finally:
        threads[0].join()


def reset(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    opened.close()


def test_a_browser_that_breaks_off_everywhere_does_not_end_the_wait(
    capfd: pytest.CaptureFixture[str],
) -> None:
    port, token = free_port(), secrets.token_urlsafe(40)
    whole = f"GET /?token=x HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n".encode()

    def act() -> None:
        kept = []
        for cut in range(0, len(whole) + 1, 7):
            reset(send(port, whole[:cut]))
            send(port, whole[:cut]).close()
            kept.append(send(port, whole[:cut]))  # and says no more
        kept += [
            send(port, one)
            for one in (b"\0" * 99, b"\x16\x03\x01", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n")
        ]
        kept.append(send(port, b"GET /?token=" + b"x" * 70_000))
        redirect(port, token)
        for one in kept:
            one.close()

    assert wait(port, act, bool, PATIENCE) == token
    assert capfd.readouterr() == ("", "")


def test_a_token_is_taken_of_a_browser_that_does_not_wait_for_the_page() -> None:
    port, token = free_port(), secrets.token_urlsafe(40)
    request = f"GET /?token={token} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode()
    assert wait(port, lambda: send(port, request).close(), bool, PATIENCE) == token


def test_tokens_without_an_end_do_not_prolong_the_wait() -> None:
    """Any page can send the browser here, again and again."""
    port, asked = free_port(), 0

    def refuse(_token: str) -> bool:
        nonlocal asked
        asked += 1
        assert asked < 10_000, "the wait does not end"
        redirect(port, f"token-{asked}")  # so that one always waits
        return False

    def act() -> None:
        with suppress(OSError, HTTPException):
            redirect(port, "first")

    with pytest.raises(RefusedError, match="Nobody signed in within"):
        wait(port, act, refuse, 0.3)
