"""The transport against servers that answer, refuse, stall, cut and lie."""

from __future__ import annotations

import gc
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.deployment_api import transport as transport_module
from deploy_action.deployment_api.bodies import AlteredFileError, MultipartBody, Upload
from deploy_action.deployment_api.retry_rules import BrokenExchangeError, NotConnectedError
from deploy_action.deployment_api.transport import Transport
from deploy_action.errors import (
    DeadlineError,
    DeployActionError,
    InterruptedRunError,
    Problem,
    RefusedError,
)
from deploy_action.http_exchange import Answer, Retries, _seconds
from deploy_action.interruption import Deadline
from tests.support import wire_server
from tests.support.scripted_server import ID_TOKEN, Reply, ScriptedServer
from tests.support.wire_server import (
    Connection,
    Handler,
    WireServer,
    answering,
    early,
    in_turn,
)

StartWire = Callable[[Mapping[str, Handler]], WireServer]
StartScripted = Callable[..., ScriptedServer]

PING = "POST /ping"
UPLOAD = "POST /upload"


@dataclass(slots=True)
class Waits:
    """Stands in for sleeping, and keeps what was waited for and why."""

    seconds: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def make_transport(url: str, waits: Waits | None = None, **options: Any) -> Transport:
    """Return a transport that does not really pause."""
    waits = waits or Waits()
    retries = Retries(
        options.pop("deadline", Deadline.after(1)),
        pause=options.pop("pause", waits.seconds.append),
        jitter=options.pop("jitter", lambda: 0.0),
        on_retry=waits.reasons.append,
    )
    return Transport(url, retries, **options)


def bundle(path: Path, size: int = 300_000) -> Path:
    file = path / "model.zip"
    file.write_bytes(os.urandom(size))
    return file


def upload_of(path: Path, seen: list[tuple[int, int]] | None = None) -> Upload:
    """Return an upload that notes its progress."""
    return Upload(
        path,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        lambda done, total: None if seen is None else seen.append((done, total)),
    )


def unused_port() -> int:
    """Return a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def send(transport: Transport, way: str, tmp_path: Path) -> Answer:
    """Send a request in one of the three ways."""
    if way == "read":
        return transport.read("POST", "/ping", {"a": "b"})
    if way == "change":
        return transport.change("/ping", {"a": "b"}, ID_TOKEN)
    return transport.upload("/ping", {"a": "b"}, ID_TOKEN, upload_of(bundle(tmp_path)))


# --------------------------------------------------------------------------- what is sent


def test_a_form_arrives_as_it_was_meant(scripted: StartScripted) -> None:
    """Fields keep every character; the token travels in its own header."""
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
    """Neither a GET nor a POST without fields announces a body of unknown length."""
    server = scripted({"GET /list": Reply(body=[]), PING: Reply(body=[])})
    transport = make_transport(server.url)

    transport.read("GET", "/list", {})
    transport.read("POST", "/ping", {})
    transport.close()

    for request in server.requests:
        assert "token" not in request.headers
        assert "Transfer-Encoding" not in request.headers
        assert request.headers.get("Content-Length", "0") == "0"


def test_an_upload_is_a_multipart_form_with_a_zip(scripted: StartScripted, tmp_path: Path) -> None:
    """The file part is called `model`; fields keep every character; the length is announced."""
    server = scripted({UPLOAD: Reply(body={})})
    file = bundle(tmp_path)
    fields = {"versionDescription": "Größer: 中文 🚀\n\n- zweite Zeile", "plan": "nano"}
    body = MultipartBody(fields, upload_of(file))
    with body:
        sent = b"".join(body)

    make_transport(server.url).upload("/upload", fields, ID_TOKEN, upload_of(file))

    request = server.requests_to(UPLOAD)[0]
    assert request.fields == fields
    assert request.file == file.read_bytes()
    assert request.headers["token"] == ID_TOKEN
    assert int(request.headers["Content-Length"]) == len(sent) == len(body)
    assert b'name="model"; filename="model.zip"\r\nContent-Type: application/zip\r\n' in sent


def test_progress_only_grows_and_ends_at_the_size(scripted: StartScripted, tmp_path: Path) -> None:
    """It counts the file's bytes, and tells the whole with each step."""
    server, seen = scripted({UPLOAD: Reply(body={})}), list[tuple[int, int]]()
    file = bundle(tmp_path, 1_000_000)

    make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload_of(file, seen))

    done = [one for one, _ in seen]
    assert done == sorted(set(done))
    assert len(done) > 5
    assert seen[-1] == (1_000_000, 1_000_000)
    assert {total for _, total in seen} == {1_000_000}


