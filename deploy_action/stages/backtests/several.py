"""The backtests beside that of the whole period: of windows, and of the combinations of a sweep."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.period.asked import merge_arguments, without_period
from deploy_action.backtest.period.coverage import coverage_warnings
from deploy_action.backtest.period.windows import (
    FEW_BARS,
    Window,
    WindowBacktest,
    WrongWindowsError,
    equal_parts,
    why_not_of,
)
from deploy_action.backtest.sweep.cells import Cell, cells_of, expected_seconds, with_current
from deploy_action.backtest.sweep.combinations import Combination, Swept, index_of
from deploy_action.backtest.sweep.grid import is_same_value
from deploy_action.backtest.sweep.shards import Part, Shard, share_out
from deploy_action.deployment_api.client import Backtested
from deploy_action.deployment_api.windows import KeptWindow
from deploy_action.errors import Problem, RefusedError, Severity
from deploy_action.records import dataclass, field, replace
from deploy_action.stages.backtests.base import (
    NO_MODEL,
    of_base,
    upload,
    with_arguments,
    with_model,
)
from deploy_action.stages.backtests.beside import NoResultError, result_of
from deploy_action.stages.backtests.remarks import name_of
from deploy_action.text.harmless import tidy

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult
    from deploy_action.backtest.sweep.grid import Sweep
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import DeploymentApi, Submission
    from deploy_action.inputs.settings import Settings
    from deploy_action.stages.backtests.base import BaseBacktest
    from deploy_action.stages.backtests.beside import Beside
    from deploy_action.text.located_json import JsonValue

_One = TypeVar("_One", WindowBacktest, Combination)


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """What came of the backtests of windows and combinations; in a part, only of its share."""

    windows: tuple[WindowBacktest, ...] = ()
    base_windows: tuple[WindowBacktest, ...] = ()
    sweep: Swept | None = None
    part: Part | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What is kept of one backtest: its `name`, the `warnings` of the server, and others."""

    figures: KeptFigures | None = None
    reason: str = ""
    name: str = ""
    warnings: tuple[Problem, ...] = ()
    others: tuple[Problem, ...] = ()
    seconds: float | None = None


_NOT_HERE: Final = _Outcome()


