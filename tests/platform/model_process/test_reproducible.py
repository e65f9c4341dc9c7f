"""The same bytes and prices give the same result, whatever else differs from run to run."""

from __future__ import annotations

import json
import random
import re
import time
import uuid
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


# Orders of all kinds, some of which are never filled or are cancelled, and chance of its own.
ORDERS = (
    HEAD
    + """
import random, uuid

def on_bar(bar, symbol, state):
    interface, price = state.interface, bar["close"]
    interface.market_order(symbol, "buy", 0.1)
    interface.limit_order(symbol, "buy", blankly.trunc(price * 0.99, 2), 0.1)
    far = interface.limit_order(symbol, "buy", blankly.trunc(price / 9, 2), 0.1)
    interface.cancel_order(symbol, far.get_id())
    interface.stop_loss_order(symbol, blankly.trunc(price * 0.9, 2), 0.01)

def at_the_end(*_):
    print("chance:", random.random(), uuid.uuid4())

for symbol in SYMBOLS:
    strategy.add_bar_event(on_bar, symbol, resolution="1d", teardown=at_the_end)
"""
)


def test_two_runs_give_the_same_bytes(bot: Model) -> None:
    """The package makes ids by chance. The model's own chance is its own."""
    written, chances = list[bytes](), list[list[tuple[str, str]]]()
    for _ in range(2):
        ran = bot.run(ORDERS)
        assert ran.last["event"] == "finished", ran.problems
        written.append((bot.root.parent / "out" / "result.json").read_bytes())
        chances.append(re.findall(r"chance: (\S+) (\S+)", ran.printed))
    assert written[0] == written[1]
    ids = [trade["id"] for trade in json.loads(written[0])["trades"]]
    assert len(set(ids)) == len(ids) > 100
    assert all(str(uuid.UUID(each)) == each for each in ids)
    first, second = chances
    generator = random.Random(0)  # noqa: S311  # what the platform seeds
    assert [float(number) for number, _ in first] == [generator.random() for _ in first]
    assert first[0][1] != second[0][1]


@pytest.mark.slow
def test_many_runs_give_one_result(bot: Model) -> None:
    written = set()
    for run in range(4):
        names = ["ASH-USD.csv", "FIR-USD.csv"]
        for name in names:
            (bot.root / name).unlink()
        for name in names if run % 2 else reversed(names):  # in another order
            write_prices(bot.root / name, 0)
        ran = bot.run(FICKLE)
        assert ran.last["event"] == "finished", ran.problems
        written.add((bot.root.parent / "out" / "result.json").read_bytes())
    assert len(written) == 1


def test_a_period_that_ends_now_is_the_same_for_a_run_that_starts_later(bot: Model) -> None:
    """Both count back from the moment that the platform names."""
    now = time.time() - 65  # as if the first had started a minute before the second
    arguments = {"to": "2d", "initial_values": {"USD": 1_000}}
    results = [bot.run(RECENT, arguments, "--now", repr(now)).result for _ in range(2)]
    assert results[0]["trades"]
    assert digest(results[0]) == digest(results[1])
    assert results[0]["start_time"] == results[1]["start_time"] == now - 2 * 86_400
