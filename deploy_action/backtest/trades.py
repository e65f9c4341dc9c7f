"""The orders of a model, and the fingerprint of what it did."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class Trade:
    """One order of the model.

    `time` is when it was placed, `filled_at` when it was filled, if the package says so. `price` is
    the price at which a market order was filled, and the price that any other order asked for.
    """

    symbol: str
    side: str
    type: str
    size: float
    price: float | None
    time: float
    was_filled: bool
    filled_at: float | None = None


def fingerprint(trades: Iterable[Trade], start_time: float) -> str:
    """Return the SHA-256 of what the model did, as `docs/report.md` defines it."""
    import hashlib

    digest = hashlib.sha256()
    for trade in trades:
        digest.update(canonical_trade(trade, start_time).encode("ascii"))
    return digest.hexdigest()


def canonical_trade(trade: Trade, start_time: float) -> str:
    """Return a trade's line in the text that is fingerprinted, in ASCII.

    The line feed at its end is the only one, so equal texts have equal lines.
    """
    fields = canonical_fields(trade, start_time)
    return json.dumps([*fields.values()], separators=(",", ":")) + "\n"


def canonical_fields(trade: Trade, start_time: float) -> dict[str, str | int | None]:
    """Return what is fingerprinted of a trade, by name; the time is in ms since the start."""
    return {
        "symbol": trade.symbol,
        "side": trade.side,
        "type": trade.type,
        "size": _digits(trade.size),
        "price": None if trade.price is None else _digits(trade.price),
        "time": round((trade.time - start_time) * 1000),
    }


def _digits(number: float) -> str:
    """Return a number with ten significant digits, as `printf("%.10g")` writes it."""
    return format(number or 0.0, f".{_DIGITS}g")  # `or` turns -0.0 into 0.0
