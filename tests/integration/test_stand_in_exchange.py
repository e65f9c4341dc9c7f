"""The stand-in exchange, with the unmodified package: what a model does there, it really does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.support.stand_in_exchange import (
    Fault,
    Market,
    StandInExchange,
    TimeLapse,
    libfaketime,
    serving_stand_in,
)
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "models"
EXAMPLE = EXAMPLES / "golden-cross"
PRICES = EXAMPLE / "prices" / "OAK-USD.csv"
DAY = 86_400
KEYS = {
    "alpaca": {"main": {"API_KEY": "of-alpaca", "API_SECRET": "c2VjcmV0", "sandbox": False}},
    "coinbase_pro": {
        "main": {
            "API_KEY": "of-coinbase",
            "API_SECRET": "c2VjcmV0",
            "API_PASS": "word",
            "sandbox": False,
        }
    },
}

# Says what it sees, one JSON array a line.
HEAD = """
import json, sys
import blankly

def say(*words):
    print(json.dumps(words), flush=True)
"""

# What tells the package that it runs on a platform, where nobody listens.
REPORTER = """
class Silent:
    def __getattr__(self, name):
        return lambda *arguments, **named: None

Reporter = Silent()
"""

pytestmark = pytest.mark.slow

# How far the price may move while an order is on its way: a busy machine takes some bars for that.
MOVES = 0.08


@dataclass
class Bot:
    """A model of the test, and what it said."""

    root: Path
    python: Path
    said: Path = field(init=False)

    def __post_init__(self) -> None:
        self.said = self.root / "said"
        shutil.copy(EXAMPLE / "settings.json", self.root)
        (self.root / "keys.json").write_text(json.dumps(KEYS))

    @contextmanager
    def running(self, script: str, variables: dict[str, str]) -> Iterator[None]:
        """Write the script, and run it as its own process for the duration of the block."""
        (self.root / "bot.py").write_text(HEAD + script)
        with self.started(variables):
            yield

    @contextmanager
    def started(self, variables: dict[str, str]) -> Iterator[None]:
        """Run the script that is there."""
        with self.said.open("w") as said:
            process = subprocess.Popen(
                [str(self.python), "bot.py"],
                cwd=self.root,
                env={"PATH": os.environ["PATH"], "HOME": str(self.root), **variables},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            try:
                yield
            finally:
                process.kill()
                process.wait()

    def heard(self, about: str) -> list[list[object]]:
        """Return what it said about something, without the word itself."""
        lines = [line for line in self.said.read_text().splitlines() if line.startswith("[")]
        return [words[1:] for words in map(json.loads, lines) if words[0] == about]

    def wait_for(self, about: str, count: int = 1) -> list[list[object]]:
        """Wait until it said something often enough, and return all of it."""
        try:
            wait_for(lambda: len(self.heard(about)) >= count)
        except AssertionError:
            raise AssertionError(self.said.read_text()[-3_000:]) from None
        return self.heard(about)


@pytest.fixture
def bot(blankly_python: Path, tmp_path: Path) -> Bot:
    root = tmp_path / "model"
    root.mkdir()
    return Bot(root, blankly_python)


@pytest.fixture
def exchange() -> StandInExchange:
    """Return an exchange whose prices move one day of the example a second."""
    return StandInExchange({"OAK": Market.from_csv(PRICES, begins=time.time(), seconds=1)})


def test_a_model_trades_on_alpaca_through_an_outage(
    bot: Bot, exchange: StandInExchange, tmp_path: Path
) -> None:
    script = """
def on_price(price, symbol, state):
    if not state.variables.get("placed"):
        state.variables["placed"] = True
        order = state.interface.market_order(symbol, "buy", 2)
        say("market", order.get_status()["status"])
        order = state.interface.limit_order(symbol, "buy", 1.5, 3)
        say("limit", order.get_status()["status"], order.get_id())
        say("account", state.interface.cash, state.interface.account["OAK"])
    say("price", price)

strategy = blankly.Strategy(blankly.Alpaca())
strategy.add_price_event(on_price, "OAK", 0.2, init=lambda symbol, _: say("init", symbol))
strategy.start()
"""
    with (
        serving_stand_in(exchange, tmp_path / "authority.pem") as server,
        bot.running(script, exchange.variables),
    ):
        bot.wait_for("price", 3)
        bought, waiting = exchange.orders()
        assert bot.heard("init") == [["OAK"]]
        assert bot.heard("market") == [["filled"]]
        assert bot.heard("limit") == [["new", waiting.id]]
        assert bought.filled_price is not None
        cash = 10_000 - 2 * bought.filled_price * 1.001 - 3 * 1.5 * 1.001
        assert bot.heard("account") == [
            [pytest.approx(cash, abs=0.01), {"available": 2.0, "hold": 0.0}]
        ]

        for fault, complaint in (
            (Fault.DOWN, "ProxyError"),
            (Fault.HTML, "503 Server Error"),
            (Fault.ERROR, "Internal server error"),
        ):
            server.set_fault(fault)
            wait_for(lambda complaint=complaint: complaint in bot.said.read_text())  # type: ignore[misc]  # the default binds it
        server.set_fault(Fault.NONE)
        bot.wait_for("price", len(bot.heard("price")) + 2)

    assert {request.host for request in exchange.requests} == {
        "api.alpaca.markets",
        "data.alpaca.markets",
    }


def test_a_model_trades_on_coinbase_and_gets_its_ticks(
    bot: Bot, exchange: StandInExchange, tmp_path: Path
) -> None:
    script = """
