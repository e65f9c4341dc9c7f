"""HTTP to a Deployment API: time-outs on everything, and repeats only where repeating is safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from deploy_action.deployment_api.bodies import AlteredFileError, FormBody, MultipartBody, Upload
from deploy_action.deployment_api.retry_rules import (
    BrokenExchangeError,
    NotConnectedError,
    is_refusal,
    may_repeat_change,
    may_repeat_read,
)
from deploy_action.errors import DeployActionError, Problem, RefusedError
from deploy_action.http_exchange import (
    LARGEST_ANSWER,
    Again,
    Answer,
    Call,
    Retries,
    exchange,
    explain,
    is_hopeless,
    library_errors,
    never_connected,
    open_session,
)
from deploy_action.inputs.definitions import HOSTED_API_URL, HOSTED_GONE

if TYPE_CHECKING:
    import requests

    from deploy_action.interruption import Deadline

CONNECT_TIMEOUT: Final = 15.0
READ_TIMEOUT: Final = 60.0
# Between two bytes. The server unpacks and passes on the bundle before it answers an upload; one
# that was asked for a plan it does not know never answers; the embedded one, while it backtests,
# sends a blank now and then.
UPLOAD_ANSWER_TIMEOUT: Final = 300.0


@dataclass(slots=True)
class Transport:
    """Sends requests to one server; `use_environment` takes its proxies and CA bundle."""

    base_url: str
    retries: Retries
    use_environment: bool = True
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

        return self._repeat(attempt, may_repeat_read)

    def change(self, path: str, fields: Mapping[str, str], token: str) -> Answer:
        """Post what must not be done twice: repeated only where the server cannot have acted.

        Raises:
            NotConnectedError, BrokenExchangeError, DeadlineError: as `read` does.
        """
        self.may_have_acted = False

        def attempt() -> Answer:
            with closing(self._new_session()) as session, FormBody(fields) as body:
                return self._send(_Request(session, "POST", path, token, READ_TIMEOUT, body))

        return self._repeat(attempt, may_repeat_change)

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

        return self._repeat(attempt, may_repeat_change)

    def _repeat(
        self, attempt: Callable[[], Answer], may_repeat: Callable[[Answer | RefusedError], bool]
    ) -> Answer:
        def may_pass(outcome: Answer | RefusedError) -> Again | None:
            if not may_repeat(outcome):
                return None
            if isinstance(outcome, Answer):
                return Again(f"{self.base_url} answered {outcome.status}.", outcome.retry_after)
            return Again(str(outcome))

        return self.retries.repeat(attempt, may_pass)

    @property
    def _deadline(self) -> Deadline:
        return self.retries.deadline

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
        self._deadline.remaining()
        try:
            answer = exchange(request.session, call, self._deadline)
            self.may_have_acted = request.may_have_acted and not is_refusal(answer)
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
        if self._deadline.has_passed:
            late = self._deadline.error()
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
        return self.body.is_started if self.body else not never_connected(error)
