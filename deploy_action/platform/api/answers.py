"""The answers of the Deployment API, with the headers that all of them have."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import Response, StreamingResponse

from deploy_action.platform.api.operations.documents import Part, Pending, error_page
from deploy_action.platform.api.operations.logs import LogText

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from deploy_action.platform.api.http.connection import Connection

_JSON: Final = "application/json; charset=utf-8"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}
# Proxies wait a minute for a byte; a client that is gone should be noticed sooner.
_SECONDS_BETWEEN_SIGNS: Final = 1.0
# How soon a line is sent (later in a log that has been silent), how soon a version that takes over
# is noticed, and how soon a proxy or a client learns that the server is still there: many wait for
# a minute.
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 1.0
_SECONDS_BETWEEN_TURNS: Final = 2.0
_SECONDS_OF_SILENCE: Final = 20.0
_BLOCK_BYTES: Final = 1 << 18


def json_answer(
    value: object, status: int = HTTPStatus.OK, *, retry_after: float | None = None
) -> Response:
    """Return an answer in JSON; `retry_after` is when to come again, in seconds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # JSON can escape a lone surrogate, which UTF-8 cannot hold.
    later = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
    return Response(text.encode(errors="backslashreplace"), status, {**_HEADERS, **later}, _JSON)


def text_answer(text: str, status: int = HTTPStatus.OK) -> Response:
    """Return an answer in text, which Express calls HTML."""
    return Response(text, status, _HEADERS, "text/html; charset=utf-8")


def page(status: HTTPStatus, message: str) -> Response:
    """Return the answer to an error that has a page."""
    return text_answer(error_page(message), status)


def streamed_answer(parts: Iterable[Part]) -> Response:
    """Return an answer in JSON that never is in memory as a whole."""
    return StreamingResponse(_read(parts), headers=_HEADERS, media_type=_JSON)


def _read(parts: Iterable[Part]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        with part.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block


class PatientAnswer(StreamingResponse):
    """The answer to a backtest: blanks while it runs, which JSON may begin with, then the result.

    The blanks keep proxies from closing the connection, and make the system notice a client that is
    gone. Nobody waits for the backtest then, so it is stopped.
    """

    def __init__(self, pending: Pending) -> None:
        super().__init__(_wait_for(pending), headers=_HEADERS, media_type=_JSON)
        self._job = pending.job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; stop the backtest when the client leaves."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.leave()


async def _wait_for(pending: Pending) -> AsyncIterator[bytes]:
    ending = asyncio.wrap_future(pending.job.ending)
    try:
        yield b" "
        while not (await asyncio.wait([ending], timeout=_SECONDS_BETWEEN_SIGNS))[0]:
            yield b" "
        async for block in iterate_in_threadpool(_read(pending.parts())):
            yield block
    finally:
        ending.cancel()


class LogAnswer(StreamingResponse):
    """The lines of a log, and those to come if it is followed; that takes no thread."""

    def __init__(self, log: LogText, connection: Connection) -> None:
        headers = {**_HEADERS, "X-Accel-Buffering": "no"} if log.follows else _HEADERS
        super().__init__(self._lines(), headers=headers, media_type="text/plain")
        self._log = log
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, until there is no more or the client leaves; at once without a body."""
        if scope["method"] == "HEAD":
            self.body_iterator = iterate_in_threadpool(())
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._log.close()

    async def _lines(self) -> AsyncIterator[bytes]:
        log, silent = self._log, 0.0
        looked_at = time.monotonic()
        while True:
            if log.follows and time.monotonic() - looked_at >= _SECONDS_BETWEEN_TURNS:
                await run_in_threadpool(log.look_for_turn)
                looked_at = time.monotonic()
            if block := log.read():
                yield block
                silent = 0.0
                continue
            if log.is_over or not log.follows or self._connection.has_ended:
                return
            pause = min(_FIRST_PAUSE + silent / 8, _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            silent += pause
            if silent >= _SECONDS_OF_SILENCE:
                yield b"\n"
                silent = 0.0
