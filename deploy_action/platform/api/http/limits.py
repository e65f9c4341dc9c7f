"""What the HTTP server allows its clients."""

from __future__ import annotations

from deploy_action.records import dataclass

MAX_HEAD_BYTES = 1 << 16
MAX_BODY_BYTES = 1 << 36


@dataclass(frozen=True, slots=True)
class Limits:
    """How long clients may take, in seconds, and how many may be connected."""

    idle: float = 20  # without a byte moving, within a request or between two
    head: float = 10  # for the whole head of a request
    body_grace: float = 60  # for a body of any size, and beyond that:
    body_bytes_per_second: float = 4096
    shutdown: float = 3  # for the requests in progress when the server is closed
    connections: int = 4000  # fewer where the process may open few files
    settling: float = 1  # before a client that is signed in may have to make room, between requests

    def body(self, received: int) -> float:
        """Return the seconds a body may have taken by the time `received` bytes have come."""
        return self.body_grace + received / self.body_bytes_per_second
