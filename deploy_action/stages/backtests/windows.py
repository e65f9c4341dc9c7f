"""The backtests of windows: periods of their own, of the candidate's bundle and of the base's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.period.asked import without_period
from deploy_action.backtest.period.coverage import coverage_warnings
from deploy_action.backtest.period.windows import (
    Window,
    WindowBacktest,
    WrongWindowsError,
    equal_parts,
    iso,
)
from deploy_action.errors import Problem, RefusedError, Severity
from deploy_action.stages.backtests.base import NO_MODEL, of_base, with_arguments, with_model
from deploy_action.stages.backtests.beside import NoResultError, result_of
from deploy_action.text.harmless import tidy

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import Backtested, Submission
    from deploy_action.stages.backtests.beside import Beside, Pending
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.text.located_json import JsonValue

# Of an asked period, this many bars may have no prices before it counts as covered in part only.
_FEW_BARS: Final = 2
_DAY: Final = 86_400.0
_MOST_WARNINGS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsFound:
    """The windows of the candidate and of the base, and warnings about the candidate's."""

    candidate: tuple[WindowBacktest, ...] = ()
    base: tuple[WindowBacktest, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True, kw_only=True)
class WindowBacktests:
    """Backtests each window of the candidate, and of its base, once the whole period is done.

    `windows` is their number, or the windows themselves. `on_done` gets the share that is done.
    """

    windows: int | tuple[Window, ...]
    bundle: Bundle
    submission: Submission
    base: PreparedBase | None
    beside: Beside
    on_done: Callable[[float, str], None]
    _windows: tuple[Window, ...] = field(default=(), init=False)
    _candidate: list[Pending] = field(default_factory=list, init=False)
    _base: list[Pending] = field(default_factory=list, init=False)

    def begin(self, candidate: Backtested) -> None:
        """Start all windows, with the arguments of the whole period's backtest for the rest.

        Raises:
            RefusedError: the period is too short for so many windows.
        """
        if candidate.result is None:
            return
        self._windows = self._cut(candidate.result)
        submission = with_model(self.submission, candidate)
        known = None if candidate.run is None else candidate.run.arguments
        arguments = without_period(known or submission.runs_on.arguments or {})
        if submission.model_id is None:  # each upload would create a model
            return
        for window in self._windows:
            one = _of_window(submission, window, arguments)
            self._candidate.append(self.beside.start(self.bundle, one))
            if self.base is not None and (bundle := self._base_bundle) is not None:
                self._base.append(self.beside.start(bundle, of_base(one, self.base)))

    def finish(self, candidate: Backtested) -> WindowsFound:
        """Wait for all windows and return them, in their order."""
        told = {problem.message for problem in candidate.problems}
        found: list[WindowBacktest] = []
        problems: list[Problem] = []
        if not self._candidate:
            return WindowsFound(
                candidate=tuple(
                    WindowBacktest(name=one.name, start=one.start, end=one.end, reason=NO_MODEL)
                    for one in self._windows
                )
            )
        for window, pending in zip(self._windows, self._candidate, strict=True):
            one, backtested = self._wait(window, pending)
            found.append(one)
            problems += _failure(one) if one.figures is None else _new(one, backtested, told)
            if backtested is not None and backtested.result is not None:
                coverage = backtested.result.analysis.coverage
                problems += coverage_warnings(coverage, f"Window `{one.name}`: ")
            self.on_done(len(found) / len(self._windows), "")
        ours, base = tuple(found), self.base
        if base is not None and base.bundle is not None and self._base_bundle is None:
            theirs = ours
        else:
            pairs = zip(self._windows, self._base, strict=False)
            theirs = tuple(self._wait(window, pending)[0] for window, pending in pairs)
        return WindowsFound(candidate=ours, base=theirs, problems=_cut_short(problems))

    @property
    def _base_bundle(self) -> Bundle | None:
        """The base's bundle; None if there is none, or if it is the candidate's."""
        bundle = None if self.base is None else self.base.bundle
        return None if bundle is None or bundle.sha256 == self.bundle.sha256 else bundle

    def _cut(self, result: BacktestResult) -> tuple[Window, ...]:
        if not isinstance(self.windows, int):
            return self.windows
        try:
            return equal_parts(*_whole_period(result), self.windows)
        except WrongWindowsError as error:
            message = f"Input `windows` is {self.windows}: {error}"
            hint = "Ask for fewer windows, or for a longer period."
            raise RefusedError.of(message=message, hint=hint) from error

    def _wait(self, window: Window, pending: Pending) -> tuple[WindowBacktest, Backtested | None]:
        known = WindowBacktest(name=window.name, start=window.start, end=window.end)
        try:
            backtested = self.beside.wait(pending)
            result = result_of(backtested)
            _refuse_other_period(window, result)
            return replace(known, figures=KeptFigures.of(result)), backtested
        except NoResultError as missing:
            return replace(known, reason=str(missing)), None


def _refuse_other_period(window: Window, result: BacktestResult) -> None:
    """Raise if a model sets its own period, and backtested that instead of the window.

    Raises:
        NoResultError: the account has values outside the window.
    """
    values = result.account_values
    if not values:
        return
    coverage = result.analysis.coverage
    tolerance = _FEW_BARS * max((one.resolution for one in coverage), default=_DAY)
    first, last = values.times[0], values.times[-1]
    if first < window.start - tolerance or last > window.end + tolerance:
        raise NoResultError(
            f"the backtest was from {iso(first)} to {iso(last)}: the model's script sets a period "
            "of its own"
        )


def _of_window(
    submission: Submission, window: Window, arguments: Mapping[str, JsonValue]
) -> Submission:
    described = replace(
        submission, description=tidy(f"Window {window.name} of: {submission.description}")
    )
    return with_arguments(described, {**arguments, **window.arguments()})


def _whole_period(result: BacktestResult) -> tuple[float, float]:
    """Return the period that was backtested: as it was asked for, where prices cover it."""
    start, end = result.start_time, result.stop_time
    coverage = [one for one in result.analysis.coverage if one.covered is not None]
    if not coverage:
        return start, end
    tolerance = _FEW_BARS * max(one.resolution for one in coverage)
    asked = min(one.asked[0] for one in coverage), max(one.asked[1] for one in coverage)
    first = min(one.covered[0] for one in coverage if one.covered)
    last = max(one.covered[1] for one in coverage if one.covered)
    start = asked[0] if first - asked[0] <= tolerance else first
    end = asked[1] if asked[1] - last <= tolerance else last
    return start, end


def _cut_short(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    left = len(problems) - _MOST_WARNINGS
    if left <= 0:
        return tuple(problems)
    rest = Problem(
        message=f"There are {left} more warnings about windows; the table names those that failed.",
        severity=Severity.WARNING,
    )
    return (*problems[:_MOST_WARNINGS], rest)


def _failure(window: WindowBacktest) -> list[Problem]:
    message = f"Window `{window.name}` failed: {window.reason.removesuffix('.')}."
    hint = (
        "The whole period and the other windows hold; gates over windows do not pass. To see its "
        "output, backtest it alone: its `start_date` and `end_date` in `backtest-args`."
    )
    return [Problem(message=message, hint=hint, severity=Severity.WARNING)]


def _new(
    window: WindowBacktest, backtested: Backtested | None, told: set[str]
) -> Sequence[Problem]:
    """Return the warnings that only this window has."""
    problems = () if backtested is None else backtested.problems
    return [
        replace(problem, message=f"Window `{window.name}`: {problem.message}")
        for problem in problems
        if problem.severity is Severity.WARNING and problem.message not in told
    ]
