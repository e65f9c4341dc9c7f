"""What stands in the cells of tables with several backtests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.text.quantities import percentage

Metrics = Mapping[str, float | None]

_NO_BREAK: Final = "\u00a0"
_MEANING: Final = (
    "🟩 gained, and no less than holding · 🟨 gained less than holding, or lost less than it · "
    "🟥 lost, and holding made more."
)
_MEANING_ALONE: Final = "🟩 gained · 🟥 lost; what holding made is not known."
NOTHING: Final = "⬜"
CURRENT: Final = "📍"
NO_RESULT: Final = "❌"


def square(metrics: Metrics) -> str:
    """Return a square in the colour of a return beside what holding made; blank without one."""
    made, held = metrics["cum_returns"], metrics["hold_return"]
    if made is None:
        return ""
    if not made:
        return NOTHING
    if held is None:
        return "🟩" if made > 0 else "🟥"
    if made >= held:
        return "🟩" if made > 0 else "🟨"
    return "🟨" if made > 0 else "🟥"


def legend(several: Iterable[Metrics]) -> str:
    """Return what the colours of the squares mean, as far as they occur."""
    known = [one for one in several if one["cum_returns"] is not None]
    is_held = any(one["hold_return"] is not None for one in known)
    words = _MEANING if is_held else _MEANING_ALONE
    return f"{words} {NOTHING}{_NO_BREAK}made nothing." if NOTHING in map(square, known) else words


def figure(value: float | None, shown: Callable[[float], str]) -> str:
    """Return a value, or a dash for none."""
    return NO_FIGURE if value is None else shown(value)


def signed(value: float | None) -> str:
    """Return a return in per cent, with its sign."""
    return NO_FIGURE if value is None else percentage(value, with_sign=True)
