"""The result of a backtest: what the `blankly` package reports, and what is computed from it.

Units are the package's. Metrics named with `(%)` are in per cent already (38.0 means 38%), a
drawdown is positive, volatility is a fraction, amounts are in the quote asset. Times are seconds
since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.account import AccountValues
from deploy_action.backtest.market import Market
from deploy_action.backtest.metrics import PACKAGE_IDS
from deploy_action.records import dataclass, field
from deploy_action.text.quantities import interval
from deploy_action.text.strict_json import JsonText

if TYPE_CHECKING:
    from deploy_action.backtest.figures.analysis import Analysis
    from deploy_action.backtest.trades import Trade
    from deploy_action.text.located_json import JsonValue

_NOT_REPORTED: Final = "not reported"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric that the package printed, by its id; without a value, `reason` says why."""

    id: str
    display_name: str
    kind: str
    value: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class BacktestResult:
    """The result of a backtest; `metrics` are what the package printed, under its own ids."""

    exchange: str
    symbols: tuple[str, ...]
    quote_asset: str
    start_time: float
    stop_time: float
    account_values: AccountValues
    trades: tuple[Trade, ...]
    trades_sha256: str
    metrics: tuple[Metric, ...]
    initial_account_value: float | None
    final_account_value: float | None
    market: Market | None = None
    """None where the server does not tell."""
    raw: JsonText
    """The result as received."""

    @cached_property
    def analysis(self) -> Analysis:
        """All that is computed from this result."""
        from deploy_action.backtest.figures.analysis import analyse

        return analyse(self)

    def package_metric(self, name: str) -> Metric:
        """Return a metric of the package by our id or its own; a missing one has a reason."""
        package_id = PACKAGE_IDS.get(name, name)
        found = (one for one in self.metrics if one.id == package_id)
        return next(found, Metric(package_id, package_id, "number", None, _NOT_REPORTED))

    @cached_property
    def filled_trades(self) -> tuple[Trade, ...]:
        """The orders that were filled, in order."""
        return tuple(trade for trade in self.trades if trade.was_filled)


@dataclass(frozen=True, slots=True)
class ScheduledCall:
    """An event that the model is called for; `resolution` is in seconds, None if it has none."""

    kind: str
    symbol: str
    resolution: float | None

    def in_words(self) -> str:
        """Return it for people: `bar_event OAK-USD every day`."""
        every = "" if self.resolution is None else f" every {interval(self.resolution)}"
        return f"{self.kind} {self.symbol}".strip() + every


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRun:
    """How a backtest was run: what the embedded platform reports in addition to the result.

    `bundle_sha256` is the digest of the bundle that ran, blank if unknown. `arguments` are those of
    `Strategy.backtest()`, without what JSON cannot represent; None if unknown. `argument_sources`
    says for each whether it was `given` to the server or is the `script`'s. `pinned` is what is
    the same in every run: `hashSeed`, `threads`, `now` (ISO 8601), `randomSeed`. `parallel` is how
    many such backtests the server would run at once; None if it does not say.
    """

    python: str
    wanted_python: str
    blankly: str
    constraints: tuple[str, ...]
    environment_seconds: float
    model_seconds: float
    schedule: tuple[ScheduledCall, ...]
    exchanges: tuple[str, ...]
    symbols: tuple[str, ...]
    callback_calls: int | None
    bundle_sha256: str = ""
    arguments: Mapping[str, JsonValue] | None = None
    argument_sources: Mapping[str, str] = field(default_factory=dict)
    pinned: Mapping[str, JsonValue] = field(default_factory=dict)
    parallel: int | None = None
