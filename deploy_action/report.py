"""The report of a backtest: one JSON file with everything, as `docs/report.md` defines it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from deploy_action.record import RunRecord

if TYPE_CHECKING:
    from deploy_action.backtest_result import BacktestResult, BacktestRun
    from deploy_action.bundle import Bundle
    from deploy_action.errors import Problem

FORMAT: Final = "blankly-deploy/backtest-report"
VERSION: Final = 1


def build_report(record: RunRecord) -> str:
    """Return the report of a run as strict JSON, each key of the first level on a line of its own.

    What is not known is null, or blank where it is a text. A result of a million account values
    has 50 MB: nothing is indented further.
    """
    lines = (f"{json.dumps(key)}: {_written(value)}" for key, value in _document(record).items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _written(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(", ", ": "))


def _document(record: RunRecord) -> dict[str, Any]:
    result, run = record.backtest, record.backtest_run
    return {
        "format": FORMAT,
        "version": VERSION,
        "status": record.status.value,
        "model": {
            "name": record.model_name,
            "type": record.model_type,
            "path": record.model_path,
        },
        "commit": record.commit,
        "description": record.description,
        "bundle": None if record.bundle is None else _bundle(record.bundle),
        "server": record.server,
        "ids": {
            "project": record.project_id,
            "model": record.model_id,
            "version": record.version_id,
            "backtest": record.backtest_id,
        },
        "arguments": record.backtest_args,
        "environment": None if run is None else _environment(run),
        "calls": None if run is None else _calls(run),
        "seconds": {
            "environment": None if run is None else run.environment_seconds,
            "model": None if run is None else run.model_seconds,
            "total": round(record.seconds, 3),
        },
        "metrics": None if result is None else result.contract_metrics(),
        "metrics_detail": None if result is None else [asdict(one) for one in result.metrics],
        "trades_sha256": None if result is None else result.trades_sha256,
        "round_trips": None if result is None else _round_trips(result),
        "problems": [_problem(problem) for problem in record.problems],
        "result": None if result is None else _result(result),
    }


def _bundle(bundle: Bundle) -> dict[str, Any]:
    return {"sha256": bundle.sha256, "bytes": bundle.size, "files": bundle.file_count}


def _environment(run: BacktestRun) -> dict[str, Any]:
    return {
        "python": run.python,
        "wanted_python": run.wanted_python,
        "blankly": run.blankly,
        "constraints": run.constraints,
    }


def _calls(run: BacktestRun) -> dict[str, Any]:
    return {
        "count": run.callback_calls,
        "schedule": [asdict(one) for one in run.schedule],
        "exchanges": run.exchanges,
        "symbols": run.symbols,
    }


def _round_trips(result: BacktestResult) -> dict[str, Any]:
    trips = result.round_trips()
    return {**asdict(trips), "win_rate": trips.win_rate}


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity.value,
        "message": problem.message,
        "hint": problem.hint,
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
    }


def _result(result: BacktestResult) -> Mapping[str, Any]:
    values = [{"time": time, "value": value} for time, value in result.account_values]
    return {**result.raw, "account_values": values}