def test_memory_does_not_grow_with_the_bundle(wire: StartWire, tmp_path: Path) -> None:
    """300 MB go through a process that grows by less than 20 MB."""
    server = wire({UPLOAD: answering(200, {})})
    large, small = tmp_path / "large.zip", bundle(tmp_path)
    with large.open("wb") as file:
        file.truncate(300_000_000)
    program = f"""
import hashlib
import resource
from pathlib import Path
from deploy_action.interruption import Deadline
from deploy_action.deployment_api.bodies import Upload
from deploy_action.deployment_api.transport import Transport
from deploy_action.http_exchange import Retries
def upload(path):
    transport = Transport({server.url!r}, Retries(Deadline.after(1)), use_environment=False)
    digest = hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()
    answer = transport.upload("/upload", {{}}, "t", Upload(Path(path), digest, lambda *_: None))
    assert answer.status == 200
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(-upload({str(small)!r}) + upload({str(large)!r}))
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert int(done.stdout) < 20_000, "kibibytes"
    assert server.seen[-1].received == server.seen[-1].length > 300_000_000


# --------------------------------------------------------------------------- repeats


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_reading_is_repeated_until_it_passes(wire: StartWire, status: int) -> None:
    """The pauses grow, and jitter stretches them by up to a half."""
    server = wire({PING: in_turn(*[answering(status)] * 3, answering(200, {"fine": 1}))})
    waits = Waits()

    answer = make_transport(server.url, waits, jitter=lambda: 1.0).read("POST", "/ping", {"a": "b"})

    assert answer.json == {"fine": 1}
    assert waits.seconds == [0.75, 1.5, 3.0]
    assert waits.reasons[0] == f"{server.url} answered {status}. Trying again in 0.8 s."


def test_reading_is_given_up_after_four_tries(wire: StartWire) -> None:
    """The last answer is returned as it is."""
    server, waits = wire({PING: answering(502, "bad gateway")}), Waits()

    answer = make_transport(server.url, waits).read("POST", "/ping", {"a": "b"})

    assert (answer.status, answer.body) == (502, b"bad gateway")
    assert server.count(PING) == 4
    assert waits.seconds == [0.5, 1.0, 2.0]


BREAKS: Mapping[str, tuple[Handler, str]] = {
    "reset before the body": (wire_server.reset_before_body, "cut|closed without an answer"),
    "closed after the body": (wire_server.close_after_body, "closed without an answer"),
    "reset after the body": (wire_server.reset_after_body, "the connection was cut"),
    "truncated": (wire_server.truncated, "the answer ends too early"),
    "half a chunk": (wire_server.half_chunked, "the answer ends too early"),
    "garbage": (wire_server.garbage, "the answer is not HTTP"),
    "too large": (wire_server.too_large, "the answer is larger than 16 MiB"),
    "badly compressed": (wire_server.badly_compressed, "not compressed as its header says"),
}


@pytest.mark.parametrize("way", ["read", "change", "upload"])
@pytest.mark.parametrize("fault", BREAKS)
def test_what_broke_off_is_repeated_only_if_it_reads(
    wire: StartWire, tmp_path: Path, fault: str, way: str
) -> None:
    """A change that was on its way is not sent again, and the error says that it may have acted."""
    handler, words = BREAKS[fault]
    server = wire({PING: handler})

    with pytest.raises(BrokenExchangeError) as caught:
        send(make_transport(server.url), way, tmp_path)

    assert server.count(PING) == (4 if way == "read" else 1)
    assert caught.value.may_have_acted == (way != "read")
    assert re.search(words, str(caught.value))
    assert f"The exchange with {server.url} at `POST /ping` broke off" in str(caught.value)


@pytest.mark.parametrize("fault", BREAKS)
def test_reading_outlives_a_break(wire: StartWire, fault: str) -> None:
    """One broken exchange, and the next one counts."""
    server = wire({PING: in_turn(BREAKS[fault][0], answering(200, {"fine": 1}))})

    answer = make_transport(server.url).read("POST", "/ping", {"a": "b"})

    assert answer.json == {"fine": 1}
    assert server.count(PING) == 2


@pytest.mark.parametrize("way", ["change", "upload"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_change_is_repeated_when_the_server_says_it_has_not_acted(
    wire: StartWire, tmp_path: Path, status: int, way: str
) -> None:
    """Each time with the whole body."""
    server, waits = wire({PING: in_turn(answering(status), answering(200, {}))}), Waits()

    assert send(make_transport(server.url, waits), way, tmp_path).status == 200

    assert [one.body_was_read for one in server.seen] == [True, True]
    assert waits.seconds == [0.5]


@pytest.mark.parametrize("way", ["change", "upload"])
@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 502, 504, 520])
def test_a_change_is_sent_once_whatever_else_is_answered(
    wire: StartWire, tmp_path: Path, status: int, way: str
) -> None:
    """What that means is for the caller to say."""
    server = wire({PING: answering(status)})

    assert send(make_transport(server.url), way, tmp_path).status == status

    assert server.count(PING) == 1


@pytest.mark.parametrize("way", ["read", "change", "upload"])
def test_a_refused_connection_is_tried_again(tmp_path: Path, way: str) -> None:
    """Four times, and then the error says where, why, and that nothing was done."""
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
    """A refused connection is no reason to give up, nor one to send twice."""
    port, handlers = unused_port(), {PING: answering(200, {})}
    with WireServer(handlers) as server:

        def redirect(_seconds: float) -> None:
            transport.base_url = server.url

        transport = make_transport(f"http://127.0.0.1:{port}", pause=redirect)

        assert send(transport, way, tmp_path).status == 200
        assert server.count(PING) == 1


def test_a_get_that_cannot_connect_says_so() -> None:
    """A request without a body has the libraries' word for it."""
    with pytest.raises(NotConnectedError, match="nothing listens there"):
        make_transport(f"http://127.0.0.1:{unused_port()}").read("GET", "/list", {})


