"""What is said of windows and combinations: their names, and what went wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from deploy_action.backtest.period.windows import WindowBacktest
from deploy_action.backtest.sweep.warning_signs import sweep_warnings
from deploy_action.errors import Problem, Severity
from deploy_action.stages.backtests.beside import NOT_REACHED, TOO_LATE

if TYPE_CHECKING:
    from deploy_action.backtest.sweep.combinations import Combination, Swept
    from deploy_action.backtest.sweep.grid import Sweep
    from deploy_action.text.located_json import JsonValue

Named: TypeAlias = "tuple[str, WindowBacktest | Combination]"
_MOST_WARNINGS: Final = 10


def name_of(
    window: str | None,
    sweep: Sweep | None,
    values: tuple[JsonValue, ...] | None,
    redact: Callable[[str], str],
) -> str:
    """Return the name of a backtest, with which a sentence can begin; `redact` hides secrets."""
    if sweep is None or values is None:
        return f"Window `{window}`"
    combination = f"Combination `{sweep.name(values, redact)}`"
    return combination if window is None else f"{combination} in window `{window}`"


def problems_of(
    windows: Sequence[WindowBacktest], swept: Swept | None, *, redact: Callable[[str], str]
) -> tuple[Problem, ...]:
    """Return the warnings about windows and combinations of a whole run, in their order.

    `redact` hides secrets in values, which are cut.
    """
    found: list[Problem] = []
    late: list[str] = []
    for name, one in named(windows, swept, redact):
        if one.reason in {TOO_LATE, NOT_REACHED}:
            late.append(name)
        elif one.figures is None and one.reason:
            found.append(_failure(name, one.reason, is_window=isinstance(one, WindowBacktest)))
        found += one.problems
    of_all = () if swept is None else sweep_warnings(swept, redact)
    return (*of_all, *_of_late(late), *_cut_short(found))


def named(
    windows: Sequence[WindowBacktest], swept: Swept | None, redact: Callable[[str], str]
) -> Iterator[Named]:
    """Yield windows and combinations with their names; none of them twice."""
    for window in windows:
        yield name_of(window.name, None, None, redact), window
    if swept is None:
        return
    own = swept.index_of_own()
    for index, one in enumerate(swept.combinations):
        yield name_of(None, swept.sweep, one.values, redact), one
        if index != own:  # that has the windows above
            for window in one.windows:
                yield name_of(window.name, swept.sweep, one.values, redact), window


def _of_late(names: Sequence[str]) -> Iterator[Problem]:
    if names:
        others = f", and {len(names) - 1:,} more" if len(names) > 1 else ""
        yield Problem(
            message=f"Not all backtests ended before the deadline of the run: {names[0]}{others}.",
            hint="Raise `timeout-minutes`, try fewer values, or share them out with `shard`. Gates "
            "over all of them do not pass.",
            severity=Severity.WARNING,
        )


def _failure(name: str, reason: str, *, is_window: bool) -> Problem:
    where = "its `start_date` and `end_date`" if is_window else "its values"
    return Problem(
        message=f"{name} failed: {reason.removesuffix('.')}.",
        hint="The others hold; gates over all of them do not pass. To see its output, "
        f"backtest it alone: {where} in `backtest-args`, variables in `model-env`.",
        severity=Severity.WARNING,
    )


def _cut_short(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    left = len(problems) - _MOST_WARNINGS
    if left <= 0:
        return tuple(problems)
    rest = Problem(
        message=f"There are {left:,} more warnings about windows and combinations; the tables name "
        "those that failed.",
        severity=Severity.WARNING,
    )
    return (*problems[:_MOST_WARNINGS], rest)