def on_tick(tick, symbol, state):
    if not state.variables:
        state.variables["order"] = state.interface.market_order(symbol, "buy", 2)
        say("market", state.variables["order"].get_status()["status"])
        order = state.interface.limit_order(symbol, "sell", tick["price"] * 9, 1)
        say("limit", order.get_status()["status"])
        state.interface.cancel_order(symbol, order.get_id())
        say("open", len(state.interface.orders))
        say("held", state.interface.account["OAK"])
    say("tick", tick["symbol"], tick["price"])

strategy = blankly.Strategy(blankly.CoinbasePro())
strategy.add_tick_event(on_tick, "OAK-USD")
strategy.start()
"""
    with (
        serving_stand_in(exchange, tmp_path / "authority.pem"),
        bot.running(script, exchange.variables),
    ):
        ticks = bot.wait_for("tick", 3)

    assert {tick[0] for tick in ticks} == {"OAK-USD"}
    assert bot.heard("market") == [["done"]]
    assert bot.heard("limit") == [["open"]]
    assert bot.heard("open") == [[0]]
    assert bot.heard("held") == [[{"available": 2.0, "hold": 0.0}]]
    assert [order.status for order in exchange.orders("of-coinbase")] == ["done", "canceled"]


def test_days_of_bars_come_in_seconds_and_go_on_in_a_second_process(
    bot: Bot, tmp_path: Path
) -> None:
    library = libfaketime()
    if library is None:
        pytest.skip("libfaketime is not installed: on Debian, apt-get install libfaketime")
    script = """
strategy = blankly.Strategy(blankly.Alpaca())
strategy.add_bar_event(lambda bar, *_: say("bar", bar["time"], bar["close"]), "OAK", "1d")
strategy.start()
"""
    market = Market.from_csv(PRICES)
    known = {row.time: row.close for row in market.rows}
    begins = market.begins + 60 * DAY
    with TimeLapse(tmp_path / "time", library, begins, speed=150_000) as lapse:
        exchange = StandInExchange({"OAK": market}, lapse.now)
        with serving_stand_in(exchange, tmp_path / "authority.pem"):
            variables = exchange.variables | lapse.variables
            with bot.running(script, variables):
                first = bot.wait_for("bar", 3)
            with bot.running(script, variables):
                second = bot.wait_for("bar", 2)

    times = [float(str(bar[0])) for bar in (*first, *second)]
    assert len(set(times)) >= len(times) - 1  # the second may start in the day of the last bar
    assert times == sorted(times)
    assert times[0] >= begins - DAY
    assert [(bar[0], bar[1]) for bar in (*first, *second)] == [
        (moment, known[moment]) for moment in times
    ]


def test_the_example_for_live_trading_trades_as_it_stands(
    blankly_python: Path, tmp_path: Path
) -> None:
    root, hooks = tmp_path / "model", tmp_path / "hooks"
    shutil.copytree(EXAMPLES / "constant-value", root, ignore=shutil.ignore_patterns("__pycache__"))
    hooks.mkdir()
    (hooks / "blankly_external.py").write_text(REPORTER)
    market = Market.from_csv(root / "prices" / "YEW-USD.csv", begins=time.time(), seconds=0.2)
    exchange = StandInExchange({"YEW": market})
    bot = Bot(root, blankly_python)
    (root / "keys.json").unlink()
    variables = {
        "ALPACA_KEY": "by-variable",
        "ALPACA_SECRET": "secret",
        "EVERY": "1s",
        "PYTHONPATH": str(hooks),
    }
    with serving_stand_in(exchange, tmp_path / "authority.pem"):
        with bot.started(variables | exchange.variables):
            wait_for(lambda: len(exchange.orders("by-variable")) == 2)
        with bot.started(variables | exchange.variables):
            wait_for(lambda: len(exchange.orders("by-variable")) == 3)

    first, *others = exchange.orders()
    assert first.side == "buy"
    assert first.size * (first.filled_price or 0) == pytest.approx(5_000, rel=MOVES)
    assert all(5_000 * 0.02 < order.size * (order.filled_price or 0) < 2_000 for order in others)
    assert {request.host for request in exchange.requests} == {
        "paper-api.alpaca.markets",  # no real money, unless asked for
        "data.alpaca.markets",
    }


def test_it_serves_as_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.stand_in_exchange", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            variables = (tmp_path / "model.env").read_text()
            with urlopen(f"{url}/orders", timeout=10) as answer:
                assert json.load(answer) == []
            down = Request(f"{url}/fault/down", method="POST")
            with urlopen(down, timeout=10) as answer:
                assert json.load(answer) == {"fault": "down"}
        finally:
            process.terminate()
    assert process.returncode == 0
    assert f"HTTPS_PROXY={url}\n" in variables
    assert f"REQUESTS_CA_BUNDLE={tmp_path}/authority.pem\n" in variables
