"""Puts the reports of the parts of a run together, to what one runner would have reported.

One part is read after the other, so that memory does not grow with the size of their results: only
those of the first part are decoded, which are the same in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.period.windows import Window, WindowBacktest
from deploy_action.backtest.sweep.cells import Cell, with_current
from deploy_action.backtest.sweep.combinations import Combination, Swept
from deploy_action.errors import InvalidInputError, Problem
from deploy_action.outcome.ending import Ending
from deploy_action.records import replace
from deploy_action.regular_files import read_regular
from deploy_action.stages.reports.files import MOST_ENTRIES, find_all_reports
from deploy_action.stages.reports.parts import PartReport, Result, find_problems, read_part
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.backtest.comparison import Comparison
    from deploy_action.outcome.run_outcome import RunOutcome

MOST_BYTES: Final = 256 << 20
"""Of one part; a result of a million account values has 50 MB, and that of a base as much."""

_MOST_PROBLEMS: Final = 20
_HOW: Final = (
    "Each run with `shard` leaves a part, at its output `report`: upload it, and download all of "
    "them into one directory, as `examples/workflows/sweep-on-many-runners.yml` does."
)
_ONLY_PARTS: Final = (
    "Leave only the reports of runs with `shard` in that directory, all of one run. If this was "
    "one of them, download its artifact again."
)


def merge_reports(
    path: Path, given: str, say: Callable[[str], None], redact: Callable[[str], str]
) -> RunOutcome:
    """Return the run of which all parts are at a path; nothing of it is judged.

    `given` is the path as the input has it, and `say` gets a line for each part. Whatever messages
    quote from the reports goes through `redact` before it is cut.

    Raises:
        InvalidInputError: they are not all there, damaged, or not of one run.
    """
    names, is_all = find_all_reports(path)
    problems = [] if is_all else [_too_many(redact(given))]
    parts = []
    directory = path.parent if path.is_file() else path
    for one in _read_parts(directory, names, redact):
        if isinstance(one, Problem):
            problems.append(one)
        else:
            say(str(one))
            parts.append(one)
    if not parts:
        problems.insert(0, _nothing(redact(given), is_there=path.exists()))
    if parts:
        problems += find_problems(parts)
    if problems:
        raise InvalidInputError(*_cut_short(problems))
    parts.sort(key=lambda one: one.part.shard.number)
    return _merged(_read_first(directory, parts[0], redact), parts)


def _read_parts(
    directory: Path, names: Sequence[str], redact: Callable[[str], str]
) -> Iterator[PartReport | Problem]:
    from deploy_action.report.reading import WrongReportError

    for name in names:
        try:
            yield read_part(name, _read(directory, name), redact)
        except OSError as error:
            yield _unusable(redact(name), f"cannot be read: {error.strerror}")
        except WrongReportError as error:
            yield _unusable(redact(name), error.in_words(redact))


def _read(directory: Path, name: str) -> bytes:
    return read_regular(directory / name, MOST_BYTES, follow=False)


def _read_first(directory: Path, part: PartReport, redact: Callable[[str], str]) -> RunOutcome:
    """Return the run of a part, with its results."""
    from deploy_action.report.reading import WrongReportError, read_report

    try:
        return read_report(_read(directory, part.file))
    except OSError as error:
        wrong = _unusable(redact(part.file), f"cannot be read: {error.strerror}")
    except WrongReportError as error:
        wrong = _unusable(redact(part.file), error.in_words(redact))
    raise InvalidInputError(wrong)


def _merged(first: RunOutcome, parts: Sequence[PartReport]) -> RunOutcome:
    """Return the whole: what all parts have in common is the first one's."""
    found = first.backtests
    cells = {cell: one for part in parts for cell, one in part.cells.items()}
    windows = _windows(cells, None, parts[0].part.windows)
    swept = _swept(cells, parts[0])
    if swept is not None and found.result is not None:
        swept = with_current(swept, KeptFigures.of(found.result), windows)
    return replace(
        first,
        backtests=replace(
            found,
            windows=windows,
            sweep=swept,
            part=None,
            parts=len(parts),
            verdicts=(),
            comparison=_comparison(found.comparison, windows, parts),
            # What was said of the candidate; what there is to say of the whole is found anew.
            problems=first.ending.problems,
        ),
        ending=Ending(),
    )


def _windows(
    cells: Mapping[Cell, Result], combination: int | None, windows: Sequence[Window]
) -> tuple[WindowBacktest, ...]:
    found = []
    for index, window in enumerate(windows):
        one = cells.get(Cell(combination, index))
        found.append(
            one
            if isinstance(one, WindowBacktest)
            else WindowBacktest(name=window.name, start=window.start, end=window.end)
        )
    return tuple(found)


def _swept(cells: Mapping[Cell, Result], part: PartReport) -> Swept | None:
    if part.sweep is None:
        return None
    combinations = []
    for index, values in enumerate(part.sweep.combinations()):
        one = cells.get(Cell(index, None))
        known = one if isinstance(one, Combination) else Combination(values=values)
        windows = _windows(cells, index, part.part.windows)
        combinations.append(replace(known, windows=windows))
    return Swept(sweep=part.sweep, combinations=tuple(combinations), own=part.own)


def _comparison(
    found: Comparison | None, windows: tuple[WindowBacktest, ...], parts: Sequence[PartReport]
) -> Comparison | None:
    """Return the comparison with the base's windows: those of the same bundle are the same."""
    if found is None:
        return None
    if not found.base.is_same_bundle:
        known = {name: one for part in parts for name, one in part.base_windows.items()}
        windows = tuple(known[one.name] for one in windows if one.name in known)
    return replace(found, base=replace(found.base, windows=windows))


def _unusable(name: str, why: str) -> Problem:
    return Problem(message=f"`{excerpt(name)}` {why.removesuffix('.')}.", hint=_ONLY_PARTS)


def _nothing(given: str, *, is_there: bool) -> Problem:
    state = "holds no report of a part that can be used" if is_there else "does not exist"
    return Problem(
        message=f"There is nothing to put together: `{excerpt(given)}` {state}. If the jobs of "
        "the parts failed or were skipped, nothing was backtested.",
        hint=_HOW,
    )


def _too_many(given: str) -> Problem:
    return Problem(
        message=f"`{excerpt(given)}` holds more than {MOST_ENTRIES:,} files and directories, "
        "and not all were looked at.",
        hint=_ONLY_PARTS,
    )


def _cut_short(problems: Sequence[Problem]) -> Sequence[Problem]:
    left = len(problems) - _MOST_PROBLEMS
    if left <= 0:
        return problems
    return [*problems[:_MOST_PROBLEMS], Problem(message=f"There are {left:,} more problems.")]
