"""What sweeps found, made from a formula."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.figures.moments import Moments
from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.period.windows import Window, WindowBacktest
from deploy_action.backtest.sweep.combinations import Combination, Swept
from deploy_action.backtest.sweep.grid import sweep_of

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue

NO_FIGURES = "no prices cover it"
HELD = 20.0
RETURNS = 500
A_SHARPE = 7.25  # a return in per cent that has a Sharpe ratio of 1


def figures(
    made: float | None, held: float | None = HELD, trades: str | None = None, **metrics: float
) -> KeptFigures:
    """Return figures with this return in per cent; other trades for another return.

    The Sharpe ratio belongs to daily returns that are normal.
    """
    found: dict[str, float | None] = dict.fromkeys(METRICS, 1.0)
    sharpe = None if made is None else made / A_SHARPE
    beyond = None if made is None or held is None else made - held
    found |= {"cum_returns": made, "hold_return": held, "excess_return": beyond, "sharpe": sharpe}
    digest = hashlib.sha256(repr(made).encode() if trades is None else trades.encode())
    moments = None if sharpe is None else Moments(RETURNS, sharpe / math.sqrt(252), 0.0, 3.0)
    return KeptFigures(metrics=found | metrics, trades_sha256=digest.hexdigest(), moments=moments)


def swept(
    axes: Mapping[str, Sequence[JsonValue]],
    made: Callable[..., float | KeptFigures | None],
    *,
    current: int | None = None,
    windows: Sequence[Window] = (),
) -> Swept:
    """Return what a sweep found where `made` says the return of a combination; None: it failed.

    `made` gets the values, texts of whole numbers as numbers. A window makes a
    share of that: the first as much, the second half of it, and so on.
    """
    sweep = sweep_of({name: list(values) for name, values in axes.items()})
    found = []
    for values in sweep.combinations():
        known: Any = made(*map(_number, values))
        whole = known if known is None or isinstance(known, KeptFigures) else figures(known)
        reason = "" if whole else NO_FIGURES
        parts = tuple(
            _window(window, whole, 1 / number) for number, window in enumerate(windows, 1)
        )
        found.append(Combination(values=values, figures=whole, reason=reason, windows=parts))
    return Swept(sweep=sweep, combinations=tuple(found), current=current)


def _number(value: JsonValue) -> JsonValue:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _window(window: Window, whole: KeptFigures | None, share: float) -> WindowBacktest:
    made = None if whole is None else whole.metrics["cum_returns"]
    part = None if made is None else figures(made * share)
    reason = "" if part else NO_FIGURES
    return WindowBacktest(
        name=window.name, start=window.start, end=window.end, figures=part, reason=reason
    )
