"""A run's backtests, shared out over several runners: their reports, and that of one runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.period.windows import Window, WindowBacktest
from deploy_action.backtest.sweep.cells import Cell, cells_of, with_current
from deploy_action.backtest.sweep.combinations import Combination, Swept
from deploy_action.backtest.sweep.shards import Part, Shard, share_out
from deploy_action.errors import DeployActionError
from deploy_action.gates.grammar import parse_gates
from deploy_action.outcome.backtests import Backtests
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.json_report import build_report
from deploy_action.stages.backtests.judging import Judging
from tests.support.outcomes import with_parts


def without_run(report: str) -> str:
    """Return a report without what differs from run to run."""
    lines = report.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith('"run": '))


def concluded(outcome: RunOutcome, gates: str = "") -> RunOutcome:
    """Return the outcome as one runner reports it: with its warnings and verdicts."""
    judging = Judging(
        gates=parse_gates(gates)[0], fail_on_warning=False, redact=str, wants_several=True
    )
    backtests = judging.conclude(outcome.backtests)
    ending = Ending(status=Status.BACKTESTED, seconds=61.0)
    try:
        judging.refuse(backtests)
    except DeployActionError as error:
        ending = replace(ending, status=Status.FAILED, problems=error.problems)
    return replace(outcome, backtests=backtests, ending=ending)


def whole(outcome: RunOutcome, gates: str = "") -> RunOutcome:
    """Return what one runner reports of a run of which every cell is known."""
    found = outcome.backtests
    assert found.result is not None
    if found.sweep is not None:
        known = with_current(found.sweep, KeptFigures.of(found.result), found.windows)
        outcome = with_parts(outcome, backtests={"sweep": known})
    return concluded(outcome, gates)


def cells_in(outcome: RunOutcome) -> list[Cell]:
    """Return what is backtested beside the model's own setting."""
    swept, windows = outcome.backtests.sweep, len(outcome.backtests.windows)
    if swept is None:
        return cells_of(windows, None, None)
    return cells_of(windows, swept.sweep, swept.index_of_own())


def shared_out(
    outcome: RunOutcome, of: int, weights: Mapping[Cell, float] | None = None, digest: str = ""
) -> Iterator[RunOutcome]:
    """Yield the parts of a run of which every cell is known; each has only its share."""
    found = outcome.backtests
    windows = tuple(Window(one.name, one.start, one.end) for one in found.windows)
    swept, cells = found.sweep, cells_in(outcome)
    shares = share_out([(weights or {}).get(cell, 1.0) for cell in cells], of)
    for number in range(1, of + 1):
        kept = {cell for cell, share in zip(cells, shares, strict=True) if share == number}
        part = Part(shard=Shard(number, of), windows=windows, balanced_by=digest)
        yield with_parts(
            outcome,
            backtests={
                "windows": _windows(found.windows, kept, None),
                "sweep": None if swept is None else _swept(swept, kept),
                "part": part,
                "comparison": _comparison(found, kept),
            },
            ending={"status": Status.BACKTESTED, "seconds": 7.0 + number},
        )


def write_parts(directory: Path, parts: Sequence[RunOutcome]) -> list[Path]:
    """Write each part into a folder of its own, as artifacts are downloaded."""
    paths = []
    for number, part in enumerate(parts, 1):
        path = directory / f"part-{number}" / f"{part.backtests.backtest_id or 'b'}.json"
        path.parent.mkdir(parents=True)
        with path.open("w", encoding="ascii") as file:
            file.writelines(build_report(part))
        paths.append(path)
    return paths


def _windows(
    windows: Sequence[WindowBacktest], kept: set[Cell], combination: int | None
) -> tuple[WindowBacktest, ...]:
    return tuple(
        one
        if Cell(combination, index) in kept
        else WindowBacktest(name=one.name, start=one.start, end=one.end)
        for index, one in enumerate(windows)
    )


def _swept(swept: Swept, kept: set[Cell]) -> Swept:
    combinations = []
    for index, one in enumerate(swept.combinations):
        known = one if Cell(index, None) in kept else Combination(values=one.values)
        combinations.append(replace(known, windows=_windows(one.windows, kept, index)))
    return replace(swept, combinations=tuple(combinations), current=None)


def _comparison(found: Backtests, kept: set[Cell]) -> object:
    comparison = found.comparison
    if comparison is None:
        return None
    base = comparison.base
    if base.is_same_bundle:
        windows = _windows(base.windows, kept, None)
    else:
        windows = tuple(one for index, one in enumerate(base.windows) if Cell(None, index) in kept)
    return replace(comparison, base=replace(base, windows=windows))
