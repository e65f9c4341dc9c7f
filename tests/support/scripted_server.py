"""A Deployment API whose answers a test scripts, such as those that a good server never gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl

from tests.support.local_server import Listener, LocalHandler, LocalServer


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `body` is sent unchanged if it is bytes or text, else as JSON."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass(frozen=True, slots=True)
class Request:
    """A received request."""

    route: str
    fields: Mapping[str, str]
    file: bytes
    headers: Message


class Hang:
    """Read the request and never answer, until the server closes."""


class Cut:
    """Close the connection at once, the body unread."""


class CutAfterBody:
    """Read the whole request and close the connection without an answer."""


Step = Reply | Hang | Cut | CutAfterBody
Script = Step | list[Step] | Callable[[Request], Step]

ID_TOKEN = "id-token-of-the-test"  # noqa: S105  # opened by nothing but this server
SIGN_IN = Reply(body={"idToken": ID_TOKEN, "status": "success", "data": {"user_id": "user-1"}})
DEPLOYED = Reply(
    body={
        "timestamp": 1,
        "modelId": "model-1",
        "versionId": "11111111-2222-3333-4444-555555555555",
        "status": "success",
        "projectId": "user-1",
        "description": "",
        "createdAt": 1,
    }
)
NOT_FOUND = Reply(404, "<!DOCTYPE html><pre>Cannot POST</pre>")


def described(*fields: str) -> Reply:
    """Return the OpenAPI document of a server whose backtests take these fields."""
    schema = {"properties": {name: {"type": "string"} for name in fields}}
    body = {"content": {"multipart/form-data": {"schema": schema}}}
    return Reply(body={"paths": {"/model/backtest": {"post": {"requestBody": body}}}})


class _Handler(LocalHandler):
    server: Listener[ScriptedServer]

    def answer(self) -> None:
        """Take the next step of the script."""
        owner, route = self.server.owner, f"{self.command} {self.path}"
        if isinstance(owner.peek(route), Cut):
            owner.next_step(Request(route, {}, b"", self.headers))
            self.drop()
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client broke off
            self.drop()
            return
        step = owner.next_step(self._request(route, body))
        if isinstance(step, Hang):
            owner.closing.wait()
        if not isinstance(step, Reply):
            self.drop()
            return
        self.send(step.status, step.encoded(), step.headers)

    def _request(self, route: str, body: bytes) -> Request:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/"):
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
            return Request(route, fields, b"", self.headers)
        fields, file = _parts(kind, body)
        return Request(route, fields, file, self.headers)


class ScriptedServer(LocalServer):
    """Serves a script on the loopback: for each route one step for ever, or a list of steps."""

    handler = _Handler

    def __init__(self, script: Mapping[str, Script] | None = None) -> None:
        """Start from a server that signs in, has no optional route, and deploys."""
        self.script: dict[str, Script] = {
            "POST /auth/token": SIGN_IN,
            "POST /model/deploy": DEPLOYED,
            "POST /model/backtest": DEPLOYED,
            **(script or {}),
        }
        self.requests: list[Request] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self.origin

    def routes(self) -> list[str]:
        return [request.route for request in self.requests]

    def requests_to(self, route: str) -> list[Request]:
        return [request for request in self.requests if request.route == route]

    def next_step(self, request: Request) -> Step:
        """Record the request, and return the step to take."""
        with self._lock:
            self.requests.append(request)
            script = self.script.get(request.route, NOT_FOUND)
            if isinstance(script, list):
                return script.pop(0) if len(script) > 1 else script[0]
        return script(request) if callable(script) else script

    def peek(self, route: str) -> Step | None:
        """Return the next step, without removing it."""
        script = self.script.get(route, NOT_FOUND)
        return None if callable(script) else script[0] if isinstance(script, list) else script


def _parts(kind: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """Parse a multipart body with the standard library."""
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body
    )
    fields, file = {}, b""
    for part in message.iter_parts():
        disposition = part["Content-Disposition"].params
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        if "filename" in disposition:
            file = payload
        else:
            fields[disposition["name"]] = payload.decode()
    return fields, file


StartScripted = Callable[..., ScriptedServer]


Serve = Callable[[Callable[[Request], Step]], ScriptedServer]
"""Starts a server that answers backtests, and takes variables for them."""