def test_a_host_without_an_address_is_called_that() -> None:
    """The zone of this address does not exist, which is found out without asking the network."""
    with pytest.raises(NotConnectedError, match="there is no address for that host name"):
        make_transport("http://[fe80::1%25none]:80").read("POST", "/ping", {"a": "b"})


@pytest.mark.parametrize("url", ["http://" + "x" * 70 + ".example", "http://a..b", "http://*"])
def test_an_address_that_is_none_is_not_tried_again(url: str) -> None:
    """No try will get a connection to it."""
    waits = Waits()

    with pytest.raises(NotConnectedError, match="cannot be reached"):
        make_transport(url, waits).read("POST", "/ping", {"a": "b"})

    assert waits.seconds == []


def test_the_hosted_service_is_said_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can mend the default address, so the message names the two ways on."""
    url = f"http://127.0.0.1:{unused_port()}"
    monkeypatch.setattr(transport_module, "HOSTED_API_URL", url)

    with pytest.raises(NotConnectedError) as caught:
        make_transport(url).read("POST", "/ping", {"a": "b"})

    hint = caught.value.problems[0].hint
    assert "taken down" in hint
    assert "`api-url: local`" in hint


# --------------------------------------------------------------------------- time


def test_retry_after_is_honoured_in_seconds(wire: StartWire, tmp_path: Path) -> None:
    """The server's wish goes before the shorter pause of our own."""
    busy = answering(503, headers={"Retry-After": "7"})
    server, waits = wire({PING: in_turn(busy, answering(200, {}))}), Waits()

    send(make_transport(server.url, waits), "upload", tmp_path)

    assert waits.seconds == [7.0]


