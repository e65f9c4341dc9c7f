"""A Deployment API that accepts every upload and keeps nothing: the same one for all clients.

    python -m tools.benchmarks.deploys.sink

It runs in a process of its own and prints its address. The kernel throws away what is uploaded
(MSG_TRUNC, where Linux has it), so that the server takes as little time from the client's cores as
it can. It knows as much of HTTP as the clients here need.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.benchmarks.measure import BrokenError, serving

_BLOCK_BYTES = 1 << 20
_THROW_AWAY = getattr(socket, "MSG_TRUNC", 0) if sys.platform == "linux" else 0
_SEEN = "/bench/seen"
_ANSWERS: dict[str, object] = {
    "/auth/token": {"idToken": "any", "status": "success", "data": {"user_id": "user"}},
    "/project/plans": {"nano": {"cpu": 250, "ram": 256}},
    "/model/deploy": {
        "timestamp": 1,
        "modelId": "model",
        "versionId": "11111111-2222-3333-4444-555555555555",
        "status": "success",
        "projectId": "user",
        "description": "",
        "createdAt": 1,
    },
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server saw since it was asked last.

    `connected` is the time.monotonic() of the first connection, `uploaded` the number of bytes,
    `cpu_seconds` what the server itself took.
    """

    connected: float | None
    uploaded: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Sink:
    """A server that runs."""

    url: str

    def seen(self) -> Seen:
        """Return what it saw since the last call."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall(f"GET {_SEEN} HTTP/1.1\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                text = file.read().partition(b"\r\n\r\n")[2]
        return Seen(**json.loads(text))


@contextmanager
def running_sink(environ: Mapping[str, str], scratch: Path) -> Iterator[Sink]:
    """Run a server inside the block."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tools.benchmarks.deploys.sink"]
    around = {**environ, "PYTHONPATH": str(root)}
    with serving(command, around, scratch / "sink.log") as line:
        if not line.startswith("http://"):
            raise BrokenError(f"the server says {line}")
        yield Sink(line)


@dataclass(slots=True)
class _Server:
    """What the connections' threads share."""

    connected: float | None = None
    uploaded: int = 0
    cpu_seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> bytes:
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = used.ru_utime + used.ru_stime
        with self.lock:
            found = {
                "connected": self.connected,
                "uploaded": self.uploaded,
                "cpu_seconds": spent - self.cpu_seconds,
            }
            self.connected, self.uploaded, self.cpu_seconds = None, 0, spent
        return json.dumps(found).encode()

    def answer(self, connection: socket.socket, came: float) -> None:
        """Answer the requests of a connection until it is closed."""
        buffer = bytearray(_BLOCK_BYTES)
        rest = b""
        with connection, contextlib.suppress(ConnectionError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := _read_head(connection, rest):
                text, _, body = head.partition(b"\r\n\r\n")
                path = text.split(b" ", 2)[1].decode()
                if path != _SEEN:
                    with self.lock:
                        self.connected = came if self.connected is None else self.connected
                length = _length(text)
                if length > len(body) and re.search(rb"(?i)\r\nexpect:", text):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                rest = body[length:]
                _throw_away(connection, length - len(body), buffer)
                if path == "/model/deploy":
                    with self.lock:
                        self.uploaded += length
                content = self.take() if path == _SEEN else json.dumps(_ANSWERS.get(path)).encode()
                status = "200 OK" if path in {*_ANSWERS, _SEEN} else "404 Not Found"
                connection.sendall(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(content)}\r\n\r\n".encode()
                    + content
                )


def _read_head(connection: socket.socket, rest: bytes) -> bytes:
    """Return a request's head, and what came of its body; blank if there is no other request."""
    while b"\r\n\r\n" not in rest:
        more = connection.recv(_BLOCK_BYTES)
        if not more:
            return b""
        rest += more
    return rest


def _length(head: bytes) -> int:
    if re.search(rb"(?i)\r\ntransfer-encoding:", head):
        raise ConnectionError("bodies in chunks are not understood")
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def _throw_away(connection: socket.socket, left: int, buffer: bytearray) -> None:
    while left > 0:
        count = connection.recv_into(buffer, min(left, _BLOCK_BYTES), _THROW_AWAY)
        if not count:
            raise ConnectionError("the client went away")
        left -= count


def main() -> None:
    """Serve until the process is ended."""
    server = _Server()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            thread = threading.Thread(
                target=server.answer, args=(connection, time.monotonic()), daemon=True
            )
            thread.start()


if __name__ == "__main__":
    main()
