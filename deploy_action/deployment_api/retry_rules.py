"""Which requests may be repeated after which failures, so that nothing is deployed twice.

A request that changes something is repeated by itself only if the server cannot have acted on it:
no connection was made, the server did not get the whole request, or it says that it did nothing.
Whatever else happens leaves open what the server did, and `settling` finds that out.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from deploy_action.errors import Problem, RefusedError
from deploy_action.http.exchange import Answer

_SOON: Final = 10.0
_REQUEST_TIMEOUT: Final = 408
# 504: RFC 9110, section 15.6.5; 522 and 524: Cloudflare, "5xx errors".
_GAVE_UP: Final = frozenset({_REQUEST_TIMEOUT, 504, 522, 524})
_TOO_MANY_REQUESTS: Final = 429
_UNAVAILABLE: Final = 503
_CANNOT_STORE: Final = 507


class NotConnectedError(RefusedError):
    """No connection was made, so the server knows nothing of the request.

    `is_hopeless` if another try would end the same, as with a certificate that is not trusted.
    """

    def __init__(self, problem: Problem, *, is_hopeless: bool = False) -> None:
        super().__init__(problem)
        self.is_hopeless = is_hopeless


class BusyError(RefusedError):
    """The server says that it did nothing, and may do it later."""


class Break(Enum):
    """How an exchange broke off."""

    CUT = auto()  # soon: the connection was lost, or a gateway or failing server said so (5xx)
    SILENCE = auto()  # somebody stopped waiting for the server, which may still be at work
    ANSWER = auto()  # the server answered, but not in words that tell what it did

    @classmethod
    def after(cls, waited: float) -> Break:
        """Return what the loss of a connection means, `waited` seconds after the request.

        Gateways give up on a server that is at work, the first of them after 30 seconds.
        """
        return cls.CUT if waited < _SOON else cls.SILENCE


class BrokenExchangeError(RefusedError):
    """The request was on its way, and it is unknown what the server did with it."""

    def __init__(self, problem: Problem, how: Break, *, may_have_acted: bool = False) -> None:
        super().__init__(problem, may_have_acted=may_have_acted)
        self.how = how


def may_repeat_read(outcome: Answer | RefusedError) -> bool:
    """Tell whether to repeat a request that changes nothing: after any failure that may pass."""
    if isinstance(outcome, Answer):
        return outcome.may_pass
    return isinstance(outcome, BrokenExchangeError) or _may_connect(outcome)


def may_repeat_change(outcome: Answer | RefusedError) -> bool:
    """Tell whether to repeat a request that must not be done twice: if the server did nothing."""
    if isinstance(outcome, Answer):
        return has_not_acted(outcome)
    if isinstance(outcome, BrokenExchangeError):
        return not outcome.may_have_acted
    return _may_connect(outcome)


def has_not_acted(answer: Answer) -> bool:
    """Tell whether the server did nothing, and may do it later.

    That is certain if it did not get the whole request. It says so with 429 (RFC 6585, section 4),
    or with 503 and `Retry-After` (RFC 9110, section 15.6.4). A bare 503 may come from a gateway
    that passed the request on before it lost the server.
    """
    if answer.status == _UNAVAILABLE and answer.retry_after is not None:
        return True
    is_server_error = answer.status >= 500  # noqa: PLR2004  # the class of statuses
    return answer.status == _TOO_MANY_REQUESTS or (is_server_error and not answer.was_sent_whole)


def how_it_broke(answer: Answer) -> Break:
    """Return how an exchange broke off whose answer does not tell what the server did."""
    if answer.status in _GAVE_UP:
        return Break.SILENCE
    is_server_error = answer.status >= 500  # noqa: PLR2004  # the class of statuses
    return Break.after(answer.waited) if is_server_error else Break.ANSWER


def is_refusal(answer: Answer) -> bool:
    """Tell whether the server did nothing, now or ever.

    408 is no refusal: a gateway sends it if it waits too long, perhaps for the server behind it.
    507 is one: the server could not store the request (RFC 4918, section 11.5).
    """
    if answer.status == _CANNOT_STORE:
        return True
    refuses = 400 <= answer.status < 500 and answer.status != _REQUEST_TIMEOUT  # noqa: PLR2004  # the class of statuses
    return refuses or has_not_acted(answer)


def _may_connect(error: RefusedError) -> bool:
    return isinstance(error, NotConnectedError) and not error.is_hopeless
