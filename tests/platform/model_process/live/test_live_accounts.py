"""What the accounts of a live model are worth is read beside it, and it does not notice."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from deploy_action.platform.model_process.blankly_run.live.accounts import (
    Session,
    UnknownError,
    in_words,
)
from tests.platform.model_process.conftest import EXAMPLES
from tests.support.local_server import Listener, LocalHandler, LocalServer
from tests.support.stand_in_exchange import Fault, Market, StandInExchange, serving_stand_in
from tests.support.stand_in_exchange.server import StandInServer

from .conftest import HEAD as KEYLESS
from .conftest import Live, LiveModel
from .test_live_reports import HEAD, KEYS

PRICES = EXAMPLES / "golden-cross" / "prices" / "OAK-USD.csv"
MORE_KEYS = {
    "binance": {"main": {"API_KEY": "key", "API_SECRET": "secret", "sandbox": False}},
    "oanda": {"main": {"PERSONAL_ACCESS_TOKEN": "key", "ACCOUNT_ID": "number", "sandbox": True}},
}
ONCE, OFTEN = ("--account-seconds", "900"), ("--account-seconds", "0.2")
# A strategy that asks the exchange for nothing.
IDLE = HEAD + (
    "strategy = blankly.Strategy(blankly.{exchange})\n"
    "strategy.add_scheduled_event(lambda state: say('called'), 0.2,\n"
    "                             teardown=lambda symbol, state: say('teardown'))\n"
    "strategy.start()\n"
)


@pytest.fixture
def exchange(model: LiveModel) -> StandInExchange:
    """One with a price that stands still, and three OAK beside the cash in the account."""
    (model.bot.root / "keys.json").write_text(json.dumps({**KEYS, **MORE_KEYS}))
    market = Market.from_csv(PRICES, begins=time.time(), seconds=1e9)
    exchange = StandInExchange({"OAK": market})
    exchange.account("key").holdings["OAK"] = 3.0
    return exchange


@pytest.fixture
def server(exchange: StandInExchange, tmp_path: Path) -> Iterator[StandInServer]:
    with serving_stand_in(exchange, tmp_path / "authority.pem") as server:
        yield server


@pytest.fixture
def worth(exchange: StandInExchange) -> float:
    return 10_000 + 3 * exchange.price_of("OAK")


def paths(exchange: StandInExchange) -> Counter[str]:
    assert {request.method for request in exchange.requests} <= {"GET"}
    return Counter(request.path for request in exchange.requests)


def samples(live: Live, least: int = 1) -> list[dict[str, object]]:
    live.wait(lambda: len(live.reports("account")) >= least)
    return live.reports("account")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("CoinbasePro()", ["/accounts", "/products/OAK-USD/ticker"]),
        ("Alpaca()", ["/v2/account"]),
    ],
)
def test_an_account_is_read_with_few_requests(
    model: LiveModel, exchange: StandInExchange, worth: float, name: str, asked: list[str]
) -> None:
    """The same model, once with samples and once without, differs by their requests alone."""
    script = IDLE.format(exchange=name)
    with model.running(script, environ=exchange.variables) as live:
        live.wait_said("called")
        assert live.stop() == 0
        assert live.reports("account") == []
    without = paths(exchange)
    exchange.requests.clear()
    with model.running(script, *ONCE, environ=exchange.variables) as live:
        (sample,) = samples(live)
        live.wait(lambda: live.printed.count("called") >= 5)
        assert live.stop() == 0
        assert live.reports("account") == [sample]
    assert paths(exchange) - without == Counter(asked)
    assert sample == {
        "exchange": "alpaca" if "Alpaca" in name else "coinbase_pro", "portfolio": None,
        "quote": "USD", "simulated": False, "value": pytest.approx(worth), "missing": [],
        "every": 900.0, "began": pytest.approx(time.time(), abs=600),
    }  # fmt: skip


@pytest.mark.usefixtures("server")
def test_an_account_at_binance_is_read_with_two_requests(
    model: LiveModel, exchange: StandInExchange
) -> None:
    """All prices come at once; one is told the other way round, and one is not told."""
    exchange.markets = {**exchange.markets, "ELM": exchange.markets["OAK"]}
    exchange.unquoted.add("ELM")
    exchange.account("key").holdings.update(OAK=3.0, TRY=400.0, ELM=5.0)
    script = IDLE.format(exchange="Binance()")
    with model.running(script, environ=exchange.variables) as live:
        live.wait_said("called")
        assert live.stop() == 0
    without = paths(exchange)
    exchange.requests.clear()
    with model.running(script, *ONCE, environ=exchange.variables) as live:
        (sample,) = samples(live)
        assert live.stop() == 0
    asked = Counter({"/api/v3/account": 1, "/api/v3/ticker/price": 1})
    assert paths(exchange) - without == asked
    assert sample["quote"] == "USDT"
    assert sample["value"] == pytest.approx(10_000 + 3 * exchange.price_of("OAK") + 400 / 40)
    assert sample["missing"] == ["ELM"]


@pytest.mark.usefixtures("server")
def test_an_account_at_oanda_is_worth_what_oanda_says(
    model: LiveModel, exchange: StandInExchange
) -> None:
    exchange.account("Bearer key").holdings["OAK"] = 3.0
    with model.running(IDLE.format(exchange="Oanda()"), *ONCE, environ=exchange.variables) as live:
        (sample,) = samples(live)
        assert live.stop() == 0
    asked = [path for path in paths(exchange) if path.endswith("summary")]
    assert asked == ["/v3/accounts/number/summary"]
    assert (sample["quote"], sample["simulated"]) == ("EUR", True)
    assert sample["value"] == pytest.approx(10_000 + 3 * exchange.price_of("OAK"), abs=0.001)


@pytest.mark.usefixtures("server")
def test_an_account_that_cannot_be_read_for_certain_is_not_read(
    model: LiveModel, exchange: StandInExchange
) -> None:
    script = HEAD + (
        "exchange = blankly.Alpaca()\n"
        "exchange.interface.exchange_name = 'okx'\n"
        "strategy = blankly.Strategy(exchange)\n"
        "strategy.add_scheduled_event(lambda state: say('called'), 0.2)\n"
        "strategy.start()\n"
    )
    with model.running(script, *OFTEN, environ=exchange.variables) as live:
        live.wait(lambda: live.printed.count("called") >= 5)
        (sample,) = live.reports("account")
        assert live.stop() == 0
    assert (sample["value"], sample["exchange"]) == (None, "okx")
    assert sample["problem"] == "Accounts at okx are not read."


@pytest.mark.usefixtures("server")
def test_it_is_read_again_after_a_while_and_only_then(
    model: LiveModel, exchange: StandInExchange
) -> None:
    with model.running(
        IDLE.format(exchange="CoinbasePro()"), *OFTEN, environ=exchange.variables
    ) as live:
        count = len(samples(live, least=4))
        live.stop()
    times = [each.time for each in exchange.requests if each.path == "/accounts"]
    assert len(times) >= count
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert min(pauses) >= 0.2


@pytest.mark.usefixtures("server")
def test_the_values_of_one_run_are_told_from_those_of_the_next(
    model: LiveModel, exchange: StandInExchange
) -> None:
    began = list[set[object]]()
    for _ in range(2):
        with model.running(
            IDLE.format(exchange="Alpaca()"), *OFTEN, environ=exchange.variables
        ) as live:
            began.append({each["began"] for each in samples(live, least=2)})
            live.stop()
    assert len(began[0]) == len(began[1]) == 1
    assert began[0] != began[1]


@pytest.mark.usefixtures("server")
def test_a_simulated_account_is_read_once_the_model_has_used_it(
    model: LiveModel, exchange: StandInExchange
) -> None:
    """Reading it before would make it a second time, and lose what was traded in between."""
    script = HEAD + (
        "paper = blankly.PaperTrade(blankly.CoinbasePro(), {'USD': 1000})\n"
        "def on_price(price, symbol, state):\n"
        "    if os.path.exists('go') and not state.variables.get('done'):\n"
        "        state.interface.market_order(symbol, 'buy', 2)\n"
        "        state.variables['done'] = True\n"
        "        say('left', state.interface.cash)\n"
        "    say('looked')\n"
        "strategy = blankly.Strategy(paper)\n"
        "strategy.add_price_event(on_price, 'OAK-USD', 0.2)\n"
        "strategy.start()\n"
    )
    price = exchange.price_of("OAK")
    with model.running(script, *OFTEN, environ=exchange.variables) as live:
        live.wait(lambda: live.printed.count("looked") >= 4)
        assert live.reports("account") == []
        (model.bot.root / "go").touch()
        sample = samples(live, least=2)[-1]
        live.wait(lambda: any(line.startswith("left") for line in live.printed))
    left = next(float(line.split()[1]) for line in live.printed if line.startswith("left"))
    assert left == pytest.approx(1_000 - 2 * price, abs=0.05)
    assert sample["value"] == pytest.approx(left + 2 * 0.999 * price, abs=0.05)
    assert (sample["exchange"], sample["simulated"]) == ("coinbase_pro", True)
    assert exchange.orders() == []


@pytest.mark.usefixtures("server")
def test_a_paper_account_of_alpaca_is_marked(model: LiveModel, exchange: StandInExchange) -> None:
    keys = {"alpaca": {"main": {**KEYS["alpaca"]["main"], "sandbox": True}}}
    (model.bot.root / "keys.json").write_text(json.dumps(keys))
    with model.running(IDLE.format(exchange="Alpaca()"), *ONCE, environ=exchange.variables) as live:
        assert samples(live)[0]["simulated"] is True


@pytest.mark.usefixtures("server")
def test_an_asset_without_a_price_is_named(
    model: LiveModel, exchange: StandInExchange, worth: float
) -> None:
    """The stand-in has no market for it; it is no part of the value, and that is said."""
    exchange.markets = {**exchange.markets, "ELM": exchange.markets["OAK"]}
    exchange.account("key").holdings["ELM"] = 5.0
    exchange.unquoted.add("ELM")
    with model.running(
        IDLE.format(exchange="CoinbasePro()"), *ONCE, environ=exchange.variables
    ) as live:
        (sample,) = samples(live)
    assert sample["missing"] == ["ELM"]
    assert sample["value"] == pytest.approx(worth)


@pytest.mark.usefixtures("server")
def test_a_price_that_is_not_told_makes_no_smaller_value(
    model: LiveModel, exchange: StandInExchange
) -> None:
    exchange.failing.add("/products/OAK-USD/ticker")
    with model.running(
        IDLE.format(exchange="CoinbasePro()"), *ONCE, environ=exchange.variables
    ) as live:
        (sample,) = samples(live)
        assert live.stop() == 0
    assert sample["value"] is None
    assert sample["problem"] == "The exchange answered with HTTP 500."


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ReadTimeout("/accounts?key=secret"), "did not answer within 10 seconds."),
        (requests.ConnectTimeout("secret"), "did not answer within 10 seconds."),
        (requests.ConnectionError("secret"), "cannot be reached."),
        (json.JSONDecodeError("secret", "", 0), "answer of the exchange cannot be understood."),
        (requests.JSONDecodeError("secret", "", 0), "answer of the exchange cannot be understood."),
        (KeyError("secret"), "answer of the exchange cannot be understood."),
        (RuntimeError("secret"), "The account could not be read (RuntimeError)."),
    ],
)
def test_why_a_value_is_not_known_is_told_without_what_is_secret(
    error: Exception, words: str
) -> None:
    """Addresses of signed requests are in such messages."""
    told = in_words(error)
    assert words in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault.DOWN, "The exchange cannot be reached."),
        (Fault.ERROR, "The exchange answered with HTTP 500."),
        (Fault.HTML, "The exchange answered with HTTP 503."),
    ],
)
def test_an_exchange_that_is_down_is_told_and_the_model_goes_on(
    model: LiveModel, exchange: StandInExchange, server: StandInServer, fault: Fault, problem: str
) -> None:
    with model.running(
        IDLE.format(exchange="CoinbasePro()"), *OFTEN, environ=exchange.variables
    ) as live:
        samples(live)
        server.set_fault(fault)
        live.wait(lambda: any(each.get("problem") == problem for each in live.reports("account")))
        called = live.printed.count("called")
        live.wait(lambda: live.printed.count("called") > called)
        server.set_fault(Fault.NONE)
        known = len(live.reports("account"))
        live.wait(lambda: any(each["value"] for each in live.reports("account")[known:]))
        assert live.stop() == 0
    assert live.problems("callback_error") == live.problems("fault") == []
    assert not [line for line in live.printed if "Traceback" in line]


@pytest.mark.usefixtures("server")
def test_an_exchange_that_hangs_holds_up_neither_the_model_nor_its_stop(
    model: LiveModel, exchange: StandInExchange
) -> None:
    """Its own time-out is ten seconds: the process has ended long before."""
    exchange.silent.add("/accounts")
    with model.running(
        IDLE.format(exchange="CoinbasePro()"), *ONCE, environ=exchange.variables
    ) as live:
        live.wait(lambda: paths(exchange)["/accounts"])
        called = live.printed.count("called")
        live.wait(lambda: live.printed.count("called") > called)
        assert live.stop() == 0
        assert live.reports("account") == [], "it waited for the time-out"
    assert live.said("teardown")
    assert live.teardowns == ["began", "ended"]


@pytest.mark.usefixtures("server")
def test_a_model_that_ends_by_itself_does_not_wait_for_an_exchange_that_hangs(
    model: LiveModel, exchange: StandInExchange
) -> None:
    exchange.silent.add("/accounts")
    script = HEAD + (
        "class Bot(blankly.Model):\n"
        "    def main(self, args):\n"
        "        while not os.path.exists('go'):\n"
        "            time.sleep(0.01)\n"
        "    def event(self, args):\n"
        "        pass\n"
        "Bot(blankly.CoinbasePro()).run()\n"
    )
    with model.running(script, *ONCE, environ=exchange.variables) as live:
        live.wait(lambda: paths(exchange)["/accounts"])
        (model.bot.root / "go").touch()
        assert live.end() == 0
        assert live.reports("account") == [], "it waited for the time-out"


@pytest.mark.usefixtures("server")
def test_nothing_is_asked_while_the_teardown_runs(
    model: LiveModel, exchange: StandInExchange
) -> None:
    script = IDLE.format(exchange="CoinbasePro()").replace(
        "say('teardown')", "(say('teardown'), time.sleep(1))"
    )
    with model.running(script, *OFTEN, environ=exchange.variables) as live:
        samples(live)
        live.process.terminate()
        live.wait_said("teardown")
        asked, told = len(exchange.requests), len(live.reports("account"))
        assert live.end() == 0
    # One request may have been on its way.
    assert len(exchange.requests) <= asked + 1
    assert len(live.reports("account")) <= told + 1


@pytest.mark.usefixtures("server")
def test_two_strategies_on_one_exchange_are_one_account(
    model: LiveModel, exchange: StandInExchange
) -> None:
    script = HEAD + (
        "exchange = blankly.CoinbasePro()\n"
        "for _ in range(2):\n"
        "    strategy = blankly.Strategy(exchange)\n"
        "    strategy.add_scheduled_event(lambda state: say('called'), 0.2)\n"
        "    strategy.start()\n"
    )
    with model.running(script, *ONCE, environ=exchange.variables) as live:
        samples(live)
        live.wait(lambda: live.printed.count("called") >= 6)
        assert live.stop() == 0
        assert len(live.reports("account")) == 1


@pytest.mark.usefixtures("server")
def test_a_model_that_replaces_sleep_causes_no_flood_of_requests(
    model: LiveModel, exchange: StandInExchange
) -> None:
    script = HEAD + (
        "import threading\n"
        "class Bot(blankly.Model):\n"
        "    def main(self, args):\n"
        "        threading.Event().wait(2)\n"
        "    def event(self, args):\n"
        "        pass\n"
        "time.sleep = lambda seconds: None\n"
        "Bot(blankly.CoinbasePro()).run()\n"
    )
    with model.running(script, *OFTEN, environ=exchange.variables) as live:
        assert live.end() == 0
    assert paths(exchange)["/accounts"] == 1
    assert len(live.reports("account")) == 1


class Elsewhere(LocalHandler):
    """Sends everybody to another path, and notes who came."""

    server: Listener[Any]

    def answer(self) -> None:
        self.server.owner.seen.append((self.command, self.path))
        self.send(302, b"", {"Location": "/elsewhere"})


class Redirecting(LocalServer):
    handler = Elsewhere

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []


def test_keys_are_not_taken_elsewhere_and_nothing_can_be_changed() -> None:
    """Whatever the package's object would do with our session."""
    with Redirecting() as server, Session(lambda: None) as session:
        assert session.get(f"{server.origin}/account").status_code == 302
        for method in ("POST", "DELETE", "put", "PATCH"):
            with pytest.raises(UnknownError):
                session.request(method, f"{server.origin}/orders")
        assert server.seen == [("GET", "/account")]


def test_a_keyless_exchange_has_no_account(model: LiveModel) -> None:
    script = KEYLESS + (
        "strategy.add_scheduled_event(lambda state: say('called'), 0.2)\nstrategy.start()\n"
    )
    with model.running(script, *OFTEN) as live:
        live.wait(lambda: live.printed.count("called") >= 3)
        assert live.stop() == 0
    assert live.reports("account") == []
