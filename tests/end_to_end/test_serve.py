"""`blankly-deploy serve` as a process: one for each directory, its secrets, its health, its end."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.conftest import Runner
from tests.support.serve_command import serve_command
from tests.support.waiting import PATIENCE

# The system call that signals one thread of another process: asm/unistd.h of each machine.
TGKILL = {"x86_64": 234, "aarch64": 131}


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def signs_in(url: str, token: str) -> bool:
    form = urllib.parse.urlencode({"refreshToken": token}).encode()
    try:
        with urllib.request.urlopen(f"{url}/auth/token", form, timeout=PATIENCE):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False


def test_a_second_server_on_the_directory_is_refused(tmp_path: Path) -> None:
    with serve_command(tmp_path / "data") as first:
        with serve_command(tmp_path / "data") as second:
            assert second.url == ""
            assert second.process.wait(PATIENCE) == 1
            line = " ".join(" ".join(second.lines).split())
            assert line.startswith(f"error: Another server uses {tmp_path / 'data'}")
            assert f"(process {first.process.pid})" in line
        assert get(f"{first.url}/healthz") == (200, '{"status":"ok"}')
    with serve_command(tmp_path / "data") as third:
        assert third.url


def test_a_server_that_was_killed_leaves_the_directory_to_the_next(tmp_path: Path) -> None:
    with serve_command(tmp_path / "data") as first:
        first.process.kill()
        first.process.wait(PATIENCE)
    with serve_command(tmp_path / "data") as second:
        assert second.url, second.lines


def test_a_run_with_an_embedded_platform_may_share_the_directory(
    runner: Runner, tmp_path: Path
) -> None:
    with serve_command(tmp_path / "data"):
        ended = runner.run(api_url="local", platform_data=str(tmp_path / "data"))
        assert ended.code == 0, ended.log


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_it_says_what_it_does_when_it_is_asked_to_stop(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with serve_command(tmp_path / "data", "--stop-seconds", "7") as served:
        served.process.send_signal(number)
        first, *_, last = served.rest()
        assert served.process.returncode == code
    assert first.startswith(f"{number.name}: stopping. Each model has 7 s for its teardown.")
    assert last == "stopped"


@pytest.mark.skipif(platform.machine() not in TGKILL, reason="its number of tgkill is not known")
def test_a_signal_that_another_thread_takes_stops_it_too(tmp_path: Path) -> None:
    """The system gives it to any thread, and only the main one acts on it."""
    with serve_command(tmp_path / "data") as served:
        pid = served.process.pid
        thread = max(int(one.name) for one in Path(f"/proc/{pid}/task").iterdir())
        assert thread != pid
        system = ctypes.CDLL(None)
        assert system.syscall(TGKILL[platform.machine()], pid, thread, int(signal.SIGTERM)) == 0
        assert served.rest()[-1] == "stopped"


@contextmanager
def sending_slowly(url: str) -> Iterator[None]:
    """Hold an upload open that a graceful stop waits for."""
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port), PATIENCE) as connection:
        head = "POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert b"100 Continue" in connection.recv(1000)  # the server reads the body
        yield


def test_at_a_second_signal_it_leaves_at_once(tmp_path: Path) -> None:
    """A client that sends its upload slowly holds up the graceful stop."""
    with serve_command(tmp_path / "data") as served:
        with sending_slowly(served.url):
            served.process.send_signal(signal.SIGTERM)
            assert served.process.stdout is not None
            assert "stopping" in served.process.stdout.readline()
            served.process.send_signal(signal.SIGTERM)
            (line,) = served.rest()
        assert line.startswith("Left at once.")
        assert served.process.returncode == 143


@pytest.mark.parametrize(("host", "is_far"), [("0.0.0.0", True), ("127.0.0.1", False)])  # noqa: S104  # what is tested
def test_beyond_this_machine_it_says_what_plain_http_shows(
    tmp_path: Path, host: str, *, is_far: bool
) -> None:
    """It asks for a token there as everywhere: one is made where none is set."""
    environ = {"PLATFORM_TOKEN": ""}
    with serve_command(tmp_path / "data", "--host", host, environ=environ) as served:
        url = served.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104  # as above
        for method, path in (("POST", "/model/list"), ("GET", "/project/list")):
            answer = requests.request(method, f"{url}{path}", timeout=30)
            assert answer.status_code in {401, 403}
        said = "\n".join([*served.lines, *served.stop()])
    assert ("plain HTTP" in said) == is_far
    assert "refresh token, shown this once: " in said


def test_secrets_may_come_in_files(tmp_path: Path) -> None:
    token = os.urandom(16).hex()
    (tmp_path / "token").write_text(f"{token}\n")
    (tmp_path / "token").chmod(0o600)
    environ = {"PLATFORM_TOKEN_FILE": str(tmp_path / "token")}
    with serve_command(tmp_path / "data", environ=environ) as served:
        assert served.lines == []
        assert signs_in(served.url, token)
        assert not signs_in(served.url, f"{token}x")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PLATFORM_TOKEN_FILE": "/nowhere/token"}, "PLATFORM_TOKEN_FILE names /nowhere/token"),
        ({"PLATFORM_TOKEN": "a", "PLATFORM_TOKEN_FILE": "/b"}, "Both PLATFORM_TOKEN and"),
        ({"PLATFORM_TOKEN": "fifteen-letters"}, "PLATFORM_TOKEN has 15 characters, which can be"),
        ({"PLATFORM_NOTIFY_FILE": "/nowhere/urls"}, "PLATFORM_NOTIFY_FILE names /nowhere/urls"),
    ],
)
def test_secrets_that_cannot_be_used_are_refused(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    with serve_command(tmp_path / "data", environ=environ) as served:
        assert served.process.wait(PATIENCE) == 2
        assert f"error: {message}" in "\n".join(served.lines)


def test_a_secret_that_models_could_read_is_refused(tmp_path: Path) -> None:
    """Each model runs as a user of its own, who is one of all the others."""
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0o644)
    environ = {"PLATFORM_TOKEN_FILE": str(tmp_path / "token")}
    with serve_command(tmp_path / "data", environ=environ) as served:
        assert served.process.wait(PATIENCE) == 2
        assert served.lines[0].startswith(f"error: Every user may read {tmp_path / 'token'}")
