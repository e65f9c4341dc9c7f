"""HTTP written by hand over TCP: a server that breaks connections as no HTTP library would."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

HEAD_END = b"\r\n\r\n"
REASON = "as the test says"


@dataclass(slots=True)
class Connection:
    """An accepted connection whose request was read up to the end of its header."""

    socket: socket.socket
    target: str
    route: str
    headers: Mapping[str, str]
    closing: threading.Event
    body: bytes = b""
    body_was_read: bool = False
    received: int = 0

    @property
    def length(self) -> int:
        """Return the announced length of the body."""
        return int(self.headers.get("content-length", "0"))

    def read_body(self) -> None:
        """Read the whole body; keep its length, and a small body itself."""
        self.received = len(self.body)
        while self.received < self.length:
            block = self.socket.recv(1 << 20)
            if not block:
                return
            self.received += len(block)
            if self.received < 1 << 20:
                self.body += block
        self.body_was_read = True

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def reply(
        self, status: int, body: object = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer; `body` is sent unchanged if it is bytes or text, else as JSON."""
        data = body.encode() if isinstance(body, str) else body
        encoded = data if isinstance(data, bytes) else json.dumps(body).encode()
        merged = {"Content-Length": str(len(encoded)), "Connection": "close", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in merged.items())
        self.send(f"HTTP/1.1 {status} {REASON}\r\n{lines}\r\n".encode() + encoded)

    def reset(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def end_answer(self) -> None:
        """Stop sending, and read what still comes, so that the client can read the answer."""
        self.socket.shutdown(socket.SHUT_WR)
        while self.socket.recv(1 << 20):
            pass


Handler = Callable[[Connection], None]


@dataclass(slots=True)
class WireServer:
    """Answers each route with its handler, in a thread for each connection."""

    handlers: Mapping[str, Handler]
    tls: ssl.SSLContext | None = None
    seen: list[Connection] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    _listener: socket.socket = field(init=False)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Listen on a free port of the loopback."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop, and release handlers that hang."""
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    def count(self, route: str) -> int:
        """Return how many requests for a route were started."""
        return sum(connection.route == route for connection in self.seen)

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self._start(lambda accepted=accepted: self._serve(accepted))  # type: ignore[misc]  # the default binds it

    def _serve(self, accepted: socket.socket) -> None:
        accepted.settimeout(10)
        try:
            with accepted if self.tls is None else self._wrap(accepted) as connected:
                self._handle(connected)
        except OSError:
            pass  # the client went away, as clients may

    def _wrap(self, accepted: socket.socket) -> ssl.SSLSocket:
        assert self.tls is not None
        return self.tls.wrap_socket(accepted, server_side=True)

    def _handle(self, connected: socket.socket) -> None:
        data = b""
        while HEAD_END not in data:
            block = connected.recv(1 << 16)
            if not block:
                return
            data += block
        head, _, rest = data.partition(HEAD_END)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        route = f"{method} {re.sub('^https?://[^/]*', '', target)}"
        connection = Connection(connected, target, route, headers, self.closing, rest)
        self.seen.append(connection)
        self.handlers.get(route, not_found)(connection)


def not_found(connection: Connection) -> None:
    """Answer as the original server does for a missing route."""
    connection.read_body()
    connection.reply(404, "<!DOCTYPE html><html><pre>Cannot do that</pre></html>")


def answering(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Handler:
    """Return a handler that reads the request and answers."""

    def handle(connection: Connection) -> None:
        connection.read_body()
        connection.reply(status, body, headers)

    return handle


def in_turn(*handlers: Handler) -> Handler:
    """Return a handler that uses these in turn, and then always the last one."""
    left = list(handlers)

    def handle(connection: Connection) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection)

    return handle


def reset_before_body(connection: Connection) -> None:
    """Reset with the body unread."""
    connection.reset()


def close_after_body(connection: Connection) -> None:
    """Read everything and hang up without an answer."""
    connection.read_body()


def reset_after_body(connection: Connection) -> None:
    """Read everything and reset."""
    connection.read_body()
    connection.reset()


def hang(connection: Connection) -> None:
    """Read everything and never answer."""
    connection.read_body()
    connection.closing.wait(20)


def drip_for_ever(connection: Connection) -> None:
    """Announce an answer and send it byte by byte, without an end."""
    connection.read_body()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    while not connection.closing.wait(0.05):
        connection.send(b" ")


def too_large(connection: Connection) -> None:
    """Answer more than a client accepts."""
    connection.read_body()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n")
    for _ in range(40):
        connection.send(b" " * 1_000_000)


def truncated(connection: Connection) -> None:
    """Announce more than comes."""
    connection.read_body()
    connection.send(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"status": "success"')


def garbage(connection: Connection) -> None:
    """Answer with something else than HTTP."""
    connection.read_body()
    connection.send(b"\x00\x01SSH-2.0-nothing\r\n\r\n")


def badly_compressed(connection: Connection) -> None:
    """Answer with a body that is not compressed as its header says."""
    connection.read_body()
    connection.reply(200, b"no gzip at all", {"Content-Encoding": "gzip"})


def half_chunked(connection: Connection) -> None:
    """Answer in chunks and hang up in the middle of one."""
    connection.read_body()
    connection.send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"sta')


def early(status: int, body: object = b"") -> Handler:
    """Return a handler that answers before it has read the body."""

    def handle(connection: Connection) -> None:
        connection.reply(status, body)
        connection.end_answer()

    return handle


StartWire = Callable[[Mapping[str, Handler]], WireServer]
