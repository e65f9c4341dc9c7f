"""The figures of a result as JSON: what is kept of it, and sent, for the history of a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from deploy_action.backtest.figures.kept import KeptFigures

if TYPE_CHECKING:
    from deploy_action.backtest.market import Market
    from deploy_action.backtest.result import BacktestResult, BacktestRun

# A model chooses its arguments and symbols; every page of its backtests reads them.
_LARGEST_PART: Final = 4 << 10

FiguresDocument = Mapping[str, Any]


def figures_document(
    result: BacktestResult, run: BacktestRun | None, given: Mapping[str, object]
) -> FiguresDocument:
    """Return the figures of a result; times are in seconds since 1970.

    `given` are the arguments that were asked for. `metrics` has every id of `METRICS`, and
    `reasons` why one is null; `period` is what the prices cover, null if that is unknown, and
    `covered` the least share of the asked period for which a symbol has prices. `like` is a digest
    of what has to be the same for a comparison: the arguments, the symbols, and what an order
    costs. Parts that are large are null.
    """
    kept, market = KeptFigures.of(result), result.market
    arguments = given if run is None or run.arguments is None else run.arguments
    symbols = sorted({one.symbol for one in market.prices}) if market else sorted(result.symbols)
    rules = None if market is None else _rules(market)
    return {
        "metrics": kept.metrics,
        "reasons": result.analysis.reasons,
        "isExact": kept.is_exact,
        "quoteAsset": result.quote_asset,
        "period": _period(result),
        "covered": kept.covered,
        "tradesSha256": kept.trades_sha256,
        "pricesSha256": None if market is None else _digest_of_prices(market),
        "like": _digest([arguments, symbols, rules]),
        "arguments": _if_small(arguments),
        "symbols": _if_small(symbols),
        "rules": _if_small(rules),
        "environment": _if_small(_environment(run)),
    }


def _period(result: BacktestResult) -> tuple[float, float] | None:
    """Return what the prices cover, else what the account's values do."""
    market = result.market
    priced = [one for one in market.prices if one.times] if market else []
    if priced:
        starts, ends = (
            [one.times[0] for one in priced],
            [one.times[-1] + one.resolution for one in priced],
        )
        return min(starts), max(ends)
    times = result.analysis.values.times
    return (times[0], times[-1]) if times else None


def _rules(market: Market) -> FiguresDocument:
    """Return what an order costs, and what the account starts with."""
    fees = {(one.maker_fee, one.taker_fee) for one in market.prices}
    return {
        "usePrice": market.use_price,
        "fees": sorted(fees, key=str),
        "initialValues": dict(sorted(market.initial_values.items())),
        "benchmark": market.benchmark_symbol,
    }


def _environment(run: BacktestRun | None) -> FiguresDocument | None:
    """Return what else a result depends on, by the words for it."""
    if run is None:
        return None
    return {
        "Python": run.python,
        "blankly": run.blankly,
        "known-good packages": ", ".join(run.constraints),
    }


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _digest_of_prices(market: Market) -> str:
    digest = hashlib.sha256()
    for one in sorted(market.prices, key=lambda prices: prices.symbol):
        digest.update(json.dumps([one.symbol, one.resolution, one.bars]).encode("ascii"))
        digest.update(one.times.tobytes())
        digest.update(one.values.tobytes())
    return digest.hexdigest()


def _if_small(value: object) -> Any:
    return value if len(json.dumps(value)) <= _LARGEST_PART else None
