"""Answers that are no answers: each status, broken successes, redirects, and orders to wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Final

from tests.support.faults.cases import (
    BODIES,
    NO_JSON,
    TRAP,
    Case,
    Sense,
    answer,
    early,
    error,
    fixed,
    huge,
    page,
)
from tests.support.faults.relay import Fault, Passing

_FAILED: Final = r"failed at `ROUTE` \({}\)"
_REFUSED: Final = r"refused `ROUTE` \({}\)"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def _of_status(status: int) -> Case:
    """Return the case of a status whose body does not matter."""
    passes = status in {408, 425} or (status >= 500 and status not in {501, 505})
    kinds = (
        (status in _REDIRECTS, Sense.ANSWER, "redirects `ROUTE` to an unnamed place"),
        (status in {404, 405, 501}, Sense.MISSING, r"has no `ROUTE` \({}\)"),
        (status in {408, 504, 522, 524}, Sense.SILENCE, _FAILED),
        (status == 507, Sense.REFUSED, _REFUSED),
        (status >= 500, Sense.CUT, _FAILED),
        (status >= 400, Sense.REFUSED, _REFUSED),
        (True, Sense.ANSWER, _FAILED),
    )
    sense, words = next((sense, words) for is_so, sense, words in kinds if is_so)
    return Case(str(status), answer(status), sense, words.format(status), passes)


STATUSES: Final = tuple(
    _of_status(status)
    for status in (
        *(101, 300, 301, 302, 303, 304, 305, 307, 308),
        *(400, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 418, 421, 422, 423),
        *(424, 425, 426, 428, 431, 451, 499),
        *(500, 501, 502, 503, 504, 505, 506, 507, 508, 511, 520, 521, 522, 523, 524, 525, 530),
        *(599, 600, 999),
    )
)
EARLY: Final = tuple(
    Case(
        f"{status} before the body",
        early(status),
        Sense.REFUSED,
        _REFUSED.format(status),
        passes=False,
    )
    for status in (400, 403, 413)
)
_NOT_USED: Final = "cannot be used"
SUCCESSES: Final = (
    Case("200 with a page", answer(200), Sense.PAGE, "answers `ROUTE` with a web page", False),  # noqa: FBT003
    *(
        Case(
            f"200 with {name}",
            answer(200, BODIES[name]),
            Sense.REFUSED if name in {"an error", "a nested error"} else Sense.ANSWER,
            _REFUSED.format(200) if "error" in name else f"{NO_JSON}|{_NOT_USED}",
            passes=False,
        )
        for name in BODIES
        if name not in {"a page", "half a character"}
    ),
    Case("200, any JSON", answer(200, fixed(b'{"a": 1}')), Sense.ANSWER, _NOT_USED, passes=False),
    Case("200, too large", answer(200, huge), Sense.ANSWER, "larger than 16 MiB"),
    *(
        Case(f"{status}", answer(status, fixed(b"")), Sense.ANSWER, NO_JSON, passes=False)
        for status in (201, 202, 204, 205, 299)
    ),
)
REDIRECTS: Final = tuple(
    Case(
        f"{status} to another host",
        answer(status, headers={"Location": f"{TRAP}/anything"}),
        Sense.ANSWER,
        "redirects `ROUTE` to http://127.0.0.1:[0-9]+/anything, and the token is not sent on",
        passes=False,
    )
    for status in sorted(_REDIRECTS)
) + tuple(
    Case(
        f"307 to {name}", answer(307, headers={"Location": location}), Sense.ANSWER,
        "redirects `ROUTE`", passes=False,
    )
    for name, location in {
        "itself": "/model/deploy",
        "no URL": "http://[",
        "a name with a password": f"http://a:b@{TRAP.lower()}.example/",
        "text": "\xff\xfe %zz",
    }.items()
)  # fmt: skip

# --------------------------------------------------------------------------- waits


def _date(**from_now: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(**from_now), usegmt=True)


def busy(status: int, wait: Callable[[], str]) -> Fault:
    """Return what says that the server is busy, and how long."""

    def do(passing: Passing) -> None:
        passing.read_body()
        passing.reply(status, page(passing), {"Retry-After": wait()})

    return do


SOON: Final[Mapping[str, Callable[[], str]]] = {
    "0": lambda: "0",
    "00": lambda: "00",
    "a past date": lambda: "Fri, 31 Dec 1999 23:59:59 GMT",
    "a date of now": partial(_date, seconds=0),
    "a date of the last century": lambda: "Sunday, 06-Nov-94 08:49:37 GMT",
}
LATE: Final[Mapping[str, Callable[[], str]]] = {
    "two hours": lambda: "7200",
    "for ever": lambda: "9" * 50,
    "a far date": partial(_date, days=400),
}
GARBAGE: Final[Mapping[str, Callable[[], str]]] = {
    "soon": lambda: "soon",
    "less than nothing": lambda: "-5",
    "a fraction": lambda: "0.5",
    "an exponent": lambda: "1e3",
    "no date": lambda: "Fri, 99 Foo 99999 +9999999",
    "a year of five digits": lambda: "Fri, 31 Dec 99999 23:59:59 GMT",
}
WAITS: Final = (
    *(
        Case(f"{status}, {name}", busy(status, wait), Sense.BUSY, _REFUSED.format(status))
        for status in (429, 503)
        for name, wait in SOON.items()
    ),
    *(
        Case(
            f"{status}, {name}",
            busy(status, wait),
            Sense.LATER,
            f"answered {status}.*after the deadline of",
        )
        for status in (429, 503)
        for name, wait in LATE.items()
    ),
    *(
        Case(f"429, {name}", busy(429, wait), Sense.BUSY, _REFUSED.format(429))
        for name, wait in GARBAGE.items()
    ),
    *(
        Case(f"503, {name}", busy(503, wait), Sense.CUT, _FAILED.format(503))
        for name, wait in GARBAGE.items()
    ),
)
EXPIRED: Final = (
    Case("401", answer(401), Sense.EXPIRED, r"\(401\)|answered 401"),
    Case("401 with an error", answer(401, error), Sense.EXPIRED, r"\(401\)|answered 401"),
    Case("401 before the body", early(401), Sense.EXPIRED, r"\(401\)|answered 401"),
)


def expire(passing: Passing) -> None:
    """Pass the request on as if its idToken had expired while it was under way."""
    passing.return_answer(passing.pass_on(token="expired"))


EXPIRED_ON_THE_WAY: Final = Case(
    "expires on the way", expire, Sense.EXPIRED, r"\(401\)", acted=True
)
