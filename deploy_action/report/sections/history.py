"""When it hurt: what each month made, and the deepest drawdowns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.backtest.figures.drawdowns import Drawdown, yearly
from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.backtest.result import BacktestResult
from deploy_action.report.blocks import NO_BREAK
from deploy_action.report.document import Block, Details, Line, Paragraph, Table
from deploy_action.text.quantities import days, decimals_of, moment, percentage, shown_of

_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)
_MOST_YEARS: Final = 30
_DAY: Final = 86_400
# In per cent: a month below it is flat, but for rounding.
_LEAST_GAIN: Final = 0.001


def months(result: BacktestResult) -> list[Block]:
    """Return the table of months, folded; nothing for a single month, or if nothing changed."""
    found = result.analysis.months
    moved = any(one.gain is not None and abs(one.gain) >= _LEAST_GAIN for one in found)
    if len(found) < 2 or not moved:  # noqa: PLR2004  # the gain of one is the return
        return []
    years = yearly(found)
    decimals = decimals_of([one.gain for one in found], 1)
    rows: list[Sequence[Line]] = [
        [
            [str(year.year)],
            *([_gain(year.months.get(month), decimals)] for month in range(1, 13)),
            [f"**{_gain(year.gain, decimals)}**"],
        ]
        for year in years[-shown_of(len(years), _MOST_YEARS) :]
    ]
    left = len(years) - len(rows)
    cut: list[Block] = [Paragraph([f"The first {left:,} years are left out."])] if left > 0 else []
    up = sum(1 for one in found if one.gain is not None and one.gain >= _LEAST_GAIN)
    table = Table([["Year"], *([name] for name in _MONTHS), ["Year's total"]], rows)
    note = "Gain of each calendar month (UTC) in per cent; the first and the last may be parts."
    title = f"Months: {up:,} of {len(found):,} gained"
    return [Details(title, [table, *cut, Paragraph([note])])]


def _gain(value: float | None, decimals: int) -> str:
    if value is None:
        return ""
    if abs(value) < _LEAST_GAIN:
        return f"⬜{NO_BREAK}{percentage(0.0, decimals)}"
    square = "🟩" if value > 0 else "🟥"
    return f"{square}{NO_BREAK}{percentage(value, decimals, with_sign=True, in_table=True)}"


def drawdowns(result: BacktestResult) -> list[Block]:
    """Return the deepest drawdowns, folded; nothing if the account never fell."""
    found, longest = result.analysis.drawdowns, result.analysis.metrics["longest_drawdown_days"]
    if not found:
        return []
    times = result.analysis.values.times
    form = "%Y-%m-%d" if times[-1] - times[0] >= 5 * _DAY else "%Y-%m-%d %H:%M"
    decimals = decimals_of([one.depth for one in found], 2)
    table = Table(
        [["Depth"], ["From"], ["Lowest"], ["Recovered"], ["Under water"]],
        [_row(one, form, decimals) for one in found],
        right=frozenset({0}),
    )
    under = NO_FIGURE if longest is None else days(longest)
    title = f"Drawdowns: deepest {percentage(found[0].depth)}, longest under water {under}"
    number = "The fall is" if len(found) == 1 else f"The {len(found)} deepest falls are"
    note = f"{number} counted from the highest value so far until the account was there again."
    return [Details(title, [table, Paragraph([note])])]


def _row(one: Drawdown, form: str, decimals: int) -> Sequence[Line]:
    recovered = "not yet" if one.recovered is None else moment(one.recovered, form)
    return [
        [percentage(one.depth, decimals, in_table=True)],
        [moment(one.start, form)],
        [moment(one.lowest, form)],
        [recovered],
        [days(one.days)],
    ]
