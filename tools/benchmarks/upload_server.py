"""A Deployment API that accepts every upload and stores nothing: the same for all clients."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

_BLOCK_BYTES = 1 << 16
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


class UploadServer:
    """Serves on the loopback interface inside a `with` block."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take_first_connection(self) -> float | None:
        """Return the time.monotonic() of the first connection since the last call."""
        times, self._server.connected = self._server.connected, []
        return times[0] if times else None

    def take_uploaded_bytes(self) -> int:
        """Return the number of bytes uploaded since the last call."""
        taken, self._server.uploaded = self._server.uploaded, 0
        return taken

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: object) -> None:
        self.connected: list[float] = []
        self.uploaded = 0
        super().__init__(*arguments)  # type: ignore[arg-type]  # passed on as they came

    def process_request(self, request: object, client_address: object) -> None:
        self.connected.append(time.monotonic())
        super().process_request(request, client_address)  # type: ignore[arg-type]  # as above


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        size = sum(self._body())
        if self.path == "/model/deploy":
            self.server.uploaded += size
        self._answer()

    def _answer(self) -> None:
        content = json.dumps(_ANSWERS.get(self.path)).encode()
        self.send_response(200 if self.path in _ANSWERS else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> Iterator[int]:
        """Yield the sizes of the pieces of the body."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield from self._pieces(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield from self._pieces(int(self.headers.get("Content-Length", 0)))

    def _pieces(self, left: int) -> Iterator[int]:
        while left:
            piece = len(self.rfile.read(min(left, _BLOCK_BYTES)))
            if not piece:
                raise ConnectionError("the client went away")
            left -= piece
            yield piece