@dataclass(slots=True, kw_only=True)
class SeveralBacktests:
    """Backtests windows of candidate and base, and combinations, beside and after the whole period.

    `earlier` are durations of the same backtests in earlier runs. `redact` hides secrets in values,
    which are cut. `on_done` gets the share that is done, and what to say of it.
    """

    settings: Settings
    bundle: Bundle
    submission: Submission
    base: BaseBacktest | None
    beside: Beside
    earlier: Mapping[str, float]
    redact: Callable[[str], str]
    on_done: Callable[[float, str], None]
    _windows: tuple[Window, ...] = field(default=(), init=False)
    _values: list[tuple[JsonValue, ...]] = field(default_factory=list, init=False)
    _own: tuple[int | None, ...] | None = field(default=None, init=False)
    _pending: dict[Cell, Future[_Outcome]] = field(default_factory=dict, init=False)
    _base: dict[int, Future[_Outcome]] = field(default_factory=dict, init=False)
    _done: int = field(default=0, init=False)
    _missing: _Outcome = field(default=_NOT_HERE, init=False)
    _told: frozenset[str] = field(default=frozenset(), init=False)
    _is_begun: bool = field(default=False, init=False)

    def begin_early(self, version_id: str, backtest_id: str) -> None:
        """Start the windows beside the whole period, which is at work, if it need not be over.

        Equal parts are cut of what its prices cover, and combinations left out that are its own.
        """
        submission, windows = self.submission, self.settings.windows
        if isinstance(windows, int) or self._sweep is not None or submission.model_id is None:
            return
        self._windows = windows
        whole = Backtested(submission.model_id, version_id, backtest_id)
        # The platform itself puts the arguments of the script beside these.
        self._start(with_arguments(submission, submission.runs_on.arguments or {}), whole)

    def begin(self, candidate: Backtested) -> None:
        """Start all that has not begun, now that the backtest of the whole period is over.

        Raises:
            RefusedError: the period is too short for so many windows.
        """
        if candidate.result is None:
            return
        parallel = None if candidate.run is None else candidate.run.parallel
        self.beside.widen(parallel or _cores())
        self._told = frozenset(problem.message for problem in candidate.problems)
        if not self._is_begun:
            self._begin_late(candidate, candidate.result)
        for pending in self._all:
            pending.add_done_callback(self._count)

    def _begin_late(self, candidate: Backtested, result: BacktestResult) -> None:
        """Start all, with the arguments of the whole period's backtest for what they do not say."""
        self._windows = self._cut(result)
        submission = with_model(self.submission, candidate)
        if submission.model_id is None:  # each upload would create a model
            if self.settings.shard is not None:
                hint = "Set `model-id`, or use `api-url: local`."
                raise RefusedError.of(message=f"No share can be backtested: {NO_MODEL}.", hint=hint)
            self._missing = _Outcome(reason=NO_MODEL)
            return
        known = None if candidate.run is None else candidate.run.arguments
        submission = with_arguments(submission, known or submission.runs_on.arguments or {})
        if self._sweep is not None:
            self._values = list(self._sweep.combinations())
            self._own = own_values(self._sweep, submission)
        self._start(submission, candidate)

    def _start(self, submission: Submission, whole: Backtested) -> None:
        self._is_begun = True
        stored = _Stored(self.bundle, lambda: whole)
        for cell in self._share(self._cells):
            wanted = self._wanted(cell, submission)
            self._pending[cell] = self.beside.start(partial(_backtest, stored, wanted))
            if cell.combination is None and self.base is not None and self._base_bundle is not None:
                of_window = replace(wanted, submission=of_base(wanted.submission, self.base.base))
                base_stored = _Stored(self._base_bundle, partial(_known_of, self.base))
                task = partial(_backtest, base_stored, of_window)
                self._base[cell.window or 0] = self.beside.start(task)

    def finish(self, candidate: Backtested) -> Several:
        """Wait for all, and return what came of them, in their order."""
        if candidate.result is None:
            return Several()
        windows = [
            self._window(window, self._pending.get(Cell(None, index)))
            for index, window in enumerate(self._windows)
        ]
        shard, swept = self.settings.shard, self._swept()
        if shard is None and swept is not None:
            figures = KeptFigures.of(candidate.result)
            swept = with_current(swept, figures, tuple(windows))
        return Several(
            windows=tuple(windows),
            base_windows=tuple(self._base_windows(windows)),
            sweep=swept,
            part=None
            if shard is None
            else Part(shard=shard, windows=self._windows, balanced_by=digest_of(self.earlier)),
        )

    @property
    def _sweep(self) -> Sweep | None:
        return self.settings.sweep

    @property
    def _cells(self) -> list[Cell]:
        current = None if self._sweep is None else index_of(self._sweep, self._own)
        return cells_of(len(self._windows), self._sweep, current)

    def _share(self, cells: list[Cell]) -> list[Cell]:
        """Return the cells of this shard."""
        shard = self.settings.shard or Shard(1, 1)
        weights = expected_seconds(cells, self._windows, self._sweep, self.earlier)
        shares = share_out(weights, shard.of)
        return [cell for cell, of in zip(cells, shares, strict=True) if of == shard.number]

    @property
    def _all(self) -> list[Future[_Outcome]]:
        return [*self._pending.values(), *self._base.values()]

    def _count(self, _pending: Future[_Outcome]) -> None:
        self._done += 1  # a bar that is one short for a moment does no harm

    @property
    def _base_bundle(self) -> Bundle | None:
        """The base's bundle; None if there is none, or if it is the candidate's."""
        bundle = None if self.base is None else self.base.base.bundle
        return None if bundle is None or bundle.sha256 == self.bundle.sha256 else bundle

    def _cut(self, result: BacktestResult) -> tuple[Window, ...]:
        windows = self.settings.windows
        if not isinstance(windows, int):
            return windows
        try:
            return equal_parts(*_whole_period(result), windows)
        except WrongWindowsError as error:
            message = f"Input `windows` is {windows}: {error}"
            hint = "Ask for fewer windows, or for a longer period."
            raise RefusedError.of(message=message, hint=hint) from error

    def _wanted(self, cell: Cell, submission: Submission) -> _Wanted:
        window = None if cell.window is None else self._windows[cell.window]
        arguments = whole_arguments = submission.runs_on.arguments or {}
        given: dict[str, JsonValue] = {}
        values = None
        if self._sweep is not None and cell.combination is not None:
            values = self._values[cell.combination]
            given = self._sweep.arguments(values)
            arguments = merge_arguments(arguments, given)
            variables = self._sweep.variables(values)
            submission = replace(submission, environment={**submission.environment, **variables})
        if window is not None:
            arguments = {**without_period(arguments), **window.arguments()}
        name = name_of(None if window is None else window.name, self._sweep, values, self.redact)
        description = tidy(f"{name.replace('`', '')} of: {submission.description}")
        return _Wanted(
            name=name,
            window=window,
            given=given,
            submission=with_arguments(replace(submission, description=description), arguments),
            whole_arguments=whole_arguments,
            number=None if cell.combination is not None else cell.window,
        )

    def _swept(self) -> Swept | None:
        if self._sweep is None:
            return None
        combinations = [
            self._combination(index, values)
            for index, values in enumerate(self._sweep.combinations())
        ]
        return Swept(sweep=self._sweep, combinations=tuple(combinations), own=self._own)

    def _combination(self, index: int, values: tuple[JsonValue, ...]) -> Combination:
        windows = [
            self._window(window, self._pending.get(Cell(index, number)))
            for number, window in enumerate(self._windows)
        ]
        whole = self._pending.get(Cell(index, None))
        return self._with(Combination(values=values, windows=tuple(windows)), self._wait(whole))

    def _window(self, window: Window, pending: Future[_Outcome] | None) -> WindowBacktest:
        known = WindowBacktest(name=window.name, start=window.start, end=window.end)
        return self._with(known, self._wait(pending))

    def _with(self, one: _One, outcome: _Outcome) -> _One:
        """Return it with what came of it, and with the warnings that only this backtest has."""
        new: Iterator[Problem] = (
            replace(warning, message=f"{outcome.name}: {warning.message}")
            for warning in outcome.warnings
            if warning.message not in self._told
        )
        return replace(
            one,
            figures=outcome.figures,
            reason=outcome.reason,
            problems=(*new, *outcome.others),
            seconds=outcome.seconds,
        )

    def _base_windows(self, ours: Sequence[WindowBacktest]) -> Iterator[WindowBacktest]:
        base = self.base
        if base is not None and base.base.bundle is not None and self._base_bundle is None:
            yield from ours
            return
        for index, pending in self._base.items():
            yield self._window(self._windows[index], pending)

    def _wait(self, pending: Future[_Outcome] | None) -> _Outcome:
        if pending is None:
            return self._missing
        try:
            outcome = self.beside.wait(pending)
        except NoResultError as error:
            outcome = _Outcome(reason=str(error) or "no reason is known")
        total = len(self._pending) + len(self._base)
        self.on_done(self._done / total, f" of {total:,}")
        return outcome


