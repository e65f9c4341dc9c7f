"""The part of a summary about a comparison: metrics, trades, and what changes in production."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.backtest.comparison import (
    Base,
    BaseState,
    Comparison,
    Direction,
    MetricChange,
    TradeDifference,
)
from deploy_action.backtest.figures.words import difference, figures
from deploy_action.backtest.likeness import unlike
from deploy_action.backtest.metrics import METRICS, Unit
from deploy_action.backtest.model_changes import Changed, FileChanges
from deploy_action.backtest.result import BacktestResult
from deploy_action.backtest.trades import Trade, canonical_fields
from deploy_action.report.blocks import NO_BREAK, short, some
from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Line,
    Link,
    Paragraph,
    Table,
    prose,
)
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, exact, moment, shown_of

_SHORT_COMMIT: Final = 12
_MOST_CHANGES: Final = 30
_LONGEST_UNIT: Final = 16
_MOST_FILES: Final = 8
# The words beside them say the same, for readers who cannot tell the colours apart.
_MARKS: Final = {Direction.BETTER: "🟢", Direction.WORSE: "🔴"}
_ANY_VERSION: Final = "any version"


def base_name(base: Base) -> Line:
    """Return the ref of the base as it was given, and its commit."""
    commit = base.commit[:_SHORT_COMMIT]
    if not commit:
        return [Code(short(base.ref))]
    named = Link(commit, base.commit_url) if base.commit_url else Code(commit)
    return [Code(short(base.ref)), " (", named, ")"]


def no_base(comparison: Comparison) -> list[Block]:
    """Return a sentence on why there is nothing to compare with, or nothing if there is a base."""
    base = comparison.base
    if base.state is BaseState.ABSENT:
        said: Line = ["The model did not exist at ", *base_name(base), ": it is new, or was moved."]
    elif base.state is BaseState.FAILED:
        said = ["The model at ", *base_name(base), " has no result: ", *prose(_reason(base))]
    else:
        return []
    return [Paragraph(["**Nothing to compare with.** ", *said])]


def _reason(base: Base) -> str:
    reason = base.reason or "the reason is unknown."
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."


def compared(comparison: Comparison, result: BacktestResult) -> list[Block]:
    """Return the metrics of both and the first trade that differs, folded."""
    if comparison.base.result is None:
        return []
    shown = [*_metrics(comparison, result), *trades(comparison, result)]
    return [Details(f"Compared with the base: {_balance(comparison.metrics)}", shown)]


def in_brief(comparison: Comparison, result: BacktestResult) -> list[Block]:
    """Say why there is no base, or in one sentence how the model differs from it."""
    if comparison.base.result is None:
        return no_base(comparison)
    if comparison.is_identical:
        return trades(comparison, result)
    lead: Line = ["**Compared with** ", *base_name(comparison.base), ": "]
    is_unlike = bool(unlike(comparison.base.result, result))
    apart = " **Not like with like**: see the warnings." if is_unlike else ""
    return [Paragraph([*lead, f"{_balance(comparison.metrics)}.{apart}"])]


def _metrics(comparison: Comparison, result: BacktestResult) -> list[Block]:
    """Return the metrics of both, and whether each change is better or worse."""
    # One column for both values: with two, the change would be off the screen of a telephone.
    table = Table(
        [["Metric"], ["Base → now"], ["Change"]],
        [
            _row(change, result)
            for change in comparison.metrics
            if change.base is not None or change.candidate is not None
        ],
        right=frozenset({1}),
    )
    same: Line = (
        [" Both are the same bundle, byte for byte: it was backtested once."]
        if comparison.base.is_same_bundle
        else []
    )
    balance = _balance(comparison.metrics)
    lead: Line = ["**Compared with** ", *base_name(comparison.base), f": {balance}.", *same]
    return [Paragraph(lead), table]


def _balance(changes: Sequence[MetricChange]) -> str:
    better, worse = (
        sum(change.direction is direction for change in changes)
        for direction in (Direction.BETTER, Direction.WORSE)
    )
    if not better and not worse:
        return "no metric is better or worse"
    return f"{count(better, 'metric')} better, {worse:,} worse"


def _row(change: MetricChange, result: BacktestResult) -> Sequence[Line]:
    kind = METRICS[change.metric]
    base, candidate = figures(kind.unit, change.base, change.candidate)
    is_amount = kind.unit is Unit.AMOUNT
    unit = [", ", *prose(cut(result.quote_asset, _LONGEST_UNIT))] if is_amount else []
    both = base if base == candidate else f"{base}{NO_BREAK}→ **{candidate}**"
    return [[kind.name, *unit], [both], [_change(change, kind.unit)]]


def _change(change: MetricChange, unit: Unit) -> str:
    if change.candidate is None:
        return "not computed"
    if change.base is None or change.difference is None:
        return "not computed in the base"
    if not change.difference:
        return "same"
    shown = difference(unit, change.difference)
    mark = _MARKS.get(change.direction)
    return f"{mark}{NO_BREAK}{shown} {change.direction.value}" if mark else shown


def trades(comparison: Comparison, result: BacktestResult) -> list[Block]:
    """Say that both made the same trades, or show the first trade that differs."""
    base = comparison.base.result
    if base is None:
        return []
    first = comparison.first_difference
    if first is None:
        number = len(result.trades)
        both = f"both placed the same {count(number, 'order')}" if number else "both placed none"
        return [Paragraph([f"**Trade-for-trade identical**: {both}."])]
    lead = f"**The first trade that differs** is number {first.index + 1:,}"
    kinds = _differing(first, base, result)
    named = " and ".join(filter(None, [", ".join(kinds[:-1]), *kinds[-1:]]))
    what = f": its {named} {'differs' if len(kinds) == 1 else 'differ'}." if kinds else "."
    both_sides: list[Line] = [
        ["Base: ", *_trade(first.base, base)],
        ["Now: ", *_trade(first.candidate, result)],
    ]
    return [Paragraph([lead, what]), Bullets(both_sides)]


def _differing(first: TradeDifference, base: BacktestResult, now: BacktestResult) -> list[str]:
    """Return the fields in which two trades differ, rounded as the fingerprint rounds them."""
    if first.base is None or first.candidate is None:
        return []
    before = canonical_fields(first.base, base.start_time)
    after = canonical_fields(first.candidate, now.start_time)
    return [name for name, value in before.items() if value != after[name]]


def _trade(trade: Trade | None, result: BacktestResult) -> Line:
    if trade is None:
        return [f"none; it placed {count(len(result.trades), 'order')} in all."]
    price = "" if trade.price is None else f" at {exact(trade.price)}"
    filled = "" if trade.was_filled else ", not filled"
    seconds = ":%S" if trade.time % 60 else ""
    return [
        *prose(short(trade.side)),
        f" {exact(trade.size)} ",
        Code(short(trade.symbol)),
        f"{price}, ",
        *prose(short(trade.type)),
        f"{filled}, placed {moment(trade.time, f'%Y-%m-%d %H:%M{seconds}')}.",
    ]


def card(comparison: Comparison) -> list[Block]:
    """Return what changes about the model in production, folded; nothing if that is unknown."""
    changes = comparison.changes
    if changes is None:
        return []
    title = "What changes in production"
    items = [
        *_bounded([_fact(one.shortened()) for one in changes.facts], "facts"),
        *_bounded([_requirement(one.shortened()) for one in changes.requirements], "requirements"),
        *_files(changes.files),
    ]
    if not items:
        return [Paragraph([f"**{title}**: nothing."])]
    numbers = [
        count(number, noun)
        for number, noun in (
            (len(changes.facts), "setting"),
            (len(changes.requirements), "requirement"),
            (sum(map(len, _names(changes.files))), "file"),
        )
        if number
    ]
    # A list, not a table: long values wrap on a telephone, where table cells are cut off.
    return [Details(f"{title}: {', '.join(numbers)}", [Bullets(items)])]


def _names(files: FileChanges) -> Sequence[Sequence[str]]:
    return (files.changed, files.added, files.removed)


def _bounded(items: list[Line], noun: str) -> list[Line]:
    most = shown_of(len(items), _MOST_CHANGES)
    left = len(items) - most
    return [*items[:most], [f"… and {left:,} more {noun}"]] if left > 0 else items


def _fact(change: Changed) -> Line:
    both: Line = [*_value(change.base, "none"), " → ", *_value(change.candidate, "none")]
    return [*prose(short(change.name)), ": ", *both]


def _requirement(change: Changed) -> Line:
    package = Code(short(change.name))
    if change.base is None:
        return ["Requirement added: ", package, ", ", *_value(change.candidate, _ANY_VERSION)]
    if change.candidate is None:
        return ["Requirement removed: ", package, ", ", *_value(change.base, _ANY_VERSION)]
    before, now = (_value(value, _ANY_VERSION) for value in (change.base, change.candidate))
    return ["Requirement ", package, ": ", *before, " → ", *now]


def _value(value: str | None, blank: str) -> Line:
    """Return a value, or `blank` in place of a missing or empty one."""
    return [Code(value)] if value else [blank]


def _files(files: FileChanges) -> list[Line]:
    kinds = (("changed", files.changed), ("added", files.added), ("removed", files.removed))
    return [
        [f"{count(len(names), 'file')} {kind}: ", *some(names, _MOST_FILES)]
        for kind, names in kinds
        if names
    ]