def test_retry_after_is_honoured_as_a_date(wire: StartWire, tmp_path: Path) -> None:
    """The other form that HTTP has for it."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    busy = answering(429, headers={"Retry-After": date})
    server, waits = wire({PING: in_turn(busy, answering(200, {}))}), Waits()

    send(make_transport(server.url, waits), "upload", tmp_path)

    assert waits.seconds == [pytest.approx(19.5, abs=1)]


def test_a_pause_beyond_the_deadline_is_not_begun(wire: StartWire, tmp_path: Path) -> None:
    """The run fails at once and says why, rather than wait for nothing."""
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


@given(st.text())
def test_any_retry_after_is_a_number_of_seconds(text: str) -> None:
    """What makes no sense counts as not said."""
    assert 0 <= _seconds(text) < float("inf")


@given(st.integers(min_value=0, max_value=10**30), st.sampled_from(["", " ", "\t" * 12]))
def test_retry_after_in_seconds_is_read(seconds: int, blanks: str) -> None:
    """A number of any length is at least a very long time."""
    assert _seconds(f"{blanks}{seconds}{blanks}") == min(seconds, float(str(seconds)[:9]))


@given(st.integers(0, 7_000_000_000))
def test_retry_after_as_a_date_is_read(moment: int) -> None:
    """A date that has passed means now."""
    date = format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)
    assert _seconds(date) == pytest.approx(max(0.0, moment - time.time()), abs=2)


@pytest.mark.parametrize("way", ["change", "upload"])
def test_a_server_that_never_answers_is_left(
    wire: StartWire, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, because it may have acted."""
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
    """Neither silence nor an answer in drops outlasts it."""
    server = wire({PING: handler})
    started = time.monotonic()

    with pytest.raises(DeadlineError, match=r"deadline of 0\.01 minutes") as caught:
        send(make_transport(server.url, deadline=Deadline.after(0.01)), way, tmp_path)

    assert time.monotonic() - started < 5
    assert caught.value.may_have_acted == (way != "read")
    assert server.count(PING) == 1


def test_nothing_is_sent_after_the_deadline(wire: StartWire, tmp_path: Path) -> None:
    """Then nothing can have been acted on, either."""
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


@pytest.mark.parametrize("become", [b"", b"other bytes", b"x" * 300_000, b"y" * 400_000])
def test_a_file_that_was_changed_is_never_sent_whole(
    wire: StartWire, tmp_path: Path, become: bytes
) -> None:
    """The server gets a body that is shorter than it should be, so it cannot act; no doubt."""
    server = wire({UPLOAD: answering(200, {})})
    upload = upload_of(bundle(tmp_path))
    upload.path.write_bytes(become)

    with pytest.raises(AlteredFileError, match="changed since it was packed") as caught:
        make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload)

    assert not caught.value.may_have_acted
    assert not any(one.body_was_read for one in server.seen)


def test_what_is_added_to_a_file_meanwhile_is_not_sent(wire: StartWire, tmp_path: Path) -> None:
    """The body is as long as it said, and holds the file as it was."""
    server = wire({UPLOAD: answering(200, {})})
    upload = upload_of(bundle(tmp_path))

    def grow(sent: int, _total: int) -> None:
        if sent < 200_000:
            with upload.path.open("ab") as file:
                file.write(b"more")

    growing = replace(upload, on_progress=grow)
    assert make_transport(server.url).upload("/upload", {}, ID_TOKEN, growing).status == 200

    (seen,) = server.seen
    assert seen.received == seen.length
    assert b"more" not in seen.body


def test_a_file_that_is_cut_meanwhile_is_not_sent_whole(wire: StartWire, tmp_path: Path) -> None:
    """Even where it is cut back to what it was when it was packed."""
    server = wire({UPLOAD: answering(200, {})})
    upload = upload_of(bundle(tmp_path))
    packed = upload.path.read_bytes()
    upload.path.write_bytes(packed + b"more")

    def cut(_sent: int, _total: int) -> None:
        os.truncate(upload.path, len(packed))

    with pytest.raises(AlteredFileError):
        make_transport(server.url).upload("/upload", {}, ID_TOKEN, replace(upload, on_progress=cut))

    assert not any(one.body_was_read for one in server.seen)


def test_a_signal_in_the_middle_of_an_upload_leaves_a_doubt(
    wire: StartWire, tmp_path: Path
) -> None:
    """And the server gets no second upload."""
    server = wire({UPLOAD: answering(200, {})})
    upload = replace(upload_of(bundle(tmp_path)), on_progress=interrupt_at(200_000))

    with pytest.raises(InterruptedRunError) as caught:
        make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload)

    assert caught.value.may_have_acted
    assert server.count(UPLOAD) <= 1


@contextmanager
def full_listener() -> Iterator[str]:
    """Listen with a full queue: further connections hang until they are given up."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_signal_before_the_first_block_leaves_none(tmp_path: Path) -> None:
    """A connection that is being made has told the server nothing."""
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


def test_a_connection_that_does_not_come_about_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A full queue of connections may empty."""
    monkeypatch.setattr(transport_module, "CONNECT_TIMEOUT", 0.1)
    waits = Waits()
    with (
        full_listener() as url,
        pytest.raises(NotConnectedError, match="connecting took too long"),
    ):
        send(make_transport(url, waits), "upload", tmp_path)

    assert len(waits.seconds) == 3