def own_values(sweep: Sweep, submission: Submission) -> tuple[int | None, ...] | None:
    """Return the model's own value of each parameter, as `Swept.own` has it."""
    arguments = submission.runs_on.arguments or {}
    own: list[int | None] = []
    for axis in sweep.axes:
        variable = axis.variable
        known = arguments if variable is None else submission.environment
        name = axis.name if variable is None else variable
        if name not in known:
            own.append(None)  # the default of the code, or of backtest.json
            continue
        same = (at for at, value in enumerate(axis.values) if is_same_value(value, known[name]))
        if (index := next(same, None)) is None:
            return None
        own.append(index)
    return tuple(own)


def digest_of(earlier: Mapping[str, float]) -> str:
    """Return what tells apart the durations by which shares were balanced; blank without any."""
    from hashlib import sha256

    if not earlier:
        return ""
    return sha256(json.dumps(dict(earlier), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A backtest to run.

    `window` is None for the whole period. `given` are the arguments that have to be used. `number`
    is that of a window of the model's own setting, from 0, and `whole_arguments` are those of the
    whole period.
    """

    name: str
    window: Window | None
    given: Mapping[str, JsonValue]
    submission: Submission
    whole_arguments: Mapping[str, JsonValue]
    number: int | None

    def kept_as(self, whole: Backtested) -> KeptWindow | None:
        """Return which window it is of a backtest; None if it is none, or of another setting."""
        if self.window is None or self.number is None or whole.backtest_id is None:
            return None
        used = None if whole.run is None else whole.run.arguments
        if used is not None and used != self.whole_arguments:
            return None
        return KeptWindow(whole.backtest_id, self.number + 1, self.window.name)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A bundle, and what tells its backtest of the whole period, if that has an answer."""

    bundle: Bundle
    whole: Callable[[], Backtested | None]


def _known_of(base: BaseBacktest) -> Backtested | None:
    return base.known


def _backtest(stored: _Stored, wanted: _Wanted, api: DeploymentApi) -> _Outcome:
    """Backtest a bundle, and keep the figures: ten thousand results would fill the memory.

    Where the server can, it backtests the version that it has, and keeps windows at most.

    Raises:
        NoResultError: there is no result, or it is about something else.
    """
    whole = stored.whole()
    if whole is not None and whole.version_id is not None and api.can_backtest_versions:
        window = wanted.kept_as(whole)
        backtested = api.backtest_version(wanted.submission, whole.version_id, window)
    else:
        backtested = upload(stored.bundle, wanted.submission, api)
    result, run = result_of(backtested), backtested.run
    if run is not None and run.bundle_sha256 not in {"", stored.bundle.sha256}:
        raise NoResultError(f"the server backtested other bytes, SHA-256 `{run.bundle_sha256}`")
    if wanted.window is not None and (reason := why_not_of(wanted.window, result)):
        raise NoResultError(reason)
    if run is not None and run.arguments is not None:
        _refuse_other_arguments(wanted.given, run.arguments)
    return _Outcome(
        figures=KeptFigures.of(result),
        name=wanted.name,
        warnings=tuple(
            problem for problem in backtested.problems if problem.severity is Severity.WARNING
        ),
        others=tuple(coverage_warnings(result.analysis.coverage, f"{wanted.name}: ", api.redact)),
        seconds=None if run is None else run.model_seconds,
    )


def _refuse_other_arguments(given: Mapping[str, JsonValue], used: Mapping[str, JsonValue]) -> None:
    """Raise if a model backtested with an argument of its own instead of one of the sweep.

    Raises:
        NoResultError: an argument has another value, or is not used.
    """
    for name, value in given.items():
        if value is not None and not is_same_value(used.get(name), value):
            raise NoResultError(f"the model's script calls `backtest()` with a `{name}` of its own")


def _cores() -> int:
    """Return how many backtests run at once where the server does not say how many can."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _whole_period(result: BacktestResult) -> tuple[float, float]:
    """Return the period that was backtested: as it was asked for, where prices cover it."""
    start, end = result.start_time, result.stop_time
    coverage = [one for one in result.analysis.coverage if one.covered is not None]
    if not coverage:
        return start, end
    tolerance = FEW_BARS * max(one.resolution for one in coverage)
    asked = min(one.asked[0] for one in coverage), max(one.asked[1] for one in coverage)
    first = min(one.covered[0] for one in coverage if one.covered)
    last = max(one.covered[1] for one in coverage if one.covered)
    start = asked[0] if first - asked[0] <= tolerance else first
    end = asked[1] if asked[1] - last <= tolerance else last
    return start, end
