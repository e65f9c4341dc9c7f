"""The reports of the parts of a run: what is kept of each, and whether they belong together.

A part that is foreign, doubled or missing would give figures that nobody has measured, so one of
them refuses all. Every problem names the file, and the part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from deploy_action.backtest.metrics import are_alike
from deploy_action.backtest.sweep.cells import Cell, cells_of
from deploy_action.backtest.sweep.combinations import Combination, index_of
from deploy_action.errors import Problem
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from deploy_action.backtest.period.windows import WindowBacktest
    from deploy_action.backtest.sweep.grid import Sweep
    from deploy_action.backtest.sweep.shards import Part
    from deploy_action.report.wire import Report

Result: TypeAlias = "WindowBacktest | Combination"

_MOST_NAMED: Final = 5
_LONGEST_VALUE: Final = 60
_LONGEST_QUOTE: Final = 120
_DIFFERENCES: Final = (
    "All parts have to be of one run: the same commit, inputs and release in every job, and only "
    "their artifacts in the directory."
)
_OTHER_PRICES: Final = (
    "A model that is not reproducible cannot be compared over several runners. If its prices "
    "changed meanwhile, run all parts again: use prices of the repository, or a period that is "
    "over."
)
_CLOCKS: Final = (
    "The parts ran on two days (UTC). Run all of them again, or give the period by `start_date` "
    "and `end_date` in `backtest-args`, which mean the same on every day."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of a backtest that every part runs; empty if it has none."""

    metrics: Mapping[str, float | None]
    trades_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """What is kept of the report of one part.

    `common` is what all parts of a run have in common, in JSON, by its name for people; `now` the
    time from which its period counts back, blank if it does not. `results` are those over the
    whole period that every part has, by their names for people. `cells` are the backtests that it
    has, without what the combination of the model's own setting takes from there. `base_windows`
    are those of the base, by name; `is_base_beside` says that they are the same as the model's own,
    if it has to have any. `redact` hides secrets in what is quoted. `failure` says why its run
    failed, and is blank if it did not.
    """

    file: str
    part: Part
    common: Mapping[str, bytes]
    now: str
    results: Mapping[str, Measured]
    sweep: Sweep | None
    own: tuple[int | None, ...] | None
    cells: Mapping[Cell, Result]
    base_windows: Mapping[str, WindowBacktest]
    is_base_beside: bool
    redact: Callable[[str], str] = field(repr=False)
    failure: str = ""

    def __str__(self) -> str:
        return f"`{self.quoted(self.file)}` (part {self.part.shard.number} of {self.part.shard.of})"

    def quoted(self, text: str, longest: int = _LONGEST_QUOTE) -> str:
        """Return a text of the report for a message: redacted, and then cut."""
        return excerpt(self.redact(text), longest)


def read_part(file: str, data: bytes, redact: Callable[[str], str]) -> PartReport:
    """Return what is kept of a part's report. Its results are not decoded.

    Messages about it quote what has gone through `redact`.

    Raises:
        WrongReportError: it is no report, not of this version, damaged, or not that of a part.
    """
    from deploy_action.report.reading import (
        WrongReportError,
        base_windows_of,
        parse_report,
        part_of,
        swept_of,
        windows_of,
    )

    report = parse_report(data)
    part, swept, windows = part_of(report), swept_of(report), windows_of(report)
    if part is None:
        raise WrongReportError("is the report of a whole run, and no part of one")
    if [one.name for one in windows] != [one.name for one in part.windows]:
        raise WrongReportError("has other windows than it says that the run has")
    of_base = base_windows_of(report)
    cells: dict[Cell, Result] = {Cell(None, at): one for at, one in enumerate(windows)}
    for number, one in enumerate(() if swept is None else swept.combinations):
        cells[Cell(number, None)] = one
        cells |= {Cell(number, at): window for at, window in enumerate(one.windows)}
    return PartReport(
        file=file,
        part=part,
        common=_common(report),
        now=_now(report),
        results={
            "the model's own setting": Measured(report.metrics, report.trades_sha256),
            "the base": _of_base(report),
        },
        sweep=None if swept is None else swept.sweep,
        own=None if swept is None else swept.own,
        cells={cell: one for cell, one in cells.items() if one.is_known},
        base_windows={one.name: one for one in of_base},
        is_base_beside=not _has_base(report)
        or [one.name for one in windows if one.is_known]
        == [one.name for one in of_base if one.is_known],
        redact=redact,
        failure=_failure(report, redact),
    )


