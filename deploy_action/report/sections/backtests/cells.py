"""What stands in the cells of tables with several backtests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from deploy_action.report.blocks import NO_FIGURE
from deploy_action.text.quantities import percentage

Metrics = Mapping[str, float | None]

MEANING: Final = (
    "🟩 gained, and no less than holding · 🟨 gained less than holding, or lost less than it · "
    "🟥 lost, and holding made more."
)
MEANING_ALONE: Final = "🟩 gained · 🟥 lost; what holding made is not known."
CURRENT: Final = "📍"
FAILED: Final = "❌"


def square(metrics: Metrics) -> str:
    """Return a square in the colour of a return beside what holding made; blank without one."""
    made, held = metrics["cum_returns"], metrics["hold_return"]
    if made is None:
        return ""
    if held is None:
        return "🟩" if made > 0 else "🟥" if made < 0 else "🟨"
    if made >= held:
        return "🟩" if made > 0 else "🟨"
    return "🟨" if made > 0 else "🟥"


def figure(value: float | None, shown: Callable[[float], str]) -> str:
    """Return a value, or a dash for none."""
    return NO_FIGURE if value is None else shown(value)


def signed(value: float | None) -> str:
    """Return a return in per cent, with its sign."""
    return NO_FIGURE if value is None else percentage(value, with_sign=True)
