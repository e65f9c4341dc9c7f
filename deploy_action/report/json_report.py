"""The report of a backtest: one JSON file with everything, as `docs/report.md` defines it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from statistics import fmean, median
from typing import Any, Final

from deploy_action.backtest.comparison import Base, Comparison
from deploy_action.backtest.figures.holding import Holding
from deploy_action.backtest.figures.round_trips import RoundTrips
from deploy_action.backtest.market import Market, Prices
from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.gates.judgement import Verdict
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.records import fields
from deploy_action.report.blocks import argument_sources
from deploy_action.report.json_cells import (
    cell_seconds,
    dumped,
    part_document,
    sweep_blocks,
    window_document,
)
from deploy_action.text.strict_json import JsonText

FORMAT: Final = "blankly-deploy/backtest-report"
VERSION: Final = 2
NOW: Final = "now"
"""In what is pinned, the time of all backtests of the run, in ISO 8601."""


def build_report(outcome: RunOutcome) -> Iterator[str]:
    """Yield the report of a run as strict JSON in ASCII, each top-level key on a line of its own.

    What is not known is null, or blank where it is a text. All that differs from run to run is in
    `run`. A result of a million account values has 50 MB: it is passed on as text, in blocks; and
    ten thousand combinations one by one.

    Raises:
        ValueError: the run has no result.
    """
    if outcome.backtests.result is None:
        raise ValueError("there is no result to report")
    separator = "{\n"
    for key, value in _document(outcome, outcome.backtests.result).items():
        yield f"{separator}{json.dumps(key)}: "
        if isinstance(value, Iterator):
            yield from value
        else:
            yield dumped(value)
        separator = ",\n"
    yield "\n}\n"


def _document(outcome: RunOutcome, result: BacktestResult) -> dict[str, Any]:
    """Return what is in the report; what is large are iterators over the blocks of its text."""
    found, packed = outcome.backtests, outcome.bundle
    run, comparison, base_result = found.run, found.comparison, _base_result(found.comparison)
    return {
        "format": FORMAT,
        "version": VERSION,
        "run": _run(outcome),
        "model": {
            "name": outcome.model.name,
            "type": outcome.model.type,
            "path": outcome.model_path,
            "included": [asdict(one) for one in outcome.model.included],
        },
        "commit": outcome.model.commit,
        "is_committed": outcome.model.is_committed,
        "description": outcome.model.description,
        "bundle": packed
        and {
            "sha256": packed.sha256,
            "bytes": packed.size,
            "unpacked_bytes": packed.unpacked_size,
            "files": packed.file_count,
        },
        "tested_sha256": outcome.tested_sha256,
        "server": outcome.request.server,
        "arguments": outcome.model.runs_on.arguments,
        "argument_sources": argument_sources(outcome),
        "environment": None if run is None else _environment(run),
        "pinned": None if run is None else _without_now(run.pinned),
        "calls": None if run is None else _calls(run),
        "metrics": dict(result.analysis.metrics),
        "metrics_detail": [asdict(one) for one in result.metrics],
        "package_metrics": {one.display_name: one.value for one in result.metrics},
        **_figures(result),
        "trades_sha256": result.trades_sha256,
        "windows": [window_document(one) for one in found.windows],
        "sweep": found.sweep and sweep_blocks(found.sweep, is_part=found.part is not None),
        "part": None if found.part is None else part_document(found.part),
        "gates": [_gate(verdict) for verdict in found.verdicts],
        "comparison": None if comparison is None else _comparison(comparison),
        "problems": [problem.document() for problem in outcome.problems],
        "base_result": None if base_result is None else base_result.blocks(),
        "result": result.raw.blocks(),
    }


def _run(outcome: RunOutcome) -> dict[str, Any]:
    """Return what differs between two runs of the same bytes with the same prices."""
    found, ending = outcome.backtests, outcome.ending
    run, base = found.run, found.base
    return {
        "mode": outcome.request.mode,
        "status": ending.status.value,
        "parts": found.parts,
        "now": None if run is None else run.pinned.get(NOW),
        "ids": {
            "project": outcome.project_id,
            "model": outcome.model_id,
            "version": outcome.target.version_id,
            "backtest": found.backtest_id,
            "base_backtest": "" if base is None else base.backtest_id,
        },
        "seconds": {
            "environment": None if run is None else run.environment_seconds,
            "model": None if run is None else run.model_seconds,
            "total": round(ending.seconds, 3),
            "backtests": cell_seconds(found.windows, found.sweep),
        },
    }


def _without_now(pinned: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in pinned.items() if name != NOW}


def _base_result(comparison: Comparison | None) -> JsonText | None:
    """Return the base's own result; None if there is none, or if it is the candidate's."""
    if comparison is None or comparison.base.result is None or comparison.base.is_same_bundle:
        return None
    return comparison.base.result.raw


def _figures(result: BacktestResult) -> dict[str, Any]:
    """Return what was computed beside the metrics, and from what."""
    analysis, market = result.analysis, result.market
    return {
        "reasons": analysis.reasons,
        "is_exact": analysis.is_exact,
        "holding": None if analysis.holding is None else _holding(analysis.holding),
        "drawdowns": [{**asdict(one), "days": one.days} for one in analysis.drawdowns],
        "months": [asdict(one) for one in analysis.months],
        "round_trips": _round_trips(analysis.round_trips),
        "coverage": [asdict(one) for one in analysis.coverage],
        "market": None if market is None else _market(market),
    }


def _holding(holding: Holding) -> dict[str, Any]:
    times = holding.values.times
    return {
        "symbols": holding.symbols,
        "start": times[0],
        "end": times[-1],
        "metrics": holding.metrics,
    }


def _round_trips(trips: RoundTrips) -> dict[str, Any]:
    import msgspec

    seconds = sorted(one.seconds for one in trips.closed)
    return {
        "wins": trips.wins,
        "losses": trips.losses,
        "even": trips.even,
        "win_rate": trips.win_rate,
        "gained": trips.gained,
        "lost": trips.lost,
        "fees_known": trips.fees_known,
        "in_quote_asset": trips.is_in_quote,
        "mean_seconds": fmean(seconds) if seconds else None,
        "median_seconds": median(seconds) if seconds else None,
        "closed": msgspec.to_builtins(trips.closed),
        "open": msgspec.to_builtins(trips.open),
    }


def _market(market: Market) -> dict[str, Any]:
    """Return the market without its prices, which the result has."""
    known = {one.name: getattr(market, one.name) for one in fields(market) if one.name != "prices"}
    return {**known, "symbols": [_prices(one) for one in market.prices]}


def _prices(prices: Prices) -> dict[str, Any]:
    names = (one.name for one in fields(prices) if one.name not in {"times", "values"})
    ends = {"start": 0, "end": -1}
    return {
        **{name: getattr(prices, name) for name in names},
        **{name: prices.times[at] if prices.times else None for name, at in ends.items()},
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
        "where": verdict.where,
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
        "is_same_bundle": base.is_same_bundle,
        "metrics": None if result is None else dict(result.analysis.metrics),
        "trades_sha256": None if result is None else result.trades_sha256,
        "windows": [window_document(one) for one in base.windows],
    }
