"""Golden cross: hold the asset while its fast moving average is above its slow one.

Long only, one symbol, daily bars. Averages are taken over closed bars, and `backtest.json` says
`"use_price": "open"`: what is decided on Monday's close is filled at Tuesday's open, as it would
be in real trading. With "close" it would be filled at Tuesday's close, which `get_price` already
tells on Tuesday morning, when nobody can know it.
"""

import json
import os
from pathlib import Path

import blankly
from blankly.data import PriceReader

SYMBOL = "OAK-USD"  # an invented asset, see generate_prices.py beside this model
FEE = 0.001  # share of every trade
DECIMALS = 6  # of an order's size

# Bars of the averages. Variables of these names change them, as a sweep does.
FAST = int(os.environ.get("FAST", "10"))
SLOW = int(os.environ.get("SLOW", "40"))


def init(symbol, state):
    """Load the closed bars before the first day, so that both averages exist from the start."""
    past = state.interface.history(symbol, to=SLOW, resolution=state.resolution, return_as="deque")
    state.variables["closes"] = past["close"]  # a deque: it forgets its oldest bar by itself


def on_bar(bar, symbol, state):
    """Buy with all cash above the cross, sell everything below it, else keep still."""
    closes = state.variables["closes"]
    closes.append(bar["close"])
    if len(closes) < SLOW:
        return
    fast = blankly.indicators.sma(list(closes), FAST)[-1]
    slow = blankly.indicators.sma(list(closes), SLOW)[-1]

    held = blankly.trunc(state.interface.account[state.base_asset].available, DECIMALS)
    if fast > slow and not held:
        size = blankly.trunc(state.interface.cash / state.interface.get_price(symbol), DECIMALS)
        state.interface.market_order(symbol, "buy", size)
    elif fast < slow and held:
        state.interface.market_order(symbol, "sell", held)


if __name__ == "__main__":
    prices = PriceReader("./prices/OAK-USD.csv", SYMBOL)
    # No keys, no network: the exchange is this file. It cannot trade live: the example
    # constant-value takes a real exchange for that, and such a file for backtests.
    exchange = blankly.KeylessExchange(price_reader=prices, maker_fee=FEE, taker_fee=FEE)

    strategy = blankly.Strategy(exchange)
    strategy.add_bar_event(on_bar, SYMBOL, resolution="1d", init=init)

    if blankly.is_deployed:
        # On a platform: trades when deployed; for a backtest it returns at once, and the platform
        # calls strategy.backtest() itself, with `backtest_args` of blankly.json.
        strategy.start()
    else:
        # By hand: the same arguments, so that both tell the same story.
        manifest = json.loads(Path("blankly.json").read_text(encoding="utf-8"))
        print(strategy.backtest(**manifest["backtest_args"]))
