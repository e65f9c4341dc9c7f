"""cheroot, made to stand slow and broken clients.

What is changed, and why:
- a connection that says nothing waits in the selector, not in one of the threads;
- threads are started when they are needed, not ten of them at first;
- the head of a request has a deadline, and its body a least speed;
- a body is read as it comes, where cheroot reads a whole chunk of the chunked coding, or what an
  answer left unread, into memory at once.
"""

from __future__ import annotations

import logging
import math
import queue
import socket
import threading
import time
import traceback as traceback_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cheroot import wsgi
from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPConnection, HTTPRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MAX_HEAD_BYTES = 1 << 16
MAX_BODY_BYTES = 1 << 36
MAX_THREADS = 256
_FIRST_THREADS = 4
_MAX_IDLE_CONNECTIONS = 200
_BACKLOG = 128
_READ_BYTES = 1 << 18
_MAX_CHUNK_LINE_BYTES = 4096
_MAX_TRAILERS = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """How long clients may take, in seconds."""

    idle: float = 20  # without a byte, in the middle of a request or between two
    head: float = 10  # for the whole head of a request
    body_grace: float = 60  # for a body of any size, and beyond that:
    body_bytes_per_second: float = 4096
    shutdown: float = 3  # for the requests in progress when the server is closed

    def body(self, received: int) -> float:
        """Return how long a body may have taken that has brought so many bytes."""
        return self.body_grace + received / self.body_bytes_per_second


class _PacedSocket(socket.SocketIO):
    """A socket whose reads have a common deadline."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "r")
        self._socket = sock
        self._idle = sock.gettimeout() or math.inf
        self.deadline = math.inf  # as time.monotonic counts

    def readinto(self, buffer: bytearray) -> int | None:  # type: ignore[override]  # no other use
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        if left >= self._idle:
            return super().readinto(buffer)
        self._socket.settimeout(left)
        try:
            return super().readinto(buffer)
        finally:
            self._socket.settimeout(self._idle)  # the answer's, too


class _Reader(StreamReader):
    """The incoming side of a connection."""

    def __init__(self, paced: _PacedSocket) -> None:
        # Past StreamReader's own, which would make a socket file without a deadline.
        super(StreamReader, self).__init__(paced, _READ_BYTES)  # type: ignore[arg-type]  # raw
        self.bytes_read = 0
        self.paced = paced


def _make_file(sock: socket.socket, mode: str, size: int) -> _Reader | StreamWriter:
    if "r" in mode:
        return _Reader(_PacedSocket(sock))
    return StreamWriter(sock, mode, size)


class _Body:
    """A request's body as `wsgi.input`: `read` returns what has come, and nothing at the end."""

    def __init__(self, reader: _Reader, length: int | None, limits: Limits) -> None:
        """Read `length` bytes, or the chunked coding when that is None."""
        self._reader = reader
        self._limits = limits
        self._is_chunked = length is None
        self._left = length or 0  # of the body, or of the chunk
        self._received = 0
        self._started = time.monotonic()
        self._end = math.inf
        self.finished = length == 0

    def hurry(self, seconds: float) -> None:
        """Give the rest so many seconds, however fast it comes."""
        self._end = time.monotonic() + seconds

    def read(self, size: int) -> bytes:
        """Raise `ValueError` for a broken coding, `OSError` when the client is gone or slow."""
        paced_end = self._started + self._limits.body(self._received)
        self._reader.paced.deadline = min(paced_end, self._end)
        if self._is_chunked and self._left == 0 and not self.finished:
            self._begin_chunk()
        if self.finished:
            return b""
        data: bytes = self._reader.read1(min(size, self._left))
        if not data:
            raise ConnectionError("the client is gone")
        self._left -= len(data)
        self._received += len(data)
        if self._left == 0:
            self._end_piece()
        return data

    def _begin_chunk(self) -> None:
        digits = self._read_line().partition(b";")[0].strip()
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise ValueError("the size of a chunk is not a number")
        self._left = int(digits, 16)
        if self._received + self._left > MAX_BODY_BYTES:
            raise ValueError("the body is too large")
        if self._left == 0:
            self._skip_trailers()
            self.finished = True

    def _end_piece(self) -> None:
        if not self._is_chunked:
            self.finished = True
        elif self._read_line() != b"\r\n":
            raise ValueError("a chunk is longer than it said")

    def _skip_trailers(self) -> None:
        for _ in range(_MAX_TRAILERS):
            if self._read_line() == b"\r\n":
                return
        raise ValueError("too many trailers")

    def _read_line(self) -> bytes:
        line: bytes = self._reader.readline(_MAX_CHUNK_LINE_BYTES)
        if not line.endswith(b"\r\n"):
            raise ValueError("a line of the chunked coding is broken")
        return line


