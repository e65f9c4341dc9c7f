"""HTTP to a Deployment API: time-outs on everything, and repeats only where repeating is safe.

What any HTTP of the action needs (sessions, one exchange with its time-outs, what went wrong in
words) is public here.
"""

from __future__ import annotations

import io
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from deploy_action import __version__
from deploy_action.errors import DeployActionError, Problem, RefusedError
from deploy_action.inputs.definitions import HOSTED_API_URL, HOSTED_GONE
from deploy_action.text.strict_json import strict_loads

if TYPE_CHECKING:
    from pathlib import Path

    import requests

    from deploy_action.deadline import Deadline

CONNECT_TIMEOUT: Final = 15.0
READ_TIMEOUT: Final = 60.0
# Between two bytes. The server unpacks and passes on the bundle before it answers an upload; one
# that was asked for a plan it does not know never answers; the embedded one, while it backtests,
# sends a blank now and then.
UPLOAD_ANSWER_TIMEOUT: Final = 300.0

_ATTEMPTS: Final = 4
_FIRST_PAUSE: Final = 0.5
_LONGEST_REASON: Final = 200
LARGEST_ANSWER: Final = 16 * 1024 * 1024
# Of one `send`, which has to end within the connect time-out: 128 KiB in 15 s is 9 kB/s.
_BLOCK_SIZE: Final = 128 * 1024

# With these the server says that it has not acted (RFC 6585, section 4; RFC 9110, 15.6.4).
NOT_ACTED_ON: Final = frozenset({429, 503})
_PASSING: Final = NOT_ACTED_ON | {500, 502, 504}