def _common(report: Report) -> Mapping[str, bytes]:
    """Return what all parts have in common, by its name for people."""
    import msgspec

    sweep, part, base = report.sweep, report.part, report.comparison and report.comparison.base
    values: dict[str, Any] = {
        "number of parts": part and part.of,
        "commit": report.commit or None,
        "state of the checkout": report.is_committed,
        "model": report.model,
        "bundle": report.bundle and report.bundle.sha256,
        "server": report.server,
        "environment": report.environment,
        "pins": report.pinned,
        "backtest arguments": (report.arguments, report.calls and report.calls.arguments),
        "sweep": sweep and (sweep.axes, sweep.own),
        "list of windows": part and part.windows,
        "base": base and (base.ref, base.commit, base.state, base.bundle_sha256),
        "earlier durations by which the work was shared out": part and part.balanced_by,
    }
    return {name: msgspec.json.encode(one, order="deterministic") for name, one in values.items()}


def _now(report: Report) -> str:
    """Return the time of the backtests if their period counts back from it, else a blank."""
    called = None if report.calls is None else report.calls.arguments
    known = report.arguments if called is None else called
    axes = () if report.sweep is None else report.sweep.axes
    counts_back = (known or {}).get("to") is not None or any(axis.name == "to" for axis in axes)
    return (report.run.now or "") if counts_back else ""


def _of_base(report: Report) -> Measured:
    base = report.comparison and report.comparison.base
    if not base:
        return Measured({}, "")
    return Measured(base.metrics or {}, base.trades_sha256 or "")


def _has_base(report: Report) -> bool:
    """Whether there is a base with another bundle, of which windows are backtested, too."""
    base = report.comparison and report.comparison.base
    return bool(base and base.bundle_sha256 and not base.is_same_bundle)


def _failure(report: Report, redact: Callable[[str], str]) -> str:
    from deploy_action.errors import Severity, read_problems
    from deploy_action.outcome.ending import Status

    if report.run.status is not Status.FAILED:
        return ""
    problems = read_problems(report.problems, redact)
    errors = (one for one in problems if one.severity is Severity.ERROR)
    return next((excerpt(one.sentence) for one in errors), "") or "it does not say why"


def find_problems(parts: Sequence[PartReport]) -> Sequence[Problem]:
    """Return why parts, of which there is at least one, cannot be put together; empty if they can.

    Their cells are looked at once they belong together: a missing part has missing cells.
    """
    problems = [*_failed(parts), *_foreign(parts), *_doubled(parts), *_missing(parts)]
    return problems or [*_of_cells(parts)]


def _failed(parts: Sequence[PartReport]) -> Iterator[Problem]:
    for one in parts:
        if one.failure:
            yield Problem(
                message=f"{one} is of a run that failed: {one.failure.removesuffix('.')}.",
                hint="Re-run the failed jobs, and then this one.",
            )


def _foreign(parts: Sequence[PartReport]) -> Iterator[Problem]:
    usual = {name: _usual([one.common[name] for one in parts]) for name in parts[0].common}
    for one in parts:
        others = [name for name, value in one.common.items() if value != usual[name]]
        if others:
            told = "; ".join(
                f"another {name}, {_shown(one, one.common[name])} and not "
                f"{_shown(one, usual[name])}"
                for name in others
            )
            yield Problem(
                message=f"{one} does not belong to the other parts: it has {told}.",
                hint=_DIFFERENCES,
            )
    yield from _unlike(parts, "the model's own setting")
    if len({one.common["base"] for one in parts}) == 1:
        yield from _unlike(parts, "the base")
    now = _usual([one.now for one in parts])
    if others := [str(one) for one in parts if one.now != now]:
        usual_time = parts[0].quoted(now) or "a time that is told"
        yield Problem(
            message="The period counts back from the day of the run, with `to`, and that differs: "
            f"{_listed(others)} did not count from {usual_time}.",
            hint=_CLOCKS,
        )


