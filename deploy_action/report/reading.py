"""Reads a report that `json_report` wrote, so that it can be shown again or put together.

The file may come from anybody: it is read strictly, what is shown is computed from its account
values, trades and prices again, and its texts are other people's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from deploy_action.backtest.comparison import (
    Base,
    BaseState,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.model_changes import ModelChanges
from deploy_action.backtest.period.windows import MOST_WINDOWS, WindowBacktest
from deploy_action.backtest.result import BacktestResult, BacktestRun, ScheduledCall
from deploy_action.backtest.runs_on import RunsOn
from deploy_action.backtest.wire import WrongResultError, parse_result
from deploy_action.bundle.bundle import Bundle
from deploy_action.bundle.including import Include
from deploy_action.errors import read_problems
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import State, Verdict
from deploy_action.outcome.backtests import Backtests
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.outcome.request import Request
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.outcome.target import Target
from deploy_action.report.json_report import FORMAT, VERSION
from deploy_action.text.harmless import excerpt
from deploy_action.text.strict_json import strict_text

_NULL: Final = b"null"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_Number = float | None
_Metrics = dict[str, _Number]
# From the year 1 to the year 9999, as seconds since 1970.
_Date = Annotated[float, msgspec.Meta(ge=-62_135_596_800, le=253_402_300_799)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class WrongReportError(ValueError):
    """A file that is no report, or one of a later version; the message follows the file's name."""


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


class _Model(msgspec.Struct):
    name: str
    type: str
    path: str
    included: tuple[Include, ...] = ()


class _Bundle(msgspec.Struct):
    sha256: str
    bytes: _Size
    files: _Size
    unpacked_bytes: _Size = 0


class _Ids(msgspec.Struct):
    project: str
    model: str
    version: str
    backtest: str


class _Environment(msgspec.Struct):
    python: str
    wanted_python: str
    blankly: str
    constraints: tuple[str, ...]


class _Calls(msgspec.Struct):
    count: int | None
    schedule: tuple[ScheduledCall, ...]
    exchanges: tuple[str, ...]
    symbols: tuple[str, ...]
    arguments: dict[str, Any] | None


class _Durations(msgspec.Struct):
    environment: _Seconds | None
    model: _Seconds | None
    total: _Seconds


class _Window(msgspec.Struct):
    name: str
    start: _Date
    end: _Date
    reason: str
    metrics: _Metrics | None
    trades_sha256: str | None
    is_exact: bool | None = True
    covered: float | None = 1.0


_Windows = Annotated[tuple[_Window, ...], msgspec.Meta(max_length=MOST_WINDOWS)]


class _Gate(msgspec.Struct):
    text: str
    state: State
    value: _Number
    reference: _Number
    bound: _Number
    reason: str


class _Base(msgspec.Struct):
    ref: str
    commit: str
    state: BaseState
    reason: str
    bundle_sha256: str | None
    backtest: str
    windows: _Windows
    is_same_bundle: bool = False


class _Comparison(msgspec.Struct):
    base: _Base
    changes: ModelChanges | None


class _Report(msgspec.Struct):
    status: Status
    model: _Model
    commit: str
    description: str
    bundle: _Bundle | None
    tested_sha256: str
    server: str
    ids: _Ids
    arguments: dict[str, Any] | None
    argument_sources: dict[str, str]
    environment: _Environment | None
    pinned: dict[str, Any] | None
    calls: _Calls | None
    seconds: _Durations
    windows: _Windows
    gates: tuple[_Gate, ...]
    comparison: _Comparison | None
    problems: list[Any]
    result: msgspec.Raw
    is_committed: bool = True
    mode: str = "backtest"
    base_result: msgspec.Raw = msgspec.Raw(_NULL)


def read_report(data: bytes) -> RunOutcome:
    """Return the run that a report is about, as far as the report tells.

    Metrics, round trips, drawdowns and the comparison are computed again from the results in it.
    Windows have no result there, and gates are not judged again: both are as the report says.

    Raises:
        WrongReportError: it is no report, not of this version, or something in it is wrong.
    """
    try:
        text = strict_text(data)
        _check_head(msgspec.json.decode(text, type=_Head))
        report = msgspec.json.decode(text, type=_Report)
        result = parse_result(report.result)
        base = None if bytes(report.base_result) == _NULL else parse_result(report.base_result)
        return _outcome(report, result, base)
    except WrongReportError:
        raise
    except WrongResultError as error:
        raise WrongReportError(f"has a wrong result: {error}") from error
    except ValueError as error:
        raise WrongReportError(f"cannot be read: {excerpt(str(error))}") from error


