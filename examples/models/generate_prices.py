"""Write the price files of the example models: invented assets, the same bytes on every machine.

Each asset is a geometric random walk whose drift and volatility change with the market's mood
(a regime: rising, falling or quiet), so that there is something to trade. Nothing here resembles
a real market closely enough to learn more from it than how a model is put together.

Run it without arguments to write the files again.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

FIRST_DAY = 1_672_531_200  # 2023-01-01 00:00 UTC, in epoch seconds
DAY = 86_400  # seconds
DAYS = 600
HEADER = "time,open,high,low,close,volume"


@dataclass(frozen=True, slots=True)
class Regime:
    """A mood of the market: mean and deviation of its daily logarithmic return."""

    drift: float
    volatility: float


RISING = Regime(drift=0.0015, volatility=0.014)
FALLING = Regime(drift=-0.0015, volatility=0.018)
QUIET = Regime(drift=0.0, volatility=0.009)
REGIMES = (RISING, FALLING, QUIET)


@dataclass(frozen=True, slots=True)
class Asset:
    """One invented asset: where its file belongs, where its price starts, how it moves.

    A regime lasts `shortest` to `longest` days. `pull` is the share of the distance to
    `first_price` that a day closes: 0 for a pure random walk.
    """

    file: str
    first_price: float
    shortest: int
    longest: int
    pull: float = 0.0


ASSETS = (
    Asset("constant-value/prices/YEW-USD.csv", 40.0, shortest=20, longest=60, pull=0.08),
    Asset("golden-cross/prices/OAK-USD.csv", 40.0, shortest=40, longest=100),
    Asset("rsi-reversion/prices/ELM-USD.csv", 120.0, shortest=20, longest=60, pull=0.03),
    Asset("rsi-reversion/prices/FIR-USD.csv", 15.0, shortest=20, longest=60, pull=0.03),
)


def price_file(asset: Asset) -> str:
    """Return the daily bars of `asset` as CSV: epoch seconds (UTC) and prices in dollars."""
    # The name is the seed: a file does not change when another asset is added or moved.
    source = random.Random(asset.file)
    rows = [HEADER]
    close = asset.first_price
    regime, days_left = QUIET, 0
    for day in range(DAYS):
        if days_left == 0:
            regime = source.choice(REGIMES)
            days_left = source.randint(asset.shortest, asset.longest)
        days_left -= 1
        opened = close
        pulled = asset.pull * math.log(asset.first_price / opened)
        close = opened * math.exp(source.gauss(regime.drift + pulled, regime.volatility))
        high = max(opened, close) * math.exp(abs(source.gauss(0, regime.volatility / 3)))
        low = min(opened, close) * math.exp(-abs(source.gauss(0, regime.volatility / 3)))
        volume = round(source.lognormvariate(8, 0.4))
        prices = f"{opened:.2f},{high:.2f},{low:.2f},{close:.2f}"
        rows.append(f"{FIRST_DAY + day * DAY},{prices},{volume}")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write every file into the models beside this script."""
    models = Path(__file__).resolve().parent
    for asset in ASSETS:
        path = models / asset.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(price_file(asset).encode("ascii"))


if __name__ == "__main__":
    main()
