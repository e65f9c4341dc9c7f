"""Retries, time-outs and doubt, against servers that refuse, stall, cut and lie."""

from __future__ import annotations

import gc
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_action.deployment_api import transport as transport_module
from deploy_action.deployment_api.retry_rules import BrokenExchangeError, NotConnectedError
from deploy_action.errors import DeadlineError, InterruptedRunError, Problem, RefusedError
from deploy_action.interruption import Deadline
from tests.support import wire_server
from tests.support.scripted_server import ID_TOKEN, Reply, StartScripted
from tests.support.transports import (
    BREAKS,
    PING,
    UPLOAD,
    Waits,
    bundle,
    full_listener,
    make_transport,
    send,
    unused_port,
    upload_of,
)
from tests.support.wire_server import (
    Connection,
    Handler,
    StartWire,
    WireServer,
    answering,
    in_turn,
)


def test_a_form_arrives_unchanged(scripted: StartScripted) -> None:
    """Fields keep every character; the token is sent in its own header."""
    server = scripted({PING: Reply(body={"fine": True})})
    fields = {"name": "Zoë & Søn = 100 % 🚀", "lines": "a\r\nb\n\tc", "blank": ""}
    answer = make_transport(server.url).change("/ping", fields, ID_TOKEN)
    request = server.requests_to(PING)[0]
    assert answer.status == 200
    assert answer.json == {"fine": True}
    assert request.fields == fields
    assert request.headers["token"] == ID_TOKEN
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert re.fullmatch(r"blankly-deploy-action/\d+\.\d+\.\d+.*", request.headers["User-Agent"])


def test_a_request_without_fields_has_no_body(scripted: StartScripted) -> None:
    server = scripted({"GET /list": Reply(body=[]), PING: Reply(body=[])})
    transport = make_transport(server.url)
    transport.read("GET", "/list", {})
    transport.read("POST", "/ping", {})
    transport.close()
    for request in server.requests:
        assert "token" not in request.headers
        assert "Transfer-Encoding" not in request.headers
        assert request.headers.get("Content-Length", "0") == "0"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 520, 530, 600])
def test_a_read_is_retried_until_it_succeeds(wire: StartWire, status: int) -> None:
    server = wire({PING: in_turn(*[answering(status)] * 3, answering(200, {"fine": 1}))})
    waits = Waits()
    answer = make_transport(server.url, waits, jitter=lambda: 1.0).read("POST", "/ping", {"a": "b"})
    assert answer.json == {"fine": 1}
    assert waits.seconds == [0.75, 1.5, 3.0]
    assert waits.reasons[0] == f"{server.url} answered {status}. Trying again in 0.8 s."


def test_a_read_is_given_up_after_four_tries(wire: StartWire) -> None:
    server, waits = wire({PING: answering(502, "bad gateway")}), Waits()
    answer = make_transport(server.url, waits).read("POST", "/ping", {"a": "b"})
    assert (answer.status, answer.body) == (502, b"bad gateway")
    assert server.count(PING) == 4
    assert waits.seconds == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [101, 204, 301, 400, 403, 404, 418, 501, 505])
def test_a_read_is_not_repeated_after_an_answer_that_stays(wire: StartWire, status: int) -> None:
    server = wire({PING: answering(status)})
    assert make_transport(server.url).read("POST", "/ping", {"a": "b"}).status == status
    assert server.count(PING) == 1


@pytest.mark.parametrize("way", ["read", "change", "upload"])
@pytest.mark.parametrize("fault", BREAKS)
def test_only_a_read_is_retried_after_a_broken_exchange(
    wire: StartWire, tmp_path: Path, fault: str, way: str
) -> None:
    handler, words = BREAKS[fault]
    server = wire({PING: handler})
    with pytest.raises(BrokenExchangeError) as caught:
        send(make_transport(server.url), way, tmp_path)
    assert server.count(PING) == (4 if way == "read" else 1)
    assert caught.value.may_have_acted == (way != "read")
    assert re.search(words, str(caught.value))
    assert f"The exchange with {server.url} at `POST /ping` broke off" in str(caught.value)
    assert all(problem.hint for problem in caught.value.problems)


