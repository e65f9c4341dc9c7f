"""HTTP for every part of the action: one exchange, and retries."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final

from deploy_action.errors import RefusedError
from deploy_action.http.failures import BrokenAnswerError, library_errors
from deploy_action.http.sessions import BLOCK_SIZE, Session
from deploy_action.interruption import Deadline
from deploy_action.records import dataclass, field
from deploy_action.text.strict_json import strict_loads

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from deploy_action.http.sessions import Body

LARGEST_ANSWER: Final = 16 * 1024 * 1024

_FIRST_PAUSE: Final = 0.5
# 408, 425 and 429: RFC 9110, section 15.5.9, RFC 8470, section 5.2, and RFC 6585, section 4.
_LATER: Final = frozenset({408, 425, 429})
# Not implemented, and another version of HTTP: RFC 9110, section 15.6.
_FOR_GOOD: Final = frozenset({501, 505})
# A value of JSON may take two bytes and, once parsed, seventy.
_MOST_VALUES: Final = 2_000_000


@dataclass(frozen=True)  # no slots: `json` is cached on the instance
class Answer:
    """A server's whole answer.

    `retry_after` is in seconds, None if the header is missing or malformed. `headers` ignores the
    case of names. `was_sent_whole` says that the server could have read the whole request, and
    `waited` for how many seconds the answer was awaited after that.
    """

    status: int
    body: bytes
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    was_sent_whole: bool = True
    waited: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300  # noqa: PLR2004  # the class of statuses

    @property
    def may_pass(self) -> bool:
        """Whether the status reports a failure that may be over at the next try.

        Gateways have many of their own from 500 on, such as Cloudflare's 520 to 530.
        """
        is_server_error = self.status >= 500 and self.status not in _FOR_GOOD  # noqa: PLR2004  # the class of statuses
        return is_server_error or self.status in _LATER

    @property
    def server_time(self) -> float:
        """The time of day at the server, by its `Date`; without one, by this machine's clock.

        In seconds since 1970-01-01 UTC. What a server says of the time is by its own clock.
        """
        return _server_time(self.headers)

    @cached_property
    def json(self) -> object | None:
        """The parsed body, not to be modified; None if it is null, not JSON, or far too much."""
        if sum(map(self.body.count, (b"{", b"[", b","))) > _MOST_VALUES:
            return None
        try:
            return strict_loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request. Time-outs are in seconds; `read_timeout` is the longest gap between bytes.

    A `body` that is not bytes is streamed in blocks.
    An answer of more than `largest_answer` bytes is an error, one that reports a failure also if it
    is larger than others are.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # a token may be among them
    body: Body | bytes | None
    connect_timeout: float
    read_timeout: float
    largest_answer: int = LARGEST_ANSWER


def exchange(session: Session, call: Call, deadline: Deadline) -> Answer:
    """Send a request once and read the whole answer. Redirects are returned, not followed.

    Raises:
        DeadlineError: the deadline passed.
        BrokenAnswerError: the answer began, and cannot be read.
        urllib3.exceptions.HTTPError, OSError: see `library_errors`.
    """
    left = deadline.remaining()
    timeout = min(call.connect_timeout, left), min(call.read_timeout, left)
    response = session.send(call.method, call.url, call.headers, call.body, timeout=timeout)
    is_good = 200 <= response.status < 300  # noqa: PLR2004  # the class of statuses
    largest = call.largest_answer if is_good else min(call.largest_answer, LARGEST_ANSWER)
    with closing(response):
        try:
            return _read_answer(response, deadline, largest)
        except library_errors() as error:
            raise BrokenAnswerError(*error.args) from error


@contextmanager
def streamed(session: Session, call: Call) -> Iterator[tuple[Answer, Iterator[bytes]]]:
    """Send a request once, and yield its answer: a good one without its body, which then comes.

    There is no deadline: the body may go on for ever. Raises, also while the body is read, as
    `exchange` does.
    """
    timeout = call.connect_timeout, call.read_timeout
    response = session.send(call.method, call.url, call.headers, call.body, timeout=timeout)
    with closing(response):
        status, headers = response.status, response.headers
        answer = Answer(status=status, body=b"", headers=headers)
        if not answer.is_good:
            body = response.read(LARGEST_ANSWER, decode_content=True)
            answer = Answer(status=status, body=body, headers=headers)
        yield answer, iter(lambda: response.read1(BLOCK_SIZE, decode_content=True), b"")


def _read_answer(response: BaseHTTPResponse, deadline: Deadline, largest: int) -> Answer:
    body = io.BytesIO()  # gives its bytes away without a copy
    # `read1` returns as soon as some bytes are there. Waiting for a whole block of a slow answer
    # could outlast the deadline.
    while block := response.read1(BLOCK_SIZE, decode_content=True):
        body.write(block)
        deadline.remaining()
        if body.tell() > largest:
            raise OSError(f"the answer is larger than {largest >> 20} MiB")
    return Answer(
        status=response.status,
        body=body.getvalue(),
        retry_after=_retry_after(response.headers),
        headers=response.headers,
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse `Retry-After`, a number of seconds or a date (RFC 9110, 10.2.3); else return None."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said.lstrip("0")[:9] or "0")
    date = _date(said)
    return None if date is None else max(0.0, date - _server_time(headers))


def _server_time(headers: Mapping[str, str]) -> float:
    date = _date(headers.get("Date", ""))
    return time.time() if date is None else date


def _date(said: str) -> float | None:
    """Parse a date, which is in UTC if it names no zone (RFC 9110, section 5.6.7)."""
    if not said:
        return None
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(said)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Again:
    """A failure worth another try.

    `reason` is a sentence for the log, `seconds` how long the server asks to wait. `error` is
    raised if the deadline leaves no time for another try; by default, an error that says so.
    """

    reason: str
    seconds: float = 0.0
    error: RefusedError | None = None


@dataclass(frozen=True, slots=True)
class Retries:
    """Makes up to `attempts` tries before the deadline, with growing pauses between them.

    `on_retry` gets a line for the log. Tests inject `pause`, which takes seconds, and `jitter`,
    which returns a number from 0 to 1.
    """

    deadline: Deadline
    attempts: int = 4
    on_retry: Callable[[str], None] = lambda _line: None
    pause: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def repeat(
        self,
        attempt: Callable[[], Answer],
        again_after: Callable[[Answer | RefusedError], Again | None],
    ) -> Answer:
        """Call `attempt` until `again_after` returns None for its answer or error.

        Returns the last answer.

        Raises:
            RefusedError: the last attempt's, or there is no time for another one.
        """
        for number in range(1, self.attempts):
            try:
                answer = attempt()
            except RefusedError as error:
                again = again_after(error)
                if again is None:
                    raise
            else:
                again = again_after(answer)
                if again is None:
                    return answer
            self.wait(number, again)
        return attempt()

    def wait(self, number: int, again: Again) -> None:
        """Wait after try `number`: 0.5 s, 1 s, 2 s with up to 50% jitter, or what the server asks.

        Raises `RefusedError` if the deadline would pass meanwhile.
        """
        backoff = _FIRST_PAUSE * 2 ** (number - 1) * (1 + self.jitter() / 2)
        seconds = max(backoff, again.seconds)
        if seconds >= self.deadline.remaining():
            raise again.error or self._too_late(again, seconds)
        self.on_retry(f"{again.reason} Trying again in {seconds:.1f} s.")
        self.pause(seconds)

    def _too_late(self, again: Again, seconds: float) -> RefusedError:
        return RefusedError.of(
            message=f"{again.reason} The next try is due in {seconds:.0f} s, after the "
            f"deadline of {self.deadline.minutes:g} minutes.",
            hint="Run the workflow again later, or raise `timeout-minutes`.",
        )
