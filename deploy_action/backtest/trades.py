"""The orders of a model, and the fingerprint of what it did."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

# The types of the package's orders that figures depend on.
MARKET_ORDERS: Final = frozenset({"market", "spot-market"})
STOP_LOSS: Final = "stop_loss"
_TEN_DIGITS: Final = "%.10g"


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One order of the model; there may be hundreds of thousands, hence no dataclass.

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
    price = "null" if fields["price"] is None else f'"{fields["price"]}"'
    what = _in_json(trade.symbol, trade.side, trade.type)
    return f'[{what},"{fields["size"]}",{price},{fields["time"]}]\n'


@lru_cache(maxsize=256)  # most trades share these texts, and encoding takes longer than the rest
def _in_json(*texts: str) -> str:
    return ",".join(map(json.dumps, texts))


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
    return _TEN_DIGITS % (number or 0.0)  # `or` turns -0.0 into 0.0
