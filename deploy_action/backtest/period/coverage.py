"""Warns where prices cover another period than the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.period.windows import iso_or_seconds
from deploy_action.errors import Problem, Severity
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from deploy_action.backtest.figures.analysis import Coverage

_FEW_BARS: Final = 2
# A market may close for as long beside the ends of a longer period: a weekend with holidays.
_CLOSING: Final = 4 * 86_400
_LONG: Final = 40 * 86_400
_MOST_NAMED: Final = 3
_LONGEST_NAME: Final = 40
_DAY: Final = 86_400


def coverage_warnings(
    coverage: Iterable[Coverage], whose: str = "", redact: Callable[[str], str] = str
) -> Iterator[Problem]:
    """Yield a warning for each period that prices cover instead of what was asked for.

    Symbols with the same prices share one. `whose` begins the message, such as "Window `a`: ".
    Names of symbols go through `redact` before they are cut.
    """
    found: dict[tuple[str, str, float], list[str]] = {}
    for one in coverage:
        if one.covered is not None and _differs(one):
            key = (_period(*one.asked), _period(*one.covered), one.share)
            found.setdefault(key, []).append(excerpt(redact(one.symbol), _LONGEST_NAME))
    for (asked, covered, share), symbols in found.items():
        named = ", ".join(symbols[:_MOST_NAMED])
        more = f" and {len(symbols) - _MOST_NAMED} more" if len(symbols) > _MOST_NAMED else ""
        yield Problem(
            message=f"{whose}Asked for {asked}; the prices of {named}{more} cover {covered} "
            f"({_per_cent(share)} of it).",
            hint="The result says nothing about the time without prices. Ask for that period, or "
            "bring the missing prices.",
            severity=Severity.WARNING,
        )


def _differs(one: Coverage) -> bool:
    """Whether more than a bar or two is missing at either end."""
    if one.covered is None:
        return True
    is_long = one.asked[1] - one.asked[0] >= _LONG
    tolerance = _FEW_BARS * one.resolution + (_CLOSING if is_long else 0)
    before, after = one.covered[0] - one.asked[0], one.asked[1] - one.covered[1]
    return max(before, after) > tolerance


def _period(start: float, end: float) -> str:
    """Write a period by its dates, and with times of day if it is short."""
    if end - start >= _LONG:
        start, end = start // _DAY * _DAY, end // _DAY * _DAY
    return f"{iso_or_seconds(start // 60 * 60)} to {iso_or_seconds(end // 60 * 60)}"


def _per_cent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"  # noqa: PLR2004  # rounds to 1%
