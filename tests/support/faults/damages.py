"""The server's own answers, damaged on their way, and all faults together."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from tests.support.faults.answers import (
    EARLY,
    EXPIRED,
    EXPIRED_ON_THE_WAY,
    REDIRECTS,
    STATUSES,
    SUCCESSES,
    WAITS,
)
from tests.support.faults.cases import CONNECTIONS, NO_JSON, Case, Sense, head
from tests.support.faults.relay import Answer, Fault, Passing


def spoiling(spoil: Callable[[Answer], bytes], *, hangs: bool = False) -> Fault:
    """Return what passes a request on, and answers the bytes that `spoil` makes of the answer."""

    def do(passing: Passing) -> None:
        given = passing.pass_on()
        passing.send(spoil(given))
        if hangs:
            passing.stay_silent()

    return do


def _with(*lines: str, body: Callable[[bytes], bytes] = bytes) -> Callable[[Answer], bytes]:
    """Return what sends an answer with other headers, and its body changed."""

    def spoil(given: Answer) -> bytes:
        sent = body(given.body)
        told = [
            one.format(length=len(sent), half=len(sent) // 2, more=len(sent) + 9) for one in lines
        ]
        kept = [f"{name}: {value}" for name, value in given.headers.items()]
        return head(*kept, *told, status=f"{given.status} So") + sent

    return spoil


def _chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(one), one) for one in pieces) + b"0\r\nX: y\r\n\r\n"


def _slowly(passing: Passing) -> None:
    given = passing.pass_on()
    data = _with("Content-Length: {length}", "Connection: close")(given)
    for at in range(0, len(data), 1 + len(data) // 4):
        passing.send(data[at : at + 1 + len(data) // 4])
        passing.relay.closing.wait(0.02)


def _after_interim(passing: Passing) -> None:
    given = passing.pass_on()
    passing.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    passing.send(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
    passing.return_answer(given)


def _with_cookies(passing: Passing) -> None:
    passing.return_answer(passing.pass_on(), **{"Set-Cookie": "a=b; path=/; domain=127.0.0.1"})


def _kept_open(more: bytes) -> Fault:
    """Return what does not say that the connection ends, but sends more, and ends it."""

    def do(passing: Passing) -> None:
        passing.return_answer(passing.pass_on(), Connection="keep-alive")
        passing.send(more)

    return do


_LENGTH, _CLOSE = "Content-Length: {length}", "Connection: close"
_CHUNKS, _GZIP = "Transfer-Encoding: chunked", "Content-Encoding: gzip"
GOOD_DAMAGE: Final[Mapping[str, Fault]] = {
    "slow": _slowly,
    "after interim answers": _after_interim,
    "with cookies": _with_cookies,
    "then closed without a word": _kept_open(b""),
    "with another answer behind it": _kept_open(head("Content-Length: 2") + b"[]"),
    "without a length": spoiling(_with(_CLOSE)),
    "in chunks": spoiling(_with(_CHUNKS, _CLOSE, body=_chunked)),
    "compressed": spoiling(_with(_LENGTH, _GZIP, _CLOSE, body=gzip.compress)),
    "with a wrong charset": spoiling(
        _with(_LENGTH, _CLOSE, "Content-Type: application/json; charset=utf-16")
    ),
    "with an unknown encoding": spoiling(_with(_LENGTH, "Content-Encoding: snappy", _CLOSE)),
}
_EARLY_END: Final = "answer ends too early"
BAD_DAMAGE: Final[Mapping[str, tuple[Fault, str]]] = {
    "announced longer": (spoiling(_with("Content-Length: {more}", _CLOSE)), _EARLY_END),
    "announced longer, held": (
        spoiling(_with("Content-Length: {more}"), hangs=True),
        "no data was transferred for too long",
    ),
    "announced shorter": (spoiling(_with("Content-Length: {half}", _CLOSE)), NO_JSON),
    "cut in a chunk": (
        spoiling(_with(_CHUNKS, _CLOSE, body=lambda body: _chunked(body)[:20])),
        _EARLY_END,
    ),
    "a chunk of no size": (
        spoiling(_with(_CHUNKS, _CLOSE, body=lambda body: b"zz\r\n" + body)),
        "ends too early|is not HTTP",
    ),
    "not compressed": (spoiling(_with(_LENGTH, _GZIP, _CLOSE)), "not compressed as its header"),
    "half of it compressed": (  # the library does not notice the missing end
        spoiling(_with(_LENGTH, _GZIP, _CLOSE, body=lambda body: gzip.compress(body)[:15])),
        NO_JSON,
    ),
}


def _bomb(_body: bytes) -> bytes:
    return _BOMB


_BOMB: Final = gzip.compress(gzip.compress(bytes(1 << 26)))
BOMB: Final = Case(
    "a bomb",
    spoiling(_with(_LENGTH, "Content-Encoding: gzip, gzip", _CLOSE, body=_bomb)),
    Sense.ANSWER,
    "larger than 16 MiB",
    acted=True,
)
DAMAGES: Final = (
    *(Case(name, do, Sense.FINE, acted=True) for name, do in GOOD_DAMAGE.items()),
    *(
        Case(
            name,
            do,
            Sense.SILENCE if "held" in name else Sense.ANSWER,
            words,
            # What is whole, and no JSON, would be no JSON the next time.
            passes=NO_JSON not in words,
            acted=True,
        )
        for name, (do, words) in BAD_DAMAGE.items()
    ),
    BOMB,
)


def acting(case: Case) -> Case:
    """Return the case in which the server did its work before the fault."""

    def do(passing: Passing) -> None:
        passing.pass_on()
        case.do(passing)

    return replace(case, name=f"{case.name}, and acted", do=do, acted=True)


_IN_DOUBT: Final = frozenset({Sense.CUT, Sense.SILENCE, Sense.ANSWER, Sense.PAGE})
NOT_PASSED_ON: Final = (
    *CONNECTIONS,
    *STATUSES,
    *EARLY,
    *SUCCESSES,
    *REDIRECTS,
    *WAITS,
    *EXPIRED,
)
ALL: Final = (
    *NOT_PASSED_ON,
    EXPIRED_ON_THE_WAY,
    *DAMAGES,
    *(acting(case) for case in NOT_PASSED_ON if case.sense in _IN_DOUBT),
)
