"""What the HTTP servers of tests share: they serve on the loopback while they are entered."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Generic, Self, TypeVar

Owner = TypeVar("Owner")


class LocalServer:
    """Serves in the background; `closing` is set when it stops, for handlers that hang."""

    handler: ClassVar[type[LocalHandler]]
    closing: threading.Event
    _server: Listener[Self]
    _thread: threading.Thread

    def __enter__(self) -> Self:
        """Serve at a port of its own."""
        self.closing = threading.Event()
        self._server = Listener(("127.0.0.1", 0), self.handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop, and let go of who hangs."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


class Listener(ThreadingHTTPServer, Generic[Owner]):
    """Hands connections to handlers, which ask its owner what to answer."""

    daemon_threads = True
    owner: Owner

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away, as those do whose time is over."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on


class LocalHandler(BaseHTTPRequestHandler):
    """Keeps connections open, and answers with a length or not at all."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PATCH(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Read the request, and send an answer or drop the connection."""
        raise NotImplementedError

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer; `headers` may say another length."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
