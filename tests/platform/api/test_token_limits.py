"""How many wrong refresh tokens an address may send, and who is not hindered by that."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import requests

from deploy_action.deployment_api.client import DeploymentApi
from deploy_action.deployment_api.transport import Transport
from deploy_action.errors import RefusedError
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline
from deploy_action.platform.api.sign_in_limits import (
    SignInLimits,
    TooManyTokensError,
    client_address,
)
from tests.support.platform_client import TIMEOUT, Platform
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor

GUESSES = 10


def _send(platform: Platform, token: str, address: str = "203.0.113.7") -> requests.Response:
    """Send a token as a proxy in front of the server passes it on."""
    return requests.post(
        f"{platform.server.url}/auth/token",
        json={"refreshToken": token},
        headers={"X-Forwarded-For": address},
        timeout=TIMEOUT,
    )


def _guess(platform: Platform, number: int = GUESSES, address: str = "203.0.113.7") -> list[int]:
    return [_send(platform, f"guess {one}", address).status_code for one in range(number)]


def test_who_guesses_has_to_wait_and_is_told_how_long(platform: Platform) -> None:
    assert _guess(platform) == [401] * GUESSES

    refused = _send(platform, "one more")

    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert refused.json()["error"].startswith("Too many wrong tokens came from your address. Wait")


def test_nobody_is_kept_from_his_server_by_the_guesses_of_others(platform: Platform) -> None:
    """A long token cannot be guessed, and behind some proxies all clients have one address."""
    _guess(platform)

    assert _send(platform, "one more").status_code == 429
    assert _send(platform, platform.refresh_token).status_code == 200


@pytest.mark.parametrize(("length", "is_taken"), [(19, False), (20, True)])
def test_a_token_that_can_be_guessed_has_to_wait(length: int, *, is_taken: bool) -> None:
    limits, right = SignInLimits(), "x" * length
    for number in range(GUESSES):
        limits.admits("a", str(number), right.__eq__)

    with nullcontext() if is_taken else pytest.raises(TooManyTokensError):
        assert limits.admits("a", right, right.__eq__)


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        ("127.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["8.8.8.8", "203.0.113.7"], "203.0.113.7"),  # as HAProxy adds a line
        ("172.17.0.2", ["203.0.113.7:5555"], "203.0.113.7"),
        ("100.64.0.1", ["[2001:db8::1]:5555"], "2001:db8::/64"),
        ("203.0.113.9", ["8.8.8.8"], "8.8.8.8"),  # documentation's addresses are not public
        ("9.9.9.9", ["8.8.8.8"], "9.9.9.9"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
    ],
)
def test_the_address_is_the_one_that_the_nearest_proxy_saw(
    peer: str, lines: list[str], address: str
) -> None:
    assert client_address(peer, lines) == address


def test_an_old_token_that_comes_again_and_again_locks_nobody_out(platform: Platform) -> None:
    """Many runners share an address, and one of them has a token that was replaced."""
    old = [_send(platform, "replaced").status_code for _ in range(5 * GUESSES)]

    assert old == [401] * (5 * GUESSES)
    assert _send(platform, platform.refresh_token).status_code == 200


def test_right_tokens_are_not_counted(platform: Platform) -> None:
    good = [_send(platform, platform.refresh_token).status_code for _ in range(5 * GUESSES)]

    assert good == [200] * (5 * GUESSES)


def test_the_page_and_the_api_count_together(live: LivePlatform) -> None:
    visitor = Visitor(live.parts.url)
    for number in range(GUESSES // 2):
        visitor.sign_in(f"page {number}")
    for number in range(GUESSES // 2):
        _send(live, f"api {number}", address="")

    assert visitor.sign_in("one more").status_code == 429
    assert _send(live, "another", address="").status_code == 429


def test_the_limit_is_of_an_address_for_which_only_a_near_proxy_speaks(platform: Platform) -> None:
    _guess(platform, address="198.51.100.1, 203.0.113.7")

    assert _send(platform, "x", "198.51.100.1").status_code == 401
    assert _send(platform, "x", "198.51.100.2, 203.0.113.7").status_code == 429
    assert _guess(platform, address="2001:db8::1") == [401] * GUESSES
    assert _send(platform, "x", "2001:db8::2").status_code == 429


def test_the_right_token_is_taken_after_the_wait() -> None:
    now = 0.0
    limits = SignInLimits(monotonic=lambda: now)
    for number in range(GUESSES):
        assert not limits.admits("a", str(number), lambda _: False)
    with pytest.raises(TooManyTokensError) as refused:
        limits.admits("a", "right", lambda _: True)

    now += refused.value.seconds

    assert limits.admits("a", "right", lambda _: True)


def _api(url: str, minutes: float, pauses: list[float]) -> DeploymentApi:
    retries = Retries(Deadline.after(minutes), attempts=2, pause=pauses.append)
    return DeploymentApi(Transport(url, retries), "right", on_secret=lambda _: None)


def test_the_client_waits_as_long_as_it_is_told_and_says_why(platform: Platform) -> None:
    for one in range(GUESSES):
        _send(platform, f"guess {one}", address="")
    pauses: list[float] = []

    with pytest.raises(RefusedError) as refused:
        _api(platform.server.url, 5, pauses).sign_in()

    assert len(pauses) == 1
    assert 1 <= pauses[0] <= 31
    [problem] = refused.value.problems
    assert "(429): Too many wrong tokens came from your address." in problem.message
    assert "does not say that this token is wrong" in problem.hint


def test_the_client_does_not_wait_beyond_its_deadline(platform: Platform) -> None:
    for one in range(GUESSES):
        _send(platform, f"guess {one}", address="")
    pauses: list[float] = []

    with pytest.raises(RefusedError, match="after the deadline"):
        _api(platform.server.url, 0.01, pauses).sign_in()

    assert pauses == []
