"""What the stand-in's routes get and give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """A request to some host; `key` is the API key that it carries, "" for none."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    body: bytes
    key: str
    time: float  # of time.monotonic()

    def json(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.body or b"{}")
        return fields


@dataclass(frozen=True, slots=True)
class Page:
    """A body that is not JSON."""

    html: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `body` is a page, or sent as JSON."""

    body: object = field(default_factory=dict)
    status: int = 200

    def encoded(self) -> tuple[bytes, str]:
        """Return the bytes, and their content type."""
        if isinstance(self.body, Page):
            return self.body.html.encode(), "text/html"
        return json.dumps(self.body).encode(), "application/json"


def iso(time: float) -> str:
    """Return a time as both exchanges write it."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def epoch(text: str) -> float:
    """Read a time in ISO 8601; without a zone it is UTC."""
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
