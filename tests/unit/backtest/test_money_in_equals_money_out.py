"""What round trips, open positions and remainders made is what the account made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy_action.backtest.figures.round_trips import RoundTrips
from deploy_action.backtest.result import BacktestResult
from deploy_action.backtest.wire import parse_result
from tests.support.backtests import DAY, START, a_market, an_order, raw_result

BARS = 12
SYMBOLS = ("OAK-USD", "ELM-USD")


@dataclass
class Engine:
    """An account as the package's paper trade keeps it, without its cutting of decimals."""

    prices: dict[str, list[float]]
    held: dict[str, float]
    maker_fee: float
    taker_fee: float
    values: list[float] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)

    def fill(self, bar: int, symbol: str, side: str, size: float, limit: float | None) -> None:
        """Fill an order: the fee of a purchase is taken from the size, that of a sale from money.

        A limit order was placed at the start.
        """
        price = self.prices[symbol][bar] if limit is None else limit
        fee = self.taker_fee if limit is None else self.maker_fee
        base, time = symbol.split("-", maxsplit=1)[0], float(START + DAY * bar)
        if side == "buy":
            self.held["USD"] -= size * price
            self.held[base] = self.held.get(base, 0.0) + size * (1 - fee)
        else:
            self.held["USD"] += size * price * (1 - fee)
            self.held[base] = self.held.get(base, 0.0) - size
        changes: dict[str, Any] = {"time": time}
        if limit is not None:
            changes = {"type": "limit", "time": float(START), "executed_time": time}
        self.orders.append(an_order(side, size, price, symbol=symbol, **changes))

    def value(self, bar: int) -> None:
        worth = (
            self.held.get(symbol.split("-")[0], 0.0) * prices[bar]
            for symbol, prices in self.prices.items()
        )
        self.values.append(self.held["USD"] + sum(worth))


def run(
    prices: dict[str, list[float]],
    held: dict[str, float],
    orders: list[tuple[int, str, str, float, float | None]],
    fees: tuple[float, float],
) -> BacktestResult:
    """Trade `orders` (bar, symbol, side, size, limit); the account is valued before and after."""
    engine = Engine(prices, dict(held), *fees)
    engine.value(0)
    for bar in range(BARS):
        for _, symbol, side, size, limit in sorted(
            (one for one in orders if one[0] == bar), key=lambda one: one[4] is not None
        ):
            engine.fill(bar, symbol, side, size, limit)
        engine.value(bar)
    raw = raw_result(engine.values, engine.orders)
    for number, point in enumerate(raw["account_values"]):
        point["time"] = float(START + DAY * max(0, number - 1))
    raw["market"] = a_market(
        prices,
        initial_values={asset: size for asset, size in held.items() if size},
        of_symbol={"maker_fee": fees[0], "taker_fee": fees[1]},
    )
    return parse_result(json.dumps(raw).encode())


def money(trips: RoundTrips) -> float:
    """Return all that was made, by whatever."""
    still_open = [one.gain for one in trips.open if one.gain is not None]
    return trips.gained - trips.lost + sum(still_open) + trips.remainders


amounts = st.floats(0.5, 200)
orders_of_any_kind = st.lists(
    st.tuples(
        st.integers(0, BARS - 1),
        st.sampled_from(SYMBOLS),
        st.sampled_from(["buy", "sell"]),
        st.one_of(st.sampled_from([10.0, 20.0, 9.99, 19.98, 0.01]), st.floats(0.01, 30)),
        st.one_of(st.none(), amounts),
    ),
    max_size=14,
)


@given(
    prices=st.fixed_dictionaries(
        {symbol: st.lists(amounts, min_size=BARS, max_size=BARS) for symbol in SYMBOLS}
    ),
    holdings=st.sampled_from([{}, {"OAK": 10.0}, {"OAK": 10.0, "ELM": -3.0}, {"USD": 0.0}]),
    orders=orders_of_any_kind,
    fees=st.sampled_from([(0.0, 0.0), (0.001, 0.002), (0.05, 0.1)]),
)
@example(
    prices={symbol: [10.0 + bar for bar in range(BARS)] for symbol in SYMBOLS},
    holdings={"OAK": 10.0},
    orders=[(0, "OAK-USD", "sell", 10.0, None), (3, "OAK-USD", "buy", 10.0, None)],
    fees=(0.001, 0.002),
)
def test_money_in_equals_money_out(
    prices: dict[str, list[float]],
    holdings: dict[str, float],
    orders: list[tuple[int, str, str, float, float | None]],
    fees: tuple[float, float],
) -> None:
    """Longs, shorts, turns, parts, limit orders, several symbols, holdings at the start."""
    result = run(prices, {"USD": 10_000.0, **holdings}, orders, fees)
    trips, values = result.analysis.round_trips, result.analysis.values.values
    assert not trips.problem
    assert trips.fees_known == bool(orders)
    turnover = sum(size * (limit or 200) for _, _, _, size, limit in orders)
    assert money(trips) == pytest.approx(
        values[-1] - values[0], abs=1e-9 * (turnover + max(map(abs, values)))
    )
    assert all(one.opened_at <= one.closed_at for one in trips.closed)
    by_symbol = trips.by_symbol.values()
    assert sum(len(one.closed) for one in by_symbol) == len(trips.closed)
    assert sum(len(one.open) for one in by_symbol) == len(trips.open)
