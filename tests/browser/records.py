"""Runs that ended in every way, for looking at their summaries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy_action.bundle import Bundle
from deploy_action.errors import Problem, Severity
from deploy_action.record import RunRecord, Status

_COMMIT = "5f2c9e81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d"
_PAGE = "https://app.example/Qk3v9/bN7x2"
_LONG_NAME = "strategies/mean_reversion/experiments/2024-q3/notebooks_and_more/a_very_long_name.py"

_BUNDLE = Bundle(
    path=Path("model.zip"),
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    size=48_213,
    file_count=14,
    unpacked_size=183_402,
    largest=(
        ("model/prices/BTC-USD.csv", 121_004),
        (f"model/{_LONG_NAME}", 30_112),
        ("model/bot.py", 8_204),
        ("model/blankly.json", 612),
        ("model/requirements.txt", 84),
    ),
)


def _record(mode: str, status: Status, **changes: object) -> RunRecord:
    known = RunRecord(
        mode=mode,
        status=status,
        server="https://deploy.example",
        model_path="bots/momentum",
        model_name="momentum",
        model_type="strategy",
        project_id="Qk3v9",
        model_id="bN7x2",
        project_url="https://app.example/Qk3v9",
        url=f"{_PAGE}/overview",
        description="Buy the dip later\n\n- wait for two closes below the band\n- half the size",
        plan="nano",
        python_version="3.10",
        commit=_COMMIT,
        commit_url=f"https://forge.example/trader/models/commit/{_COMMIT}",
        bundle=_BUNDLE,
        clock=iter([0.0, 12.34, 12.34, 12.34]).__next__,
    )
    for name, value in changes.items():
        setattr(known, name, value)
    return known


def _problem(number: int) -> Problem:
    return Problem(
        message=f'`backtest_args.initial_values[{number}]` is `"ten thousand"`, which is no '
        f"number; see {_LONG_NAME} or https://forge.example/{_LONG_NAME}.",
        hint="Write a number, without quotes: `10000`." if number % 3 else "",
        path=_LONG_NAME if number % 2 else "blankly.json",
        line=10 + number,
        column=7,
    )


def records() -> Mapping[str, RunRecord]:
    """Return the runs by name."""
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
    return {
        "deployed": _record("deploy", Status.DEPLOYED, version_id="vX41c"),
        "created": _record(
            "deploy",
            Status.DEPLOYED,
            version_id="vX41c",
            created=["project Qk3v9", "model bN7x2"],
            problems=[warning, created],
            model_type="screener",
            schedule="*/15 9-16 * * 1-5",
        ),
        "local": _record(
            "deploy", Status.DEPLOYED, version_id="1", server="local", url="", project_url=""
        ),
        "backtested": _record(
            "backtest",
            Status.BACKTESTED,
            backtest_id="bt_881",
            url=f"{_PAGE}/backtests",
            backtest_args={
                "to": "2y",
                "initial_values": {"USD": 10_000, "BTC": 0.5},
                "benchmark_symbol": "SPY",
                "settings": {"use_price": "close", "note": "a|b `c`", "long": "x" * 400},
            },
        ),
        "valid": _record("validate", Status.VALID, server="", url="", project_url=""),
        "dry-run": _record(
            "deploy",
            Status.DRY_RUN,
            url="",
            project_url="",
            would_do=[
                'create the project "Desk"',
                'create the model "momentum"',
                f"deploy a new version of model momentum: 14 files, SHA-256 {_BUNDLE.sha256}",
            ],
        ),
        "failed": _record(
            "deploy",
            Status.FAILED,
            is_unsent=True,
            bundle=None,
            url="",
            project_url="",
            problems=[*map(_problem, range(12)), warning],
        ),
        "scripts": _record(
            "deploy",
            Status.DEPLOYED,
            version_id="vX41c",
            model_name="均值回归 📈",
            description=scripts,
        ),
    }
