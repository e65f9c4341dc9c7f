"""Whether two backtests can be compared: by the prices that they saw, and by what an order costs.

Both get the same arguments, but a model brings prices and fees of its own, and its commit may
change them. Then what is better or worse says little about the models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from deploy_action.backtest.market import Market, Prices
from deploy_action.backtest.result import BacktestResult
from deploy_action.errors import Problem, Severity
from deploy_action.records import dataclass
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import exact, moment, percentage

_LONGEST_NAME: Final = 40
_MOST_ASSETS: Final = 3
_MOST_SYMBOLS: Final = 3
_DAY: Final = 86_400
_SAME: Final = 1e-9  # a share of a price: the last digits of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """How the two are called, what a difference means, and what to do about it.

    `base` begins a sentence, and `now` stands within one. Names go through `redact` before they are
    cut.
    """

    base: str
    now: str
    means: str = ""
    prices_hint: str = ""
    rules_hint: str = ""
    redact: Callable[[str], str] = str

    def short(self, name: str) -> str:
        """Return a name of a result for a message."""
        return excerpt(self.redact(name), _LONGEST_NAME)


IN_A_RUN: Final = Sides(
    base="The base",
    now="this model",
    means="The comparison, and gates with `base`, show more than what the models changed.",
    prices_hint="Merge changed prices by themselves, so that both models are tested on the same "
    "ones. For prices that were only added, ask for a period that both have: `start_date` and "
    "`end_date` in `backtest-args`.",
    rules_hint="Merge that change by itself, so that both models are tested by the same rules.",
)


def unlike(
    base: BacktestResult, now: BacktestResult, sides: Sides = IN_A_RUN
) -> tuple[Problem, ...]:
    """Return a warning for each thing that makes a comparison with the base unfair.

    Empty where a server does not tell of the market.
    """
    before, after = base.market, now.market
    if before is None or after is None or before is after:
        return ()
    found = [*_prices(before, after, sides)][:_MOST_SYMBOLS]
    return (
        *(
            _warning(f"{sides.base} saw other prices of {one}", sides.prices_hint, sides)
            for one in found
        ),
        *(_warning(one, sides.rules_hint, sides) for one in _rules(before, after, sides)),
    )


def _warning(what: str, hint: str, sides: Sides) -> Problem:
    message = f"{what}. {sides.means}".rstrip()
    return Problem(message=message, hint=hint, severity=Severity.WARNING)


def _pairs(before: Market, after: Market, sides: Sides) -> Iterator[tuple[str, Prices, Prices]]:
    """Yield the symbols of which both saw prices."""
    of_base = {one.symbol: one for one in before.prices if one.times}
    for one in after.prices:
        if one.times and one.symbol in of_base:
            yield sides.short(one.symbol), of_base[one.symbol], one


def _prices(before: Market, after: Market, sides: Sides) -> Iterator[str]:
    for symbol, base, now in _pairs(before, after, sides):
        is_same_kind = base.resolution == now.resolution and before.use_price == after.use_price
        apart = 0.0 if base.resolution == now.resolution else max(base.resolution, now.resolution)
        ends = abs(base.times[0] - now.times[0]), abs(base.times[-1] - now.times[-1])
        if max(ends) > apart:
            yield f"{symbol}: {_period(base)}, {sides.now} {_period(now)}"
        elif is_same_kind and (times := _differing(base, now)):
            yield (
                f"{symbol}: {len(times):,} of {max(base.bars, now.bars):,} bars differ, the first "
                f"of {_moment(times[0])}"
            )


def _differing(base: Prices, now: Prices) -> list[float]:
    """Return the times at which prices differ, or at which one has none, in order."""
    if base.times == now.times and base.values == now.values:
        return []
    before, after = (dict(zip(one.times, one.values, strict=True)) for one in (base, now))
    return sorted(
        time
        for time in before.keys() | after.keys()
        if time not in before
        or time not in after
        or not math.isclose(before[time], after[time], rel_tol=_SAME)
    )


def _period(prices: Prices) -> str:
    return f"from {_moment(prices.times[0])} to {_moment(prices.times[-1])}"


def _moment(time: float) -> str:
    return moment(time, "%Y-%m-%d" if time % _DAY == 0 else "%Y-%m-%d %H:%M")


def _rules(before: Market, after: Market, sides: Sides) -> Iterator[str]:
    if before.use_price != after.use_price:
        old, new = (sides.short(one.use_price) for one in (before, after))
        yield (
            f"{sides.base}'s orders are filled at the `{old}` of a bar, {sides.now}'s at `{new}`"
        )
    yield from dict.fromkeys(_fees(before, after, sides))
    if before.initial_values != after.initial_values:
        yield (
            f"{sides.base} starts with {_assets(before.initial_values, sides)}, {sides.now} with "
            f"{_assets(after.initial_values, sides)}"
        )


def _fees(before: Market, after: Market, sides: Sides) -> Iterator[str]:
    for _, base, now in _pairs(before, after, sides):
        for whose, old, new in (
            ("market orders", base.taker_fee, now.taker_fee),
            ("limit orders", base.maker_fee, now.maker_fee),
        ):
            if old is not None and new is not None and old != new:
                yield (
                    f"{sides.base} pays {percentage(old * 100)} in fees for {whose}, {sides.now} "
                    f"{percentage(new * 100)}"
                )


def _assets(values: Mapping[str, float], sides: Sides) -> str:
    held = [f"{exact(size)} {sides.short(asset)}" for asset, size in values.items()]
    more = ", …" if len(held) > _MOST_ASSETS else ""
    return ", ".join(held[:_MOST_ASSETS]) + more if held else "nothing"
