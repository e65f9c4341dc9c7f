from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from deploy_action.errors import InvalidInputError
from deploy_action.platform.api.credentials import load_or_create_refresh_token
from deploy_action.platform.server import PlatformServer
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import TIMEOUT, Clock, Platform


def _exchange(platform: Platform, **fields: object) -> requests.Response:
    return requests.post(f"{platform.server.url}/auth/token", json=fields, timeout=TIMEOUT)


def test_the_refresh_token_buys_an_id_token(platform: Platform) -> None:
    """The answer includes that of Google's secure-token service, without the refresh token."""
    answer = _exchange(platform, refreshToken=platform.refresh_token)
    document = answer.json()
    assert answer.status_code == 200
    assert document["status"] == "success"
    assert document["data"]["user_id"] == platform.user_id
    assert platform.refresh_token not in answer.text
    platform.id_token = document["idToken"]
    assert platform.get("/project/list").status_code == 200


@pytest.mark.parametrize("given", ["", "wrong", "é", "\ud800", 7, True, ["x"]])
def test_another_refresh_token_is_refused(platform: Platform, given: object) -> None:
    answer = _exchange(platform, refreshToken=given)
    assert (answer.status_code, answer.text) == (401, "Error")


def test_a_missing_refresh_token_is_a_500(platform: Platform) -> None:
    """The original server throws: 500 and a page."""
    answer = _exchange(platform)
    assert answer.status_code == 500
    assert answer.headers["Content-Type"].startswith("text/html")


def test_an_id_token_lives_one_hour(platform: Platform) -> None:
    platform.clock.now += 3599
    assert platform.get("/project/list").status_code == 200
    platform.clock.now += 1
    assert platform.get("/project/list").status_code == 401


def test_each_exchange_buys_another_id_token(platform: Platform) -> None:
    first = platform.id_token
    platform.sign_in()
    assert platform.id_token != first
    platform.id_token = first
    assert platform.get("/project/list").status_code == 200


def test_an_id_token_survives_a_restart(start_platform: StartPlatform) -> None:
    first = start_platform()
    first.server.close()
    second = start_platform()
    second.id_token = first.id_token
    assert second.get("/project/list").status_code == 200
    assert second.user_id == first.user_id


def test_a_new_refresh_token_voids_the_id_tokens(tmp_path: Path, clock: Clock) -> None:
    """A user whose token leaked changes it, which locks out everybody who used it."""
    answers = []
    id_token = ""
    for _ in range(2):
        refresh_token = secrets.token_hex(16)
        with PlatformServer(
            tmp_path / "data", refresh_token=refresh_token, strict=True, clock=clock
        ) as server:
            platform = Platform(server, tmp_path / "data", refresh_token, clock)
            if not id_token:
                platform.sign_in()
                id_token = platform.id_token
            platform.id_token = id_token
            answers.append(platform.get("/project/list").status_code)
    assert answers == [200, 401]


def test_no_token_is_kept_in_the_clear(platform: Platform) -> None:
    for path in platform.data.glob("platform.sqlite*"):
        content = path.read_bytes()
        assert platform.id_token.encode() not in content
        assert platform.refresh_token.encode() not in content


def test_the_expiry_of_an_id_token_cannot_be_changed(platform: Platform) -> None:
    drawn, expires_at, signature = platform.id_token.split(".")
    assert int(expires_at) == platform.clock.now + 3600
    platform.clock.now += 3600
    platform.id_token = f"{drawn}.{int(expires_at) + 3600}.{signature}"
    assert platform.get("/project/list").status_code == 401


def test_an_id_token_is_nothing_but_signed_by_the_refresh_token(platform: Platform) -> None:
    """As earlier servers signed: without an expiry."""
    key = platform.refresh_token.encode()
    for content in ("drawn", f"drawn.{int(platform.clock.now) + 60}", ""):
        signature = hmac.new(key, content.encode(), hashlib.sha256).hexdigest()
        for id_token in (content + signature, f"{content}.{signature}"):
            platform.id_token = id_token
            assert platform.get("/project/list").status_code == 401


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_a_blank_refresh_token_is_refused(tmp_path: Path, blank: str) -> None:
    server = PlatformServer(tmp_path / "data", refresh_token=blank, strict=True)
    with pytest.raises(InvalidInputError, match="blank"):
        server.start()


def test_a_refresh_token_is_made_once(tmp_path: Path) -> None:
    """Its directory can be entered by others, but not listed."""
    data = tmp_path / "new" / "data"
    token, created = load_or_create_refresh_token(data)
    assert created
    assert len(token) >= 32
    assert load_or_create_refresh_token(data) == (token, False)
    assert stat.S_IMODE((data / "refresh-token").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o711


def test_two_first_starts_agree_on_the_refresh_token(tmp_path: Path) -> None:
    found: list[tuple[str, bool]] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_or_create_refresh_token(tmp_path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({token for token, _ in found}) == 1
    assert [created for _, created in found].count(True) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"refresh-token", ".lock"}


def test_a_refresh_token_others_could_read_is_closed(tmp_path: Path) -> None:
    """A copied directory may have lost its modes."""
    token, _ = load_or_create_refresh_token(tmp_path)
    (tmp_path / "refresh-token").chmod(0o644)
    assert load_or_create_refresh_token(tmp_path) == (token, False)
    assert stat.S_IMODE((tmp_path / "refresh-token").stat().st_mode) == 0o600


def test_a_platform_starts_beside_its_refresh_token(start_platform: StartPlatform) -> None:
    """The directory may contain a token before there is a database."""
    data = start_platform().data.with_name("other")
    load_or_create_refresh_token(data)
    assert start_platform(data=data).get("/model/status").status_code == 200


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff"])
def test_a_broken_refresh_token_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    load_or_create_refresh_token(tmp_path)
    (tmp_path / "refresh-token").write_bytes(content)
    with pytest.raises(InvalidInputError, match="refresh token"):
        load_or_create_refresh_token(tmp_path)
    assert (tmp_path / "refresh-token").read_bytes() == content


def test_a_refresh_token_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "refresh-token").mkdir()
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_or_create_refresh_token(tmp_path)


def test_a_table_that_cannot_be_read_is_a_page(platform: Platform) -> None:
    with closing(sqlite3.connect(platform.data / "platform.sqlite")) as database:
        database.execute("DROP TABLE projects")
    answer = platform.get("/project/list")
    assert answer.status_code == 500
    assert "<pre>Internal Server Error</pre>" in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "OperationalError" in platform.errors.pop()


@pytest.mark.parametrize("change", [lambda _: "", str.upper, lambda token: token[1:], "x".__add__])
def test_a_stranger_does_not_keep_the_database_busy(
    platform: Platform, change: Callable[[str], str]
) -> None:
    """Nothing is looked up for what was never issued."""
    with closing(sqlite3.connect(platform.data / "platform.sqlite")) as database:
        database.execute("DROP TABLE projects")
    platform.id_token = change(platform.id_token)
    assert platform.get("/project/list").status_code == 401
