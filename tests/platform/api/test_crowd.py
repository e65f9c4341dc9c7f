"""What becomes of honest clients when there are too many connections, or too few descriptors."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests
from starlette.responses import PlainTextResponse

from tests.platform.api.conftest import Serve
from tests.support.platform_client import TIMEOUT
from tests.support.raw_http import (
    PATIENT,
    UNFINISHED,
    connect,
    is_closed,
    read_all,
    receive_all,
    url_of,
)
from tests.support.serving_process import serving
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_ROOT = Path(__file__).parents[3]
_LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def _sign_in(scope: Scope, receive: Receive, send: Send) -> None:
    scope["state"]["connection"].sign_in()
    await read_all(scope, receive, send)


def test_a_new_client_takes_the_place_of_the_one_that_waited_longest(serve: Serve) -> None:
    server = serve(read_all, replace(PATIENT, connections=3, settling=0))
    with ExitStack() as stack:
        oldest, *others = (stack.enter_context(connect(server)) for _ in range(3))
        assert requests.get(url_of(server), timeout=60).text == "complete"
        assert is_closed(oldest)
        for other in others:
            other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert receive_all(other).endswith(b"complete")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", UNFINISHED])
def test_slow_strangers_make_room(serve: Serve, start: bytes) -> None:
    """However often they send something: the first to wait is the first to go."""
    requested = threading.Semaphore(0)

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        requested.release()
        await read_all(scope, receive, send)

    server = serve(note, replace(PATIENT, connections=3))
    with ExitStack() as stack:
        strangers = [stack.enter_context(connect(server)) for _ in range(3)]
        for stranger in strangers:
            stranger.sendall(start)
            if start == UNFINISHED:
                assert requested.acquire(timeout=60)
        strangers[0].sendall(b"A: b\r\n"[: 1 if start == UNFINISHED else None])
        assert requests.get(url_of(server), timeout=60).text == "complete"
        assert is_closed(strangers[0])


def test_strangers_make_room_before_a_client_that_is_signed_in(serve: Serve) -> None:
    server = serve(_sign_in, replace(PATIENT, connections=2, settling=0))
    with connect(server) as signed_in, ExitStack() as stack:
        for _ in range(2):
            signed_in.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"complete"):
                answer += (piece := signed_in.recv(1000))
                assert piece
            strangers = [stack.enter_context(connect(server)) for _ in range(4)]
            assert all(is_closed(stranger) for stranger in strangers[:-1])


@pytest.mark.parametrize(("app", "answers"), [(read_all, 1), (_sign_in, 2)])
def test_a_stranger_gets_one_answer_where_it_is_crowded(
    serve: Serve, app: ASGIApp, answers: int
) -> None:
    """Or those who always have a next request ready would keep their places."""
    server = serve(app, replace(PATIENT, connections=4))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(server))
        connection = stack.enter_context(connect(server))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + _LAST)
        assert receive_all(connection).count(b"complete") == answers


def test_a_client_that_was_just_heard_keeps_its_place(serve: Serve) -> None:
    url = url_of(serve(_sign_in, replace(PATIENT, connections=1, settling=60)))
    with requests.Session() as session:
        for _ in range(2):
            assert session.get(url, timeout=60).text == "complete"
            assert requests.get(url, timeout=60).status_code == 503


def test_a_client_that_still_reads_its_answer_keeps_its_place(serve: Serve) -> None:
    size = 24 << 20
    is_answered = threading.Event()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["connection"].sign_in()
        await PlainTextResponse(b"x" * size)(scope, receive, send)
        is_answered.set()

    server = serve(answer, replace(PATIENT, connections=1, settling=0))
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_answered.wait(TIMEOUT)
        assert requests.get(url_of(server), timeout=60).status_code == 503
        received = 0
        while received < size:
            received += len(piece := connection.recv(1 << 20))
            assert piece


def test_a_client_is_refused_where_all_are_busy(serve: Serve) -> None:
    requested: list[str] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        requested.append(scope["path"])
        await _sign_in(scope, receive, send)

    server = serve(note, replace(PATIENT, connections=2))
    with ExitStack() as stack:
        busy = [stack.enter_context(connect(server)) for _ in range(2)]
        for each in busy:
            each.sendall(UNFINISHED)
        wait_for(lambda: len(requested) == 2)
        for size in (0, 5 << 20):  # it can send all of its request, and read the answer then
            answer = requests.post(url_of(server), bytes(size), timeout=60)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        for each in busy:
            each.sendall(b"12345678")
            assert receive_all(each).endswith(b"complete")


def test_a_process_without_free_descriptors_waits_for_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path / "data", "x") as (url, pid), ExitStack() as stack:
        assert requests.get(url, timeout=TIMEOUT).status_code == 404
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        lowest = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, limits[1]))
        address = urlsplit(url)
        for _ in range(10):
            connection = socket.create_connection((str(address.hostname), address.port or 0))
            stack.enter_context(connection)
        before = cpu_seconds(pid)
        time.sleep(1)
        assert cpu_seconds(pid) - before < 0.5
        assert capfd.readouterr().err.count("out of system resource") == 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert requests.get(url, timeout=TIMEOUT).status_code == 404


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sign_in(url: str) -> int:
    """Return the status of the answer to a client with the token."""
    answer = requests.post(f"{url}/auth/token", {"refreshToken": "x"}, timeout=TIMEOUT)
    if not answer.ok:
        return answer.status_code
    headers = {"token": answer.json()["idToken"]}
    return requests.get(f"{url}/project/list", headers=headers, timeout=TIMEOUT).status_code


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", UNFINISHED.replace(b" / ", b" /auth/token ")]
)
def test_more_strangers_than_descriptors_stop_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], start: bytes
) -> None:
    with serving(tmp_path / "data", "x", files=512) as (url, pid), ExitStack() as stack:
        address = urlsplit(url)
        for _ in range(600):
            stranger = socket.create_connection((str(address.hostname), address.port or 0))
            stack.enter_context(stranger)
            with suppress(OSError):  # it had to make room
                stranger.sendall(start)
        assert sign_in(url) == 200
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 200
        stack.close()
        assert sign_in(url) == 200
    assert capfd.readouterr().err == ""


def test_the_smallest_limit_of_descriptors_is_enough_for_many_clients(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path / "data", "x", files=512) as (url, _), ThreadPoolExecutor(40) as pool:
        assert set(pool.map(sign_in, [url] * 120)) == {200}
    assert capfd.readouterr().err == ""


def serve_with(limit: str, data: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deploy_action", "serve", "--port", "0", "--data", str(data)]
    return subprocess.Popen(
        ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *command],
        cwd=_ROOT,
        env={**os.environ, "PLATFORM_TOKEN": "x" * 16},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_too_few_descriptors_are_refused(tmp_path: Path) -> None:
    with serve_with("-n 511", tmp_path / "data") as process:
        _, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert error.startswith("error: The platform may open 511 files at once")
    assert "ulimit -n" in error
    assert not list((tmp_path / "data" / "runs").iterdir())


@pytest.mark.parametrize(("limit", "most"), [("-S -n 100", 4000), ("-n 1024", 277)])
def test_as_many_descriptors_are_taken_as_allowed(tmp_path: Path, limit: str, most: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 9400:
        pytest.skip(f"this process may open {hard} files only")
    with serve_with(limit, tmp_path / "data") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("listening on ")
        process.terminate()
        said = f"at most {most} connections at once" in process.stderr.read()
        assert said == (most < 4000)
