"""Mean reversion by the relative strength index (RSI)."""

from enum import Enum, auto

import blankly

PERIOD = 14  # bars
OVERSOLD = 35  # index points: below it, the fall is taken for exaggerated
RECOVERED = 55  # index points: above it, there is nothing left to wait for


class Signal(Enum):
    """What the rule would do with the symbol now."""

    ENTER = auto()
    LEAVE = auto()
    WAIT = auto()


def reversion_signal(closes):
    """Judge closing prices, oldest first; with fewer than PERIOD + 1 of them, wait."""
    if len(closes) <= PERIOD:
        return Signal.WAIT
    strength = blankly.indicators.rsi(closes, PERIOD)[-1]
    if strength < OVERSOLD:
        return Signal.ENTER
    if strength > RECOVERED:
        return Signal.LEAVE
    return Signal.WAIT
