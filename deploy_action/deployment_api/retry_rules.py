"""Which requests may be repeated after which failures, so that nothing is deployed twice."""

from __future__ import annotations

from deploy_action.errors import Problem, RefusedError
from deploy_action.http_exchange import Answer


class NotConnectedError(RefusedError):
    """No connection was made, so the server knows nothing of the request.

    `is_hopeless` if another try would end the same, as with a certificate that is not trusted.
    """

    def __init__(self, problem: Problem, *, is_hopeless: bool = False) -> None:
        super().__init__(problem)
        self.is_hopeless = is_hopeless


class BrokenExchangeError(RefusedError):
    """The request was on its way, and it is unknown what the server did with it."""


def may_repeat_read(outcome: Answer | RefusedError) -> bool:
    """Tell whether to repeat a request that changes nothing: after any failure that may pass."""
    if isinstance(outcome, Answer):
        return outcome.status in {429, 500, 502, 503, 504}
    return isinstance(outcome, BrokenExchangeError) or _may_connect(outcome)


def may_repeat_change(outcome: Answer | RefusedError) -> bool:
    """Tell whether to repeat a request that must not be done twice: if the server did nothing."""
    return has_not_acted(outcome) if isinstance(outcome, Answer) else _may_connect(outcome)


def has_not_acted(answer: Answer) -> bool:
    """Tell whether the server says that it did nothing, and may do it later.

    429: RFC 6585, section 4; 503: RFC 9110, section 15.6.4.
    """
    return answer.status in {429, 503}


def is_refusal(answer: Answer) -> bool:
    """Tell whether the server says that it did nothing, now or ever."""
    return 400 <= answer.status < 500 or has_not_acted(answer)  # noqa: PLR2004  # the class of statuses


def _may_connect(error: RefusedError) -> bool:
    return isinstance(error, NotConnectedError) and not error.is_hopeless
