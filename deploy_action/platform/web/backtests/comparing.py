"""Two backtests beside each other: whether they can be compared, and what differs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from deploy_action.backtest.comparison import (
    Direction,
    MetricChange,
    TradeDifference,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.figures.words import difference, figures
from deploy_action.backtest.likeness import Sides, unlike
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.period.asked import without_period
from deploy_action.backtest.trades import Trade, canonical_fields
from deploy_action.backtest.wire import parse_run
from deploy_action.pages.charts import chart_data
from deploy_action.platform.web.backtests.computed_views import COMPUTED_VIEWS
from deploy_action.platform.web.backtests.identity import Variables, are_same, variables_of
from deploy_action.platform.web.backtests.results import Lack, read_result
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut, excerpt
from deploy_action.text.quantities import count, exact, moment

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.backtest.result import BacktestResult, BacktestRun
    from deploy_action.errors import Problem
    from deploy_action.platform.storage.records import Backtest

_SIDES: Final = Sides(base="A", now="B")
_NAMES: Final = ("A", "B")
_MOST_NAMED: Final = 5
_LONGEST: Final = 200
_MOST_SETTINGS: Final = 50
_FIELDS: Final = {
    "side": "Side",
    "size": "Size",
    "symbol": "Symbol",
    "price": "Price",
    "type": "Type",
    "time": "Placed",
}
_UNKNOWN: Final = "–"  # noqa: RUF001  # as everywhere on the pages


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric of both; `better` is `A` or `B`, blank where nobody can say, or neither is."""

    name: str
    id: str
    a: str
    b: str
    change: str
    better: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A thing that differs, as both have it."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """What a page says of two backtests.

    `warnings` say why they cannot be compared like with like; then no metric of one is called
    better. `trades` says how the trades differ in one sentence, `first` is the first pair that
    does. `settings` are the arguments and the surroundings that differ.
    """

    warnings: tuple[str, ...]
    metrics: tuple[MetricRow, ...]
    is_identical: bool
    trades: str
    first: tuple[Difference, ...]
    settings: tuple[Difference, ...]
    charts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Side:
    """A backtest with its result, and the arguments and variables that it ran with.

    `variables` are None where they are unknown.
    """

    result: BacktestResult
    run: BacktestRun | None
    arguments: Mapping[str, object]
    variables: Variables | None

    @property
    def symbols(self) -> frozenset[str]:
        market = self.result.market
        return frozenset(one.symbol for one in market.prices) if market else frozenset()


def compare(
    a: Path, b: Path, backtests: tuple[Backtest, Backtest]
) -> ComparisonView | tuple[Lack | None, Lack | None]:
    """Return what to say of two results, or what either lacks."""
    facts = tuple(json.dumps([dict(one.run), dict(one.args)]) for one in backtests)
    states = [_state(path) for path in (a, b)]
    size = sum(size for _, size in states)
    key = (a, b, *(changed for changed, _ in states), *facts)
    return COMPUTED_VIEWS.get(key, size, lambda: _compare((a, b), facts))


def _state(path: Path) -> tuple[int, int]:
    """Return when a file was changed, and its size in bytes."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _compare(
    paths: tuple[Path, ...], facts: tuple[str, ...]
) -> ComparisonView | tuple[Lack | None, Lack | None]:
    found = [read_result(path) for path in paths]
    sides = [
        _side(result, *json.loads(known))
        for result, known in zip(found, facts, strict=True)
        if not isinstance(result, Lack)
    ]
    if len(sides) < len(found):
        a, b = (one if isinstance(one, Lack) else None for one in found)
        return a, b
    return _view(*sides)


def _side(result: BacktestResult, facts: Mapping[str, Any], given: Mapping[str, object]) -> _Side:
    run = parse_run(facts)
    used = given if run is None or run.arguments is None else run.arguments
    return _Side(result, run, used, variables_of(facts))


def _view(a: _Side, b: _Side) -> ComparisonView:
    warnings = tuple(_warnings(a, b))
    unjudged = {*a.result.analysis.unjudged, *b.result.analysis.unjudged}
    changes = compare_metrics(a.result.analysis.metrics, b.result.analysis.metrics)
    first = first_difference(a.result, b.result)
    return ComparisonView(
        warnings=warnings,
        metrics=tuple(
            _metric(one, is_judged=not warnings and one.metric not in unjudged) for one in changes
        ),
        is_identical=first is None,
        trades=_trades(first, a.result, b.result),
        first=_first(first, a.result, b.result),
        settings=tuple(_settings(a, b)),
        charts=chart_data([("A", a.result), ("B", b.result)]),
    )


def _warnings(a: _Side, b: _Side) -> Iterator[str]:
    """Yield why the two cannot be compared like with like."""
    if a.result.market is None or b.result.market is None:
        yield "It is not known which prices both saw, and what an order cost."
    elif a.symbols != b.symbols:
        only = [f"only {name} saw {_named(one)}" for name, one in _alone(a.symbols, b.symbols)]
        yield f"They saw other symbols: {'; '.join(only)}."
    if a.result.quote_asset != b.result.quote_asset:
        assets = [excerpt(one.result.quote_asset, _LONGEST) for one in (a, b)]
        yield f"A's account is in {assets[0]}, B's in {assets[1]}."
    for problem in unlike(a.result, b.result, _SIDES):
        yield _without_marks(problem)
    if names := _differing(without_period(dict(a.arguments)), without_period(dict(b.arguments))):  # type: ignore[arg-type]  # values of JSON
        yield f"They ran with other arguments: {_named(names)}."
    yield from _other_variables(a.variables, b.variables)


