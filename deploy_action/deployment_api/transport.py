"""HTTP to a Deployment API: a time-out on everything, and retries only where they are safe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from deploy_action.deployment_api.bodies import AlteredFileError, FormBody, MultipartBody, Upload
from deploy_action.deployment_api.retry_rules import (
    Break,
    BrokenExchangeError,
    NotConnectedError,
    is_refusal,
    may_repeat_change,
    may_repeat_read,
)
from deploy_action.errors import DeployActionError, Problem, RefusedError
from deploy_action.http.exchange import (
    Again,
    Answer,
    Call,
    Retries,
    exchange,
    streamed,
)
from deploy_action.http.failures import (
    explain,
    is_hopeless,
    library_errors,
    never_connected,
    timed_out,
    unreachable,
    was_cut,
)
from deploy_action.http.proxies import instead_of, proxy_of
from deploy_action.http.sessions import Session
from deploy_action.inputs.defaults import HOSTED_API_URL, HOSTED_GONE
from deploy_action.interruption import Deadline
from deploy_action.records import dataclass, field, replace

CONNECT_TIMEOUT: Final = 15.0
READ_TIMEOUT: Final = 60.0
# The longest gap between two bytes of the answer to an upload: as long as the run has. The original
# server builds an image before it answers a deploy, which takes minutes. The embedded one sends a
# blank now and then while it backtests.
UPLOAD_ANSWER_TIMEOUT: Final = math.inf
_GLANCE_TIMEOUT: Final = 10.0


@dataclass(slots=True)
class Transport:
    """Sends requests to one server.

    `use_environment` says whether proxies are taken from the environment.
    """

    base_url: str
    retries: Retries
    use_environment: bool = True
    # Whether the server may have acted on the latest request that changes something.
    may_have_acted: bool = field(default=False, init=False)
    _kept: Session | None = field(default=None, init=False)

    def close(self) -> None:
        """Close the connections that are kept open."""
        if self._kept is not None:
            self._kept.close()

    def read(self, method: str, path: str, fields: Mapping[str, str], token: str = "") -> Answer:
        """Send a request that changes nothing; retry after every failure that may pass.

        Raises:
            NotConnectedError, BrokenExchangeError: the last try failed.
            DeadlineError: the deadline passed.
            RefusedError: the deadline leaves no time for the next try.
        """
        if self._kept is None:
            self._kept = self._new_session()
        session = self._kept

        def attempt() -> Answer:
            with FormBody(fields) as body:
                return self._send(session, self._call(method, path, token, body), is_change=False)

        return self._repeat(attempt, may_repeat_read)

    def glance(self, path: str, fields: Mapping[str, str], token: str) -> Answer:
        """Post a form that changes nothing, once, and wait a few seconds only; raises as `read`."""
        with closing(self._new_session()) as session, FormBody(fields) as body:
            call = replace(self._call("POST", path, token, body), read_timeout=_GLANCE_TIMEOUT)
            return self._send(session, call, is_change=False)

    @contextmanager
    def stream(
        self, path: str, fields: Mapping[str, str], token: str
    ) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Post a form that changes nothing, once, and yield the answer and its body as it comes.

        Both this and reading the body raise as `read` does, but for the deadline, which they have
        not.
        """
        with (
            closing(self._new_session()) as session,
            FormBody(fields) as form,
            ExitStack() as stack,
        ):
            call = self._call("POST", path, token, form)
            try:
                answer, blocks = stack.enter_context(streamed(session, call))
            except library_errors() as error:
                raise self._translate(error, call, may_have_acted=False) from error
            yield answer, self._translated(blocks, call)

    def _translated(self, blocks: Iterator[bytes], call: Call) -> Iterator[bytes]:
        try:
            yield from blocks
        except library_errors() as error:
            raise self._translate(error, call, may_have_acted=False) from error

    def change(self, path: str, fields: Mapping[str, str], token: str) -> Answer:
        """Post a form that must not be acted on twice; retry only if the server did nothing.

        Raises as `read` does.
        """
        return self._change(path, token, lambda: FormBody(fields))

    def ask(
        self, path: str, fields: Mapping[str, str], token: str, *, now: str, largest_answer: int
    ) -> Answer:
        """Post a form that may be acted on twice, and wait as for the answer to an upload.

        `now` and `largest_answer` are as in `Upload`. It retries and raises as `read` does. Several
        threads may ask at the same time.
        """

        def attempt() -> Answer:
            with closing(self._new_session()) as session, FormBody(fields) as body:
                call = self._call("POST", path, token, body)
                call = self._with_limits(call, now=now, largest_answer=largest_answer)
                return self._send(session, call, is_change=False)

        return self._repeat(attempt, may_repeat_read)

    def upload(self, path: str, fields: Mapping[str, str], token: str, upload: Upload) -> Answer:
        """Stream a file in a multipart form; retries and raises as `change` does.

        Raises:
            AlteredFileError: the file is not the one that was packed.
        """
        return self._change(
            path,
            token,
            lambda: MultipartBody(fields, upload),
            upload,
        )

    def _change(
        self,
        path: str,
        token: str,
        new_body: Callable[[], FormBody | MultipartBody],
        upload: Upload | None = None,
    ) -> Answer:
        def attempt() -> Answer:
            # A kept connection may have died while the bundle was packed; then it would be unknown
            # whether the server acted. A new connection is either made or not.
            with closing(self._new_session()) as session, new_body() as body:
                call = self._call("POST", path, token, body)
                if upload is not None:
                    call = self._with_limits(
                        call,
                        now=upload.now,
                        largest_answer=upload.largest_answer,
                        reserve=upload.reserve,
                        key=upload.key,
                    )
                return self._send(session, call, is_change=True)

        self.may_have_acted = False
        return self._repeat(attempt, may_repeat_change)

    def _repeat(
        self, attempt: Callable[[], Answer], may_repeat: Callable[[Answer | RefusedError], bool]
    ) -> Answer:
        def again_after(outcome: Answer | RefusedError) -> Again | None:
            if not may_repeat(outcome):
                return None
            if isinstance(outcome, Answer):
                return Again(
                    f"{self.base_url} answered {outcome.status}.", outcome.retry_after or 0.0
                )
            return Again(str(outcome))

        return self.retries.repeat(attempt, again_after)

    @property
    def _deadline(self) -> Deadline:
        return self.retries.deadline

    def _new_session(self) -> Session:
        return Session(use_environment=self.use_environment)

    def _call(self, method: str, path: str, token: str, body: FormBody | MultipartBody) -> Call:
        headers = {"token": token} if token else {}
        return Call(
            method=method,
            url=f"{self.base_url}{path}",
            headers={**headers, "Content-Type": body.content_type} if body else headers,
            # An empty stream would be sent in chunks, without a length.
            body=body or None,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
        )

    def _with_limits(
        self, call: Call, *, now: str, largest_answer: int, reserve: float = 0.0, key: str = ""
    ) -> Call:
        left = self._deadline.remaining()
        left -= min(reserve, left / 2)
        once = {"Idempotency-Key": f'"{key}"'} if key else {}
        since = {"Backtest-Now": now} if now else {}
        return replace(
            call,
            headers={**call.headers, **once, **since},
            read_timeout=min(UPLOAD_ANSWER_TIMEOUT, left),
            largest_answer=largest_answer,
        )

    def _send(self, session: Session, call: Call, *, is_change: bool) -> Answer:
        self._deadline.remaining()
        try:
            answer = exchange(session, call, self._deadline)
            # Inside the `try`: a signal at this moment leaves the same doubt as one just before.
            waited = _waited(call)
            answer = replace(answer, was_sent_whole=waited is not None, waited=waited or 0.0)
            if is_change:
                self.may_have_acted = answer.was_sent_whole and not is_refusal(answer)
        except AlteredFileError:
            raise
        except DeployActionError as error:
            # The deadline or a signal, in the middle of the exchange.
            error.may_have_acted = is_change and _waited(call) is not None
            raise
        except library_errors() as error:
            may_have_acted = is_change and _waited(call) is not None
            if is_change:
                self.may_have_acted = may_have_acted
            raise self._translate(error, call, may_have_acted=may_have_acted) from error
        return answer

    def _translate(self, error: Exception, call: Call, *, may_have_acted: bool) -> RefusedError:
        if self._deadline.has_passed:
            late = self._deadline.error()
            late.may_have_acted = may_have_acted
            return late
        if not _is_on_its_way(call, error):
            return NotConnectedError(
                self._unreachable(error, call.url), is_hopeless=is_hopeless(error)
            )
        route = f"{call.method} {call.url.removeprefix(self.base_url)}"
        return BrokenExchangeError(
            Problem(
                message=f"The exchange with {self.base_url} at `{route}` broke off before the "
                f"answer was complete: {explain(error)}.",
                hint="Look at the server's log, and run the workflow again.",
            ),
            _how(error, _waited(call) or 0.0),
            may_have_acted=may_have_acted,
        )

    def proxy_hint(self) -> str:
        """Return what to do about an answer that may be a proxy's own; blank without a proxy."""
        return instead_of(self.base_url) if self.use_environment else ""

    def _unreachable(self, error: Exception, url: str) -> Problem:
        failure = unreachable(error, proxy_of(url) if self.use_environment else None)
        hint = failure.hint
        if self.base_url == HOSTED_API_URL:
            hint = HOSTED_GONE
        elif not hint:
            hint = "Check `api-url`, and that the server is running and reachable from here."
        message = f"{self.base_url} cannot be reached: {failure.reason}."
        return Problem(message=message, hint=hint)


def _is_started(call: Call) -> bool:
    """Tell whether any of the body was sent."""
    return isinstance(call.body, FormBody | MultipartBody) and call.body.is_started


def _waited(call: Call) -> float | None:
    """Return the seconds since the server may have the whole body; None if it cannot have it."""
    if not isinstance(call.body, FormBody | MultipartBody):
        return 0.0
    return None if call.body.sent_at is None else time.monotonic() - call.body.sent_at


def _how(error: Exception, waited: float) -> Break:
    if timed_out(error):
        return Break.SILENCE
    if was_cut(error):
        return Break.after(waited)
    return Break.ANSWER


def _is_on_its_way(call: Call, error: Exception) -> bool:
    """Tell whether the server may know of the request that `error` ended.

    The libraries' errors do not prove it: if a proxy hangs up after it took the whole request, they
    report that it could not be reached. A body that was never read proves that nothing was sent.
    Requests without a body only read, so for them the error is good enough.
    """
    return _is_started(call) if call.body else not never_connected(error)
