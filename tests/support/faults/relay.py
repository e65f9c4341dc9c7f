"""A way to a real server on which any request, or its answer, can go wrong.

The relay takes one request for each connection, asks its plan what is to happen to it, and keeps
what it saw. A request without a fault is passed on, and its answer comes back as the server gave
it.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from tests.support.wire_server import HEAD_END

_BLOCK = 1 << 16
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered: its status, its headers but those of the connection, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> object:
        """The body, None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(slots=True)
class Passing:
    """One request on its way to the server.

    `nth` is how many requests of its route came before. `had_all` says that the relay got the whole
    request, `is_passed_on` that the server did.
    """

    relay: FaultRelay = field(repr=False)
    client: socket.socket = field(repr=False)
    nth: int
    route: str
    head: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    fault: str = ""
    had_all: bool = False
    is_passed_on: bool = False

    @property
    def token(self) -> str:
        """The token that the request shows, whatever its header is called."""
        return self.headers.get("token") or self.headers.get("authorization", "")

    def read_body(self) -> bool:
        """Read the rest of the request, and tell whether all of it came."""
        parts, left = [self.body], int(self.headers.get("content-length", "0")) - len(self.body)
        while left > 0 and (block := self.client.recv(_BLOCK)):
            parts.append(block)
            left -= len(block)
        self.body, self.had_all = b"".join(parts), left <= 0
        return self.had_all

    def pass_on(self, token: str = "") -> Answer:
        """Read the request, pass it on, and return the answer; with `token`, as if it had that.

        Raises:
            OSError: the request did not come whole, or the server is gone.
        """
        if not self.had_all and not self.read_body():
            raise ConnectionError("the client broke off")
        head = re.sub(rb"(?im)^connection:.*\r\n", b"", self.head + b"\r\n")
        if token:
            head = re.sub(rb"(?im)^token:.*\r\n", b"token: " + token.encode() + b"\r\n", head)
        server = socket.create_connection(self.relay.target, timeout=_PATIENCE)
        with server:
            server.sendall(head + b"Connection: close\r\n\r\n" + self.body)
            self.is_passed_on = True
            received = b""
            while block := server.recv(_BLOCK):
                received += block
        answer = _parse(received)
        self.relay.learn(self.route, answer)
        return answer

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.client.sendall(data)

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer. A header that is blank is left out."""
        merged = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in merged.items() if value)
        self.send(f"HTTP/1.1 {status} So\r\n{lines}\r\n".encode("latin-1") + body)

    def return_answer(self, answer: Answer, **headers: str) -> None:
        """Send the server's answer on."""
        self.reply(answer.status, answer.body, {**answer.headers, **headers})

    def reset(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.client.close()

    def end(self) -> None:
        """Stop sending, and read what still comes, so that the client can read the answer."""
        self.client.shutdown(socket.SHUT_WR)
        while self.client.recv(_BLOCK):
            pass

    def stay_silent(self) -> None:
        """Say nothing, until the client gives up or the relay closes."""
        self.client.settimeout(0.05)
        while not self.relay.closing.is_set():
            with suppress(TimeoutError):
                if not self.client.recv(_BLOCK):
                    return

    def drip(self, data: bytes, seconds: float) -> None:
        """Send byte by byte."""
        for byte in data:
            self.send(bytes([byte]))
            if self.relay.closing.wait(seconds):
                return


Fault = Callable[[Passing], None]
Plan = Callable[[Passing], "tuple[str, Fault] | None"]


@dataclass(slots=True)
class FaultRelay:
    """Listens in front of the server at `target`; a context manager.

    `plan` names the fault of a request, None for those that go well. `tokens` are all that the
    server has given out. `trap` is the address of a server to which redirects lead.
    """

    target: tuple[str, int]
    trap: str = "http://trap.invalid"
    plan: Plan = lambda _passing: None
    seen: list[Passing] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    errors: list[str] = field(default_factory=list)
    _port: int = 0
    _listener: socket.socket | None = None
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.closing.set()
        self.stop_listening()
        for thread in self._threads:
            thread.join(_PATIENCE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def listen(self) -> None:
        """Accept connections, always at the same port."""
        listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._listener, self._port = listener, listener.getsockname()[1]
        self._start(lambda: self._accept(listener))

    def stop_listening(self) -> None:
        """Refuse connections."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def listen_later(self, seconds: float) -> None:
        """Accept connections again after some time."""

        def wait() -> None:
            if not self.closing.wait(seconds):
                self.listen()

        self._start(wait)

    def routes(self) -> list[str]:
        return [one.route for one in self.seen]

    def learn(self, route: str, answer: Answer) -> None:
        """Remember the token that a sign-in gives out."""
        document = answer.json
        if route.endswith("/auth/token") and isinstance(document, dict) and "idToken" in document:
            self.tokens.append(document["idToken"])

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                client, _ = listener.accept()
                self._start(lambda client=client: self._serve(client))  # type: ignore[misc]  # the default binds it

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(_PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with client:
                passing = self._receive(client)
                if passing is not None:
                    found = self.plan(passing)
                    passing.fault, handle = found or ("", _go_well)
                    handle(passing)
        except (OSError, ValueError) as error:
            # The client went away, as it may at its deadline.
            self.errors.append(repr(error))

    def _receive(self, client: socket.socket) -> Passing | None:
        data = b""
        while HEAD_END not in data:
            block = client.recv(_BLOCK)
            if not block:
                return None
            data += block
        head, _, rest = data.partition(HEAD_END)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        route = first.rpartition(" ")[0].partition("?")[0]
        with self._lock:
            earlier = self.routes().count(route)
            passing = Passing(self, client, earlier, route, head, headers, rest)
            self.seen.append(passing)
        return passing


def _go_well(passing: Passing) -> None:
    passing.return_answer(passing.pass_on())


def _parse(received: bytes) -> Answer:
    """Return an answer that ended with its connection."""
    head, _, body = received.partition(HEAD_END)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    lowered = {name.lower(): value for name, value in headers.items()}
    if lowered.get("transfer-encoding", "").lower() == "chunked":
        body = _joined(body)
    left_out = {"content-length", "transfer-encoding", "connection"}
    kept = {name: value for name, value in headers.items() if name.lower() not in left_out}
    return Answer(int(first.split(" ")[1]), kept, body)


def _joined(chunked: bytes) -> bytes:
    body = b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        body += rest[:length]
        chunked = rest[length + 2 :] if length else b""
    return body
