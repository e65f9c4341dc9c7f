"""Runs that ended in every way, for looking at their summaries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.period.windows import Window, WindowBacktest, iso
from deploy_action.backtest.runs_on import RunsOn
from deploy_action.backtest.sweep.cells import with_current
from deploy_action.backtest.sweep.combinations import Swept
from deploy_action.backtest.wire import parse_run
from deploy_action.bundle.bundle import Bundle
from deploy_action.errors import Problem, Severity
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.outcome.request import Request
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.outcome.target import Target
from tests.support.backtests import (
    DAY,
    START,
    a_market,
    an_order,
    raw_result,
    read_result,
    with_metrics,
)
from tests.support.sweeps import swept

GRID = {"env.FAST": [*range(5, 55, 5)], "env.SLOW": [*range(20, 220, 20)]}
_COMMIT = "5f2c9e81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d"
_DESCRIPTION = "Buy the dip later\n\n- wait for two closes below the band\n- half the size"
_PAGE = "https://app.example/Qk3v9/bN7x2"
LONG_NAME = "strategies/mean_reversion/experiments/2024-q3/notebooks_and_more/a_very_long_name.py"

_BUNDLE = Bundle(
    path=Path("model.zip"),
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    size=48_213,
    file_count=14,
    unpacked_size=183_402,
    largest=(
        ("model/prices/BTC-USD.csv", 121_004),
        (f"model/{LONG_NAME}", 30_112),
        ("model/bot.py", 8_204),
        ("model/blankly.json", 612),
        ("model/requirements.txt", 84),
    ),
)


def with_parts(outcome: RunOutcome, /, **parts: Mapping[str, object]) -> RunOutcome:
    """Return the outcome with fields of its parts changed: `target={"url": ""}`."""
    changed = {name: replace(getattr(outcome, name), **of) for name, of in parts.items()}
    return replace(outcome, **changed)


def with_runs_on(outcome: RunOutcome, /, **changes: object) -> RunOutcome:
    """Return the outcome of a model that runs on something else."""
    return with_parts(outcome, model={"runs_on": replace(outcome.model.runs_on, **changes)})  # type: ignore[arg-type]  # as above


def with_problems(outcome: RunOutcome, *problems: Problem) -> RunOutcome:
    """Return the outcome with these problems, and no others at its end."""
    return with_parts(outcome, ending={"problems": problems})


def an_outcome(mode: str, status: Status, /, **parts: Mapping[str, object]) -> RunOutcome:
    """Return a run on a server that ended with this status."""
    known = RunOutcome(
        request=Request(mode=mode, server="https://deploy.example"),
        model=DescribedModel(
            path="bots/momentum",
            name="momentum",
            type="strategy",
            runs_on=RunsOn(plan="nano", python_version="3.10"),
            commit=_COMMIT,
            commit_url=f"https://forge.example/trader/models/commit/{_COMMIT}",
            description=_DESCRIPTION,
        ),
        bundle=_BUNDLE,
        target=Target(
            project_id="Qk3v9",
            model_id="bN7x2",
            project_url="https://app.example/Qk3v9",
            url=f"{_PAGE}/overview",
            is_deployed=status is Status.DEPLOYED,
        ),
        ending=Ending(status=status, seconds=12.34),
    )
    return with_parts(known, **parts)


def _problem(number: int) -> Problem:
    return Problem(
        message=f'`backtest_args.initial_values[{number}]` is `"ten thousand"`, which is no '
        f"number; see {LONG_NAME} or https://forge.example/{LONG_NAME}.",
        hint="Write a number, without quotes: `10000`." if number % 3 else "",
        path=LONG_NAME if number % 2 else "blankly.json",
        line=10 + number,
        column=7,
    )


def wave(days: int, height: float = 10_000.0, swing: float = 0.07) -> list[float | None]:
    """Return an account's value that rises and falls."""
    return [height * (1 + day / 900 + swing * math.sin(day / 23)) for day in range(days)]