@pytest.mark.parametrize("fault", BREAKS)
def test_a_read_survives_a_broken_exchange(wire: StartWire, fault: str) -> None:
    server = wire({PING: in_turn(BREAKS[fault][0], answering(200, {"fine": 1}))})
    answer = make_transport(server.url).read("POST", "/ping", {"a": "b"})
    assert answer.json == {"fine": 1}
    assert server.count(PING) == 2


def test_an_upload_that_did_not_arrive_whole_is_sent_again(wire: StartWire, tmp_path: Path) -> None:
    """No server acts on the half of a bundle."""
    reset = wire_server.reset_before_body
    server = wire({UPLOAD: in_turn(reset, reset, answering(200, {}))})
    upload = upload_of(bundle(tmp_path, 30_000_000))
    transport = make_transport(server.url)
    assert transport.upload("/upload", {}, ID_TOKEN, upload).status == 200
    assert [one.body_was_read for one in server.seen] == [False, False, True]


def test_an_upload_that_never_arrives_whole_leaves_no_doubt(
    wire: StartWire, tmp_path: Path
) -> None:
    server = wire({UPLOAD: wire_server.reset_before_body})
    upload = upload_of(bundle(tmp_path, 30_000_000))
    with pytest.raises(BrokenExchangeError) as caught:
        make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload)
    assert not caught.value.may_have_acted
    assert server.count(UPLOAD) == 4


@pytest.mark.parametrize("way", ["change", "upload"])
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {}),
        (429, {"Retry-After": "0"}),
        (503, {"Retry-After": "0"}),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
    ],
)
def test_a_change_is_retried_if_the_server_says_that_it_did_nothing(
    wire: StartWire, tmp_path: Path, status: int, headers: Mapping[str, str], way: str
) -> None:
    busy = answering(status, headers=headers)
    server, waits = wire({PING: in_turn(busy, answering(200, {}))}), Waits()
    assert send(make_transport(server.url, waits), way, tmp_path).status == 200
    assert [one.body_was_read for one in server.seen] == [True, True]
    assert waits.seconds == [0.5]


@pytest.mark.parametrize("way", ["change", "upload"])
@pytest.mark.parametrize("status", [400, 401, 404, 408, 413, 500, 502, 503, 504, 520])
def test_a_change_is_sent_once_after_any_other_answer(
    wire: StartWire, tmp_path: Path, status: int, way: str
) -> None:
    server = wire({PING: answering(status)})
    assert send(make_transport(server.url), way, tmp_path).status == status
    assert server.count(PING) == 1


@pytest.mark.parametrize("retry_after", ["", "soon", "-1", "1.5"])
def test_a_503_that_names_no_time_does_not_say_that_nothing_was_done(
    wire: StartWire, tmp_path: Path, retry_after: str
) -> None:
    """A gateway answers 503 after it passed the request on, too."""
    server = wire({PING: answering(503, headers={"Retry-After": retry_after})})
    assert send(make_transport(server.url), "upload", tmp_path).status == 503
    assert server.count(PING) == 1


@pytest.mark.parametrize("way", ["read", "change", "upload"])
def test_a_refused_connection_is_retried(tmp_path: Path, way: str) -> None:
    waits, url = Waits(), f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(NotConnectedError) as caught:
        send(make_transport(url, waits), way, tmp_path)
    assert len(waits.seconds) == 3
    assert not caught.value.may_have_acted
    assert str(caught.value) == (
        f"{url} cannot be reached: nothing listens there (Connection refused)."
    )
    assert "api-url" in caught.value.problems[0].hint


