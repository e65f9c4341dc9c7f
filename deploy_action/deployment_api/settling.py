"""What became of a request whose answer was lost: found out before anything is sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from deploy_action.deployment_api.retry_rules import Break, BrokenExchangeError
from deploy_action.errors import (
    DeadlineError,
    InterruptedRunError,
    Problem,
    RefusedError,
    Severity,
)
from deploy_action.http.exchange import Retries
from deploy_action.records import dataclass
from deploy_action.text.quantities import duration

# Seconds before each look at what the server lists. A server that keeps a list adds to it as soon
# as it has an upload. One that only knows what runs has to build it first, which takes minutes.
_SOON: Final = (0.0, 1.0, 2.0, 4.0, 6.0, 7.0)
_LATER: Final = (*_SOON, *(15.0,) * 38)
_MOST_SENDS: Final = 3
_LAST_LOOK: Final = 5.0  # seconds before the deadline

T = TypeVar("T")


class UntoldError(RefusedError):
    """The server does not tell whether something was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling(Generic[T]):
    """Sends a request that must not be acted on twice, and settles what an answer leaves open.

    `send` sends it. `find` looks at the server, and returns what `send` would have returned, with
    words for what it saw, such as "lists the new version 7"; None if it lists all there is, and
    this is not among it. It raises `RefusedError` if that cannot be told, and is None itself if the
    server tells nothing. `is_slow` says that it may take minutes before it is there to be found.
    """

    retries: Retries
    send: Callable[[], T]
    find: Callable[[], tuple[T, str] | None] | None
    is_slow: bool = False

    def run(self) -> tuple[T, Problem | None]:
        """Return what `send` returns, or `find` finds with a notice.

        Sends again only if the exchange broke off soon and nothing was made.

        Raises:
            DeployActionError: what `send` raises; `may_have_acted` if it stays unknown.
        """
        for number in range(1, _MOST_SENDS + 1):
            try:
                return self.send(), None
            except (DeadlineError, InterruptedRunError) as error:
                error.may_have_acted |= number > 1
                raise
            except RefusedError as error:
                # An earlier upload may still be at work, and be why this one is refused.
                error.may_have_acted |= number > 1
                if not error.may_have_acted or self.find is None:
                    raise
                how = error.how if isinstance(error, BrokenExchangeError) else Break.ANSWER
                is_slow = self.is_slow and how is not Break.ANSWER
                try:
                    found, is_absent = self._look(self.find, error, is_slow=is_slow)
                except (DeadlineError, InterruptedRunError) as end:
                    end.may_have_acted = True
                    raise
                if found is not None:
                    result, words = found
                    return result, _notice(error, words)
                if not is_absent or how is not Break.CUT or number == _MOST_SENDS:
                    raise
                self.retries.on_retry("The server lists nothing new: sending it again.")
        raise AssertionError("the last try returns or raises")

    def _look(
        self, find: Callable[[], tuple[T, str] | None], error: RefusedError, *, is_slow: bool
    ) -> tuple[tuple[T, str] | None, bool]:
        """Return what is found, and whether the server said at last that it is not there."""
        is_absent, pauses = False, _LATER if is_slow else _SOON
        for number, seconds in enumerate(pauses):
            if number == 1:
                longest = duration(sum(pauses))
                self.retries.on_retry(f"{error} Asking the server for up to {longest} what it did.")
            if seconds + _LAST_LOOK >= self.retries.deadline.remaining():
                return None, False
            if seconds:
                self.retries.pause(seconds)
            try:
                found = find()
            except DeadlineError:
                raise
            except RefusedError:
                is_absent = False
            else:
                is_absent = True
                if found is not None:
                    return found, False
        return None, is_absent


def _notice(error: RefusedError, words: str) -> Problem:
    return Problem(
        message=f"{error} But the server {words}.",
        hint="The log of the server, or of a gateway before it, says why the answer was lost.",
        severity=Severity.NOTICE,
    )
