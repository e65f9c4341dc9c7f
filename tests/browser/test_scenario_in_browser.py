"""A trader with a telephone: why did the bot trade, stop it, start it, roll back.

The models are deployed by the action, as a push would. Once they are scripts that report what the
package does, on a server that starts them at once; once the real package trades on a stand-in
exchange.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy_action.stages.live import following
from tests.browser.conftest import Browse
from tests.conftest import Ended, Runner, let_all_pass
from tests.support.browser import Device, Window
from tests.support.serve_process import ServeProcess
from tests.support.serving_process import serving_process
from tests.support.stand_in_exchange import Market, StandInExchange, serving_stand_in

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "models"
TOKEN = "token-of-the-scenario"  # noqa: S105  # it opens nothing

# What `script_program.py` runs: it buys when it starts, and sells when somebody stops it.
BOT = """
import os, signal, threading

def order(side, why):
    print(f"{side} 50 YEW at about {PRICE}: {why}", flush=True)
    report("report", kind="live/spot-market", fields={
        "id": side, "symbol": "YEW", "side": side, "size": 50, "exchange": "alpaca"})

def tear_down(*_):
    report("teardown", state="began")
    if stop_reason() == "stop":
        order("sell", "somebody stops me")
    report("teardown", state="ended")
    os._exit(0)

PRICE = 100
signal.signal(signal.SIGTERM, tear_down)
report("starting")
report("started")
order("buy", "the stake is missing")
threading.Event().wait()
"""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live")]
Deploy = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for states only: the seconds for which a new version is watched have own tests."""
    monkeypatch.setattr(following, "_PAUSES", (0.2,) * 1_000)
    monkeypatch.setattr(following, "_WATCHED_SECONDS", 0.2)


@pytest.fixture
def script_server(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a server that runs scripts in place of models."""
    with serving_process("live_serving", tmp_path / "data", TOKEN) as (url, _):
        yield url


def test_a_trader_finds_out_why_the_bot_traded_and_stops_it(
    runner: Runner, browse: Browse, script_server: str
) -> None:
    script = runner.workspace / "bot.py"
    script.write_text(BOT)

    def deploy(message: str, price: int = 100) -> Ended:
        script.write_text(BOT.replace("PRICE = 100", f"PRICE = {price}"))
        return runner.run(
            mode="deploy", api_url=script_server, token=TOKEN, create_new="true",
            model_name="Constant value", version_description=message,
        )  # fmt: skip

    window = browse(script_server, Device.TELEPHONE)
    _trade(window, TOKEN, deploy)
    assert "at about 120" not in window.page.content()


def test_a_trader_does_so_with_the_real_package(
    runner: Runner, browse: Browse, tmp_path: Path
) -> None:
    server = ServeProcess(let_all_pass(tmp_path) / "data", token=TOKEN)
    server.start()
    model = runner.workspace / "bot"
    example = EXAMPLES / "constant-value"
    shutil.copytree(example, model, ignore=shutil.ignore_patterns("__pycache__"))
    market = Market.from_csv(example / "prices" / "YEW-USD.csv", begins=time.time(), seconds=0.2)
    exchange = StandInExchange({"YEW": market})

    def deploy(message: str, price: int = 100) -> Ended:
        script = (model / "bot.py").read_text()
        (model / "bot.py").write_text(f"{script}\n# {price}\n")
        variables = {**exchange.variables, "EVERY": "1s", "ALPACA_KEY": "phone"}
        return runner.run(
            mode="deploy", api_url=server.url, token=TOKEN, create_new="true", model_path="bot",
            model_name="Constant value", version_description=message,
            model_env="\n".join(f"{name}={value}" for name, value in variables.items())
            + "\nALPACA_SECRET=not-to-be-shown",
        )  # fmt: skip

    try:
        with serving_stand_in(exchange, tmp_path / "authority.pem"):
            window = browse(server.url, Device.TELEPHONE)
            _trade(window, TOKEN, deploy)
            assert exchange.orders("phone")[0].side == "buy"
    finally:
        server.end()


def _trade(window: Window, token: str, deploy: Deploy) -> None:
    """Do what the names of the steps say; each one waits for what the page shows."""
    _sign_in(window, token)
    _see_the_first_order(window, deploy)
    _stop(window)
    _see_why_it_sold(window)
    _deploy_to_the_stopped_one(window, deploy)
    _start_and_roll_back(window)
    _read_the_log(window)
    window.click("Sign out")
    window.page.get_by_label("Refresh token").wait_for()
    window.open("/")
    window.page.get_by_label("Refresh token").wait_for()


def _sign_in(window: Window, token: str) -> None:
    window.open("/")
    window.allowed.append("401")
    window.page.get_by_label("Refresh token").fill("a wrong one")
    window.click("Sign in")
    window.page.get_by_text("That is not the token of this server.").wait_for()
    window.page.get_by_label("Refresh token").fill(token)
    window.click("Sign in")
    window.page.get_by_role("heading", name="Models").wait_for()


def _see_the_first_order(window: Window, deploy: Deploy) -> None:
    """Watch the page follow what happens: it is not loaded again."""
    ended = deploy("Hold a constant value")
    assert ended.code == 0, ended.log
    window.open("/")
    window.click("Constant value")
    _wait_for_badge(window, "Running")
    window.page.locator("#orders").get_by_text(re.compile(r"^\s*buy\b")).first.wait_for()


def _stop(window: Window) -> None:
    window.page.locator("summary").get_by_text("Stop…").click()
    window.click("Stop")
    _wait_for_badge(window, "Stopped")


def _see_why_it_sold(window: Window) -> None:
    """Follow an order to what the model printed then."""
    row = window.page.locator("#orders tr").filter(has_text=re.compile(r"\bsell\b")).first
    row.get_by_role("link").click()
    window.page.get_by_role("heading", name="Why it was sent").wait_for()
    around = window.page.get_by_label("Log around the order")
    around.get_by_text(re.compile(r"sell \S+ YEW at about")).first.wait_for()
    window.page.get_by_text("Hold a constant value").first.wait_for()
    assert "not-to-be-shown" not in window.page.content()


def _deploy_to_the_stopped_one(window: Window, deploy: Deploy) -> None:
    """See that it stays stopped, and keeps the new version for the next start."""
    ended = deploy("Hold another value", 120)
    assert (ended.code, ended.outputs["state"]) == (0, "stopped"), ended.log
    window.click("Overview")
    _wait_for_badge(window, "Stopped")
    window.page.locator("#facts").get_by_text("Hold another value").wait_for()


def _start_and_roll_back(window: Window) -> None:
    window.page.locator("summary").get_by_text("Start…").click()
    window.click("Start")
    _wait_for_badge(window, "Running")
    window.click("Versions")
    first = window.page.get_by_role("article").filter(has_text="Hold a constant value")
    first.locator("summary").get_by_text("Roll back").click()
    first.get_by_role("button", name="Roll back").click()
    window.page.get_by_role("heading", name="Hold a constant value").wait_for()
    window.page.get_by_text("It is the current version").wait_for()
    window.click("Overview")
    _wait_for_badge(window, "Running")
    window.page.locator("#facts").get_by_text("Hold a constant value").wait_for()


def _read_the_log(window: Window) -> None:
    window.click("Log")
    log = window.page.locator(".log")
    log.get_by_text(re.compile("Starting version")).first.wait_for()
    log.get_by_text(re.compile(r"buy \S+ YEW at about")).first.wait_for()


def _wait_for_badge(window: Window, text: str) -> None:
    window.page.locator("#state .badge").get_by_text(text, exact=True).wait_for()