@pytest.mark.parametrize("way", ["change", "upload"])
def test_a_server_that_starts_late_gets_the_request_once(tmp_path: Path, way: str) -> None:
    """A refused connection is retried, and nothing is sent twice."""
    port, handlers = unused_port(), {PING: answering(200, {})}
    with WireServer(handlers) as server:

        def redirect(_seconds: float) -> None:
            transport.base_url = server.url

        transport = make_transport(f"http://127.0.0.1:{port}", pause=redirect)

        assert send(transport, way, tmp_path).status == 200
        assert server.count(PING) == 1


def test_a_get_that_cannot_connect_is_reported() -> None:
    """A request without a body relies on the library's error."""
    with pytest.raises(NotConnectedError, match="nothing listens there"):
        make_transport(f"http://127.0.0.1:{unused_port()}").read("GET", "/list", {})


@pytest.mark.parametrize("url", ["http://" + "x" * 70 + ".example", "http://a..b"])
def test_an_invalid_address_is_not_retried(url: str) -> None:
    waits = Waits()
    with pytest.raises(NotConnectedError, match="cannot be reached"):
        make_transport(url, waits).read("POST", "/ping", {"a": "b"})
    assert waits.seconds == []


def test_the_error_says_that_the_hosted_service_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can repair the default address, so the message names the two alternatives."""
    url = f"http://127.0.0.1:{unused_port()}"
    monkeypatch.setattr(transport_module, "HOSTED_API_URL", url)
    with pytest.raises(NotConnectedError) as caught:
        make_transport(url).read("POST", "/ping", {"a": "b"})
    hint = caught.value.problems[0].hint
    assert "taken down" in hint
    assert "`api-url: local`" in hint


def test_retry_after_is_honoured_in_seconds(wire: StartWire, tmp_path: Path) -> None:
    busy = answering(503, headers={"Retry-After": "7"})
    server, waits = wire({PING: in_turn(busy, answering(200, {}))}), Waits()
    send(make_transport(server.url, waits), "upload", tmp_path)
    assert waits.seconds == [7.0]


def test_a_date_to_wait_for_is_by_the_clock_of_the_server(wire: StartWire, tmp_path: Path) -> None:
    """The clock of this machine may be wrong, or be set meanwhile."""
    headers = {"Retry-After": "Sat, 01 Jan 2000 00:00:07 GMT", "Date": "Sat Jan  1 00:00:00 2000"}
    busy = answering(503, headers=headers)
    server, waits = wire({PING: in_turn(busy, answering(200, {}))}), Waits()
    send(make_transport(server.url, waits), "upload", tmp_path)
    assert waits.seconds == [7.0]


def test_no_pause_goes_beyond_the_deadline(wire: StartWire, tmp_path: Path) -> None:
    server = wire({PING: answering(503, headers={"Retry-After": "3600"})})
    waits = Waits()
    with pytest.raises(RefusedError) as caught:
        send(make_transport(server.url, waits), "upload", tmp_path)
    assert str(caught.value) == (
        f"{server.url} answered 503. The next try is due in 3600 s, "
        "after the deadline of 1 minutes."
    )
    assert not caught.value.may_have_acted
    assert waits.seconds == []
    assert server.count(PING) == 1


@pytest.mark.parametrize("way", ["change", "upload"])
def test_a_change_that_times_out_is_not_retried(
    wire: StartWire, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(transport_module, "UPLOAD_ANSWER_TIMEOUT", 0.2)
    server = wire({PING: wire_server.hang})
    with pytest.raises(BrokenExchangeError, match="no data was transferred for too long") as caught:
        send(make_transport(server.url), way, tmp_path)
    assert caught.value.may_have_acted
    assert server.count(PING) == 1


@pytest.mark.parametrize("way", ["read", "change", "upload"])
@pytest.mark.parametrize("handler", [wire_server.hang, wire_server.drip_for_ever])
def test_the_deadline_ends_an_exchange(
    wire: StartWire, tmp_path: Path, handler: Handler, way: str
) -> None:
    server = wire({PING: handler})
    started = time.monotonic()
    with pytest.raises(DeadlineError, match=r"deadline of 0\.01 minutes") as caught:
        send(make_transport(server.url, deadline=Deadline.after(0.01)), way, tmp_path)
    assert time.monotonic() - started < 5
    assert caught.value.may_have_acted == (way != "read")
    assert server.count(PING) == 1


def test_nothing_is_sent_after_the_deadline(wire: StartWire, tmp_path: Path) -> None:
    server = wire({PING: answering(200)})
    late = Deadline(minutes=1, at=time.monotonic() - 1)
    transport = make_transport(server.url, deadline=late)
    with pytest.raises(DeadlineError) as caught:
        send(transport, "upload", tmp_path)
    assert not caught.value.may_have_acted
    assert server.seen == []


def interrupt_at(first: int) -> Callable[[int, int], None]:
    """Return a progress callback that does what a signal's handler does."""

    def on_progress(done: int, _total: int) -> None:
        if done >= first:
            raise InterruptedRunError(signal.SIGTERM, Problem(message="Cancelled."))

    return on_progress


