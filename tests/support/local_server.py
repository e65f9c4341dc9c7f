"""Base of the tests' HTTP servers, which serve on the loopback inside a `with` block."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Generic, Self, TypeVar

Owner = TypeVar("Owner")


class LocalServer:
    """Serves in the background; `closing` is set when it stops, to release handlers that hang."""

    handler: ClassVar[type[LocalHandler]]
    closing: threading.Event
    _server: Listener[Self]
    _thread: threading.Thread

    def __enter__(self) -> Self:
        """Serve on a free port."""
        self.closing = threading.Event()
        self._server = Listener(("127.0.0.1", 0), self.handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop, and release handlers that hang."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


class Listener(ThreadingHTTPServer, Generic[Owner]):
    """Accepts connections; its handlers ask `owner` what to answer."""

    daemon_threads = True
    owner: Owner

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect: those that time out do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on


class LocalHandler(BaseHTTPRequestHandler):
    """Keeps connections open; every answer has a Content-Length."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""

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
        """Answer; `headers` may override the length and the date."""
        self.send_response_only(status)
        own = {"Content-Length": str(len(body)), "Date": self.date_time_string()}
        for name, value in {**own, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
