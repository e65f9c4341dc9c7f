"""Shards: the parts of a run that several runners do, each a share of its backtests."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.period.windows import Window

MOST_SHARDS: Final = 1_000
_FORM: Final = lazy_regex(r"([0-9]{1,6})\s*/\s*([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a run; `number` is from 1 to `of`."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which part of what a run did.

    `windows` are those of the whole run. `balanced_by` is the digest of the earlier durations by
    which the shares were balanced; blank without any.
    """

    shard: Shard
    windows: tuple[Window, ...] = ()
    balanced_by: str = ""


def parse_shard(text: str) -> Shard | None:
    """Return the shard `I/N`; None if the text is none."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        return None
    shard = Shard(int(match[1]), int(match[2]))
    return shard if 1 <= shard.number <= shard.of <= MOST_SHARDS else None


def share_out(weights: Sequence[float], of: int) -> tuple[int, ...]:
    """Return for each weight the number of its shard, from 1 to `of`.

    The heaviest goes first, to the shard that has least (Graham 1969: at most 4/3 of the best
    possible maximum). The same weights always give the same shares.
    """
    loads = [(0.0, shard) for shard in range(1, of + 1)]
    shares = [0] * len(weights)
    for index in sorted(range(len(weights)), key=lambda index: (-weights[index], index)):
        load, shard = heapq.heappop(loads)
        shares[index] = shard
        heapq.heappush(loads, (load + weights[index], shard))
    return tuple(shares)
