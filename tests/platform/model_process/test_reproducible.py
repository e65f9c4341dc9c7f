"""The same bytes and prices give the same result, whatever else differs from run to run."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from deploy_action.backtest.wire import parse_result

from .conftest import HEAD, Model, write_prices

# Everything that usually differs between two processes decides what it buys.
FICKLE = (
    HEAD
    + """
import os, pathlib, random
import numpy as np

KINDS = {"sma", "ema", "rsi", "macd"}

def on_bar(bar, symbol, state):
    size = blankly.trunc(SIZES[next(iter(KINDS))], 6)
    state.interface.market_order(symbol, "buy", size)

SIZES = {kind: number / 10 for number, kind in enumerate(sorted(KINDS), 1)}
for kind in KINDS:
    SIZES[kind] += random.randint(0, 99) / 1_000 + np.random.randint(0, 99) / 100_000
first = os.listdir(".")[0], next(os.scandir(".")).name, next(pathlib.Path(".").iterdir()).name
assert first == ("ASH-USD.csv",) * 3, first
for symbol in {"ASH-USD", "FIR-USD"}:
    strategy.add_bar_event(on_bar, symbol, resolution="1d")
"""
)
# Prices of the last three days, by the minute, and a period that ends now.
RECENT = """
import math, time
import blankly, pandas as pd
from blankly.data import PriceReader

end = int(time.time()) // 60 * 60 + 3_600
times = list(range(end - 3 * 86_400, end, 60))
price = [100 + 10 * math.sin(at / 9_000) for at in times]
frame = pd.DataFrame({"time": times, **dict.fromkeys(["open", "high", "low", "close"], price)})
frame["volume"] = 1
exchange = blankly.KeylessExchange(price_reader=PriceReader(frame, "ASH-USD"))
strategy = blankly.Strategy(exchange)

def on_price(price, symbol, state):
    held = state.interface.account["ASH"].available
    if price < 95 and not held:
        state.interface.market_order(symbol, "buy", 1)
    elif price > 105 and held:
        state.interface.market_order(symbol, "sell", held)

strategy.add_price_event(on_price, "ASH-USD", resolution="1m")
"""


def digest(result: Any) -> str:
    return parse_result(json.dumps(result).encode()).trades_sha256


@pytest.mark.slow
def test_ten_runs_give_one_result(bot: Model) -> None:
    digests, values = set(), set()
    for run in range(10):
        names = ["ASH-USD.csv", "FIR-USD.csv"]
        for name in names:
            (bot.root / name).unlink()
        for name in names if run % 2 else reversed(names):  # in another order
            write_prices(bot.root / name, 0)
        ran = bot.run(FICKLE)
        assert ran.last["event"] == "finished", ran.problems
        digests.add(digest(ran.result))
        values.add(tuple(point["value"] for point in ran.result["account_values"]))
    assert len(digests) == len(values) == 1


def test_a_period_that_ends_now_is_the_same_for_a_run_that_starts_later(bot: Model) -> None:
    """Both count back from the moment that the platform names."""
    now = time.time() - 65  # as if the first had started a minute before the second
    arguments = {"to": "2d", "initial_values": {"USD": 1_000}}
    results = [bot.run(RECENT, arguments, "--now", repr(now)).result for _ in range(2)]
    assert results[0]["trades"]
    assert digest(results[0]) == digest(results[1])
    assert results[0]["start_time"] == results[1]["start_time"] == now - 2 * 86_400
