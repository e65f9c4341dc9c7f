"""How long the backtests of earlier runs took, by which those of the next are shared out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from deploy_action.backtest.sweep.cells import key_of
from deploy_action.backtest.sweep.grid import Axis, Sweep
from deploy_action.regular_files import read_regular
from deploy_action.stages.reports.files import MOST_BYTES, find_reports

if TYPE_CHECKING:
    from pathlib import Path


def read_durations(path: Path) -> Mapping[str, float]:
    """Return the seconds that windows and combinations took, by `key_of`.

    The reports at a path may be of whole runs or of parts; of what was run several times, the
    longest counts, so that their names do not matter. What cannot be read is left out: it only
    makes the shares less even.
    """
    found: dict[str, float] = {}
    directory = path.parent if path.is_file() else path
    for name in find_reports(path):
        try:
            data = read_regular(directory / name, MOST_BYTES, follow=False)
        except OSError:
            continue
        for key, seconds in _durations(data):
            found[key] = max(seconds, found.get(key, 0.0))
    return found


def _durations(data: bytes) -> Iterator[tuple[str, float]]:
    from deploy_action.report.reading import WrongReportError, parse_report

    try:
        report = parse_report(data)
    except WrongReportError:
        return
    axes = () if report.sweep is None else report.sweep.axes
    sweep = Sweep(tuple(Axis(one.name, one.values) for one in axes)) if axes else None
    for values, window, seconds in report.run.seconds.backtests:
        if values is None or len(values) == len(axes):
            yield key_of(sweep, values, window), seconds
