"""The orders of a backtest, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import exact, moment

if TYPE_CHECKING:
    from deploy_action.backtest.trades import Trade

_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order in words; of a market order, `price` is the one at which it was filled."""

    placed: str
    side: str
    size: str
    price: str
    symbol: str
    type: str


def order_rows(trades: Sequence[Trade]) -> list[OrderRow]:
    """Return orders in words, in their order."""
    return [
        OrderRow(
            placed=moment(one.time),
            side=excerpt(one.side, _LONGEST_NAME),
            size=exact(one.size),
            price=NO_FIGURE if one.price is None else exact(one.price),
            symbol=excerpt(one.symbol, _LONGEST_NAME),
            type=excerpt(one.type, _LONGEST_NAME) + ("" if one.was_filled else ", not filled"),
        )
        for one in trades
    ]
