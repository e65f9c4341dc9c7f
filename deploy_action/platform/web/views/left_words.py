"""What a model may hold by its orders, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deploy_action.platform.live.reports import read_profits
from deploy_action.platform.live.reports.profit import Profit
from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import State
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.site import Site
from deploy_action.platform.web.views.order_words import NO_REAL_MONEY
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, exact

DOWN: Final = frozenset({State.STOPPED, State.FAILED, State.FINISHED})
"""The states in which nothing of a model runs, and nothing is to be started."""
_MOST_SHOWN: Final = 10
_LONGEST_NAME: Final = 60  # of a symbol, and of an exchange
_KEPT_SECONDS: Final = 600.0


def left_in_words(profits: Sequence[Profit]) -> str:
    """Say what is held if all that was ordered was filled; blank if that is nothing or unknown.

    The latest orders' symbols come first.
    """
    left = list(filter(None, map(_left, reversed(profits))))
    others = len(left) - _MOST_SHOWN
    more = [f"and {count(others, 'other symbol')}"] if others > 0 else []
    return ", ".join(left[:_MOST_SHOWN] + more)


def left_by(
    site: Site,
    snapshot: Transaction,
    statuses: Mapping[tuple[str, str], LiveStatus],
    latest: Mapping[tuple[str, str], Kept],
) -> dict[tuple[str, str], str]:
    """Return what each model may hold of which nothing runs, by project and model.

    `latest` are the latest orders of models that have some. All orders of a model that is down are
    read, and what they come to is kept: nothing of it orders then. A status that is reported later
    counts after ten minutes.
    """
    found = {}
    for key, order in latest.items():
        status = statuses.get(key)
        if status is None or status.state not in DOWN:
            continue
        facts = (status.state, status.since, order.number, snapshot.now // _KEPT_SECONDS)
        if key not in site.left or site.left[key][0] != facts:
            site.left[key] = facts, left_in_words(read_profits(snapshot, *key))
        if left := site.left[key][1]:
            found[key] = left
    return found


def _left(profit: Profit) -> str:
    if not profit.ordered:
        return ""
    more, less = ("bought", "sold") if profit.ordered > 0 else ("sold", "bought")
    symbol, exchange = cut(profit.symbol, _LONGEST_NAME), cut(profit.exchange, _LONGEST_NAME)
    where = f"{exchange}, {NO_REAL_MONEY}" if profit.is_test else exchange
    return f"{exact(abs(profit.ordered))} {symbol} more {more} than {less} ({where})"
