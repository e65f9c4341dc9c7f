"""A service that people get messages from, at a URL of Apprise."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Inbox:
    """A service that gets messages; it fails as often as it should."""

    url: str = ""
    messages: list[tuple[str, str]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    requests: int = 0
    failures: int = 0
    release: threading.Event = field(default_factory=threading.Event)


@contextmanager
def open_inbox() -> Iterator[Inbox]:
    """Run a service that takes messages of Apprise as JSON."""
    box = Inbox()
    box.release.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            box.release.wait()
            box.requests += 1
            if box.requests > box.failures:
                box.messages.append((document["title"], document["message"]))
                box.kinds.append(document["type"])
                self.send_response(200)
            else:
                self.send_response(500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    box.url = f"json://127.0.0.1:{server.server_port}"
    yield box
    box.release.set()
    server.shutdown()
    thread.join()
    server.server_close()