@dataclass(frozen=True)  # without slots, where what is computed once has no place
class Answer:
    """An answer of the server, read whole; `retry_after` is in seconds, 0 where it was not said.

    The names in `headers` are found in either case.
    """

    status: int
    body: bytes
    retry_after: float = 0.0
    location: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_refusal(self) -> bool:
        """Tell whether the server says that it has not acted."""
        return 400 <= self.status < 500 or self.status in NOT_ACTED_ON  # noqa: PLR2004  # a class

    @property
    def is_good(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300  # noqa: PLR2004  # the class of statuses

    @cached_property
    def json(self) -> object | None:
        """The parsed body, which is not to be changed; None if it is not JSON, or null."""
        try:
            return strict_loads(self.body)
        except ValueError:
            return None


class NotConnectedError(RefusedError):
    """No connection was made, so the server knows nothing of the request.

    `is_hopeless` where another try would end the same, as with a certificate that is not trusted.
    """

    def __init__(self, problem: Problem, *, is_hopeless: bool = False) -> None:
        super().__init__(problem)
        self.is_hopeless = is_hopeless


class AlteredFileError(RefusedError):
    """The file is not the one whose digest was given; the server got no whole request."""


class BrokenExchangeError(RefusedError):
    """The request was on its way, and what the server made of it is unknown."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send as the part `model` of a multipart body; `on_progress` gets (sent, total).

    `sha256` is the file's digest in hexadecimal: bytes that have another one are never sent whole.
    `largest_answer` is how many bytes may answer it.
    """

    path: Path
    sha256: str
    on_progress: Callable[[int, int], None]
    largest_answer: int = LARGEST_ANSWER


@dataclass(slots=True)
class Transport:
    """Sends requests to one server. `pause` and `jitter` are injected by tests."""

    base_url: str
    deadline: Deadline
    use_environment: bool = True
    on_retry: Callable[[str], None] = lambda _text: None
    pause: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    # Whether the latest request that changes something was answered, and not with a refusal.
    may_have_acted: bool = field(default=False, init=False)
    _kept: requests.Session | None = field(default=None, init=False)

    def close(self) -> None:
        """Close the connections that are kept open."""
        if self._kept is not None:
            self._kept.close()

    def read(self, method: str, path: str, fields: Mapping[str, str], token: str = "") -> Answer:
        """Send a request that changes nothing, and repeat it after any passing failure.

        Raises:
            NotConnectedError, BrokenExchangeError: when the last try failed so.
            DeadlineError: when the deadline passes, or would pass while waiting.
        """
        if self._kept is None:
            self._kept = self._new_session()
        session = self._kept

        def attempt() -> Answer:
            with FormBody(fields) as body:
                request = _Request(session, method, path, token, READ_TIMEOUT, body, is_safe=True)
                return self._send(request)

        return self._repeat(attempt, _PASSING, (NotConnectedError, BrokenExchangeError))

    def change(self, path: str, fields: Mapping[str, str], token: str) -> Answer:
        """Post what must not be done twice: repeated only where the server cannot have acted.

        Raises:
            NotConnectedError, BrokenExchangeError, DeadlineError: as `read` does.
        """
        self.may_have_acted = False

        def attempt() -> Answer:
            with closing(self._new_session()) as session, FormBody(fields) as body:
                return self._send(_Request(session, "POST", path, token, READ_TIMEOUT, body))

        return self._repeat(attempt, NOT_ACTED_ON, (NotConnectedError,))

    def upload(self, path: str, fields: Mapping[str, str], token: str, upload: Upload) -> Answer:
        """Post a multipart form with a file, streamed; repeated, and failing, as `change` does."""
        self.may_have_acted = False

        def attempt() -> Answer:
            # A connection that idled while the bundle was packed may be dead, and then nobody
            # could tell whether the server acted. A new one is either made or not.
            with closing(self._new_session()) as session, MultipartBody(fields, upload) as body:
                return self._send(
                    _Request(
                        session,
                        "POST",
                        path,
                        token,
                        UPLOAD_ANSWER_TIMEOUT,
                        body,
                        largest_answer=upload.largest_answer,
                    )
                )

        return self._repeat(attempt, NOT_ACTED_ON, (NotConnectedError,))

    def _repeat(
        self,
        attempt: Callable[[], Answer],
        passing_statuses: frozenset[int],
        passing_errors: tuple[type[RefusedError], ...],
    ) -> Answer:
        for number in range(1, _ATTEMPTS):
            try:
                answer = attempt()
            except passing_errors as error:
                if isinstance(error, NotConnectedError) and error.is_hopeless:
                    raise
                self._wait(number, str(error), 0)
            else:
                if answer.status not in passing_statuses:
                    return answer
                reason = f"{self.base_url} answered {answer.status}."
                self._wait(number, reason, answer.retry_after)
        return attempt()

    def _wait(self, number: int, reason: str, retry_after: float) -> None:
        """Wait as long as the server asked, else 0.5 s, 1 s, 2 s, with up to half of it more."""
        backoff = _FIRST_PAUSE * 2 ** (number - 1) * (1 + self.jitter() / 2)
        seconds = max(backoff, retry_after)
        if seconds >= self.deadline.remaining():
            raise RefusedError(
                Problem(
                    message=f"{reason} The next try is due in {seconds:.0f} s, after the deadline "
                    f"of {self.deadline.minutes:g} minutes.",
                    hint="Run the workflow again later, or raise `timeout-minutes`.",
                ),
            )
        self.on_retry(f"{reason} Trying again in {seconds:.1f} s.")
        self.pause(seconds)

    def _new_session(self) -> requests.Session:
        return open_session(use_environment=self.use_environment)

    def _send(self, request: _Request) -> Answer:
        headers = {"token": request.token} if request.token else {}
        if request.body:
            headers["Content-Type"] = request.body.content_type
        call = Call(
            method=request.method,
            url=f"{self.base_url}{request.path}",
            headers=headers,
            # An empty stream would be sent as one of unknown length.
            body=request.body or None,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=request.read_timeout,
            largest_answer=request.largest_answer,
        )
        self.deadline.remaining()
        try:
            answer = exchange(request.session, call, self.deadline)
            self.may_have_acted = request.may_have_acted and not answer.is_refusal
        except AlteredFileError:
            raise
        except DeployActionError as error:
            # The deadline or a signal, raised in the middle.
            error.may_have_acted = request.may_have_acted
            raise
        except library_errors() as error:
            raise self._translate(error, request) from error
        return answer

    def _translate(self, error: Exception, request: _Request) -> RefusedError:
        if self.deadline.has_passed:
            late = self.deadline.error()
            late.may_have_acted = request.may_have_acted
            return late
        if not request.is_on_its_way(error):
            return NotConnectedError(self._unreachable(error), is_hopeless=is_hopeless(error))
        return BrokenExchangeError(
            Problem(
                message=f"The exchange with {self.base_url} at `{request.method} {request.path}` "
                f"broke off before the answer was there: {explain(error)}.",
                hint="Look at the server's log, and run the workflow again.",
            ),
            may_have_acted=request.may_have_acted,
        )

    def _unreachable(self, error: Exception) -> Problem:
        hint = "Check `api-url`, and that the server runs and can be reached from here."
        if self.base_url == HOSTED_API_URL:
            hint = HOSTED_GONE
        reason = explain(error)
        return Problem(message=f"{self.base_url} cannot be reached: {reason}.", hint=hint)


@dataclass(frozen=True, slots=True)
class _Request:
    session: requests.Session
    method: str
    path: str
    token: str = field(repr=False)
    read_timeout: float
    body: FormBody | MultipartBody
    is_safe: bool = False
    largest_answer: int = LARGEST_ANSWER

    @property
    def may_have_acted(self) -> bool:
        """Tell whether the server may have done what must not be done twice."""
        return not self.is_safe and self.body.is_started

    def is_on_its_way(self, error: Exception) -> bool:
        """Tell whether the server may know of the request when `error` ended it.

        What the libraries raise does not tell: they also call it a failure to connect to a proxy
        when the proxy hangs up after it took the whole request. A body that nobody has read from
        is proof; a request without one only reads, and there the error will do.
        """
        return self.body.is_started if self.body else not _never_connected(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as HTTP has it; the time-outs are in seconds, `read_timeout` between two bytes.

    `largest_answer` is how many bytes may answer it.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # a token may be among them
    body: FormBody | MultipartBody | bytes | None
    connect_timeout: float
    read_timeout: float
    largest_answer: int = LARGEST_ANSWER


def open_session(*, use_environment: bool) -> requests.Session:
    """Return a session that takes proxies and a CA bundle from the environment, no more."""
    import requests

    session = requests.Session()
    session.trust_env = use_environment
    # Without this, a `.netrc` would add credentials for the server to each request.
    session.auth = _no_authentication
    session.headers["User-Agent"] = f"blankly-deploy-action/{__version__}"
    for scheme in ("http://", "https://"):
        session.mount(scheme, _new_adapter())
    return session


def exchange(session: requests.Session, call: Call, deadline: Deadline) -> Answer:
    """Send one request, once, and read its answer whole; a redirect is an answer.

    Raises:
        DeadlineError: the deadline passed.
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
    with closing(response):
        return _read_answer(response, deadline, call.largest_answer)


def _no_authentication(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _new_adapter() -> requests.adapters.HTTPAdapter:
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """Sends bodies in larger blocks than the 16 KiB of the default."""

        def init_poolmanager(self, *args: object, **options: object) -> None:
            super().init_poolmanager(*args, **options, blocksize=_BLOCK_SIZE)  # type: ignore[arg-type]  # passed on as they came

    return Adapter()


def _read_answer(response: requests.Response, deadline: Deadline, largest: int) -> Answer:
    body = bytearray()
    # Of a trickle this returns each drop, where a read of a whole block would outlast the deadline.
    while block := response.raw.read1(_BLOCK_SIZE, decode_content=True):
        body += block
        deadline.remaining()
        if len(body) > largest:
            raise OSError(f"the answer is larger than {largest >> 20} MiB")
    return Answer(
        status=response.status_code,
        body=bytes(body),
        retry_after=_seconds(response.headers.get("Retry-After", "")),
        location=response.headers.get("Location", ""),
        headers=response.headers,
    )


def _seconds(retry_after: str) -> float:
    """Return the seconds a `Retry-After` asks for, in either of its forms (RFC 9110, 10.2.3)."""
    from email.utils import parsedate_to_datetime

    retry_after = retry_after.strip()
    if retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def library_errors() -> tuple[type[Exception], ...]:
    """Return what the HTTP libraries raise when an exchange fails."""
    import requests
    from urllib3.exceptions import HTTPError

    return (requests.RequestException, HTTPError, OSError)


def is_hopeless(error: BaseException) -> bool:
    """Tell whether no try will get a connection: the address or the TLS behind it is no good."""
    import ssl

    import requests
    from urllib3.exceptions import LocationParseError

    lost = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    kinds = (requests.exceptions.InvalidURL, LocationParseError, ssl.SSLError)
    return any(isinstance(cause, kinds) and not isinstance(cause, lost) for cause in _causes(error))


def _never_connected(error: BaseException) -> bool:
    """Tell whether the failure came before a connection was made."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

    kinds = (NewConnectionError, ConnectTimeoutError, ProxyError)
    return any(isinstance(cause, kinds) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it wraps: urllib3 keeps it as `reason`, requests as an argument."""
    pending, seen = [error], set[int]()
    while pending:
        cause = pending.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        wrapped = (getattr(cause, "reason", None), cause.__cause__, *cause.args)
        pending += [one for one in wrapped if isinstance(one, BaseException)]


def explain(error: BaseException) -> str:
    """Return the reason in words that end a sentence, with the system's own in brackets."""
    import http.client
    import socket
    import ssl

    from urllib3.exceptions import ConnectTimeoutError, DecodeError

    # The first that fits, in the order in which one kind is a case of another.
    explanations: tuple[tuple[type[BaseException], str], ...] = (
        (socket.gaierror, "there is no address for that host name ({})"),
        (ConnectionRefusedError, "nothing listens there ({})"),
        (ConnectTimeoutError, "no connection came about in time"),
        (ssl.SSLCertVerificationError, "its certificate is not trusted ({})"),
        (ssl.SSLEOFError, "the connection was closed in the middle of TLS"),
        (ssl.SSLError, "it does not speak TLS as it should, if it speaks TLS at all ({})"),
        (http.client.RemoteDisconnected, "the connection was closed without an answer"),
        (http.client.IncompleteRead, "the answer ends too early"),
        (http.client.HTTPException, "what came back is not HTTP"),
        (DecodeError, "the answer is not compressed in the way it says"),
        (TimeoutError, "nothing came or went for too long ({})"),
        (ConnectionError, "the connection was cut ({})"),
    )
    causes = list(_causes(error))
    for kind, explanation in explanations:
        for cause in causes:
            if isinstance(cause, kind):
                return explanation.format(_words_of(cause))
    return _words_of(causes[-1])


def _words_of(error: BaseException) -> str:
    """Return what an error says as one line: `Connection refused` rather than three classes."""
    text = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error
    words = " ".join(str(text).split())[:_LONGEST_REASON].rstrip(".")
    return words or type(error).__name__


class FormBody:
    """A form of text fields, URL-encoded; `is_started` tells whether any of it was sent."""

    content_type: Final = "application/x-www-form-urlencoded"

    def __init__(self, fields: Mapping[str, str]) -> None:
        from urllib.parse import urlencode

        encoded = urlencode(fields).encode()
        self.is_started = False
        self._length = len(encoded)
        self._stream = io.BytesIO(encoded)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(_BLOCK_SIZE), b"")

    def read(self, size: int) -> bytes:
        """Return the next block of at most `size` bytes, empty at the end."""
        self.is_started = True
        return self._stream.read(size)


class MultipartBody:
    """A multipart form, streamed: `read` gives the fields, then the file block by block.

    requests sends a body that has a length and can be read with `Content-Length`, and holds one
    block of it at a time. `is_started` tells whether anything was read, that is, sent.

    The end of the file is given out only when all of it had the right digest: without it the body
    is shorter than it says, and no server acts on that (RFC 9112, section 8).
    """

    def __init__(self, fields: Mapping[str, str], upload: Upload) -> None:
        """Open the file and encode the fields (RFC 7578)."""
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.is_started = False
        self._upload = upload
        self._file_size = upload.path.stat().st_size
        self._sent = 0
        self._digest = sha256()
        head, tail = _encode_head(fields, boundary), f"\r\n--{boundary}--\r\n".encode()
        self._length = len(head) + self._file_size + len(tail)
        self._streams = (io.BytesIO(head), upload.path.open("rb", buffering=0), io.BytesIO(tail))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for stream in self._streams:
            stream.close()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """Yield the blocks: requests takes for a stream only what can be iterated."""
        return iter(lambda: self.read(_BLOCK_SIZE), b"")

    def read(self, size: int) -> bytes:
        """Return the next block of at most `size` bytes, empty at the end."""
        self.is_started = True
        head, file, tail = self._streams
        if block := head.read(size):
            return block
        # No more than was there at first: what is added meanwhile is nobody's.
        block = file.read(min(size, self._file_size - self._sent)) or b""
        self._digest.update(block)
        self._sent += len(block)
        is_end = not block or self._sent == self._file_size
        if is_end and not (self._sent == self._file_size and self._has_right_digest):
            raise self._altered()
        if not block:
            return tail.read(size)
        self._upload.on_progress(self._sent, self._file_size)
        return block

    @property
    def _has_right_digest(self) -> bool:
        return self._digest.hexdigest() == self._upload.sha256

    def _altered(self) -> AlteredFileError:
        return AlteredFileError(
            Problem(
                message="The bundle was changed since it was packed, when its SHA-256 was "
                f"{self._upload.sha256}: the upload was broken off before its end.",
                hint="Look for what writes into the directory for temporary files, such as the "
                "model itself.",
            ),
        )


def _encode_head(fields: Mapping[str, str], boundary: str) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="model"; filename="model.zip"\r\n'
        "Content-Type: application/zip\r\n\r\n",
    )
    return "".join(parts).encode()
