"""A server on which models are in many states, with everything that pages show of them.

    python -m tests.support.showcase [SECONDS]

It prints the address, and the token with which one signs in, and serves until it is interrupted or
the time is over. No model runs: see `scripted_host.py`. Its clock stands still.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy_action.errors import Problem
from deploy_action.platform.live.host import CannotPrepareError
from deploy_action.platform.live.restarts import RestartPolicy
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.records import State
from tests.support.backtests import START
from tests.support.platform_client import make_bundle
from tests.support.scripted_live_server import LivePlatform, ServerParts
from tests.support.trading_year import trading_year
from tests.support.waiting import wait_for

TOKEN: Final = "showcase"  # noqa: S105  # it opens nothing
REPOSITORY: Final = "https://github.com/trader/models"
HOUR, DAY = 3_600, 86_400
# What others wrote must stay text: a script, an image of somebody else, text that runs backwards.
HOSTILE: Final = (
    "<script>alert('script')</script><img src=http://evil.example/x.png onerror=alert('image')>"
    "\"'><b>bold</b> [link](javascript:alert(1)) {{7*7}} \u202etxet sdrawkcab\u2066 \x1b[31mred"
)


@dataclass
class Showcase:
    """The server, and the ids of its models by a short name."""

    live: LivePlatform
    models: dict[str, str] = field(default_factory=dict)
    versions: dict[str, list[str]] = field(default_factory=dict)
    backtests: dict[str, list[str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.live.parts.url

    def path(self, name: str, tab: str = "overview") -> str:
        """Return the path of a page of a model."""
        return f"/{self.live.user_id}/{self.models[name]}/{tab}"

    # ------------------------------------------------------------------ making it

    def add(
        self, name: str, title: str, model_type: str = "strategy", description: str = ""
    ) -> str:
        """Create a model."""
        answer = self.live.post(
            "/model/create-model",
            projectId=self.live.user_id,
            type=model_type,
            name=title,
            description=description or "Buys when the fast average crosses the slow one",
        ).json()
        model_id: str = answer["modelId"]
        self.models[name] = model_id
        self.versions[name], self.backtests[name] = [], []
        return model_id

    def run(self, name: str, message: str, **files: str) -> str:
        """Deploy a version from a commit, and let it run."""
        model_id = self.models[name]
        version_id = self.live.run_a_version(
            model_id, make_bundle(**files) if files else None, **self._commit(name, message)
        )
        self.versions[name].append(version_id)
        return version_id

    def deploy(self, name: str, message: str, **fields: str) -> str:
        """Deploy a version from a commit, whatever comes of it."""
        fields = {**self._commit(name, message), **fields}
        answer = self.live.deploy(self.models[name], None, **fields)
        assert answer.status_code == 200, answer.text
        self.versions[name].append(answer.json()["versionId"])
        return self.versions[name][-1]

    def backtest(
        self,
        name: str,
        description: str,
        result: dict[str, Any] | Outcome,
        beside: tuple[int, int] = (0, 0),
        **files: str,
    ) -> str:
        """Backtest a version of these files, with this result.

        `beside` are the windows and the combinations that its run is going to ask for.
        """
        self.live.parts.runner.outcome = _outcome(result)
        bundle = make_bundle(**files) if files else None
        several = dict(zip(("windows", "combinations"), map(str, beside), strict=True))
        with self.live.backtest(
            self.models[name], bundle, backtestDescription=description, **several
        ) as answer:
            assert answer.status_code == 200, answer.text
        (*_, found) = self.live.backtests(self.models[name])
        self.backtests[name].append(str(found["backtestId"]))
        return self.backtests[name][-1]

    def window(
        self, name: str, number: int, title: str, days: int, result: dict[str, Any] | Outcome
    ) -> None:
        """Backtest a window of so many days of the last backtest, with this result."""
        self.live.parts.runner.outcome = _outcome(result)
        whole = self.backtests[name][-1]
        listed = {one["backtestId"]: one for one in self.live.backtests(self.models[name])}
        fields = {
            "projectId": self.live.user_id,
            "modelId": self.models[name],
            "versionId": str(listed[whole]["versionId"]),
            "windowOf": whole,
            "window": title,
            "windowNumber": str(number),
            "type": "strategy",
            "plan": "nano",
            "pythonVersion": "3.10",
            "backtestDescription": f"Window {title} of: {listed[whole]['description']}",
            "backtestArgs": json.dumps({"start_date": START, "end_date": START + days * DAY}),
        }
        with self.live.post("/model/backtest", **fields) as answer:
            assert answer.status_code == 200, answer.text

    def report(self, name: str, kind: str, /, **fields: object) -> None:
        """Have a model report something now, and wait until that is kept."""
        now = self.live.clock.now
        model = (self.live.user_id, self.models[name])
        self.live.parts.reports.keep(*model, kind, fields, now)

    def order(self, name: str, side: str, size: float, price: float, why: str = "") -> None:
        """Have a model report an order at the market that is filled at once."""
        self._orders += 1
        now, order_id = self.live.clock.now, f"order-{self._orders}"
        told = {"id": order_id, "size": size, "price": price, "executed_time": now}
        told |= {"symbol": "OAK-USD", "side": side, "exchange": "alpaca"}
        told |= {"annotation": why} if why else {}
        model, version_id = (self.live.user_id, self.models[name]), self.versions[name][-1]
        self.live.parts.reports.take(*model, "live/spot-market", told, now, version_id)

    def account(self, name: str, value: float | None, **more: object) -> None:
        """Have the process of a model report what its account is worth."""
        account = {"exchange": "alpaca", "quote": "USD", "simulated": False, "missing": []}
        self.report(name, "account", **{**account, "value": value, **more})

    def log(self, *lines: str, stream: str = "out") -> None:
        """Have the instance that was started last print lines."""
        for line in lines:
            self.live.instance.listener.line(stream, line)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.live.clock.now += seconds
        self.live.sign_in()

    def _commit(self, name: str, message: str) -> dict[str, str]:
        number = len(self.versions[name]) + 1
        return {
            "versionDescription": message,
            "commit": hashlib.sha1(message.encode(), usedforsecurity=False).hexdigest(),
            "committedAt": f"2023-11-{number:02}T09:30:00+00:00",
            "commitRepository": REPOSITORY,
            "deployedBy": message[:100] if name.startswith("hostile") else "ada",
            "runUrl": f"{REPOSITORY}/actions/runs/{number}",
        }

    _orders: int = 0


@contextmanager
def showing(data: Path, token: str = TOKEN, *, is_hostile: bool = True) -> Iterator[Showcase]:
    """Serve the models below; `is_hostile`: those with hostile texts, too."""
    parts = ServerParts(data, token, restarts=RestartPolicy(first_seconds=DAY, longest_seconds=DAY))
    with parts:
        showcase = Showcase(LivePlatform.of(parts))
        for fill in (_trading, _waiting, _ended, _hostile, _preparing):
            if is_hostile or fill is not _hostile:
                fill(showcase)
        yield showcase
        assert parts.errors == []


def _trading(show: Showcase) -> None:
    """Add a strategy with a past: three versions, orders, backtests, messages."""
    show.add("cross", "Golden cross")
    for number, fast in enumerate((10, 8, 5), 1):
        result = trading_year(3, fast=fast, slow=4 * fast)
        script = f"FAST, SLOW = {fast}, {4 * fast}\nSTAKE = 5_000\n"
        files = {"bot.py": script, "requirements.txt": "blankly\n"}
        title = f"Averages of {fast} and {4 * fast} days"
        show.backtest("cross", title, result, beside=(4, 500), **files)
        message = f"Follow averages of {fast} days\n\nThe slow one has {4 * fast}."
        show.run("cross", message, **files)
        show.log(f"Began with averages of {fast} and {4 * fast} days")
        for step in range(4):
            show.later(5 * HOUR + 7 * 60)
            price = 100.0 + 3 * step - 2 * number
            side = ("buy", "sell")[step % 2]
            why = f"The fast average is {'above' if side == 'buy' else 'below'} the slow one"
            show.log(f"{why}: {side} 12.5 OAK-USD at {price}")
            show.order("cross", side, 12.5, price, why)
            show.account("cross", 10_000 + 12.5 * (3 * step + 7 * number), every=6 * HOUR)
    _windows(show)
    show.report("cross", "model/used-exchange", exchange="alpaca")
    show.report("cross", "model/used-symbol", symbol="OAK-USD")
    show.report("cross", "live/variable", name="fast", value=5, description="Days")
    show.report("cross", "live/event", type="rebalance", annotation="Sold half of it")
    show.log("Could not reach the exchange, trying again", stream="err")
    show.later(12 * 60)
    show.account("cross", 10_391.5, every=DAY)


def _waiting(show: Showcase) -> None:
    """Add a screener between its runs, and a model whose callbacks fail while it runs."""
    show.add("screener", "Momentum screener", "screener")
    version = {"type": "screener", "schedule": "30 9 * * 1-5"}
    show.deploy("screener", "Screen for momentum", **version)
    show.live.wait_for_state(show.models["screener"], State.SCHEDULED)
    for momentum in (0.12, 0.17):
        found = {"OAK": {"momentum": momentum}, "YEW": {"momentum": 0.05}, "ELM": None}
        show.report("screener", "live/screener-result", result={"screener": found, "status": "ok"})
        show.later(DAY)
    show.add("failing", "Mean reversion")
    show.run("failing", "Buy what fell")
    problem = Problem(message="KeyError: 'price'", path="bot.py", line=12).document()
    show.live.instance.report("callback_error", count=17, problem=problem, fails=True)
    failing = show.models["failing"]
    wait_for(lambda: show.live.live(failing)["callbackErrors"] == 17)
    show.log("Traceback (most recent call last):", "KeyError: 'price'", stream="err")


def _ended(show: Showcase) -> None:
    """Add models that do not run: stopped, finished, restarting, failed, only stored."""
    show.add("stopped", "Constant value")
    show.run("stopped", "Keep the value constant")
    show.order("stopped", "buy", 50, 99.5)
    model = {"projectId": show.live.user_id, "modelId": show.models["stopped"]}
    assert show.live.post("/model/kill", **model).status_code == 200
    show.live.wait_for_state(show.models["stopped"], State.STOPPED)
    show.later(3 * HOUR)
    show.add("finished", "One shot")
    show.deploy("finished", "Buy once")
    wait_for(lambda: show.live.instance.launch.version_id == show.versions["finished"][-1])
    show.live.instance.end(0)
    show.live.wait_for_state(show.models["finished"], State.FINISHED)
    show.add("restarting", "Breakout")
    show.run("restarting", "Buy what breaks out")
    show.log("MemoryError", stream="err")
    show.live.instance.end(137, out_of_memory=True)
    show.live.wait_for_state(show.models["restarting"], State.RESTARTING)
    show.add("failed", "Pairs")
    show.live.parts.host.may_prepare.clear()
    version = show.deploy("failed", "Trade the spread")
    why = Problem(message="No matching distribution found for blankly==9", path="requirements.txt")
    show.live.parts.host.faults[version] = CannotPrepareError(why)
    show.live.parts.host.may_prepare.set()
    show.live.wait_for_state(show.models["failed"], State.FAILED)
    show.add("idea", "New idea")
    show.backtest("idea", "A first try", trading_year(5))
    problem = Problem(message="ZeroDivisionError: division by zero", path="bot.py", line=3)
    show.backtest("idea", "A second try", Outcome(result=None, problems=(problem,), facts={}))


def _windows(show: Showcase) -> None:
    """Add windows to the last backtest: three of four, one of which failed."""
    problem = Problem(message="There are no prices of `OAK-USD`", hint="Choose a later start.")
    for number, (title, days) in enumerate((("Spring", 90), ("Spring and summer", 180)), 1):
        result = trading_year(3, days=days, fast=5, slow=20)
        show.window("cross", number, title, days, result)
    show.window("cross", 3, "2019", 30, Outcome(result=None, problems=(problem,), facts={}))


def _outcome(result: dict[str, Any] | Outcome) -> Outcome:
    if isinstance(result, Outcome):
        return result
    facts = {"pythonVersion": "3.11.7", "blanklyVersion": "1.18.25b0"}
    return Outcome(result=json.dumps(result).encode(), problems=(), facts=facts)


def _hostile(show: Showcase) -> None:
    """Add a model whose every text is an attack."""
    show.add("hostile", HOSTILE, description=HOSTILE)
    symbol, order = "<img src=x onerror=alert(1)>", "\"><script>alert('order')</script>"
    result = trading_year(4, symbol="OAK-USD")
    for trade in result["trades"][::2]:
        trade |= {"id": order, "type": HOSTILE[:90]}
    shown = {**result, "symbols": [symbol], "exchange": HOSTILE[:90]}
    show.backtest("hostile", HOSTILE, shown, beside=(1, 0))
    show.window("hostile", 1, HOSTILE, 365, trading_year(4))
    show.run("hostile", f"{HOSTILE}\n\n{HOSTILE}", **{"bot.py": f"# {HOSTILE}\n"})
    show.log(HOSTILE, *(f"{HOSTILE} {number}" for number in range(3)), stream="err")
    fields = {"symbol": symbol, "side": "buy", "size": 1, "exchange": "<b>exchange</b>"}
    show.report("hostile", "live/spot-market", id=order, annotation=HOSTILE, **fields)
    show.report("hostile", "live/event", type="<i>event</i>", annotation=HOSTILE, args=HOSTILE)
    show.report("hostile", "live/variable", name="<u>name</u>", value=HOSTILE, description=HOSTILE)
    show.account("hostile", 1.0, exchange="<b>", quote="<i>", missing=["<u>"], portfolio="<s>")
    show.account("hostile", None, problem=HOSTILE)
    metrics = {"<s>": {"value": HOSTILE, "display_name": HOSTILE[:90], "type": "number"}}
    show.report("hostile", "live/set-custom-metric", metrics=metrics)
    problem = Problem(message=HOSTILE, hint=HOSTILE, path="bot.py", line=1).document()
    show.live.instance.report("callback_error", count=3, problem=problem, fails=False)
    wait_for(lambda: show.live.live(show.models["hostile"])["callbackErrors"] == 3)
    show.add("hostile-screener", f"Screener {HOSTILE}", "screener")
    version = {"type": "screener", "schedule": "0 0 1 1 *"}
    show.deploy("hostile-screener", HOSTILE, **version)
    show.live.wait_for_state(show.models["hostile-screener"], State.SCHEDULED)
    found = {HOSTILE: HOSTILE, "x": [HOSTILE, {"<b>": HOSTILE}]}
    screened = {"screener": found, "status": HOSTILE}
    show.report("hostile-screener", "live/screener-result", result=screened)


def _preparing(show: Showcase) -> None:
    """Add a model that is prepared for ever, and one that runs while its next version is."""
    show.add("next", "Grid")
    show.run("next", "Trade a grid")
    show.live.parts.host.may_prepare.clear()
    show.deploy("next", "Trade a finer grid")
    show.add("preparing", "Trend of the week")
    show.deploy("preparing", "Follow the week")


def main() -> None:
    """Serve until interrupted."""
    seconds = float(sys.argv[1]) if sys.argv[1:] else None
    with (
        suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory() as directory,
        showing(Path(directory) / "data") as showcase,
    ):
        sys.stdout.write(f"{showcase.url}  token: {TOKEN}\n")
        for name in showcase.models:
            sys.stdout.write(f"{showcase.path(name)}  {name}\n")
        sys.stdout.flush()
        threading.Event().wait(seconds)


if __name__ == "__main__":
    main()
