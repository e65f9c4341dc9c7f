"""The models to backtest: the example, and two that are too large to keep in git."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "models" / "golden-cross"
_FIRST = 1_577_836_800  # 2020-01-01, midnight UTC, in epoch seconds
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60

# As in the example: run by hand, the scripts backtest themselves.
_END = """
if blankly.is_deployed:
    strategy.start()
else:
    print(strategy.backtest(**json.loads(Path("blankly.json").read_text())["backtest_args"]))
"""
_MILLION_ROWS = (
    """
import json
from pathlib import Path

import blankly
from blankly.data import PriceReader

SYMBOL = "OAK-USD"
STEP = 4 * 3600


def init(symbol, state):
    state.variables["closes"] = []


def on_bar(bar, symbol, state):
    closes = state.variables["closes"]
    closes.append(bar["close"])
    del closes[:-48]
    fast, slow = sum(closes[-12:]) / len(closes[-12:]), sum(closes) / len(closes)
    held = blankly.trunc(state.interface.account[state.base_asset].available, 6)
    if fast > slow and not held:
        size = blankly.trunc(0.95 * state.interface.cash / bar["close"], 6)
        state.interface.market_order(symbol, "buy", size)
    elif fast < slow and held:
        state.interface.market_order(symbol, "sell", held)


minutes = PriceReader("./prices/OAK-USD.csv", SYMBOL).data[SYMBOL]
bars = minutes.groupby(minutes["time"] // STEP * STEP).agg(
    {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
)
prices = PriceReader(bars.reset_index(), SYMBOL)
exchange = blankly.KeylessExchange(price_reader=prices, maker_fee=0.0001, taker_fee=0.0001)
strategy = blankly.Strategy(exchange)
strategy.add_bar_event(on_bar, SYMBOL, resolution="4h", init=init)
"""
    + _END
)
MANY_TRADES = (
    """
import json
from pathlib import Path

import blankly
from blankly.data import PriceReader

SYMBOL = "OAK-USD"


def on_bar(bar, symbol, state):
    held = blankly.trunc(state.interface.account[state.base_asset].available, 6)
    if held:
        state.interface.market_order(symbol, "sell", held)
    size = blankly.trunc(0.1 * state.interface.cash / bar["close"], 6)
    state.interface.market_order(symbol, "buy", size)


prices = PriceReader("./prices/OAK-USD.csv", SYMBOL)
exchange = blankly.KeylessExchange(price_reader=prices, maker_fee=0.0, taker_fee=0.0)
strategy = blankly.Strategy(exchange)
strategy.add_bar_event(on_bar, SYMBOL, resolution="1h")
"""
    + _END
)


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model on disk; its backtest makes at least `least_trades` trades."""

    name: str
    directory: Path
    least_trades: int


def example(scratch: Path) -> BenchModel:
    """Return a copy of the example, because a run leaves files behind."""
    directory = scratch / "golden-cross"
    if not directory.exists():
        shutil.copytree(EXAMPLE, directory)
    return BenchModel("golden-cross", directory, least_trades=1)


def with_many_rows(scratch: Path, rows: int) -> BenchModel:
    """Return a model that reads `rows` minutes of prices and trades on bars of four hours."""
    directory = scratch / "many-rows"
    first, last = _FIRST + 2 * _DAY, _FIRST + rows * _MINUTE - _DAY
    arguments = {"start_date": _date(first), "end_date": _date(last)}
    write_model(directory, _MILLION_ROWS, arguments)
    _write_prices(directory, rows, _MINUTE)
    return BenchModel(f"{rows:,} rows of prices", directory, least_trades=1)


def with_many_trades(scratch: Path, trades: int) -> BenchModel:
    """Return a model that trades every hour until it has made `trades` trades."""
    directory = scratch / "many-trades"
    bars = trades // 2 + 1  # the first bar only buys
    first = _FIRST + _DAY
    arguments: dict[str, object] = {"start_date": first, "end_date": first + bars * _HOUR}
    write_model(directory, MANY_TRADES, arguments)
    _write_prices(directory, bars + 48, _HOUR)
    return BenchModel(f"{trades:,} trades", directory, least_trades=trades)


def _date(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def write_model(directory: Path, script: str, arguments: Mapping[str, object]) -> None:
    """Write a model without prices: its script, its manifest, and what the example has beside."""
    (directory / "prices").mkdir(parents=True)
    for name in ("settings.json", "backtest.json", "requirements.txt"):
        shutil.copy(EXAMPLE / name, directory / name)
    manifest = json.loads((EXAMPLE / "blankly.json").read_text(encoding="utf-8"))
    manifest["backtest_args"] = {**arguments, "initial_values": {"USD": 10_000}}
    (directory / "blankly.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    (directory / "bot.py").write_text(script.lstrip(), encoding="utf-8")


def _write_prices(directory: Path, rows: int, step: int) -> None:
    # The number is the seed: the same prices in every run.
    source = random.Random(rows)  # noqa: S311  # prices, and no secrets
    text = price_rows(source, rows, step)
    header = "time,open,high,low,close,volume\n"
    (directory / "prices" / "OAK-USD.csv").write_text(header + text, encoding="ascii")


def price_rows(source: random.Random, rows: int, step: int) -> str:
    """Return a random walk as CSV, without a header."""
    lines = []
    close = 100.0
    for row in range(rows):
        opened = close
        close = opened * math.exp(source.gauss(0, 0.0005))
        high, low = max(opened, close) * 1.0001, min(opened, close) * 0.9999
        volume = source.randrange(1, 1000)
        lines.append(
            f"{_FIRST + row * step},{opened:.4f},{high:.4f},{low:.4f},{close:.4f},{volume}\n"
        )
    return "".join(lines)
