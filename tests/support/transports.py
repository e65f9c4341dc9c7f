"""Transports that do not really wait, and what they send in the tests."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy_action.deployment_api.bodies import Upload
from deploy_action.deployment_api.transport import Transport
from deploy_action.http.exchange import Answer, Retries
from deploy_action.interruption import Deadline
from tests.support import wire_server
from tests.support.scripted_server import ID_TOKEN
from tests.support.wire_server import Handler

PING = "POST /ping"
UPLOAD = "POST /upload"


@dataclass(slots=True)
class Waits:
    """Stands in for sleeping; records the pauses and the reasons for them."""

    seconds: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def make_transport(url: str, waits: Waits | None = None, **options: Any) -> Transport:
    """Return a transport that does not really pause."""
    waits = waits or Waits()
    retries = Retries(
        options.pop("deadline", Deadline.after(1)),
        pause=options.pop("pause", waits),
        jitter=options.pop("jitter", lambda: 0.0),
        on_retry=waits.reasons.append,
    )
    return Transport(url, retries, **options)


def bundle(path: Path, size: int = 300_000) -> Path:
    file = path / "model.zip"
    file.write_bytes(os.urandom(size))
    return file


def upload_of(path: Path, seen: list[tuple[int, int]] | None = None) -> Upload:
    """Return an upload that records its progress."""
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


BREAKS: Mapping[str, tuple[Handler, str]] = {
    "closed after the body": (wire_server.close_after_body, "closed without an answer"),
    "reset after the body": (wire_server.reset_after_body, "the connection was cut"),
    "truncated": (wire_server.truncated, "the answer ends too early"),
    "half a chunk": (wire_server.half_chunked, "the answer ends too early"),
    "garbage": (wire_server.garbage, "the answer is not HTTP"),
    "too large": (wire_server.too_large, "the answer is larger than 16 MiB"),
    "badly compressed": (wire_server.badly_compressed, "not compressed as its header says"),
}


@contextmanager
def full_listener() -> Iterator[str]:
    """Listen with a full queue, so that further connections time out."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