def _other_variables(a: Variables | None, b: Variables | None) -> Iterator[str]:
    """Yield why two did not run with the same variables, or may not have."""
    if a is None or b is None:
        which = "both" if a is b else ("A" if a is None else "B")
        yield f"It is not known with which variables {which} ran: older servers did not note them."
    elif a["names"] != b["names"]:
        said = [_named(one["names"]) or "none" for one in (a, b)]
        yield f"They ran with other variables: A with {said[0]}, B with {said[1]}."
    elif not are_same(a, b):
        yield f"The values of their variables are not the same: {_named(a['names'])}."


def _without_marks(problem: Problem) -> str:
    return problem.message.replace("`", "")


def _alone(a: frozenset[str], b: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for name, alone in zip(_NAMES, (a - b, b - a), strict=True):
        if alone:
            yield name, alone


def _named(names: Collection[str]) -> str:
    shown = [excerpt(one, _LONGEST) for one in sorted(names)[:_MOST_NAMED]]
    more = len(names) - _MOST_NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _differing(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


def _metric(change: MetricChange, *, is_judged: bool) -> MetricRow:
    kind = METRICS[change.metric]
    a, b = (figures(kind.unit, one)[0] for one in (change.base, change.candidate))
    better = {Direction.BETTER: "B", Direction.WORSE: "A"}.get(change.direction, "")
    said = _UNKNOWN
    if change.difference is not None and a == b:
        # What differs in digits that nobody reads makes neither of them better.
        said, better = "same", ""
    elif change.difference is not None:
        said = difference(kind.unit, change.difference)
    return MetricRow(kind.name, kind.id, a, b, said, better if is_judged else "")


def _trades(first: TradeDifference | None, a: BacktestResult, b: BacktestResult) -> str:
    if first is None:
        number = len(a.trades)
        both = f"both placed the same {count(number, 'order')}" if number else "both placed none"
        return f"Trade for trade identical: {both}."
    numbers = f"A placed {count(len(a.trades), 'order')}, B {count(len(b.trades), 'order')}."
    return f"The first order that differs is number {first.index + 1:,}. {numbers}"


def _first(
    first: TradeDifference | None, a: BacktestResult, b: BacktestResult
) -> tuple[Difference, ...]:
    """Return the first pair of orders that differ, field by field."""
    if first is None:
        return ()
    if first.base is None or first.candidate is None:
        whole = [_order(one) for one in (first.base, first.candidate)]
        return (Difference("Order", *whole),)
    before = canonical_fields(first.base, a.start_time)
    after = canonical_fields(first.candidate, b.start_time)
    shown = _parts(first.base), _parts(first.candidate)
    return tuple(
        Difference(
            f"{name}{' (differs)' if before[key] != after[key] else ''}",
            shown[0][key],
            shown[1][key],
        )
        for key, name in _FIELDS.items()
    )


def _parts(trade: Trade) -> Mapping[str, str]:
    seconds = ":%S" if trade.time % 60 else ""
    return {
        "side": excerpt(trade.side, _LONGEST),
        "size": exact(trade.size),
        "symbol": excerpt(trade.symbol, _LONGEST),
        "price": _UNKNOWN if trade.price is None else exact(trade.price),
        "type": excerpt(trade.type, _LONGEST),
        "time": moment(trade.time, f"%Y-%m-%d %H:%M{seconds}"),
    }


def _order(trade: Trade | None) -> str:
    if trade is None:
        return "no more orders"
    parts = _parts(trade)
    return ", ".join(parts[key] for key in _FIELDS)


def _settings(a: _Side, b: _Side) -> Iterator[Difference]:
    """Yield arguments that differ, then what else of the surroundings does."""
    for name in _differing(a.arguments, b.arguments)[:_MOST_SETTINGS]:
        values = [_in_json(one.arguments, name) for one in (a, b)]
        yield Difference(f"Argument {excerpt(name, _LONGEST)}", *values)
    around = [_surroundings(one.run) for one in (a, b)]
    for name in _differing(*around):
        yield Difference(name, *(one.get(name) or _UNKNOWN for one in around))


def _in_json(arguments: Mapping[str, object], name: str) -> str:
    if name not in arguments:
        return "not given"
    return cut(json.dumps(arguments[name], ensure_ascii=False), _LONGEST)


def _surroundings(run: BacktestRun | None) -> dict[str, str]:
    if run is None:
        return {}
    return {
        "Python": cut(run.python, _LONGEST),
        "blankly": cut(run.blankly, _LONGEST),
        "Known-good packages": cut(", ".join(run.constraints), _LONGEST),
        "Dates count back from": cut(str(run.pinned.get("now", "")), _LONGEST),
    }