class _Request(HTTPRequest):
    """A request with a deadline for its head, and a body that is read as it comes."""

    def parse_request(self) -> None:
        self.conn.rfile.paced.deadline = time.monotonic() + self.server.limits.head
        super().parse_request()

    def read_request_line(self) -> bool:
        try:
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]  # as below
        except ValueError:  # of urllib, for a URI such as `http://[`
            self.simple_response("400 Bad Request", "Malformed Request-URI")
            return False

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]  # partial stubs
            return False
        length: bytes = self.inheaders.get(b"Content-Length", b"0")
        if not length.isdigit() or (self.chunked_read and b"Content-Length" in self.inheaders):
            self.simple_response("400 Bad Request", "The length of the body is unclear.")
            return False
        return True

    def respond(self) -> None:
        length = None if self.chunked_read else int(self.inheaders.get(b"Content-Length", 0))
        body = _Body(self.conn.rfile, length, self.server.limits)
        self.rfile = body
        self.server.gateway(self).respond()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")
        # What was not read cannot be told from the next request.
        self.close_connection = self.close_connection or not body.finished


class _Connection(HTTPConnection):
    """A connection whose reads have deadlines."""

    RequestHandlerClass = _Request

    def __init__(self, server: _Server, sock: socket.socket, _: object = None) -> None:
        super().__init__(server, sock, _make_file)


class _Server(wsgi.Server):
    """The server, with threads when they are needed, and errors reported to a callback."""

    ConnectionClass = _Connection
    max_request_header_size = MAX_HEAD_BYTES
    max_request_body_size = MAX_BODY_BYTES
    keep_alive_conn_limit = _MAX_IDLE_CONNECTIONS

    def __init__(
        self,
        address: tuple[str, int],
        app: WSGIApplication,
        on_error: Callable[[str], None],
        limits: Limits,
    ) -> None:
        super().__init__(
            address,
            app,
            numthreads=_FIRST_THREADS,
            max=MAX_THREADS,
            server_name="blankly-deploy",
            request_queue_size=_BACKLOG,
            timeout=limits.idle,  # type: ignore[arg-type]  # a float will do
            shutdown_timeout=limits.shutdown,  # type: ignore[arg-type]  # the same
        )
        self._on_error = on_error
        self.limits = limits

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except BaseException:
            socket_.close()  # cheroot would lose it
            raise
        return socket_

    def process_conn(self, conn: _Connection) -> None:
        if conn.last_used is None:
            # New: it gets a thread when it has something to say.
            self.put_conn(conn)
            return
        if self.requests.qsize >= self.requests.idle:
            self.requests.grow(1)
        super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:  # noqa: FBT001, FBT002  cheroot's signature
        if level >= logging.ERROR:
            self._on_error(msg + (f"\n{traceback_module.format_exc()}" if traceback else ""))


class HttpServer:
    """A WSGI application, served on background threads that do not keep the process alive."""

    def __init__(
        self,
        address: tuple[str, int],
        app: WSGIApplication,
        on_error: Callable[[str], None],
        limits: Limits = Limits(),
    ) -> None:
        """Prepare to serve `app`; `on_error` gets what goes wrong outside of it."""
        self._server = _Server(address, app, on_error, limits)
        self._thread = threading.Thread(target=self._serve, name="platform", daemon=True)
        self._opened: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens on, once started."""
        host, port = self._server.bind_addr
        return str(host), int(port)

    def start(self) -> None:
        """Listen; raises `OSError` when that is not possible."""
        self._thread.start()
        error = self._opened.get()
        if error is not None:
            self._thread.join()
            # A port of 99999 is an OverflowError, a host of `a..b` a UnicodeError.
            raise error if isinstance(error, OSError) else OSError(str(error)) from error

    def _serve(self) -> None:
        # All of it on this thread, because cheroot's threads are daemons if their starter is.
        try:
            self._server.prepare()
        except Exception as error:  # noqa: BLE001  start() waits for it: say whatever it is there
            self._opened.put(error)
            return
        self._opened.put(None)
        self._server.serve()

    def close(self) -> None:
        """Finish the requests in progress, for a few seconds at most, and stop."""
        stopping = threading.Thread(target=self._server.stop, daemon=True)
        stopping.start()
        self._wake()
        stopping.join()
        self._thread.join()

    def _wake(self) -> None:
        """Save the half second after which cheroot would look whether it should stop."""
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError:
            return  # it has stopped already
