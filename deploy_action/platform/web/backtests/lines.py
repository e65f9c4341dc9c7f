"""The history of a model's backtests: lines of those that can be compared, and what drifted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from deploy_action.backtest.metrics import are_alike
from deploy_action.platform.web.backtests.identity import are_same
from deploy_action.platform.web.backtests.rows import WithFigures
from deploy_action.records import dataclass, field, replace

_DAY: Final = 86_400
# Beside the ends of a longer period, a market may be closed for as long.
_CLOSING: Final = 4 * _DAY
_LONG: Final = 40 * _DAY
_SHARE: Final = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Point(WithFigures):
    """A backtest with figures; `time` is when it ended.

    `before_id` is the backtest before it in its line, None if there is none whose result is here.
    `drift` says what differs from an earlier backtest that should have come to the same result, or
    is blank.
    """

    document: Mapping[str, Any]
    has_new_bytes: bool = True
    before_id: str | None = None
    drift: str = ""

    @property
    def period(self) -> tuple[float, float] | None:
        """What the prices cover."""
        found = self.document.get("period")
        return None if found is None else (found[0], found[1])


@dataclass(slots=True)
class Line:
    """Backtests that can be compared, in the order in which they ended.

    They have the same arguments, variables, symbols, fees and start, and periods of the same
    length: each is compared with the first, so that small changes do not add up.
    """

    points: list[Point] = field(default_factory=list)

    @property
    def last(self) -> Point:
        """The latest backtest."""
        return self.points[-1]

    @property
    def first(self) -> Point:
        """The earliest backtest."""
        return self.points[0]

    @property
    def moves(self) -> bool:
        """Whether their periods begin or end on different days."""
        periods = [one.period for one in self.points if one.period is not None]
        return any(abs(one[side] - periods[0][side]) >= _DAY for one in periods for side in (0, 1))

    def takes(self, point: Point) -> bool:
        """Whether a backtest can be compared with those of this line."""
        if point.document.get("like") != self.first.document.get("like"):
            return False
        if not are_same(point.variables, self.first.variables):
            return False
        before, now = _length(self.first), _length(point)
        if before is None or now is None:
            return before is now
        longer = max(before, now)
        return abs(before - now) <= longer * _SHARE + (_CLOSING if longer >= _LONG else 0)


def lines_of(points: Iterable[Point]) -> list[Line]:
    """Return the lines of backtests, that of the latest one first.

    Raises nothing for a backtest that says too little to be compared: it is a line of its own.
    """
    lines: list[Line] = []
    for point in sorted(points, key=lambda one: one.time):
        line = next((one for one in lines if _has_likeness(point) and one.takes(point)), None)
        if line is None:
            line = Line()
            lines.append(line)
        line.points.append(point)
    for line in lines:
        line.points = list(_marked(line.points))
    return sorted(lines, key=lambda line: -line.last.time)


def _has_likeness(point: Point) -> bool:
    return point.document.get("like") is not None


def _length(point: Point) -> float | None:
    return None if point.period is None else point.period[1] - point.period[0]


def _marked(points: Sequence[Point]) -> Iterator[Point]:
    """Yield points with what changed: their bytes, or what should not have changed."""
    before: Point | None = None
    same: dict[object, Point] = {}
    for point in points:
        is_new = before is None or before.version.sha256 != point.version.sha256
        key = (point.version.sha256, point.period)
        drift = drift_between(same[key], point) if key in same else ""
        before_id = None if before is None else before.backtest_id
        yield replace(point, has_new_bytes=is_new, before_id=before_id, drift=drift)
        before = same[key] = point


def drift_between(before: Point, now: Point) -> str:
    """Say why what should have had the same result had another one; blank if it had not."""
    one, other = before.document, now.document
    is_same = one.get("tradesSha256") == other.get("tradesSha256")
    if is_same and are_alike(before.metrics, now.metrics):
        return ""
    causes = list(_causes(one, other))
    what = "The same bytes, arguments, variables and period had another result before"
    if causes:
        return f"{what}. Since then, {'; '.join(causes)}."
    known = one.get("pricesSha256") is not None and one.get("environment") is not None
    if known and one.get("pricesSha256") == other.get("pricesSha256"):
        return (
            f"{what}, with the same prices, Python and blankly. Another package may have changed,"
            " or the model does not do the same each time: look for random numbers, the time of"
            " day, and data that it downloads itself."
        )
    return f"{what}. What changed is not known."


def _causes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    prices = before.get("pricesSha256"), now.get("pricesSha256")
    if None not in prices and prices[0] != prices[1]:
        yield "the prices are other ones"
    covered = before.get("covered"), now.get("covered")
    if None not in covered and covered[0] != covered[1]:
        yield f"they cover {covered[1]:.1%} of what was asked for, not {covered[0]:.1%}"
    old, new = before.get("environment") or {}, now.get("environment") or {}
    for name in old.keys() & new.keys():
        if old[name] != new[name]:
            yield f"{name} is {new[name] or 'unknown'}, not {old[name] or 'unknown'}"
