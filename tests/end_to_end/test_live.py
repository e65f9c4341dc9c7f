"""A deployed model trades on a stand-in exchange; server, package and model are as they are.

All on one worker, because they share an environment that takes some seconds to make.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy_action.stages.live import following
from tests.conftest import Ended, Runner, let_all_pass
from tests.support.serve_process import ServeProcess
from tests.support.stand_in_exchange import (
    Fault,
    Market,
    StandInExchange,
    TimeLapse,
    libfaketime,
    serving_stand_in,
)
from tests.support.stand_in_exchange.account import Order
from tests.support.stand_in_exchange.server import StandInServer
from tests.support.torture import Rounds
from tests.support.waiting import wait_for

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
DAY = 86_400
# How far the price may move while an order is on its way: a busy machine takes some bars for that.
MOVES = 0.08

# Put before a model: it notes when another version of it lives at the same time.
ALONE = """
import fcntl as _fcntl, os as _os
_mark = open(_os.path.join(_os.environ["BLANKLY_STATE_DIR"], "alone"), "a")
try:
    _fcntl.flock(_mark, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
except OSError:
    print("ANOTHER ONE LIVES", flush=True)
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for states only: the seconds for which a new version is watched have own tests."""
    monkeypatch.setattr(following, "_PAUSES", (0.2,) * 1_000)
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """Return a server that all tests here share, each with a model of its own.

    It looks at accounts when models start, and then once a day, which is a second in time-lapse.
    """
    data = let_all_pass(tmp_path_factory.mktemp("live")) / "data"
    server = ServeProcess(data, flags=("--account-minutes", "1440"))
    server.start()
    yield server
    server.end()


@dataclass
class Trader:
    """Somebody with a model in a repository, who deploys it to a server of her own."""

    runner: Runner
    server: ServeProcess
    model: Path
    ids: dict[str, str]
    variables: dict[str, str]

    def push(self, **inputs: str) -> Ended:
        """Deploy what is there."""
        written = "\n".join(f"{name}={value}" for name, value in self.variables.items())
        ended = self.run("deploy", model_env=written, create_new="true", **inputs)
        if "model-id" in ended.outputs:  # not when the server could not be reached
            self.ids = {
                "projectId": ended.outputs["project-id"],
                "modelId": ended.outputs["model-id"],
            }
        return ended

    def run(self, mode: str, **inputs: str) -> Ended:
        known = {"model_id": self.ids["modelId"]} if self.ids else {}
        return self.runner.run(
            mode=mode,
            api_url=self.server.url,
            token=self.server.token,
            model_path="bot",
            **known,
            **inputs,
        )


def trader_with(runner: Runner, server: ServeProcess, example: str, **variables: str) -> Trader:
    """Return somebody with a copy of an example model."""
    model = runner.workspace / "bot"
    shutil.copytree(EXAMPLES / example, model, ignore=shutil.ignore_patterns("__pycache__"))
    return Trader(runner, server, model, {}, variables)


def marked(trader: Trader) -> Path:
    """Let the model note when it is not alone, and return its script."""
    script = trader.model / "bot.py"
    script.write_text(script.read_text().replace("\nimport json\n", f"{ALONE}\nimport json\n", 1))
    return script


@pytest.fixture
def exchange() -> StandInExchange:
    """Return an exchange where five days of the example pass in a second."""
    prices = EXAMPLES / "constant-value" / "prices" / "YEW-USD.csv"
    return StandInExchange({"YEW": Market.from_csv(prices, begins=time.time(), seconds=0.2)})


@pytest.fixture
def stand_in(exchange: StandInExchange, tmp_path: Path) -> Iterator[StandInServer]:
    with serving_stand_in(exchange, tmp_path / "authority.pem") as serving:
        yield serving


def money(order: Order) -> float:
    """Return the dollars that an order moved."""
    return order.size * (order.filled_price or 0.0)


def assert_is_worth(trader: Trader, dollars: float) -> None:
    """Wait for the value of its account at Alpaca, which comes once it runs."""
    wait_for(lambda: trader.server.details(trader.ids)["account"])
    (account,) = trader.server.details(trader.ids)["account"]
    assert (account["exchange"], account["quote"], account["missing"]) == ("alpaca", "USD", [])
    assert account["value"] == pytest.approx(dollars, rel=MOVES)


def test_a_bot_is_pushed_replaced_stopped_and_rolled_back(
    runner: Runner, server: ServeProcess, stand_in: StandInServer
) -> None:
    exchange = stand_in.exchange
    trader = trader_with(runner, server, "constant-value", EVERY="1s", ALPACA_SECRET="secret")
    script = marked(trader)

    trader.variables |= {**exchange.variables, "ALPACA_KEY": "first"}
    pushed = trader.push()
    assert pushed.code == 0, pushed.log
    assert pushed.outputs["state"] == "running"
    wait_for(lambda: len(exchange.orders("first")) >= 2)
    wait_for(lambda: len(server.details(trader.ids)["orders"]) >= 2)  # they are written in batches
    details = server.wait_for(trader.ids, state="running", versionId=pushed.outputs["version-id"])
    reported = [(order["symbol"], order["side"], order["size"]) for order in details["orders"]]
    placed = [("YEW", order.side, order.size) for order in exchange.orders("first")]
    assert reported[:2] == placed[:2], details["orders"]
    assert money(exchange.orders("first")[0]) == pytest.approx(5_000, rel=MOVES)
    assert_is_worth(trader, exchange.cash)

    # A power failure: the server that comes up again has it running again, once.
    server.kill()
    server.start()
    server.wait_for(trader.ids, state="running", versionId=pushed.outputs["version-id"])
    seen = len(exchange.requests)
    wait_for(lambda: len(exchange.requests) > seen + 3)
    assert all(money(order) < 2_500 for order in exchange.orders("first")[1:])

    # A second push replaces the first; it trades with another key, which tells them apart.
    trader.variables["ALPACA_KEY"] = "second"
    script.write_text(script.read_text().replace("STAKE = 5_000", "STAKE = 4_000"))
    again = trader.push()
    assert again.code == 0, again.log
    assert again.outputs["state"] == "running"
    wait_for(lambda: exchange.orders("second"))
    assert money(exchange.orders("second")[0]) == pytest.approx(4_000, rel=MOVES)
    keys = [request.key for request in exchange.requests]
    assert "first" not in keys[keys.index("second") :]

    # The kill switch: the teardown sells, and nothing runs any more.
    stopped = trader.run("stop")
    assert stopped.code == 0, stopped.log
    assert stopped.outputs["state"] == "stopped"
    last = exchange.orders("second")[-1]
    assert last.side == "sell"
    assert exchange.account("second").holdings["YEW"] == pytest.approx(0, abs=1e-5)
    assert f" out sell {last.size} YEW" in server.log(trader.ids)
    seen = len(exchange.requests)

    # The rollback brings the first back, with its own key.
    back = trader.run("rollback")
    assert back.code == 0, back.log
    assert back.outputs["state"] == "running"
    wait_for(lambda: len(exchange.requests) > seen + 2)
    assert {request.key for request in list(exchange.requests)[seen:]} == {"first"}
    server.wait_for(trader.ids, state="running", versionId=pushed.outputs["version-id"])

    for version in (pushed, again):
        log = server.log(trader.ids, version.outputs["version-id"])
        assert "ANOTHER ONE LIVES" not in log
        assert "Traceback" not in log
    assert server.post("/model/kill", **trader.ids).status_code == 200
    server.wait_for(trader.ids, state="stopped")


@pytest.mark.torture(quick=0, weight=2)
def test_real_models_stay_alone_whatever_is_killed(
    runner: Runner, server: ServeProcess, stand_in: StandInServer, rounds: Rounds
) -> None:
    for chance in rounds:
        _kill_at_any_moment(runner, server, stand_in, chance, rounds)


def _kill_at_any_moment(
    runner: Runner,
    server: ServeProcess,
    stand_in: StandInServer,
    chance: random.Random,
    rounds: Rounds,
) -> None:
    """Kill the server and the model, between and during wishes, and see that one runs alone."""
    exchange, name = stand_in.exchange, f"tortured-{rounds.figures['rounds']}"
    trader = trader_with(runner, server, "constant-value", EVERY="1s", ALPACA_SECRET="secret")
    marked(trader)
    versions = {}
    for key in ("first", "second"):
        trader.variables |= {**exchange.variables, "ALPACA_KEY": f"{key}-{name}"}
        pushed = trader.push(model_name=name)
        assert pushed.code == 0, pushed.log
        versions[pushed.outputs["version-id"]] = f"{key}-{name}"

    for _ in range(20):
        wish = chance.choice(("run", "run", "kill", "nothing", "crash"))
        if wish == "run":
            server.run(trader.ids, chance.choice(list(versions)))
        elif wish == "kill":
            assert server.post("/model/kill", **trader.ids).status_code == 200
        elif wish == "crash":
            server.kill_models()
        time.sleep(chance.uniform(0, 3))
        if chance.random() < 3 / 4:
            server.kill()
            server.start()
            rounds.count("kills")

    for wanted, key in versions.items():
        server.run(trader.ids, wanted)
        server.wait_for(trader.ids, state="running", versionId=wanted)
        seen = len(exchange.requests)
        wait_for(lambda: len(exchange.requests) > seen + 3)  # noqa: B023  # at once
        assert {request.key for request in list(exchange.requests)[seen:]} == {key}
        assert "ANOTHER ONE LIVES" not in server.log(trader.ids, wanted)
    assert server.post("/model/kill", **trader.ids).status_code == 200
    server.wait_for(trader.ids, state="stopped")
    seen = len(exchange.requests)
    time.sleep(3)
    assert len(exchange.requests) == seen


@pytest.mark.torture(quick=0, weight=2)
def test_a_bot_outlives_power_failures_whatever_its_owner_does(
    runner: Runner, server: ServeProcess, stand_in: StandInServer, rounds: Rounds
) -> None:
    """The server is killed in the middle of pushes, stops, starts and rollbacks, or between them.

    Afterwards one version runs, or none; it never bought a second stake; and no two met.
    """
    for chance in rounds:
        _kill_while_the_owner_acts(runner, server, stand_in, chance, rounds)


def _kill_while_the_owner_acts(
    runner: Runner,
    server: ServeProcess,
    stand_in: StandInServer,
    chance: random.Random,
    rounds: Rounds,
) -> None:
    exchange = stand_in.exchange
    trader = trader_with(runner, server, "constant-value", EVERY="1s", ALPACA_SECRET="secret")
    marked(trader)
    trader.variables |= exchange.variables
    name = f"outliving-{rounds.figures['rounds']}"
    inputs = {"model_name": name, "timeout_minutes": "1"}

    def act(number: int) -> None:
        match "push" if number == 0 else chance.choice(("push", "stop", "start", "rollback")):
            case "push":
                trader.variables["ALPACA_KEY"] = f"{name}-{number}"
                trader.push(**inputs)
            case mode:
                trader.run(mode, **inputs)

    for number in range(10):
        acting = threading.Thread(target=act, args=(number,))
        acting.start()
        acting.join(None if number == 0 else chance.uniform(0, 6))
        server.kill()
        server.start()
        rounds.count("kills")
        acting.join()
        _check_who_trades(trader, exchange)
    trader.run("stop", **inputs)

    for version in server.details(trader.ids)["versions"]:
        assert "ANOTHER ONE LIVES" not in server.log(trader.ids, version["versionId"])


def _check_who_trades(trader: Trader, exchange: StandInExchange) -> None:
    """Wait until the server has done what it should, and see that this is what happens."""
    server = trader.server
    wait_for(lambda: server.details(trader.ids)["live"]["state"] in {"running", "stopped"}, 60)
    is_running = server.details(trader.ids)["live"]["state"] == "running"
    assert server.details(trader.ids)["live"]["wanted"] == ("running" if is_running else "stopped")
    before = len(exchange.requests)
    if is_running:
        wait_for(lambda: len(exchange.requests) > before + 10)
    else:
        time.sleep(2)  # nothing is to be waited for
    keys = {request.key for request in list(exchange.requests)[before:]}
    assert len(keys) == is_running
    for key in list(exchange.accounts):
        held = exchange.account(key).holdings.get("YEW", 0.0)
        assert held * exchange.price_of("YEW") < 5_000 * 1.5, key


def test_an_outage_is_counted_and_survived(
    runner: Runner, server: ServeProcess, stand_in: StandInServer
) -> None:
    exchange = stand_in.exchange
    trader = trader_with(runner, server, "constant-value", EVERY="1s", ALPACA_SECRET="secret")
    trader.variables |= {**exchange.variables, "ALPACA_KEY": "outage"}
    pushed = trader.push(model_name="in an outage")
    assert pushed.code == 0, pushed.log
    wait_for(lambda: exchange.orders("outage"))

    stand_in.set_fault(Fault.DOWN)
    wait_for(lambda: server.details(trader.ids)["live"]["callbackErrors"] > 0)
    assert server.details(trader.ids)["live"]["state"] == "running"
    stand_in.set_fault(Fault.NONE)
    seen = len(exchange.orders())
    wait_for(lambda: len(exchange.orders()) > seen)

    stopped = trader.run("stop")
    assert stopped.code == 0, stopped.log
    assert exchange.orders()[-1].side == "sell"


def test_days_of_bars_pass_in_seconds_at_coinbase(
    runner: Runner, server: ServeProcess, tmp_path: Path
) -> None:
    """Daily bars in order, with none missing; an order; and ticks of a web socket."""
    library = libfaketime()
    if library is None:
        pytest.skip("libfaketime is not installed: on Debian, apt-get install libfaketime")
    trader = trader_with(runner, server, "golden-cross")
    (trader.model / "bot.py").write_text(DAILY)
    market = Market.from_csv(EXAMPLES / "golden-cross" / "prices" / "OAK-USD.csv")
    begins = market.begins + 100 * DAY
    with TimeLapse(tmp_path / "time", library, begins, speed=80_000) as lapse:
        exchange = StandInExchange({"OAK": market}, lapse.now)
        with serving_stand_in(exchange, tmp_path / "authority.pem"):
            trader.variables |= exchange.variables | lapse.variables
            pushed = trader.push(model_name="daily", keys_json=KEYS)
            assert pushed.code == 0, pushed.log
            wait_for(lambda: server.log(trader.ids).count(" out bar ") >= 4)
            log = server.log(trader.ids)
            stopped = trader.run("stop")

    assert stopped.code == 0, stopped.log
    bars = [line.partition(" out bar ")[2] for line in log.splitlines() if " out bar " in line]
    days = [float(bar.split()[0]) for bar in bars]
    assert days == [days[0] + number * DAY for number in range(len(days))]
    close_of = {row.time: row.close for row in market.rows}
    assert [float(bar.split()[1]) for bar in bars] == [close_of[day] for day in days]
    assert " tick OAK-USD" in log
    assert [order.side for order in exchange.orders()] == ["buy"]
    assert [order["side"] for order in server.details(trader.ids)["orders"]] == ["buy"]


KEYS = """
{"coinbase_pro": {"main": {
    "API_KEY": "daily", "API_SECRET": "c2VjcmV0", "API_PASS": "word", "sandbox": false
}}}
"""
DAILY = """
import blankly

def on_bar(bar, symbol, state):
    print("bar", bar["time"], bar["close"])
    if not state.variables.get("bought"):
        state.variables["bought"] = True
        state.interface.market_order(symbol, "buy", 2)

def on_tick(tick, symbol, state):
    if not state.variables.get("seen"):
        state.variables["seen"] = True
        print("tick", tick["symbol"])

strategy = blankly.Strategy(blankly.CoinbasePro())
strategy.add_bar_event(on_bar, "OAK-USD", resolution="1d")
strategy.add_tick_event(on_tick, "OAK-USD")
strategy.start()
"""
