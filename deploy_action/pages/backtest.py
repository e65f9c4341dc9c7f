"""What a page says of one backtest, in words: the same figures as the summary of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.basis import Name, Words, basis
from deploy_action.backtest.figures.drawdowns import Month, find_drawdowns, yearly
from deploy_action.backtest.figures.headline import (
    made_in_words,
    other_period,
    period,
    why_no_trades,
)
from deploy_action.backtest.figures.words import NO_FIGURE, figures
from deploy_action.backtest.metrics import METRICS, NOT_A_NUMBER, Unit
from deploy_action.backtest.period.coverage import coverage_warnings
from deploy_action.backtest.warning_signs import few_returns, find_warning_signs
from deploy_action.pages.round_trips import TripsView, view_round_trips
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import (
    count,
    days,
    decimal,
    decimals_of,
    duration,
    exact,
    moment,
    money,
    percentage,
    shown_of,
)

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult, BacktestRun
    from deploy_action.errors import Problem

_DAY: Final = 86_400
_LONG: Final = 5 * _DAY
_LONGEST_NAME: Final = 60
_LONGEST_VALUE: Final = 200
_MOST_SYMBOLS: Final = 10
_MOST_ARGUMENTS: Final = 50
_MOST_PRINTED: Final = 50
_MOST_CALLS: Final = 10
_MOST_YEARS: Final = 50
_SOURCES: Final = {
    "given": "sent with the backtest",
    "script": "the script",
    "default": "the default",
}
_NO_RISK: Final = "So its drawdown and its ratios say nothing about its risk. "
_PINNED: Final = {
    "hashSeed": "hash seed",
    "randomSeed": "random seed",
    "threads": "threads",
    "now": "now",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure in words, and what holding has beside it, blank where that makes no sense.

    `text` is a dash where it is not known, and `reason` says why. `id` is the name in gates, blank
    for figures that are no metric. `more` is a short remark that belongs to the value.
    """

    name: str
    text: str
    id: str = ""
    held: str = ""
    reason: str = ""
    more: str = ""
    is_loss: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """A part of a sentence; `kind` is `code`, `strong`, or blank."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Gain:
    """What a month or a year made, in words; `direction` is `up` or `down`, blank if neither."""

    text: str
    direction: str


@dataclass(frozen=True, slots=True)
class YearRow:
    """The gain of a year, and those of its twelve months."""

    year: int
    cells: tuple[Gain, ...]


@dataclass(frozen=True, slots=True)
class DrawdownRow:
    """A drawdown in words."""

    depth: str
    start: str
    lowest: str
    recovered: str
    under_water: str


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of the backtest, as JSON, and where it came from, blank if unknown."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestView:
    """What a page says of one backtest.

    `made` is the headline, `period` what was tested over which time, `asked` the period that was
    asked for if it is another one, and `no_trades` why nothing was traded; they may be blank.
    `basis` says what the figures rest on: fees, prices, holding; `source` is what the metrics were
    computed from. `printed` are the package's own metrics. `no_drawdown` says why there are no
    drawdowns, blank if there are some. `facts` say how it ran. `warnings` are signs that the
    figures mislead, and `problems` what the run reported. Texts may have code in backticks.
    """

    made: str
    period: str
    asked: str
    no_trades: str
    basis: tuple[Phrase, ...]
    key_figures: tuple[Figure, ...]
    figures: tuple[Figure, ...]
    source: str
    printed: tuple[Figure, ...]
    years: tuple[YearRow, ...]
    drawdowns: tuple[DrawdownRow, ...]
    no_drawdown: str
    trips: TripsView
    arguments: tuple[Argument, ...]
    more_arguments: int
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[Problem, ...]
    problems: tuple[Problem, ...]


def view_backtest(
    result: BacktestResult,
    run: BacktestRun | None,
    *,
    problems: Collection[Problem] = (),
    arguments: Mapping[str, object] | None = None,
    sources: Mapping[str, str] | None = None,
) -> BacktestView:
    """Return what a page says of a result.

    `problems` are what the run reported. `arguments` and `sources` replace what `run` says of them.
    """
    analysis = result.analysis
    shown, more = _arguments(run, arguments, sources)
    return BacktestView(
        made=made_in_words(result),
        period=_period(result, run),
        asked=other_period(result),
        no_trades="" if result.filled_trades else _NO_RISK + why_no_trades(result, run),
        basis=tuple(_basis(result)),
        key_figures=tuple(_key_figures(result)),
        figures=tuple(_figures(result)),
        source="Computed from the account's values, the trades and the prices."
        if analysis.is_exact
        else "The server sends no account values: what the package computes is taken as it comes.",
        printed=tuple(_printed(result)),
        years=_years(analysis.months),
        drawdowns=_drawdowns(result),
        no_drawdown=_no_drawdown(result),
        trips=view_round_trips(result),
        arguments=shown,
        more_arguments=more,
        facts=tuple(_facts(result, run)),
        warnings=tuple(_warnings(result, problems)),
        problems=tuple(problems),
    )


def _basis(result: BacktestResult) -> Iterator[Phrase]:
    """Yield what the figures rest on: names of symbols are code, and what matters most is bold."""
    for part in basis(result):
        if isinstance(part, Name):
            yield Phrase(_name(part), "code")
        elif isinstance(part, Words):
            yield Phrase(_name(part), "")
        else:
            for number, text in enumerate(part.split("**")):
                yield Phrase(text.replace("`", ""), "strong" if number % 2 else "")


def _period(result: BacktestResult, run: BacktestRun | None) -> str:
    start, end = period(result)
    form = "%Y-%m-%d" if end - start >= _DAY else "%Y-%m-%d %H:%M"
    symbols = result.symbols or (run.symbols if run is not None else ())
    of = f": {_some(symbols)}" if symbols else ""
    values = result.analysis.values.values
    first = values[0] if values else result.initial_account_value
    begins = "" if first is None else f", from {money(first)} {_name(result.quote_asset)}"
    length = days((end - start) / _DAY)
    where = f" on {_name(result.exchange)}" if result.exchange else ""
    return f"{moment(start, form)} to {moment(end, form)} ({length}){where}{of}{begins}"


def _key_figures(result: BacktestResult) -> Iterator[Figure]:
    """Yield what a trader wants to know first, in words; what holding has is in `held`."""
    holding, trips = result.analysis.holding, result.analysis.round_trips
    held = {} if holding is None else dict(holding.metrics)
    if holding is not None:
        held["longest_drawdown_days"] = find_drawdowns(holding.values)[1]
    yield _key(result, "cum_returns", held, "Return")
    yield _key(result, "max_drawdown", held, "Max drawdown")
    yield _key(result, "sharpe", held, "Sharpe")
    orders, filled = len(result.trades), len(result.filled_trades)
    unfilled = f"{orders - filled:,} more not filled" if orders > filled else ""
    yield Figure(id="trades", name="Trades", text=f"{filled:,}", more=unfilled)
    if trips.problem:
        yield Figure(name="Round trips", text=NO_FIGURE, reason=trips.problem)
    else:
        still = f", {len(trips.open):,} still open" if trips.open else ""
        even = f", {trips.even:,} even" if trips.even else ""
        won = f"{trips.wins:,} won, {trips.losses:,} lost{even}{still}"
        yield Figure(name="Round trips", text=f"{len(trips.closed):,}", more=won)
    yield _key(result, "final_account_value", held, f"Final value, {_name(result.quote_asset)}")
    yield _key(result, "longest_drawdown_days", held, "Longest drawdown")
    yield _key(result, "exposure", {}, "Exposure")


def _key(result: BacktestResult, name: str, held: Mapping[str, float | None], title: str) -> Figure:
    value, beside = result.analysis.metrics[name], held.get(name)
    return Figure(
        id=name,
        name=title,
        text=_in_words(name, value),
        held="" if beside is None else _in_words(name, beside),
        reason=result.analysis.reasons.get(name, "") if value is None else "",
        is_loss=name == "cum_returns" and value is not None and value < 0,
    )


def _in_words(name: str, value: float | None) -> str:
    if value is None:
        return NO_FIGURE
    unit = METRICS[name].unit
    if unit is Unit.PER_CENT:
        return percentage(value, with_sign=name == "cum_returns")
    if unit is Unit.AMOUNT:
        return money(value)
    return days(value) if unit is Unit.DAYS else decimal(value)


def _figures(result: BacktestResult) -> Iterator[Figure]:
    """Yield every metric that gates know, beside that of holding."""
    analysis, holding = result.analysis, result.analysis.holding
    for name, kind in METRICS.items():
        beside = None if holding is None else holding.metrics.get(name)
        text, held = figures(kind.unit, analysis.metrics[name], beside)
        unit = f", {_name(result.quote_asset)}" if kind.unit is Unit.AMOUNT else ""
        yield Figure(
            id=name,
            name=f"{kind.name}{unit}",
            text=text,
            held="" if beside is None else held,
            reason=analysis.reasons.get(name, "") if text == NO_FIGURE else "",
        )


def _years(months: Sequence[Month]) -> tuple[YearRow, ...]:
    decimals = decimals_of([one.gain for one in months], 1)
    return tuple(
        YearRow(
            year.year,
            (
                _gain(year.gain, decimals),
                *(
                    _gain(year.months[month], decimals) if month in year.months else Gain("", "")
                    for month in range(1, 13)
                ),
            ),
        )
        for year in yearly(months)[-_MOST_YEARS:]
    )


def _gain(value: float | None, decimals: int) -> Gain:
    if value is None or not math.isfinite(value):  # an account of 1e308 overflows
        return Gain(NO_FIGURE, "")
    text = percentage(value, decimals, with_sign=True, in_table=True).removesuffix("%")
    is_flat = not text.strip("+0.\u2212")
    return Gain(text, "" if is_flat else "up" if value > 0 else "down")


def _drawdowns(result: BacktestResult) -> tuple[DrawdownRow, ...]:
    found = result.analysis.drawdowns
    decimals = decimals_of([one.depth for one in found], 2)
    start, end = period(result)
    form = "%Y-%m-%d" if end - start >= _LONG else "%Y-%m-%d %H:%M"
    return tuple(
        DrawdownRow(
            depth=percentage(one.depth, decimals, in_table=True)
            if math.isfinite(one.depth)
            else NO_FIGURE,
            start=moment(one.start, form),
            lowest=moment(one.lowest, form),
            recovered="not yet" if one.recovered is None else moment(one.recovered, form),
            under_water=days(one.days),
        )
        for one in found
    )


def _no_drawdown(result: BacktestResult) -> str:
    if result.analysis.drawdowns:
        return ""
    reason = result.analysis.reasons.get("longest_drawdown_days", "")
    return f"They are not known: {reason}." if reason else "The account's value never fell."


def _printed(result: BacktestResult) -> Iterator[Figure]:
    """Yield what the package printed, under its own names."""
    for metric in result.metrics[:_MOST_PRINTED]:
        text = NO_FIGURE if metric.value is None else exact(metric.value)
        reason = metric.reason or NOT_A_NUMBER
        yield Figure(
            name=_name(metric.display_name),
            text=text,
            reason=_name(reason) if metric.value is None else "",
        )


def _arguments(
    run: BacktestRun | None,
    arguments: Mapping[str, object] | None,
    sources: Mapping[str, str] | None,
) -> tuple[tuple[Argument, ...], int]:
    """Return the first arguments, and how many more there are."""
    of_run: Mapping[str, object] = {} if run is None else run.arguments or {}
    used = of_run if arguments is None else arguments
    of_run_sources = {} if run is None else run.argument_sources
    told = (
        {name: _SOURCES.get(source, source) for name, source in of_run_sources.items()}
        if sources is None
        else sources
    )
    most = shown_of(len(used), _MOST_ARGUMENTS)
    shown = tuple(
        Argument(
            _name(name),
            excerpt(json.dumps(value, ensure_ascii=False), _LONGEST_VALUE),
            _name(told.get(name, "")),
        )
        for name, value in islice(used.items(), most)
    )
    return shown, len(used) - len(shown)


def _facts(result: BacktestResult, run: BacktestRun | None) -> Iterator[tuple[str, str]]:
    """Yield names and values of how it ran, as far as that is known."""
    symbols = result.symbols or (run.symbols if run is not None else ())
    values = count(len(result.account_values), "account value")
    yield "Exchange", _name(result.exchange)
    yield "Symbols", _some(symbols)
    reported = f"{moment(result.start_time)} to {moment(result.stop_time)} UTC, {values}"
    yield "Reported period", reported
    for one in result.analysis.coverage:
        covered = "no prices"
        if one.covered is not None:
            start, end = (moment(time, "%Y-%m-%d %H:%M") for time in one.covered)
            covered = f"{start} to {end} ({percentage(one.share * 100)} of what was asked)"
        yield f"Prices of {_name(one.symbol)}", covered
    if run is not None:
        yield from _run_facts(run)
    yield "SHA-256 of the trades", result.trades_sha256


def _run_facts(run: BacktestRun) -> Iterator[tuple[str, str]]:
    if run.callback_calls is not None:
        yield "The model was called", count(run.callback_calls, "time")
    if run.schedule:
        most = shown_of(len(run.schedule), _MOST_CALLS)
        left = f" and {len(run.schedule) - most:,} more" if len(run.schedule) > most else ""
        calls = "; ".join(_name(one.in_words()) for one in run.schedule[:most])
        yield "Events", calls + left
    is_other = run.wanted_python and not f"{run.python}.".startswith(f"{run.wanted_python}.")
    other = f" ({_name(run.wanted_python)} was wanted)" if is_other else ""
    package = f", blankly {_name(run.blankly)}" if run.blankly else ""
    applied = f", with {_name(', '.join(run.constraints))}" if run.constraints else ""
    if run.python:
        yield "Environment", f"Python {_name(run.python)}{other}{package}{applied}"
    known = [
        f"{words} {_name(str(run.pinned[key]))}"
        for key, words in _PINNED.items()
        if key in run.pinned
    ]
    if known:
        yield "Pinned", ", ".join(known)
    parts = f"environment {duration(run.environment_seconds)}, model {duration(run.model_seconds)}"
    yield "Duration", parts
    if run.bundle_sha256:
        yield "SHA-256 of the bundle", run.bundle_sha256


def _warnings(result: BacktestResult, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield signs that the figures mislead, as far as no problem says the same."""
    told = {one.message for one in problems}
    coverage = coverage_warnings(result.analysis.coverage)
    for one in (*find_warning_signs(result, None), *few_returns(result), *coverage):
        if one.message not in told:
            yield one


def _name(text: str) -> str:
    """Return what others chose, in one short line."""
    return excerpt(text, _LONGEST_NAME)


def _some(names: Collection[str]) -> str:
    """Return the first names, and how many more there are."""
    most = shown_of(len(names), _MOST_SYMBOLS)
    left = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(_name(one) for one in islice(names, most)) + left