def _check_head(head: _Head) -> None:
    if head.format != FORMAT:
        raise WrongReportError("is no report of a backtest")
    if head.version != VERSION:
        raise WrongReportError(
            f"is a report of version {head.version}, and this release reads version {VERSION}"
        )


def _outcome(report: _Report, result: BacktestResult, base: BacktestResult | None) -> RunOutcome:
    python = "" if report.environment is None else report.environment.wanted_python
    return RunOutcome(
        request=Request(
            mode="deploy" if report.mode == "deploy" else "backtest",
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
            project_id=report.ids.project,
            model_id=report.ids.model,
            version_id=report.ids.version,
            is_deployed=report.status is Status.DEPLOYED,
        ),
        backtests=Backtests(
            backtest_id=report.ids.backtest,
            result=result,
            run=_run(report),
            comparison=_comparison(report, result, base),
            windows=_windows(report.windows),
            verdicts=tuple(_verdict(number, one) for number, one in enumerate(report.gates, 1)),
        ),
        ending=Ending(
            status=report.status,
            seconds=report.seconds.total,
            problems=read_problems(report.problems),
        ),
    )


def _bundle(found: _Bundle) -> Bundle:
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
        raise WrongReportError(f"has a digest that is none: `{excerpt(text)}`")
    return text


def _run(report: _Report) -> BacktestRun | None:
    environment, calls = report.environment, report.calls
    if environment is None or calls is None:
        return None
    return BacktestRun(
        python=environment.python,
        wanted_python=environment.wanted_python,
        blankly=environment.blankly,
        constraints=environment.constraints,
        environment_seconds=report.seconds.environment or 0.0,
        model_seconds=report.seconds.model or 0.0,
        schedule=calls.schedule,
        exchanges=calls.exchanges,
        symbols=calls.symbols,
        callback_calls=calls.count,
        bundle_sha256=_digest(report.tested_sha256),
        arguments=calls.arguments,
        pinned=report.pinned or {},
    )


def _windows(found: tuple[_Window, ...]) -> tuple[WindowBacktest, ...]:
    return tuple(
        WindowBacktest(
            name=one.name,
            start=one.start,
            end=one.end,
            reason=one.reason,
            figures=None if one.metrics is None else _figures(one, one.metrics),
        )
        for one in found
    )


def _figures(one: _Window, metrics: Mapping[str, _Number]) -> KeptFigures:
    return KeptFigures(
        metrics={name: metrics.get(name) for name in METRICS},
        trades_sha256=_digest(one.trades_sha256 or ""),
        is_exact=one.is_exact is not False,
        covered=1.0 if one.covered is None else min(1.0, max(0.0, one.covered)),
    )


def _verdict(number: int, found: _Gate) -> Verdict:
    gates, _ = parse_gates(found.text)
    if len(gates) != 1:
        raise WrongReportError(f"has a gate that is none: `{excerpt(found.text)}`")
    return Verdict(
        gate=replace(gates[0], line=number),
        state=found.state,
        value=found.value,
        reference=found.reference,
        bound=found.bound,
        reason=found.reason,
    )


def _comparison(
    report: _Report, result: BacktestResult, base_result: BacktestResult | None
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
        bundle=None if told.bundle_sha256 is None else _bundle(_Bundle(told.bundle_sha256, 0, 0)),
        is_same_bundle=told.is_same_bundle,
        backtest_id=told.backtest,
        result=base_result,
        windows=_windows(told.windows),
    )
    if base_result is None:
        return Comparison(base=base, changes=found.changes)
    return Comparison(
        base=base,
        metrics=compare_metrics(base_result.analysis.metrics, result.analysis.metrics),
        first_difference=first_difference(base_result, result),
        changes=found.changes,
    )