# --------------------------------------------------------------------------- answers


@pytest.mark.parametrize("status", [401, 413])
def test_an_answer_that_comes_early_is_read(wire: StartWire, tmp_path: Path, status: int) -> None:
    """A server may refuse an upload while its body is still being sent."""
    server = wire({UPLOAD: early(status, {"error": "no"})})
    file = bundle(tmp_path, 30_000_000)

    answer = make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload_of(file))

    assert (answer.status, answer.json) == (status, {"error": "no"})
    assert server.count(UPLOAD) == 1


def test_an_early_answer_survives_a_closed_connection(wire: StartWire, tmp_path: Path) -> None:
    """The server hangs up with most of the body unread, and its answer still counts."""
    server = wire({UPLOAD: lambda connection: connection.reply(413, {"error": "too big"})})
    file = bundle(tmp_path, 30_000_000)

    answer = make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload_of(file))

    assert (answer.status, answer.json) == (413, {"error": "too big"})
    assert server.count(UPLOAD) == 1


def test_a_redirect_is_not_followed(wire: StartWire, tmp_path: Path) -> None:
    """A token goes to the server it was meant for, and nowhere else."""
    elsewhere = wire({PING: answering(200)})
    for status in (301, 302, 303, 307, 308):
        handler = answering(status, headers={"Location": f"{elsewhere.url}/ping"})
        server = wire({PING: handler})

        answer = send(make_transport(server.url), "upload", tmp_path)

        assert (answer.status, answer.location) == (status, f"{elsewhere.url}/ping")
        assert server.count(PING) == 1
    assert elsewhere.seen == []


def test_a_compressed_answer_is_unpacked(wire: StartWire) -> None:
    """Servers may compress what they answer."""
    packed = gzip.compress(json.dumps({"fine": "💚" * 50_000}).encode())
    server = wire({PING: answering(200, packed, {"Content-Encoding": "gzip"})})

    answer = make_transport(server.url).read("POST", "/ping", {"a": "b"})

    assert answer.json == {"fine": "💚" * 50_000}


def test_an_answer_that_unpacks_to_too_much_is_refused(wire: StartWire) -> None:
    """What counts is what it takes in memory."""
    packed = gzip.compress(bytes(100_000_000), 9)
    server = wire({PING: answering(200, packed, {"Content-Encoding": "gzip"})})

    with pytest.raises(BrokenExchangeError, match="larger than 16 MiB"):
        make_transport(server.url).change("/ping", {"a": "b"}, ID_TOKEN)


def test_an_answer_in_drops_is_put_together(wire: StartWire) -> None:
    """Slow is not broken."""

    def drip(connection: Connection) -> None:
        connection.read_body()
        for drop in b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"fine": 1}':
            connection.send(bytes([drop]))

    server = wire({PING: drip})

    assert make_transport(server.url).read("POST", "/ping", {"a": "b"}).json == {"fine": 1}


def test_an_answer_that_is_nested_too_deep_is_no_json() -> None:
    """The parser's limit is not ours to crash on."""
    assert Answer(200, b"[" * 100_000).json is None


def test_connections_for_reading_are_kept(scripted: StartScripted) -> None:
    """The look-ups before an upload cost one connection."""
    threads = set[int]()

    def note_thread(_request: object) -> Reply:
        threads.add(threading.get_ident())
        return Reply()

    server = scripted({PING: note_thread})
    transport = make_transport(server.url)

    for _ in range(3):
        assert transport.read("POST", "/ping", {"a": "b"}).status == 200
    transport.close()

    assert len(server.requests) == 3
    assert len(threads) == 1, "the server has a thread for each connection"


# --------------------------------------------------------------------------- environment


