"""A fault of a request, what it means for a client, and those of connections."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from urllib.parse import quote

from tests.support.faults.relay import Fault, Passing

TRAP: Final = "TRAP"
"""Stands for the address of a server to which no redirect may lead a token."""
NO_JSON: Final = "is not JSON"
"""What a run says of an answer of success that cannot be read."""


class Sense(Enum):
    """What an end of a request means."""

    FINE = auto()  # the answer is as good as any
    UNSENT = auto()  # the server cannot have the whole request
    BUSY = auto()  # the server did nothing, and may be asked again
    LATER = auto()  # so, but not before the deadline
    REFUSED = auto()  # the server did nothing, and never will
    EXPIRED = auto()  # the server wants another idToken
    MISSING = auto()  # the server has no such route
    PAGE = auto()  # so, or it did something and shows a page
    BROKEN = auto()  # `UNSENT` or `CUT`: how much was on its way is up to the system
    CUT = auto()  # it is unknown what the server did: the connection broke soon, or a gateway's did
    SILENCE = auto()  # it is unknown, and the server may still be at work
    ANSWER = auto()  # it is unknown: the answer does not tell
    ENDLESS = auto()  # nothing but the deadline ends it


@dataclass(frozen=True, slots=True)
class Case:
    """A fault. `words` are in the error of a run that it ends; `ROUTE` stands for the request.

    `passes`: a request that changes nothing is repeated after it. `acted`: the server has done what
    it was asked to.
    """

    name: str
    do: Fault
    sense: Sense
    words: str = ""
    passes: bool = True
    acted: bool = False


# ---------------------------------------------------------------- bodies, which repeat secrets


def _echoes(passing: Passing) -> list[str]:
    """Return the secrets of a request in the ways in which servers repeat them."""
    form = passing.body[:400].decode("latin-1")
    found = [form]
    for secret in filter(None, (passing.token, form.partition("refreshToken=")[2])):
        raw = secret.encode()
        found += [
            secret,
            quote(secret, safe=""),
            *(base64.b64encode(b"x" * before + raw).decode() for before in range(3)),
            base64.urlsafe_b64encode(raw).decode(),
            "".join(f"&#{ord(char)};" for char in secret),
            "".join(f"\\u{ord(char):04x}" for char in secret),
            f"{secret[:9]}<b>{secret[9:]}</b>",
        ]
    return found


def page(passing: Passing) -> bytes:
    """Return a page of HTML that repeats the request, at lengths where quotes are cut."""
    said = "".join(f"{'x' * width} {one}" for width in (1, 240, 270) for one in _echoes(passing))
    return f"<!DOCTYPE html><html><title>Oops</title><p>{said}</html>".encode()


def plain(passing: Passing) -> bytes:
    return f"Oops {' '.join(reversed(_echoes(passing)))}".encode()


def error(passing: Passing) -> bytes:
    return json.dumps({"error": f"Nope. {' '.join(_echoes(passing))}"}).encode()


def nested(passing: Passing) -> bytes:
    said = {"message": f"Nope. {passing.token}", "errors": [{"message": passing.token}]}
    return json.dumps({"error": said, **said}).encode()


def half(passing: Passing) -> bytes:
    return f'{{"status": "success", "modelId": "m", "x": "{passing.token}", '.encode()


def huge(_passing: Passing) -> bytes:
    return b" " * (17 << 20)


def fixed(body: bytes) -> Callable[[Passing], bytes]:
    """Return what makes a body that is always the same."""
    return lambda _passing: body


BODIES: Final[Mapping[str, Callable[[Passing], bytes]]] = {
    "a page": page,
    "nothing": fixed(b""),
    "words": plain,
    "an error": error,
    "a nested error": nested,
    "half of JSON": half,
    "a list": fixed(b'[{"status": "success"}]'),
    "null": fixed(b"null"),
    "a number": fixed(b"9" * 400),
    "deep JSON": fixed(b'{"a":[' * 20_000),
    "half a character": fixed(b'{"error": "\\ud800", "message": "\\udfff"}'),
    "UTF-16": fixed('{"error": "Nope"}'.encode("utf-16")),
    "Latin-1": fixed('{"error": "Zo\u00eb"}'.encode("latin-1")),
}


def answer(
    status: int,
    body: Callable[[Passing], bytes] = page,
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """Return what reads a request and answers this."""

    def do(passing: Passing) -> None:
        passing.read_body()
        told = {name: value.replace(TRAP, passing.relay.trap) for name, value in sent.items()}
        passing.reply(status, body(passing), told)

    sent = headers or {}
    return do


def early(status: int) -> Fault:
    """Return what answers before the request was read."""

    def do(passing: Passing) -> None:
        passing.reply(status, page(passing))
        passing.end()

    return do


# --------------------------------------------------------------------------- connections


def reset_at_once(passing: Passing) -> None:
    passing.reset()


def reset_in_body(passing: Passing) -> None:
    """Reset the connection once some of the body has come, or at once if there is none."""
    has_body = passing.headers.get("content-length", "0") != "0"
    if has_body and not passing.body:
        passing.body = passing.client.recv(1000)
    passing.reset()


def reset(passing: Passing) -> None:
    passing.read_body()
    passing.reset()


def close(passing: Passing) -> None:
    passing.read_body()


def hang(passing: Passing) -> None:
    passing.read_body()
    passing.stay_silent()


def sending_then_hanging(beginning: bytes) -> Fault:
    """Return what begins an answer and never ends it."""

    def do(passing: Passing) -> None:
        passing.read_body()
        passing.send(beginning)
        passing.stay_silent()

    return do


def sending(data: bytes) -> Fault:
    """Return what answers these bytes and hangs up."""

    def do(passing: Passing) -> None:
        passing.read_body()
        passing.send(data)

    return do


def dripping(beginning: bytes, byte: bytes) -> Fault:
    """Return what sends one byte after the other, without an end."""

    def do(passing: Passing) -> None:
        passing.read_body()
        passing.send(beginning)
        passing.drip(byte * 100_000, 0.05)

    return do


def interim(passing: Passing) -> None:
    """Send interim answers, and no other."""
    passing.read_body()
    passing.send(b"HTTP/1.1 102 Processing\r\nX-Left: much\r\n\r\n" * 200)
    passing.stay_silent()


def gone(seconds: float | None) -> Fault:
    """Return what hangs up, and lets nobody connect for some seconds; for ever if None."""

    def do(passing: Passing) -> None:
        passing.relay.stop_listening()
        passing.reset()
        if seconds is not None:
            passing.relay.listen_later(seconds)

    return do


def head(*lines: str, status: str = "200 OK") -> bytes:
    """Return the head of an answer."""
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "\r\n")).encode("latin-1")


CONNECTIONS: Final = (
    Case("reset before the body", reset_at_once, Sense.BROKEN, "was cut|closed without"),
    Case("reset in the body", reset_in_body, Sense.BROKEN, "was cut|closed without"),
    Case("reset after the body", reset, Sense.CUT, "was cut|closed without"),
    Case("closed after the body", close, Sense.CUT, "closed without an answer"),
    Case("hangs", hang, Sense.SILENCE, "no data was transferred for too long"),
    Case(
        "hangs in the headers",
        sending_then_hanging(b"HTTP/1.1 200 OK\r\nContent-"),
        Sense.SILENCE,
        "no data was transferred for too long",
    ),
    Case(
        "hangs in the answer",
        sending_then_hanging(head("Content-Length: 900") + b'{"status"'),
        Sense.SILENCE,
        "no data was transferred for too long",
    ),
    Case("interim answers only", interim, Sense.SILENCE, "only interim answers came"),
    Case("gone for ever", gone(None), Sense.BROKEN, "was cut|cannot be reached|closed without"),
)
DRIPS: Final = (
    Case("drips a status", dripping(b"HTTP/1.1 2", b"0"), Sense.ENDLESS),
    Case("drips headers", dripping(b"HTTP/1.1 200 OK\r\nX: ", b"y"), Sense.ENDLESS),
    Case("drips an answer", dripping(head("Content-Length: 900000") + b"{", b" "), Sense.ENDLESS),
    Case(
        "drips chunks",
        dripping(head("Transfer-Encoding: chunked"), b"1\r\n \r\n"),
        Sense.ENDLESS,
    ),
)
