"""What became of a request whose answer was lost: found out before anything is sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from deploy_action.deployment_api.retry_rules import Break, BrokenExchangeError
from deploy_action.errors import DeadlineError, Problem, RefusedError, Severity
from deploy_action.http_exchange import Retries

# Seconds before each look at what the server lists. A server that keeps a list adds to it as soon
# as it has an upload. One that only knows what runs has to build it first, which takes minutes.
_SOON: Final = (0.0, 1.0, 2.0, 4.0, 6.0, 7.0)
_LATER: Final = (*_SOON, *(15.0,) * 38)
_MOST_SENDS: Final = 3
_LAST_LOOK: Final = 5.0  # seconds before the deadline


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling(Generic[T]):
    """Sends a request that must not be acted on twice, and settles what an answer leaves open.

    `send` sends it. `find` looks at the server for what `send` would have returned, and returns
    None if it is not there; it is None itself if the server does not tell. `what` names it, such as
    `a new version`. `is_listed` says that the server lists all there is, so that what is not listed
    was not made. `is_slow` says that it may take minutes before it is there to be found.
    """

    retries: Retries
    send: Callable[[], T]
    find: Callable[[], T | None] | None
    what: str
    is_listed: bool = False
    is_slow: bool = False

    def run(self) -> tuple[T, Problem | None]:
        """Return what `send` returns or `find` finds, and for the latter a notice.

        Sends again only if nothing was made and the failure may pass.

        Raises:
            DeployActionError: what `send` raises; `may_have_acted` if it stays unknown.
        """
        for number in range(1, _MOST_SENDS + 1):
            try:
                return self.send(), None
            except DeadlineError:
                raise
            except RefusedError as error:
                if not error.may_have_acted or self.find is None:
                    raise
                how = error.how if isinstance(error, BrokenExchangeError) else Break.ANSWER
                found, was_seen = self._look(
                    self.find, is_slow=self.is_slow and how is not Break.ANSWER
                )
                if found is not None:
                    return found, self._found(error)
                if not (was_seen and self.is_listed) or how is Break.SILENCE:
                    raise
                if how is Break.ANSWER or number == _MOST_SENDS:
                    raise self._not_made(error) from error
                self.retries.on_retry(
                    f"{error} The server does not list {self.what}: sending it again."
                )
        raise AssertionError("the last try returns or raises")

    def _look(self, find: Callable[[], T | None], *, is_slow: bool) -> tuple[T | None, bool]:
        """Return what is found, and whether the server could be asked at the end."""
        was_seen = False
        for seconds in _LATER if is_slow else _SOON:
            if seconds + _LAST_LOOK >= self.retries.deadline.remaining():
                return None, False
            if seconds:
                self.retries.pause(seconds)
            try:
                found = find()
            except DeadlineError:
                raise
            except RefusedError:
                was_seen = False
            else:
                was_seen = True
                if found is not None:
                    return found, True
        return None, was_seen

    def _found(self, error: RefusedError) -> Problem:
        return Problem(
            message=f"{error} But the server has {self.what} since then, so it was made.",
            hint="The log of the server, or of a gateway before it, says why the answer was lost.",
            severity=Severity.NOTICE,
        )

    def _not_made(self, error: RefusedError) -> RefusedError:
        first, *others = error.problems
        message = f"{error} The server does not list {self.what}, so it was not made."
        return RefusedError(Problem(message=message, hint=first.hint), *others)