def test_a_proxy_of_the_environment_is_used(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the whole address."""
    proxy = wire({PING: answering(200, {"by": "proxy"})})
    monkeypatch.setenv("http_proxy", proxy.url)

    answer = send(make_transport("http://server.example"), "upload", tmp_path)

    assert answer.json == {"by": "proxy"}
    assert proxy.seen[0].target == "http://server.example/ping"


def test_no_proxy_is_used_without_the_environment(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we serve ourselves is not asked of others."""
    proxy, server = wire({}), wire({PING: answering(200, {})})
    monkeypatch.setenv("http_proxy", proxy.url)

    send(make_transport(server.url, use_environment=False), "upload", tmp_path)

    assert (len(proxy.seen), len(server.seen)) == (0, 1)


@pytest.mark.parametrize("fault", BREAKS)
def test_behind_a_proxy_nothing_is_sent_twice_either(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The library calls a proxy that hangs up after the body one that could not be reached."""
    proxy = wire({PING: BREAKS[fault][0]})
    monkeypatch.setenv("http_proxy", proxy.url)

    with pytest.raises(BrokenExchangeError) as caught:
        send(make_transport("http://server.example"), "upload", tmp_path)

    assert caught.value.may_have_acted
    assert proxy.count(PING) == 1


def test_a_proxy_that_cannot_be_reached_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    waits = Waits()

    with pytest.raises(NotConnectedError, match="nothing listens there"):
        send(make_transport("http://server.example", waits), "upload", tmp_path)

    assert len(waits.seconds) == 3


def test_a_proxy_that_opens_no_tunnel_is_tried_again(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its refusal comes before anything was sent to the server."""
    proxy, waits = wire({"CONNECT server.example:443": answering(403)}), Waits()
    monkeypatch.setenv("https_proxy", proxy.url)

    with pytest.raises(NotConnectedError, match="Tunnel connection failed: 403"):
        send(make_transport("https://server.example", waits), "upload", tmp_path)

    assert proxy.count("CONNECT server.example:443") == 4


def test_a_netrc_is_not_used(
    wire: StartWire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials for the host in it belong to somebody else."""
    server = wire({PING: answering(200, {})})
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))

    for way in ("read", "change", "upload"):
        send(make_transport(server.url), way, tmp_path)

    assert len(server.seen) == 3
    assert all("authorization" not in connection.headers for connection in server.seen)


# --------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate that nobody trusts, with its key, for the loopback."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", f"{file}.key", "-out", str(file)),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return file


@contextmanager
def tls_server(certificate: Path) -> Iterator[WireServer]:
    """Serve `POST /ping` with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    with WireServer({PING: answering(200, {"over": "tls"})}, tls=context) as server:
        yield server


@pytest.mark.parametrize("way", ["read", "change", "upload"])
def test_an_untrusted_certificate_is_refused_at_once(
    certificate: Path, tmp_path: Path, way: str
) -> None:
    """Another try would end the same, and no token was sent."""
    waits = Waits()
    with tls_server(certificate) as server:
        with pytest.raises(NotConnectedError) as caught:
            send(make_transport(server.url, waits), way, tmp_path)

        assert server.seen == []
    assert waits.seconds == []
    assert not caught.value.may_have_acted
    assert "its certificate is not trusted (self-signed certificate)" in str(caught.value)


def test_a_certificate_authority_of_the_environment_is_trusted(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Companies with an authority of their own name it in a variable."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with tls_server(certificate) as server:
        answer = send(make_transport(server.url), "upload", tmp_path)

    assert answer.json == {"over": "tls"}


@contextmanager
def plain_listener() -> Iterator[int]:
    """Answer whatever comes with an error in plain HTTP, as servers do to a TLS hello."""

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with accepted, suppress(ConnectionError):
                accepted.recv(1 << 16)
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                accepted.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("way", ["read", "upload"])
def test_https_to_a_server_without_tls_is_explained(tmp_path: Path, way: str) -> None:
    """It is the wrong scheme in `api-url`, and trying again does not mend it."""
    waits = Waits()
    with plain_listener() as port, pytest.raises(NotConnectedError) as caught:
        send(make_transport(f"https://127.0.0.1:{port}", waits), way, tmp_path)

    assert "TLS failed, perhaps because nothing there speaks TLS" in str(caught.value)
    assert waits.seconds == []


def test_http_to_a_server_with_tls_fails_without_doubt_for_reading(certificate: Path) -> None:
    """The server closes on what is no TLS."""
    with tls_server(certificate) as server:
        url = server.url.replace("https://", "http://")
        with pytest.raises(BrokenExchangeError) as caught:
            make_transport(url).read("POST", "/ping", {"a": "b"})

    assert not caught.value.may_have_acted


def test_every_failure_is_of_the_family(wire: StartWire, tmp_path: Path) -> None:
    """Callers catch one root, and each failure has a problem with a way out."""
    server = wire({PING: wire_server.garbage})

    with pytest.raises(DeployActionError) as caught:
        send(make_transport(server.url), "change", tmp_path)

    assert all(problem.message and problem.hint for problem in caught.value.problems)
