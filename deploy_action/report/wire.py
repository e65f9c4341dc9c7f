"""What a report consists of, as far as it is read again: its types are checked on the way.

The file may come from anybody: sizes, dates and numbers of entries are bounded.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from deploy_action.backtest.comparison import BaseState
from deploy_action.backtest.model_changes import ModelChanges
from deploy_action.backtest.period.windows import MOST_WINDOWS
from deploy_action.backtest.result import ScheduledCall
from deploy_action.backtest.sweep.grid import MOST_BACKTESTS
from deploy_action.backtest.sweep.shards import MOST_SHARDS
from deploy_action.bundle.including import Include
from deploy_action.gates.judgement import State
from deploy_action.outcome.ending import Status

NULL: Final = b"null"

Number = int | float | None
Metrics = dict[str, Number]
# From the year 1 to the year 9999, as seconds since 1970.
Date = Annotated[float, msgspec.Meta(ge=-62_135_596_800, le=253_402_300_799)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
# Its powers have to be finite, too.
Moment = Annotated[float, msgspec.Meta(ge=-1e100, le=1e100)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Index = Annotated[int, msgspec.Meta(ge=0, lt=MOST_BACKTESTS)]


class Head(msgspec.Struct):
    """What tells a report from other files, and what is long in it and is decoded elsewhere."""

    format: str = ""
    version: int = 0
    result: msgspec.Raw = msgspec.Raw(NULL)
    base_result: msgspec.Raw = msgspec.Raw(NULL)
    round_trips: msgspec.Raw = msgspec.Raw(NULL)
    drawdowns: msgspec.Raw = msgspec.Raw(NULL)
    months: msgspec.Raw = msgspec.Raw(NULL)


class Model(msgspec.Struct):
    """The model."""

    name: str
    type: str
    path: str
    included: tuple[Include, ...] = ()


class Bundle(msgspec.Struct):
    """The bytes that were tested."""

    sha256: str
    bytes: Size
    files: Size
    unpacked_bytes: Size = 0


class Ids(msgspec.Struct):
    """Names on the server."""

    project: str
    model: str
    version: str
    backtest: str
    base_backtest: str = ""


class Durations(msgspec.Struct):
    """How long it took; of `backtests` the values of a combination, and the name of a window."""

    environment: Seconds | None
    model: Seconds | None
    total: Seconds
    backtests: Annotated[
        tuple[tuple[tuple[Any, ...] | None, str | None, Seconds], ...],
        msgspec.Meta(max_length=2 * MOST_BACKTESTS),
    ] = ()


class Run(msgspec.Struct):
    """All that differs from run to run."""

    status: Status
    ids: Ids
    seconds: Durations
    mode: str = "backtest"
    now: str | None = None
    parts: Annotated[int, msgspec.Meta(ge=0, le=MOST_SHARDS)] = 0


class Environment(msgspec.Struct):
    """What the model ran with."""

    python: str
    wanted_python: str
    blankly: str
    constraints: tuple[str, ...]


class Calls(msgspec.Struct):
    """What the model did."""

    count: int | None
    schedule: tuple[ScheduledCall, ...]
    exchanges: tuple[str, ...]
    symbols: tuple[str, ...]
    arguments: dict[str, Any] | None


class Moments(msgspec.Struct):
    """The moments of returns; those of real ones are far below the bounds."""

    count: Annotated[int, msgspec.Meta(ge=2, le=1 << 53)]
    sharpe: Moment
    skewness: Moment
    kurtosis: Moment


class Cell(msgspec.Struct, kw_only=True):
    """One of many backtests."""

    reason: str
    metrics: Metrics | None
    trades_sha256: str | None
    is_exact: bool | None = True
    covered: float | None = 1.0
    moments: Moments | None = None
    problems: list[Any] = []


class Window(Cell, kw_only=True):
    """The backtest of a window."""

    name: str
    start: Date
    end: Date


Windows = Annotated[tuple[Window, ...], msgspec.Meta(max_length=MOST_WINDOWS)]


class Combination(Cell, kw_only=True):
    """The backtests of a combination."""

    values: tuple[Any, ...]
    windows: Windows = ()


class Axis(msgspec.Struct):
    """One parameter of a sweep."""

    name: str
    values: Annotated[tuple[Any, ...], msgspec.Meta(min_length=1, max_length=MOST_BACKTESTS)]


class Sweep(msgspec.Struct):
    """All combinations."""

    axes: Annotated[tuple[Axis, ...], msgspec.Meta(min_length=1)]
    combinations: Annotated[tuple[Combination, ...], msgspec.Meta(max_length=MOST_BACKTESTS)]
    own: tuple[Index | None, ...] | None = None
    current: Index | None = None


class Period(msgspec.Struct):
    """A window, whoever backtests it."""

    name: str
    start: Date
    end: Date


class Part(msgspec.Struct):
    """Which part of what a run did."""

    number: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARDS)]
    of: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARDS)]
    windows: Annotated[tuple[Period, ...], msgspec.Meta(max_length=MOST_WINDOWS)]
    balanced_by: str


class Gate(msgspec.Struct):
    """The verdict on a gate."""

    text: str
    state: State
    value: Number
    reference: Number
    bound: Number
    reason: str
    where: str


class Base(msgspec.Struct):
    """What the candidate was compared with."""

    ref: str
    commit: str
    state: BaseState
    reason: str
    bundle_sha256: str | None
    windows: Windows
    is_same_bundle: bool = False
    metrics: Metrics | None = None
    trades_sha256: str | None = None


class Comparison(msgspec.Struct):
    """The comparison."""

    base: Base
    changes: ModelChanges | None


class Report(msgspec.Struct):
    """A report."""

    run: Run
    model: Model
    commit: str
    description: str
    bundle: Bundle | None
    tested_sha256: str
    server: str
    arguments: dict[str, Any] | None
    argument_sources: dict[str, str]
    environment: Environment | None
    pinned: dict[str, Any] | None
    calls: Calls | None
    windows: Windows
    gates: tuple[Gate, ...]
    comparison: Comparison | None
    problems: list[Any]
    metrics: Metrics
    trades_sha256: str
    result: msgspec.Raw
    is_committed: bool = True
    sweep: Sweep | None = None
    part: Part | None = None
    base_result: msgspec.Raw = msgspec.Raw(NULL)