def prices(days: int, first: float = 32.0, gain: float = 0.65) -> list[float]:
    """Return prices of which the last is so much above the first, and some are below it."""
    return [
        first * (1 + gain * day / (days - 1) - 0.2 * math.sin(math.pi * 3 * day / (days - 1)))
        for day in range(days)
    ]


def orders(number: int, **changes: Any) -> list[dict[str, Any]]:
    """Return as many orders, every second one to sell."""
    return [
        {
            **an_order(
                "sell" if index % 2 else "buy",
                304.22878 + index,
                32.87 + index * 0.01 * (-1) ** (index // 2),
                time=START + index * DAY / 3,
            ),
            **changes,
        }
        for index in range(number)
    ]


def a_backtest(result: dict[str, Any], **parts: Mapping[str, object]) -> RunOutcome:
    """Return a backtest on the embedded platform with this result."""
    run = {
        "python": "3.11.7",
        "wantedPython": "3.10",
        "blankly": "1.18.25b0",
        "constraints": ["numpy<2", "pandas<2.2"],
        "environmentSeconds": 2.1,
        "modelSeconds": 1.8,
        "callbackCalls": 541,
        "schedule": [{"kind": "bar_event", "symbol": "OAK-USD", "resolution": 86400.0}],
        "exchanges": ["keyless"],
        "symbols": ["OAK-USD"],
        "bundleSha256": _BUNDLE.sha256,
        "pinned": {"hashSeed": 0, "randomSeed": 0, "threads": 1, "now": "2026-01-02T03:04:05Z"},
    }
    found = {"backtest_id": "bt_881", "result": read_result(result), "run": parse_run(run)}
    known = an_outcome(
        "backtest",
        Status.BACKTESTED,
        request={"server": "local", "is_local": True},
        target={"url": "", "project_url": "", "version_id": "vX41c"},
        backtests=found,
    )
    known = with_runs_on(known, arguments={"to": "2y", "initial_values": {"USD": 10_000}})
    return with_parts(replace(known, report_path="blankly-backtest.json"), **parts)


def _windows() -> tuple[WindowBacktest, ...]:
    """Return windows that gained, lost, and failed, beside what holding made."""
    found = []
    for number, (made, held) in enumerate([(1.2, 1.1), (1.1, 1.3), (0.9, 0.8), (0.8, 1.0)]):
        values = [10_000.0, 9_900.0, 10_000.0 * made]
        market = a_market({"OAK-USD": [4.0, 4.0, 4.0 * held]})
        result = read_result(raw_result(values, orders(2), market=market))
        start = START + number * 90 * DAY
        name = f"{iso(start)}..{iso(start + 90 * DAY)}" if number else "the first quarter"
        figures = KeptFigures.of(result)
        found.append(WindowBacktest(name=name, start=start, end=start + 90 * DAY, figures=figures))
    last = START + 360 * DAY
    reason = "no prices cover it"
    failed = WindowBacktest(name="2024", start=last, end=last + 90 * DAY, reason=reason)
    return (*found, failed)


def _current(fast: int, slow: int) -> int:
    return GRID["env.FAST"].index(fast) * len(GRID["env.SLOW"]) + GRID["env.SLOW"].index(slow)


def hill(fast: int, slow: int) -> float:
    """Return a return with a broad top about 25 and 100."""
    return 85 * math.exp(-(((fast - 26) / 15) ** 2) - ((slow - 99) / 60) ** 2) - 12


def spike(fast: int, slow: int) -> float:
    """Return a return that is high at 20 and 80 alone."""
    return 60.0 if (fast, slow) == (20, 80) else (fast * 7 + slow * 3) % 29 - 12.0


@cache
def sweeps() -> Mapping[str, Swept]:
    """Return what sweeps found, by name."""
    windows = [
        Window(f"quarter {number}", START + number * 90 * DAY, START + (number + 1) * 90 * DAY)
        for number in range(3)
    ]
    three = {"env.FAST": GRID["env.FAST"], "env.SLOW": GRID["env.SLOW"], "env.STOP": [1, 2, 5]}
    large = {"env.FAST": range(1, 51), "env.SLOW": range(50, 100)}
    return {
        "sweep": swept(GRID, hill, current=_current(20, 80)),
        "sweep with a peak": swept(GRID, spike, current=_current(20, 80)),
        "sweep with failures": swept(
            GRID,
            lambda fast, slow: None if fast > slow / 2 else hill(fast, slow),
            current=_current(30, 100),
            windows=windows,
        ),
        "sweep of one": swept(
            {"env.FAST": [5, 10, 20, 40]}, lambda fast: fast * 3.0 - 10, current=1, windows=windows
        ),
        "sweep of three": swept(three, lambda fast, slow, stop: hill(fast, slow) / stop, current=7),
        "large sweep": swept(large, lambda fast, slow: hill(fast, slow + 20), current=1_234),
        "sweep of periods": swept(
            {"to": ["1y", "2y", "3y"]}, lambda to: {"1y": 9.0, "2y": 30.0}.get(to, 40.0)
        ),
    }


@cache
def swept_backtests() -> Mapping[str, RunOutcome]:
    """Return the backtests that have a sweep, by name."""
    return {name: a_sweep(found) for name, found in sweeps().items()}


def a_sweep(found: Swept) -> RunOutcome:
    """Return a backtest with a sweep, of which the model's own setting did the same."""
    raw = raw_result(wave(541), orders(17), market=a_market({"OAK-USD": prices(541, gain=0.2)}))
    figures = KeptFigures.of(read_result(raw))
    own = replace(found, own=None if found.current is None else _places(found, found.current))
    windows = () if found.current is None else found.combinations[found.current].windows
    return a_backtest(
        raw, backtests={"windows": windows, "sweep": with_current(own, figures, windows)}
    )


def _places(found: Swept, index: int) -> tuple[int, ...]:
    values = found.combinations[index].values
    pairs = zip(found.sweep.axes, values, strict=True)
    return tuple(axis.values.index(value) for axis, value in pairs)


@cache
def backtests() -> Mapping[str, RunOutcome]:
    """Return the backtests that have a result, by name."""
    wide = "均值回归" * 30
    warning = Problem(
        message="The model wants Python 3.10, which is not here; it ran with 3.11.7.",
        severity=Severity.WARNING,
    )
    gate = Problem(message="The gate `sharpe >= 1` failed: `sharpe` is 0.96.")
    oak, elm = {"OAK-USD": prices(541)}, {"ELM-USD": prices(541, 7.0, -0.3)}
    nothing = raw_result([10_000.0] * 541, market=a_market(oak))
    pending = orders(3, type="limit", status="pending")
    errors = raw_result([None, 10_000.0, 10_020.0], orders(2))
    for name, said in (("sharpe", "failed: division by zero"), ("cavr", ""), ("sortino", None)):
        errors["metrics"][name]["value"] = said
    errors["metrics"]["max_drawdown"]["value"] = "failed: `x` | <b>"
    several = raw_result(
        wave(541), [*orders(17), *orders(8, symbol="ELM-USD")], market=a_market({**oak, **elm})
    )
    several["symbols"] = ["OAK-USD", "ELM-USD"]
    large = raw_result(wave(20_000, 1e12), orders(10_000), step=60)
    large["symbols"] = [f"SYMBOL{number}-USDT" for number in range(50)]
    nasty = raw_result(
        wave(40)[::-1],
        orders(30, symbol=f"{wide}|`x`", type="**<b>", side="@octocat #12"),
        quote_asset='"]; `x` <b>',
        exchange=wide,
        symbols=[f"{wide}{number}" for number in range(9)],
    )
    for number in range(100):
        metric = {"value": 10.0**number, "display_name": f"{wide} | `x` <b>", "type": "<b>"}
        nasty["metrics"][f"{wide}{number}"] = metric
    return {
        "gain": with_problems(
            a_backtest(raw_result(wave(541), orders(17), market=a_market(oak))), warning
        ),
        "ahead of time": a_backtest(
            raw_result(wave(541), orders(17), market=a_market(oak, use_price="close"))
        ),
        "several symbols": a_backtest(several),
        "windows": a_backtest(
            raw_result(wave(541), orders(17), market=a_market(oak)),
            backtests={"windows": _windows()},
        ),
        **swept_backtests(),
        "package only": a_backtest(
            with_metrics(raw_result(trades=orders(9)), max_drawdown="failed: x", sortino=None)
        ),
        "loss": a_backtest(
            raw_result(wave(200)[::-1], orders(9)),
            backtests={"run": None},
            request={"server": "https://deploy.example", "is_local": False},
            target={"url": f"{_PAGE}/backtests"},
        ),
        "no trades": a_backtest(nothing),
        "no fills": a_backtest(raw_result([10_000.0] * 30, pending)),
        "not computed": a_backtest(errors),
        "no values": a_backtest(raw_result([])),
        "large": a_backtest(large),
        "nasty": a_backtest(nasty, model={"name": wide}),
        "gate": a_backtest(
            raw_result(wave(541), orders(17)), ending={"status": Status.FAILED, "problems": (gate,)}
        ),
    }


@cache
def outcomes() -> Mapping[str, RunOutcome]:
    """Return the runs without a result, by name."""
    warning = Problem(
        message="`ignore_file` is an unknown key and has no effect.",
        hint="Did you mean `ignore_files`?",
        severity=Severity.WARNING,
        path="blankly.json",
        line=6,
        column=3,
    )
    created = Problem(
        message="Created the model bN7x2.",
        hint="Set `model-id: bN7x2` so that later runs go to it, whatever it is renamed to.",
        severity=Severity.NOTICE,
    )
    scripts = (
        "均值回归等待两根收盘价低于布林带下轨后再买入并按波动率调整仓位大小。" * 4
        + "\n\nקנה בירידה, ולא לפני שני סגירות. اشترِ عند الانخفاض.\n\n"
        + "🚀📈 Ship it 👩\u200d💻 " * 12
    )
    no_pages = {"url": "", "project_url": ""}
    return {
        "deployed": an_outcome("deploy", Status.DEPLOYED, target={"version_id": "vX41c"}),
        "created": an_outcome(
            "deploy",
            Status.DEPLOYED,
            target={
                "version_id": "vX41c",
                "created": ("project Qk3v9", "model bN7x2"),
                "problems": (created,),
            },
            model={
                "type": "screener",
                "problems": (warning,),
                "runs_on": RunsOn(plan="nano", python_version="3.10", schedule="*/15 9-16 * * 1-5"),
            },
        ),
        "local": an_outcome(
            "deploy",
            Status.DEPLOYED,
            request={"server": "local", "is_local": True},
            target={**no_pages, "version_id": "1"},
        ),
        "backtested": with_runs_on(
            an_outcome(
                "backtest",
                Status.BACKTESTED,
                target={"url": f"{_PAGE}/backtests"},
                backtests={"backtest_id": "bt_881"},
            ),
            arguments={
                "to": "2y",
                "initial_values": {"USD": 10_000, "BTC": 0.5},
                "benchmark_symbol": "SPY",
                "settings": {"use_price": "close", "note": "a|b `c`", "long": "x" * 400},
            },
        ),
        "valid": an_outcome("validate", Status.VALID, request={"server": ""}, target=no_pages),
        "dry-run": an_outcome(
            "deploy",
            Status.DRY_RUN,
            target=no_pages,
            ending={
                "would_do": (
                    'create the project "Desk"',
                    'create the model "momentum"',
                    f"deploy a new version of model momentum: 14 files, SHA-256 {_BUNDLE.sha256}",
                )
            },
        ),
        "failed": replace(
            an_outcome(
                "deploy",
                Status.FAILED,
                target=no_pages,
                ending={"is_unsent": True, "problems": (*map(_problem, range(12)), warning)},
            ),
            bundle=None,
        ),
        "scripts": an_outcome(
            "deploy",
            Status.DEPLOYED,
            target={"version_id": "vX41c"},
            model={"name": "均值回归 📈", "description": scripts},
        ),
    }
