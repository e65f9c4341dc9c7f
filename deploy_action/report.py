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

FORMAT: Final = "blankly-deploy/backtest-report"
VERSION: Final = 1


def build_report(record: RunRecord) -> str:
    """Return the report of a run as strict JSON, each key of the first level on a line of its own.

    What is not known is null, or blank where it is a text. A result of a million account values
    has 50 MB: nothing is indented further.

    Raises:
        ValueError: the run has no result.
    """
    if record.backtest is None:
        raise ValueError("there is no result to report")
    document = _document(record, record.backtest)
    lines = (f"{json.dumps(key)}: {_written(value)}" for key, value in document.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _written(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(", ", ": "))


def _document(record: RunRecord, result: BacktestResult) -> dict[str, Any]:
    run = record.backtest_run
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
        "metrics": result.contract_metrics(),
        "metrics_detail": [asdict(one) for one in result.metrics],
        "trades_sha256": result.trades_sha256,
        "round_trips": _round_trips(result),
        "problems": [problem.document() for problem in record.problems],
        "result": _result(result),
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


def _result(result: BacktestResult) -> Mapping[str, Any]:
    values = [{"time": time, "value": value} for time, value in result.account_values]
    return {**result.raw, "account_values": values}
