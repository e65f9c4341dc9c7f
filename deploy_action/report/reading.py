"""Reads a report that `json_report` wrote, so that it can be shown again or put together.

The file may come from anybody: it is read strictly, what is shown is computed from its account
values, trades and prices again, and its texts are other people's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy_action.backtest.comparison import (
    Base,
    BaseState,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.figures.moments import Moments
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.period.windows import Window, WindowBacktest
from deploy_action.backtest.result import BacktestResult, BacktestRun
from deploy_action.backtest.runs_on import RunsOn
from deploy_action.backtest.sweep.combinations import Combination, Swept
from deploy_action.backtest.sweep.grid import MOST_BACKTESTS, Sweep, WrongSweepError, sweep_of
from deploy_action.backtest.sweep.shards import Part, Shard
from deploy_action.backtest.wire import WrongResultError, parse_result
from deploy_action.bundle.bundle import Bundle
from deploy_action.errors import read_problems
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Verdict
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.outcome.backtests import Backtests
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.outcome.request import Request
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.outcome.target import Target
from deploy_action.records import replace
from deploy_action.report import wire
from deploy_action.report.json_report import FORMAT, NOW, VERSION
from deploy_action.text.harmless import excerpt
from deploy_action.text.strict_json import strict_text

# Of ten thousand backtests with warnings each; that is the most of one run.
_MOST_VALUES: Final = 4_000_000
_DIGEST: Final = lazy_regex(r"[0-9a-f]{64}")


class WrongReportError(ValueError):
    """A file that is no report, or one of another version; the message follows the file's name.

    The message is `what`, then what was `found` in the file, then `end`. What was found is whole,
    so that secrets in it can be hidden before it is cut.
    """

    def __init__(self, what: str, found: str | WrongResultError = "", end: str = "") -> None:
        super().__init__(what, found, end)
        self._what, self._found, self._end = what, found, end

    def in_words(self, redact: Callable[[str], str]) -> str:
        """Return what is wrong."""
        found = self._found
        if isinstance(found, WrongResultError):
            return f"{self._what}{found.in_words(redact)}{self._end}"
        return f"{self._what}{excerpt(redact(found))}{self._end}"

    def __str__(self) -> str:
        """Return the message for a report that has no secrets."""
        return self.in_words(str)


def read_report(data: bytes) -> RunOutcome:
    """Return the run that a report is about, as far as the report tells.

    Metrics, round trips, drawdowns and the comparison are computed again from the results in it.
    Windows have no result there, and gates are not judged again: both are as the report says.

    Raises:
        WrongReportError: it is no report, not of this version, or something in it is wrong.
    """
    return outcome_of(parse_report(data))


def parse_report(data: bytes) -> wire.Report:
    """Return what is in a report; the results in it are checked to be JSON, and not decoded.

    Raises:
        WrongReportError: it is no report, not of this version, or a type in it is wrong.
    """
    try:
        text = strict_text(data)
        head = msgspec.json.decode(text, type=wire.Head)
        _check_head(head)
        _check_size(text, head)
        return msgspec.json.decode(text, type=wire.Report)
    except WrongReportError:
        raise
    except ValueError as error:
        raise WrongReportError("cannot be read: ", str(error)) from error


def outcome_of(report: wire.Report) -> RunOutcome:
    """Return the run that a report is about, with its results.

    Raises:
        WrongReportError: a result is wrong, or something else in it.
    """
    try:
        result = parse_result(report.result)
        is_alone = bytes(report.base_result) == wire.NULL
        base = None if is_alone else parse_result(report.base_result)
    except WrongResultError as error:
        raise WrongReportError("has a wrong result: ", error) from error
    except ValueError as error:
        raise WrongReportError("cannot be read: ", str(error)) from error
    return _outcome(report, result, base)


def _check_head(head: wire.Head) -> None:
    if head.format != FORMAT:
        raise WrongReportError("is no report of a backtest")
    if head.version != VERSION:
        raise WrongReportError(
            f"is a report of version {head.version}, and this release reads version {VERSION}: "
            "let all jobs use the same release"
        )


def _check_size(text: bytes | bytearray, head: wire.Head) -> None:
    """Refuse what would fill the memory: each value takes some hundred bytes of it."""
    long = (head.result, head.base_result, head.round_trips, head.drawdowns, head.months)
    values = _count_values(text) - sum(_count_values(bytes(one)) for one in long)
    if values > _MOST_VALUES:
        raise WrongReportError(
            f"has more than {_MOST_VALUES:,} values beside its results, and no run has so many"
        )


def _count_values(text: bytes | bytearray) -> int:
    """Return how many values JSON has at most, but for the first."""
    return sum(map(text.count, (b",", b"[", b"{")))


def _outcome(
    report: wire.Report, result: BacktestResult, base: BacktestResult | None
) -> RunOutcome:
    python = "" if report.environment is None else report.environment.wanted_python
    run = report.run
    return RunOutcome(
        request=Request(
            mode="deploy" if run.mode == "deploy" else "backtest",
            server=report.server,
            is_local=report.server == "local",
        ),
        model=DescribedModel(
            path=report.model.path,
            name=report.model.name,
            type=report.model.type,
            commit=report.commit,
            is_committed=report.is_committed,
            description=report.description,
            runs_on=RunsOn(python_version=python, arguments=report.arguments),
            argument_sources=report.argument_sources,
            included=report.model.included,
        ),
        bundle=None if report.bundle is None else _bundle(report.bundle),
        target=Target(
            project_id=run.ids.project,
            model_id=run.ids.model,
            version_id=run.ids.version,
            is_deployed=run.status is Status.DEPLOYED,
        ),
        backtests=Backtests(
            backtest_id=run.ids.backtest,
            result=result,
            run=_run(report),
            comparison=_comparison(report, result, base),
            windows=windows_of(report),
            sweep=swept_of(report),
            part=part_of(report),
            parts=run.parts,
            verdicts=tuple(_verdict(number, one) for number, one in enumerate(report.gates, 1)),
        ),
        ending=Ending(
            status=run.status,
            seconds=run.seconds.total,
            problems=read_problems(report.problems),
        ),
    )


def _bundle(found: wire.Bundle) -> Bundle:
    return Bundle(
        path=Path(),
        sha256=_digest(found.sha256),
        size=found.bytes,
        file_count=found.files,
        unpacked_size=found.unpacked_bytes,
        largest=(),
    )


def _digest(text: str) -> str:
    if text and not _DIGEST.fullmatch(text):
        raise WrongReportError("has a digest that is none: `", text, "`")
    return text


def _run(report: wire.Report) -> BacktestRun | None:
    environment, calls = report.environment, report.calls
    if environment is None or calls is None:
        return None
    now = {} if report.run.now is None else {NOW: report.run.now}
    return BacktestRun(
        python=environment.python,
        wanted_python=environment.wanted_python,
        blankly=environment.blankly,
        constraints=environment.constraints,
        environment_seconds=report.run.seconds.environment or 0.0,
        model_seconds=report.run.seconds.model or 0.0,
        schedule=calls.schedule,
        exchanges=calls.exchanges,
        symbols=calls.symbols,
        callback_calls=calls.count,
        bundle_sha256=_digest(report.tested_sha256),
        arguments=calls.arguments,
        pinned={**(report.pinned or {}), **now},
    )


def windows_of(report: wire.Report) -> tuple[WindowBacktest, ...]:
    """Return the windows of the candidate."""
    return _windows(report.windows, _seconds(report), None)


def base_windows_of(report: wire.Report) -> tuple[WindowBacktest, ...]:
    """Return the windows of the base."""
    found = report.comparison
    return () if found is None else _windows(found.base.windows, {}, None)


def part_of(report: wire.Report) -> Part | None:
    """Return which part of what it is; None if it is a whole.

    Raises:
        WrongReportError: there is no such part.
    """
    found = report.part
    if found is None:
        return None
    if found.number > found.of:
        raise WrongReportError(f"is part {found.number} of {found.of}, which there cannot be")
    return Part(
        shard=Shard(found.number, found.of),
        windows=tuple(Window(one.name, one.start, one.end) for one in found.windows),
        balanced_by=found.balanced_by,
    )


def swept_of(report: wire.Report) -> Swept | None:
    """Return the sweep; None if there was none.

    Raises:
        WrongReportError: its combinations are not those of its parameters, or not in their order.
    """
    found = report.sweep
    if found is None:
        return None
    sweep, seconds = _sweep(found), _seconds(report)
    total = len(sweep) * (1 + len(report.windows)) + len(report.windows)
    if total > MOST_BACKTESTS:
        raise WrongReportError(f"has {total:,} backtests, and a run has at most {MOST_BACKTESTS:,}")
    if report.part is None and len(found.combinations) != len(sweep):
        raise WrongReportError(
            f"has {len(found.combinations):,} combinations where its parameters have {len(sweep):,}"
        )
    names = [one.name for one in report.windows]
    elsewhere = tuple(
        WindowBacktest(name=one.name, start=one.start, end=one.end) for one in report.windows
    )
    combinations, listed = [], iter(found.combinations)
    one = next(listed, None)
    for values in sweep.combinations():
        key = _key(values)
        if one is None or _key(one.values) != key:  # in a part, which lists only its own
            combinations.append(Combination(values=values, windows=elsewhere))
            continue
        if one.windows and [window.name for window in one.windows] != names:
            raise WrongReportError("has a combination with other windows than the model's own")
        windows = _windows(one.windows, seconds, key)
        combinations.append(
            Combination(
                values=values, windows=windows, seconds=seconds.get((key, None)), **_cell(one)
            )
        )
        one = next(listed, None)
    if one is not None:
        raise WrongReportError("has combinations that are not those of its parameters")
    return Swept(
        sweep=sweep,
        combinations=tuple(combinations),
        own=_own(found, sweep),
        current=_within(found.current, len(sweep)),
    )


def _sweep(found: wire.Sweep) -> Sweep:
    try:
        sweep = sweep_of({axis.name: list(axis.values) for axis in found.axes})
    except WrongSweepError as error:
        raise WrongReportError("has a sweep that is none: ", str(error)) from error
    if len(sweep.axes) != len(found.axes):
        raise WrongReportError("has a sweep with the same parameter twice")
    return sweep


def _own(found: wire.Sweep, sweep: Sweep) -> tuple[int | None, ...] | None:
    if found.own is None:
        return None
    if len(found.own) != len(sweep.axes):
        raise WrongReportError("has a setting of the model with other parameters than the sweep's")
    pairs = zip(found.own, sweep.axes, strict=True)
    return tuple(_within(index, len(axis.values)) for index, axis in pairs)


def _within(index: int | None, count: int) -> int | None:
    if index is not None and index >= count:
        raise WrongReportError(f"has an index of {index} among {count:,}")
    return index


def _key(values: Sequence[Any]) -> bytes:
    """Return what tells values apart: 1, 1.0 and true are equal in Python."""
    return msgspec.json.encode(values)


def _seconds(report: wire.Report) -> Mapping[tuple[bytes | None, str | None], float]:
    """Return how long the processes of windows and combinations ran."""
    return {
        (None if values is None else _key(values), window): seconds
        for values, window, seconds in report.run.seconds.backtests
    }


def _windows(
    found: Sequence[wire.Window],
    seconds: Mapping[tuple[bytes | None, str | None], float],
    key: bytes | None,
) -> tuple[WindowBacktest, ...]:
    return tuple(
        WindowBacktest(
            name=one.name,
            start=one.start,
            end=one.end,
            seconds=seconds.get((key, one.name)),
            **_cell(one),
        )
        for one in found
    )


def _cell(one: wire.Cell) -> dict[str, Any]:
    """Return what a window and a combination have in common."""
    return {
        "figures": None if one.metrics is None else _figures(one, one.metrics),
        "reason": one.reason,
        "problems": read_problems(one.problems),
    }


def _figures(one: wire.Cell, metrics: wire.Metrics) -> KeptFigures:
    found = one.moments
    return KeptFigures(
        metrics={name: metrics.get(name) for name in METRICS},
        trades_sha256=_digest(one.trades_sha256 or ""),
        is_exact=one.is_exact is not False,
        covered=1.0 if one.covered is None else min(1.0, max(0.0, one.covered)),
        moments=None
        if found is None
        else Moments(found.count, found.sharpe, found.skewness, found.kurtosis),
    )


def _verdict(number: int, found: wire.Gate) -> Verdict:
    gates, _ = parse_gates(found.text)
    if len(gates) != 1:
        raise WrongReportError("has a gate that is none: `", found.text, "`")
    return Verdict(
        gate=replace(gates[0], line=number),
        state=found.state,
        value=found.value,
        reference=found.reference,
        bound=found.bound,
        reason=found.reason,
        where=found.where,
    )


def _comparison(
    report: wire.Report, result: BacktestResult, base_result: BacktestResult | None
) -> Comparison | None:
    found = report.comparison
    if found is None:
        return None
    told = found.base
    if told.is_same_bundle and base_result is None:
        base_result = result
    if (told.state is BaseState.BACKTESTED) is not (base_result is not None):
        raise WrongReportError("has a base without its result, or a result without its base")
    base = Base(
        ref=told.ref,
        commit=told.commit,
        state=told.state,
        reason=told.reason,
        bundle=None
        if told.bundle_sha256 is None
        else _bundle(wire.Bundle(told.bundle_sha256, 0, 0)),
        is_same_bundle=told.is_same_bundle,
        backtest_id=report.run.ids.base_backtest,
        result=base_result,
        windows=base_windows_of(report),
    )
    if base_result is None:
        return Comparison(base=base, changes=found.changes)
    return Comparison(
        base=base,
        metrics=compare_metrics(base_result.analysis.metrics, result.analysis.metrics),
        first_difference=first_difference(base_result, result),
        changes=found.changes,
    )
