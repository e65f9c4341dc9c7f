"""Values of metrics for people, with their units and no more digits than they can use."""

from __future__ import annotations

from typing import Final

from deploy_action.backtest.metrics import METRICS, Unit
from deploy_action.text.quantities import days, decimal, exact, per_cent, percentage, whole

NO_FIGURE: Final = "\u2013"
_ZEROS: Final = "0.,"
# From this amount on, cents are left out: nobody reads them, and they make columns too wide.
_LARGE: Final = 10_000
_RETURNS: Final = frozenset({"cum_returns", "hold_return", "excess_return", "cagr"})


def figures(unit: Unit, *values: float | None) -> list[str]:
    """Return values of a metric, with enough digits for different values to look different."""
    different = {value for value in values if value is not None}
    shown = {value: _figure(unit, value) for value in different}
    if len(set(shown.values())) < len(different):
        sign = "%" if unit is Unit.PER_CENT else ""
        shown = {value: exact(value) + sign for value in different}
    return [NO_FIGURE if value is None else shown[value] for value in values]


def _figure(unit: Unit, value: float) -> str:
    match unit:
        case Unit.PER_CENT:
            return per_cent(value)
        case Unit.COUNT:
            return exact(value)
        case Unit.DAYS:
            return days(value)
        case Unit.AMOUNT if abs(value) >= _LARGE:
            return whole(value)
        case Unit.RATIO | Unit.FRACTION | Unit.AMOUNT:
            return decimal(value)


def figure_in_list(name: str, value: float | None) -> str:
    """Return a metric as the terminal and the comment write it, so that a column lines up.

    Percentages have two decimals, and returns a sign.
    """
    if value is None:
        return NO_FIGURE
    unit = METRICS[name].unit
    if unit is Unit.PER_CENT:
        return percentage(value, with_sign=name in _RETURNS)
    return _figure(unit, value)


def distance(unit: Unit, apart: float) -> str:
    """Return the distance of two values; between percentages it is in percentage points (pp)."""
    shown = _figure(Unit.RATIO if unit is Unit.PER_CENT else unit, apart)
    if unit is not Unit.PER_CENT:
        return shown
    digits = per_cent(apart).removesuffix("%")
    return f"{digits if digits.strip(_ZEROS) else shown} pp"


def difference(unit: Unit, value: float) -> str:
    """Return the change of a metric, with its sign."""
    shown = distance(unit, value)
    return f"+{shown}" if value > 0 else shown
