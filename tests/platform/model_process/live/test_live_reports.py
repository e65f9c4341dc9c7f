"""What a model does on an exchange is reported: orders, variables, results and messages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy_action.platform.machine.streams import LONGEST_EVENT
from tests.platform.model_process.conftest import EXAMPLES
from tests.support.stand_in_exchange import Fault, Market, StandInExchange, serving_stand_in
from tests.support.stand_in_exchange.server import StandInServer

from .conftest import LiveModel
from .test_live_events import line_of

PRICES = EXAMPLES / "golden-cross" / "prices" / "OAK-USD.csv"
KEYS = {
    "alpaca": {"main": {"API_KEY": "key", "API_SECRET": "c2VjcmV0", "sandbox": False}},
    "coinbase_pro": {
        "main": {"API_KEY": "key", "API_SECRET": "c2VjcmV0", "API_PASS": "p", "sandbox": False}
    },
}
HEAD = """
import os, time
import blankly

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

"""


@pytest.fixture
def exchange(model: LiveModel) -> StandInExchange:
    (model.bot.root / "keys.json").write_text(json.dumps(KEYS))
    return StandInExchange({"OAK": Market.from_csv(PRICES, begins=time.time(), seconds=1)})


@pytest.fixture
def server(exchange: StandInExchange, tmp_path: Path) -> Iterator[StandInServer]:
    with serving_stand_in(exchange, tmp_path / "authority.pem") as server:
        yield server


@pytest.mark.usefixtures("server")
def test_orders_are_reported_however_they_are_placed(
    model: LiveModel, exchange: StandInExchange
) -> None:
    script = HEAD + (
        "exchange = blankly.Alpaca()\n"
        "strategy = blankly.Strategy(exchange)\n"
        "def on_price(price, symbol, state):\n"
        "    if state.variables.get('placed'):\n"
        "        return\n"
        "    state.variables['placed'] = True\n"
        "    market = state.interface.market_order(symbol, 'buy', 2)\n"
        "    market.annotate('the first')\n"
        "    limit = state.interface.limit_order(symbol, 'buy', 1.5, 3)\n"
        "    limit.get_status()\n"
        "    state.interface.get_order(symbol, limit.get_id())\n"
        "    exchange.interface.limit_order(symbol, 'buy', 1.25, 4)\n"
        "    say('placed')\n"
        "def teardown(symbol, state):\n"
        "    state.interface.market_order(symbol, 'sell', 2)\n"
        "strategy.add_price_event(on_price, 'OAK', 0.2, teardown=teardown)\n"
        "strategy.start()\n"
    )
    with model.running(script, environ=exchange.variables) as live:
        live.wait_said("placed")
        assert live.stop("stop") == 0

    bought, waiting, aside, sold = exchange.orders()
    markets, limits = live.reports("live/spot-market"), live.reports("live/spot-limit")
    named = {"exchange": "alpaca", "symbol": "OAK"}
    assert [order["id"] for order in markets] == [bought.id, sold.id]
    assert markets[0].items() >= {**named, "side": "buy", "size": 2}.items()
    assert markets[1].items() >= {**named, "side": "sell", "size": 2}.items()
    assert [order["id"] for order in limits] == [waiting.id, aside.id]
    assert limits[0].items() >= {**named, "side": "buy", "size": 3, "price": 1.5}.items()
    assert limits[1].items() >= {**named, "side": "buy", "size": 4, "price": 1.25}.items()
    annotation = {"id": bought.id, "annotation": "the first"}
    assert live.reports("live/update-annotation") == [annotation]
    told = live.reports("live/update-trade")  # by the order's object, and by the interface
    assert [order["id"] for order in told] == [waiting.id] * 2
    assert (limits[0]["status"], {order["status"] for order in told}) == ("accepted", {"new"})
    assert live.reports("model/used-symbol") == [{"symbol": "OAK"}]
    # Before the first order, once.
    names = [event["event"] for event in live.events]
    kinds = [event.get("kind") for event in live.events]
    assert names.count("order") == 1
    assert names.index("order") < kinds.index("live/spot-market")
    assert live.teardowns == ["began", "ended"]


@pytest.mark.usefixtures("server")
def test_orders_of_a_paper_trade_are_reported_as_simulated(
    model: LiveModel, exchange: StandInExchange
) -> None:
    script = HEAD + (
        "paper = blankly.PaperTrade(blankly.Alpaca(), {'USD': 1000})\n"
        "def on_price(price, symbol, state):\n"
        "    order = state.interface.market_order(symbol, 'buy', 2)\n"
        "    say(state.interface.get_order(symbol, order.get_id())['status'])\n"
        "strategy = blankly.Strategy(paper)\n"
        "strategy.add_price_event(on_price, 'OAK', '1h')\n"
        "strategy.start()\n"
    )
    with model.running(script, environ=exchange.variables) as live:
        live.wait(lambda: live.reports("live/update-trade"))
    orders = live.reports("live/spot-market") + live.reports("live/update-trade")
    assert [order["exchange"] for order in orders] == ["alpaca (simulated)"] * 2
    assert not live.of("order")
    assert exchange.orders() == []


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("is_paper", [True, False])
def test_orders_at_a_paper_account_are_reported_as_such(
    model: LiveModel, exchange: StandInExchange, *, is_paper: bool
) -> None:
    """The exchange has its plain name: that is what profits and updates are kept by."""
    keys = {"alpaca": {"main": {**KEYS["alpaca"]["main"], "sandbox": is_paper}}}
    (model.bot.root / "keys.json").write_text(json.dumps(keys))
    script = HEAD + (
        "def on_price(price, symbol, state):\n"
        "    order = state.interface.limit_order(symbol, 'buy', 1.5, 3)\n"
        "    state.interface.get_order(symbol, order.get_id())\n"
        "    say('placed')\n"
        "strategy = blankly.Strategy(blankly.Alpaca())\n"
        "strategy.add_price_event(on_price, 'OAK', '1h')\n"
        "strategy.start()\n"
    )
    with model.running(script, environ=exchange.variables) as live:
        live.wait_said("placed")
        live.wait(lambda: live.reports("live/update-trade"))
    (order,), (update,) = live.reports("live/spot-limit"), live.reports("live/update-trade")
    assert (order["exchange"], update["exchange"]) == ("alpaca", "alpaca")
    assert order["test_account"] is is_paper
    assert len(exchange.orders()) == 1


def test_an_outage_is_counted_and_passes(
    model: LiveModel, exchange: StandInExchange, server: StandInServer
) -> None:
    script = HEAD + (
        "strategy = blankly.Strategy(blankly.Alpaca())\n"
        "strategy.add_price_event(lambda *_: say('price'), 'OAK', 0.2)\n"
        "strategy.start()\n"
    )
    with model.running(script, environ=exchange.variables) as live:
        live.wait_said("price")
        server.set_fault(Fault.DOWN)
        live.wait(lambda: live.of("callback_error"))
        server.set_fault(Fault.NONE)
        seen = len(live.printed)
        live.wait(lambda: "price" in live.printed[seen:])
    problem = live.problems("callback_error")[0]
    assert problem["path"] is None
    assert "raised in the package, not by code of the model" in problem["message"]
    assert "could not be reached" in problem["hint"]
    assert not live.of("order")


def test_ticks_that_raise_are_counted_and_a_feed_that_ends_is_a_fault(
    model: LiveModel, exchange: StandInExchange, server: StandInServer
) -> None:
    script = HEAD + (
        "def on_tick(tick, symbol, state):\n"
        "    raise LookupError('tick')\n"
        "strategy = blankly.Strategy(blankly.CoinbasePro())\n"
        "strategy.add_tick_event(on_tick, 'OAK-USD', teardown=print)\n"
        "strategy.start()\n"
    )
    with model.running(script, environ=exchange.variables) as live:
        live.wait(lambda: live.of("callback_error"))
        server.set_fault(Fault.DOWN)
        live.wait(lambda: live.of("fault"))
        assert live.end() == 0  # with its last thread, as if all were well
    assert live.problems("callback_error")[0]["line"] == line_of(script, "LookupError")
    assert live.problems("fault")[0]["message"].startswith("The feed of OAK-USD (ticker) has ended")
    warnings = [problem["message"] for problem in live.problems("warning")]
    assert any("Coinbase Pro is gone" in message for message in warnings)
    assert any("never calls the init and the teardown" in message for message in warnings)


@pytest.mark.usefixtures("server")
def test_a_screener_its_variables_and_its_messages_are_reported_as_strict_json(
    model: LiveModel, exchange: StandInExchange
) -> None:
    script = HEAD + (
        "import numpy, pandas\n"
        "def evaluate(symbol, state):\n"
        "    price = state.interface.get_price(symbol)\n"
        "    return {'cheap': numpy.bool_(price < 1e9), 'nan': float('nan'),\n"
        "            'last': pandas.Series([1.5, None]), 'n': numpy.int64(3)}\n"
        "levels = [1, 2]\n"
        "blankly.reporter.export_live_var(levels, 'levels', 'to buy at')\n"
        "levels.append(float('inf'))\n"
        "say(blankly.reporter.update_live_var(levels) is levels)\n"
        "blankly.reporter.update_live_var(levels)\n"
        "screener = blankly.Screener(blankly.Alpaca(), evaluate, ['OAK'])\n"
        "screener.notify('found one')\n"
        "blankly.reporter.chat('a chat')\n"
        "blankly.reporter.email(email_str='e', password='hunter2')\n"
    )
    with model.running(script, environ=exchange.variables) as live:
        assert live.end() == 0
    (result,) = live.reports("live/screener-result")
    found = result["result"]["screener"]["OAK"]
    found.pop("symbol_time")
    assert found == {"cheap": True, "nan": None, "last": [1.5, None], "n": 3}
    assert result["result"]["status"]["timeElapsed"] >= 0
    assert live.reports("live/variable") == [
        {"name": "levels", "value": [1, 2], "description": "to buy at"},
        {"name": "levels", "value": [1, 2, None], "description": "to buy at"},
    ]
    assert live.said("True")
    sent = [(event["kind"], event["text"]) for event in live.of("message")]
    wanted = [("email", "found one"), ("text", "found one"), ("chat", "a chat"), ("email", "e")]
    assert sent == wanted
    assert live.of("screener")


def test_what_is_too_long_for_the_platform_is_left_out_or_cut(model: LiveModel) -> None:
    script = HEAD + (
        "import sys\n"
        "blankly.reporter.export_live_var([0] * 200_000, 'long')\n"
        "blankly.reporter.export_live_var('x' * 500_000, 'fits')\n"
        "blankly.reporter.text('\\U0001f600' * 1_000_000)\n"
        "sys.exit('\\U0001f600' * 1_000_000)\n"
    )
    with model.running(script) as live:
        assert live.end() == 1
    assert [report["name"] for report in live.reports("live/variable")] == ["fits"]
    (warning,) = live.problems("warning")
    assert warning["message"].startswith("A report (live/variable) of 600,")
    (fault,) = live.problems("fault")
    assert fault["message"].startswith("bot.py ended itself with sys.exit(\U0001f600")
    assert max(len(json.dumps(event)) for event in live.events) <= LONGEST_EVENT
