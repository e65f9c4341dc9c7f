"""What an account is worth, in words and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from deploy_action.pages.sparkline import Sparkline, sparkline
from deploy_action.platform.live.reports.accounts import Account, Point
from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import State
from deploy_action.records import dataclass

_MISSED: Final = 3  # one that is late may be slow


@dataclass(frozen=True, slots=True)
class AccountWords:
    """An account: `where` it is, and what is drawn, None if there is nothing to draw yet.

    `is_overdue` says that the model runs, and newer values should have come.
    """

    account: Account
    where: str
    line: Sparkline | None
    is_overdue: bool

    @property
    def known(self) -> Sequence[tuple[float, float]]:
        """The times at which the value was known, and the values, as far as they are drawn."""
        return [(time, value) for time, value in _alike(self.account) if value is not None]

    @property
    def is_cut(self) -> bool:
        """Whether older values are known that count something else, and are not drawn."""
        return any(time < self.account.alike_since for time, _ in self.account.points)

    @property
    def lowest(self) -> float:
        """The lowest of what is drawn."""
        return min(value for _, value in self.known)

    @property
    def highest(self) -> float:
        """The highest of what is drawn."""
        return max(value for _, value in self.known)

    @property
    def what(self) -> str:
        """What its value is that of."""
        if self.account.simulated:
            return f"Value of the simulated account at {self.where}"
        return f"Value of the whole account at {self.where}, deposits and other bots included"


def _alike(account: Account) -> Sequence[Point]:
    return [each for each in account.points if each[0] >= account.alike_since]


def no_value_since(accounts: Iterable[AccountWords]) -> float | None:
    """Return since when no account has had a value that should have one by now; None if one has.

    An account of which no value is known tells nothing of the process.
    """
    known = [each for each in accounts if each.account.value is not None]
    if not known or not all(each.is_overdue for each in known):
        return None
    return max(each.account.time for each in known)


def account_in_words(account: Account, status: LiveStatus | None, now: float) -> AccountWords:
    """Return an account of a model with this status in words."""
    runs = status is not None and status.state is State.RUNNING
    due = account.time + _MISSED * account.every
    if status is not None:
        due = max(due, status.since + account.every)
    portfolio = f" ({account.portfolio})" if account.portfolio else ""
    return AccountWords(
        account,
        f"{account.exchange}{portfolio}",
        sparkline(_alike(account), account.quote or ""),
        is_overdue=runs and now > due,
    )
