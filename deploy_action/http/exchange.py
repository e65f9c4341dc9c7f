"""HTTP for every part of the action: sessions, one exchange, and retries."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from deploy_action import __version__
from deploy_action.errors import RefusedError
from deploy_action.http.failures import BrokenAnswerError, StillAtWorkError, library_errors
from deploy_action.interruption import Deadline
from deploy_action.text.strict_json import strict_loads

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

LARGEST_ANSWER: Final = 16 * 1024 * 1024
# Each block has to be sent within the connect time-out: 128 KiB in 15 s is 9 kB/s.
BLOCK_SIZE: Final = 128 * 1024

_FIRST_PAUSE: Final = 0.5
_MOST_INTERIM_ANSWERS: Final = 100
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

    A `body` that can be iterated is streamed: requests sends its length, then reads it in blocks.
    An answer of more than `largest_answer` bytes is an error, one that reports a failure also if it
    is larger than others are.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # a token may be among them
    body: Iterable[bytes] | bytes | None
    connect_timeout: float
    read_timeout: float
    largest_answer: int = LARGEST_ANSWER


def open_session(*, use_environment: bool) -> requests.Session:
    """Return a session; from the environment it takes proxies and a CA bundle, nothing else."""
    import requests
    from requests.adapters import DEFAULT_POOLSIZE

    class Session(requests.Session):
        def get_redirect_target(self, _resp: requests.Response) -> None:
            """Prepare no redirect: that reads all of its body, and fails on a bad `Location`."""

    session = Session()
    session.trust_env = use_environment
    # Otherwise requests would send credentials from a `.netrc`.
    session.auth = lambda request: request
    session.headers["User-Agent"] = f"blankly-deploy-action/{__version__}"
    adapter = _patient_adapter()
    adapter.init_poolmanager(DEFAULT_POOLSIZE, DEFAULT_POOLSIZE, blocksize=BLOCK_SIZE)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def _patient_adapter() -> HTTPAdapter:
    """Return an adapter that skips interim answers (1xx) and cookies, also through a proxy.

    The standard library skips only 100, and as many as come (RFC 9110, section 15.2).
    """
    import http.client

    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class FinalAnswer(http.client.HTTPResponse):
        def begin(self) -> None:
            super().begin()
            # requests would parse, keep and send back cookies.
            del self.headers["Set-Cookie"], self.headers["Set-Cookie2"]

        def _read_status(self) -> tuple[str, int, str]:
            for _ in range(_MOST_INTERIM_ANSWERS):
                version, status, reason = super()._read_status()  # type: ignore[misc]
                if not _is_interim(status):
                    return version, status, reason
                http.client.parse_headers(self.fp)
            raise StillAtWorkError("only interim answers came")

    class Connection(HTTPConnection):
        response_class = FinalAnswer

    class TlsConnection(HTTPSConnection):
        response_class = FinalAnswer

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    class PatientAdapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, socket_options=kept_alive, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
            options.setdefault("socket_options", kept_alive)
            manager = super().proxy_manager_for(*arguments, **options)
            manager.pool_classes_by_scheme = pools
            return manager

    kept_alive = [*HTTPConnection.default_socket_options, *_keep_alive_options()]
    pools = {"http": Pool, "https": TlsPool}
    return PatientAdapter()


def _keep_alive_options() -> list[tuple[int, int, int]]:
    """Return options that keep a connection open on which nothing is said for minutes.

    Networks forget connections that are idle, that of GitHub's runners after four minutes; and a
    server that died without a word is noticed.
    """
    import socket

    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    seconds = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}
    known = {name: value for name, value in seconds.items() if hasattr(socket, name)}
    return [
        *options,
        *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in known.items()),
    ]


def _is_interim(status: int) -> bool:
    """Tell whether another answer follows; after 101 the connection speaks another protocol."""
    return 100 <= status < 200 and status != 101  # noqa: PLR2004  # RFC 9110, section 15.2


def exchange(session: requests.Session, call: Call, deadline: Deadline) -> Answer:
    """Send a request once and read the whole answer. Redirects are returned, not followed.

    Raises:
        DeadlineError: the deadline passed.
        BrokenAnswerError: the answer began, and cannot be read.
        requests.RequestException, urllib3.exceptions.HTTPError, OSError: see `library_errors`.
    """
    left = deadline.remaining()
    response = session.request(
        call.method,
        call.url,
        data=call.body,
        headers=call.headers,
        timeout=(min(call.connect_timeout, left), min(call.read_timeout, left)),
        allow_redirects=False,
        stream=True,
    )
    is_good = 200 <= response.status_code < 300  # noqa: PLR2004  # the class of statuses
    largest = call.largest_answer if is_good else min(call.largest_answer, LARGEST_ANSWER)
    with closing(response):
        try:
            return _read_answer(response, deadline, largest)
        except library_errors() as error:
            raise BrokenAnswerError(*error.args) from error


@contextmanager
def streamed(session: requests.Session, call: Call) -> Iterator[tuple[Answer, Iterator[bytes]]]:
    """Send a request once, and yield its answer: a good one without its body, which then comes.

    There is no deadline: the body may go on for ever. Raises, also while the body is read, as
    `exchange` does.
    """
    response = session.request(
        call.method,
        call.url,
        data=call.body,
        headers=call.headers,
        timeout=(call.connect_timeout, call.read_timeout),
        allow_redirects=False,
        stream=True,
    )
    with closing(response):
        status, headers = response.status_code, response.headers
        answer = Answer(status=status, body=b"", headers=headers)
        if not answer.is_good:
            body = response.raw.read(LARGEST_ANSWER, decode_content=True)
            answer = Answer(status=status, body=body, headers=headers)
        yield answer, iter(lambda: response.raw.read1(BLOCK_SIZE, decode_content=True), b"")


def _read_answer(response: requests.Response, deadline: Deadline, largest: int) -> Answer:
    body = io.BytesIO()  # gives its bytes away without a copy
    # `read1` returns as soon as some bytes are there. Waiting for a whole block of a slow answer
    # could outlast the deadline.
    while block := response.raw.read1(BLOCK_SIZE, decode_content=True):
        body.write(block)
        deadline.remaining()
        if body.tell() > largest:
            raise OSError(f"the answer is larger than {largest >> 20} MiB")
    return Answer(
        status=response.status_code,
        body=body.getvalue(),
        retry_after=_seconds(response.headers.get("Retry-After", "")),
        headers=response.headers,
    )


def _seconds(retry_after: str) -> float | None:
    """Parse `Retry-After`, a number of seconds or a date (RFC 9110, 10.2.3); else return None."""
    from email.utils import parsedate_to_datetime

    retry_after = retry_after.strip()
    if retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
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