def test_a_signal_in_the_middle_of_an_upload_leaves_no_doubt(
    wire: StartWire, tmp_path: Path
) -> None:
    """No server acts on the half of a bundle."""
    server = wire({UPLOAD: answering(200, {})})
    upload = replace(upload_of(bundle(tmp_path)), on_progress=interrupt_at(200_000))
    with pytest.raises(InterruptedRunError) as caught:
        make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload)
    assert not caught.value.may_have_acted
    assert server.count(UPLOAD) <= 1


def test_a_signal_after_the_end_of_an_upload_leaves_doubt(wire: StartWire, tmp_path: Path) -> None:
    def answer(connection: Connection) -> None:
        connection.read_body()
        os.kill(os.getpid(), signal.SIGUSR1)
        connection.closing.wait(20)

    def interrupt(_number: int, _frame: object) -> None:
        raise InterruptedRunError(signal.SIGUSR1, Problem(message="Cancelled."))

    previous = signal.signal(signal.SIGUSR1, interrupt)
    server = wire({UPLOAD: answer})
    try:
        with pytest.raises(InterruptedRunError) as caught:
            make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload_of(bundle(tmp_path)))
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert caught.value.may_have_acted


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_signal_before_the_first_block_leaves_no_doubt(tmp_path: Path) -> None:
    timer_signal, raised = signal.SIGUSR1, InterruptedRunError(1, Problem(message="Cancelled."))

    def interrupt(_number: int, _frame: object) -> None:
        raise raised

    previous = signal.signal(timer_signal, interrupt)
    with full_listener() as url:
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), timer_signal))
        timer.start()
        try:
            transport = make_transport(url)
            with pytest.raises(InterruptedRunError) as caught:
                send(transport, "upload", tmp_path)
        finally:
            timer.join()
            signal.signal(timer_signal, previous)

    assert not caught.value.may_have_acted
    # The library leaves a socket open that was interrupted while it connected.
    raised.__traceback__ = None
    del caught
    gc.collect()


def test_a_connect_timeout_is_retried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server's full queue of connections may empty."""
    monkeypatch.setattr(transport_module, "CONNECT_TIMEOUT", 0.1)
    waits = Waits()
    with full_listener() as url, pytest.raises(NotConnectedError, match="connecting took too long"):
        send(make_transport(url, waits), "upload", tmp_path)
    assert len(waits.seconds) == 3


@pytest.mark.parametrize("fault", BREAKS)
def test_behind_a_proxy_nothing_is_sent_twice_either(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """If a proxy hangs up after the body, urllib3 reports that it could not connect."""
    proxy = wire({PING: BREAKS[fault][0]})
    monkeypatch.setenv("http_proxy", proxy.url)
    with pytest.raises(BrokenExchangeError) as caught:
        send(make_transport("http://server.example"), "upload", tmp_path)
    assert caught.value.may_have_acted
    assert proxy.count(PING) == 1