def _unlike(parts: Sequence[PartReport], name: str) -> Iterator[Problem]:
    """Tell the parts that have other results of what each of them backtests."""
    trades = _usual([one.results[name].trades_sha256 for one in parts])
    model = next(one for one in parts if one.results[name].trades_sha256 == trades)
    for one in parts:
        found = one.results[name]
        if found.trades_sha256 != trades or not are_alike(
            found.metrics, model.results[name].metrics
        ):
            yield Problem(
                message=f"{one} has other results of {name} than {model}: the two "
                "saw other prices, or the model does not do the same each time.",
                hint=_OTHER_PRICES,
            )


def _usual(values: Sequence[Any]) -> Any:
    """Return the value that most have; of several, the first."""
    return Counter(values).most_common(1)[0][0]


def _shown(part: PartReport, value: bytes) -> str:
    return f"`{part.quoted(value.decode(), _LONGEST_VALUE)}`"


def _doubled(parts: Sequence[PartReport]) -> Iterator[Problem]:
    files: dict[int, list[str]] = {}
    for one in parts:
        files.setdefault(one.part.shard.number, []).append(f"`{one.quoted(one.file)}`")
    for number, names in sorted(files.items()):
        if len(names) > 1:
            yield Problem(
                message=f"Part {number} is there {len(names):,} times: {_listed(names)}.",
                hint="Download only the artifacts of one run, and each one once.",
            )


def _missing(parts: Sequence[PartReport]) -> Iterator[Problem]:
    of = _usual([one.part.shard.of for one in parts])
    left = set(range(1, of + 1)) - {one.part.shard.number for one in parts}
    if left:
        numbers = _listed([str(number) for number in sorted(left)])
        which, their = ("Part", "its") if len(left) == 1 else ("Parts", "each one's")
        yield Problem(
            message=f"{which} {numbers} of {of:,} {'is' if len(left) == 1 else 'are'} missing: "
            f"{their} job failed, or its artifact was not uploaded or not downloaded.",
            hint="Re-run the failed jobs, and then this one.",
        )


def _of_cells(parts: Sequence[PartReport]) -> Iterator[Problem]:
    first = parts[0]
    own = None if first.sweep is None else index_of(first.sweep, first.own)
    wanted = cells_of(len(first.part.windows), first.sweep, own)
    found: dict[Cell, list[str]] = {}
    for one in parts:
        for cell in one.cells:
            found.setdefault(cell, []).append(str(one))
    lost = [_name(first, cell) for cell in wanted if cell not in found]
    doubled = [cell for cell, names in found.items() if len(names) > 1]
    odd = found.keys() - set(wanted)
    hint = "Run all parts again: they were shared out differently."
    for one in parts:
        if not one.is_base_beside:
            yield Problem(
                message=f"{one} has not the same windows of the base as of the model, so that "
                "they cannot be compared.",
                hint="Run all parts again.",
            )
    if lost:
        yield Problem(message=f"No part has {_listed(lost)}.", hint=hint)
    if doubled:
        names = [
            f"{_name(first, cell)} ({' and '.join(found[cell][:2])})"
            for cell in doubled[:_MOST_NAMED]
        ]
        yield Problem(message=f"Several parts have {_listed(names, len(doubled))}.", hint=hint)
    if odd:
        names = [f"{_name(first, cell)} ({found[cell][0]})" for cell in [*odd][:_MOST_NAMED]]
        yield Problem(
            message=f"A part has what no part is to backtest, {_listed(names, len(odd))}.",
            hint=hint,
        )


def _name(part: PartReport, cell: Cell) -> str:
    names = []
    if cell.combination is not None and part.sweep is not None:
        values = next(islice(part.sweep.combinations(), cell.combination, None))
        names.append(f"combination `{part.sweep.name(values, part.redact)}`")
    if cell.window is not None:
        names.append(f"window `{part.quoted(part.part.windows[cell.window].name)}`")
    return " in ".join(names)


def _listed(names: Sequence[str], total: int | None = None) -> str:
    """Return a list of names in words, cut short."""
    shown = [*names[:_MOST_NAMED]]
    if left := (len(names) if total is None else total) - len(shown):
        shown.append(f"{left:,} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
