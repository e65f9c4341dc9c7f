"""The outputs of `action.yml`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from deploy_action.outcome.run_outcome import RunOutcome

if TYPE_CHECKING:
    from deploy_action.backtest.period.windows import WindowBacktest


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
    }
    if bundle is not None:
        known |= {
            "bundle-sha256": bundle.sha256,
            "bundle-bytes": str(bundle.size),
            "bundle-files": str(bundle.file_count),
        }
    if outcome.discovery is not None:
        listed = [{"path": one.path, "name": one.name} for one in outcome.discovery.models]
        known["models"] = json.dumps(listed, separators=(",", ":"))
    if backtests.result is not None:
        metrics = dict(backtests.result.analysis.metrics)
        known |= {
            "metrics": json.dumps(metrics, separators=(",", ":"), allow_nan=False),
            "trades-sha256": backtests.result.trades_sha256,
        }
    if backtests.windows:
        known["windows"] = _windows(backtests.windows)
    if backtests.verdicts:
        from deploy_action.gates.judgement import are_passed

        known["gates"] = "passed" if are_passed(backtests.verdicts) else "failed"
    return {name: value for name, value in known.items() if value}


def _windows(windows: Iterable[WindowBacktest]) -> str:
    """Return the windows as a JSON list; metrics and digest of a failed one are null."""
    from deploy_action.backtest.period.windows import iso

    listed = [
        {
            "name": one.name,
            "start": iso(one.start),
            "end": iso(one.end),
            "metrics": one.figures and dict(one.figures.metrics),
            "trades-sha256": one.figures and one.figures.trades_sha256,
        }
        for one in windows
    ]
    return json.dumps(listed, separators=(",", ":"), allow_nan=False)
