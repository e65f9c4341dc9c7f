"""The outputs of `action.yml`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from deploy_action.errors import Problem, Severity
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.text.quantities import count

if TYPE_CHECKING:
    from deploy_action.backtest.figures.kept import KeptFigures
    from deploy_action.backtest.period.windows import WindowBacktest
    from deploy_action.backtest.sweep.combinations import Swept

MOST: Final = 900_000
"""Bytes of all outputs: a job's outputs end at 1 MB, and others may be in it."""


def outputs_of(outcome: RunOutcome) -> dict[str, str]:
    """Return the known outputs by name."""
    backtests, bundle = outcome.backtests, outcome.bundle
    known = {
        "status": outcome.ending.status.value,
        "state": outcome.life.state,
        "project-id": outcome.project_id,
        "model-id": outcome.model_id,
        "version-id": outcome.target.version_id,
        "backtest-id": backtests.backtest_id,
        "url": outcome.target.url or (outcome.forwarding.url if outcome.forwarding else ""),
        "description": outcome.model.description,
        "report": outcome.report_path,
        "report-html": outcome.page_path,
    }
    if bundle is not None:
        known |= {
            "bundle-sha256": bundle.sha256,
            "bundle-bytes": str(bundle.size),
            "bundle-files": str(bundle.file_count),
        }
    if outcome.discovery is not None:
        listed = [{"path": one.path, "name": one.name} for one in outcome.discovery.models]
        known["models"] = _json(listed)
    if backtests.result is not None:
        metrics = dict(backtests.result.analysis.metrics)
        known |= {
            "metrics": _json(metrics),
            "trades-sha256": backtests.result.trades_sha256,
        }
    if backtests.windows and backtests.part is None:
        known["windows"] = _windows(backtests.windows)
    if backtests.verdicts:
        from deploy_action.gates.judgement import are_passed

        known["gates"] = "passed" if are_passed(backtests.verdicts) else "failed"
    found = {name: value for name, value in known.items() if value}
    if backtests.sweep is not None and backtests.part is None:
        sweep = _sweep(backtests.sweep)
        if sum(map(_size, (*found.values(), sweep))) <= MOST:
            found["sweep"] = sweep
    return found


def left_out(outcome: RunOutcome, outputs: Mapping[str, str]) -> Problem | None:
    """Return the notice that the sweep is too large for an output; None if it is not."""
    backtests = outcome.backtests
    if backtests.sweep is None or backtests.part is not None or "sweep" in outputs:
        return None
    return Problem(
        message="The output `sweep` is blank: the outputs of a job end at 1 MB, and "
        f"{count(len(backtests.sweep.combinations), 'combination')} are more.",
        hint="The report has all of them, below `sweep`.",
        severity=Severity.NOTICE,
    )


def _size(value: str) -> int:
    """Return how much a forge counts: its limit is on UTF-16, two bytes for most characters.

    GitHub, "Passing information between jobs": 1 MB per job, "approximated based on UTF-16".
    """
    return len(value.encode("utf-16-le", "surrogatepass"))


def _windows(windows: Iterable[WindowBacktest]) -> str:
    """Return the windows as a JSON list; metrics and digest of a failed one are null."""
    from deploy_action.backtest.period.windows import iso

    return _json(
        [
            {
                "name": one.name,
                "start": iso(one.start),
                "end": iso(one.end),
                **_figures(one.figures),
            }
            for one in windows
        ]
    )


def _sweep(swept: Swept) -> str:
    """Return the combinations as a JSON list; metrics and digest of a failed one are null."""
    names = [axis.name for axis in swept.sweep.axes]
    listed = []
    for one in swept.combinations:
        found = {"values": dict(zip(names, one.values, strict=True)), **_figures(one.figures)}
        if one.windows:
            windows = [{"name": of.name, **_figures(of.figures)} for of in one.windows]
            found["windows"] = windows
        listed.append(found)
    return _json(listed)


def _figures(figures: KeptFigures | None) -> dict[str, object]:
    return {
        "metrics": figures and dict(figures.metrics),
        "trades-sha256": figures and figures.trades_sha256,
    }


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
