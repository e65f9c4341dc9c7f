"""The market of a backtest: the prices at which the engine filled orders, fees, and the start.

The embedded platform records it in the model's process and adds it to the package's result; other
servers send none.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property

from deploy_action.records import dataclass

BLOCK = 1_000  # prices whose lowest is kept


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The prices of one symbol, of all bars in the period of the backtest.

    `resolution` is the length of a bar in seconds. `asked_start` and `asked_end` are the period
    that was asked for, None if none was. Fees are shares of an order's value, None if unknown.
    `bars` is their number; `times` and `values` have as many elements, or fewer if it is huge.
    """

    symbol: str
    base: str
    quote: str
    resolution: float
    asked_start: float | None
    asked_end: float | None
    maker_fee: float | None
    taker_fee: float | None
    bars: int
    times: array[float]
    values: array[float]

    def index_at(self, time: float) -> int:
        """Return where the engine's price at a time is: the first from then on, else the last."""
        return min(bisect_left(self.times, time), len(self.times) - 1)

    def first_at_most(self, limit: float, start: int) -> int | None:
        """Return where a price is not above a limit for the first time from `start` on.

        Skips whole blocks by their lowest price: an answer may have a hundred thousand orders.
        """
        position = start
        while position < len(self.values):
            block, offset = divmod(position, BLOCK)
            if not offset and self._lowest[block] > limit:
                position += BLOCK
                continue
            end = min(len(self.values), (block + 1) * BLOCK)
            for index in range(position, end):
                if self.values[index] <= limit:
                    return index
            position = end
        return None

    @cached_property
    def _lowest(self) -> array[float]:
        """The lowest price of each block."""
        starts = range(0, len(self.values), BLOCK)
        return array("d", (min(self.values[at : at + BLOCK]) for at in starts))

    def price_at(self, time: float) -> float:
        """Return the engine's price at a time; there has to be one."""
        return self.values[self.index_at(time)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What the engine knew of the market.

    `use_price` is the column of the bars at which orders are filled, such as `close`.
    `initial_values` are the balances at the start that are not zero, by asset, and `start_value` is
    what they are worth, None if unknown.
    """

    use_price: str
    initial_values: Mapping[str, float]
    start_value: float | None
    benchmark_symbol: str
    prices: tuple[Prices, ...]
