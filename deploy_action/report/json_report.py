"""The report of a backtest: one JSON file with everything, as `docs/report.md` defines it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from deploy_action.backtest.comparison import Base, Comparison
from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.gates.judgement import Verdict
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.text.strict_json import JsonText

FORMAT: Final = "blankly-deploy/backtest-report"
VERSION: Final = 1


def build_report(outcome: RunOutcome) -> Iterator[str]:
    """Yield the report of a run as strict JSON in ASCII, each top-level key on a line of its own.

    What is not known is null, or blank where it is a text. A result of a million account values
    has 50 MB: it is passed on as text, in blocks.

    Raises:
        ValueError: the run has no result.
    """
    if outcome.backtests.result is None:
        raise ValueError("there is no result to report")
    separator = "{\n"
    for key, value in _document(outcome, outcome.backtests.result).items():
        yield f"{separator}{json.dumps(key)}: "
        if isinstance(value, JsonText):
            yield from value.blocks()
        else:
            yield json.dumps(value, allow_nan=False)
        separator = ",\n"
    yield "\n}\n"


def _document(outcome: RunOutcome, result: BacktestResult) -> dict[str, Any]:
    run, comparison = outcome.backtests.run, outcome.backtests.comparison
    packed = outcome.bundle
    trips = result.analysis.round_trips
    return {
        "format": FORMAT,
        "version": VERSION,
        "status": outcome.ending.status.value,
        "model": {
            "name": outcome.model.name,
            "type": outcome.model.type,
            "path": outcome.model_path,
        },
        "commit": outcome.model.commit,
        "description": outcome.model.description,
        "bundle": packed
        and {"sha256": packed.sha256, "bytes": packed.size, "files": packed.file_count},
        "tested_sha256": outcome.tested_sha256,
        "server": outcome.request.server,
        "ids": {
            "project": outcome.project_id,
            "model": outcome.model_id,
            "version": outcome.target.version_id,
            "backtest": outcome.backtests.backtest_id,
        },
        "arguments": outcome.model.runs_on.arguments,
        "environment": None if run is None else _environment(run),
        "calls": None if run is None else _calls(run),
        "seconds": {
            "environment": None if run is None else run.environment_seconds,
            "model": None if run is None else run.model_seconds,
            "total": round(outcome.ending.seconds, 3),
        },
        "metrics": dict(result.analysis.metrics),
        "metrics_detail": [asdict(one) for one in result.metrics],
        "trades_sha256": result.trades_sha256,
        "round_trips": {
            "wins": trips.wins,
            "losses": trips.losses,
            "even": trips.even,
            "win_rate": trips.win_rate,
        },
        "gates": [_gate(verdict) for verdict in outcome.backtests.verdicts],
        "comparison": None if comparison is None else _comparison(comparison),
        "problems": [problem.document() for problem in outcome.problems],
        "result": result.raw,
    }


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
        "arguments": run.arguments,
    }


def _gate(verdict: Verdict) -> dict[str, Any]:
    return {
        "text": verdict.gate.text,
        "metric": verdict.gate.metric,
        "state": verdict.state.value,
        "value": verdict.value,
        "reference": verdict.reference,
        "base": verdict.reference if verdict.gate.needs_base else None,
        "bound": verdict.bound,
        "reason": verdict.reason,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    import msgspec

    first, changes = comparison.first_difference, comparison.changes
    return {
        "base": _base(comparison.base),
        "metrics": [asdict(change) for change in comparison.metrics],
        "identical": None if comparison.base.result is None else comparison.is_identical,
        "first_difference": msgspec.to_builtins(first),
        "changes": None if changes is None else asdict(changes),
    }


def _base(base: Base) -> dict[str, Any]:
    result = base.result
    return {
        "ref": base.ref,
        "commit": base.commit,
        "state": base.state.value,
        "reason": base.reason,
        "bundle_sha256": None if base.bundle is None else base.bundle.sha256,
        "backtest": base.backtest_id,
        "metrics": None if result is None else dict(result.analysis.metrics),
        "trades_sha256": None if result is None else result.trades_sha256,
    }
