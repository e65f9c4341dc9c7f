"""RSI reversion: buy what fell too fast, sell it once it has recovered, in two symbols at once.

Both symbols run through the same callback and share one account. The rule is in `signals`, apart
from the trading, where it can be read and tested without an exchange. Nothing is kept between
calls: prices come from `history`, the position from the account, so a restart loses nothing.

As in any honest backtest of closed bars, orders are filled at the next bar's open: see
`"use_price"` in `backtest.json`.
"""

import json
from pathlib import Path

import blankly
from blankly.data import PriceReader
from signals import Signal, reversion_signal

SYMBOLS = ("ELM-USD", "FIR-USD")  # invented assets, see generate_prices.py beside this model
LOOKBACK = 60  # closed bars that the rule gets to see
STAKE = 4_500  # dollars per position
FEE = 0.001  # share of every trade
DECIMALS = 6  # of an order's size


def on_price(price, symbol, state):
    """Ask the rule once a day, and trade if it says so and the account allows it."""
    past = state.interface.history(
        symbol, to=LOOKBACK, resolution=state.resolution, return_as="list"
    )
    signal = reversion_signal(past["close"])

    held = blankly.trunc(state.interface.account[state.base_asset].available, DECIMALS)
    if signal is Signal.ENTER and not held and state.interface.cash >= STAKE:
        state.interface.market_order(symbol, "buy", blankly.trunc(STAKE / price, DECIMALS))
    elif signal is Signal.LEAVE and held:
        state.interface.market_order(symbol, "sell", held)


if __name__ == "__main__":
    prices = PriceReader([f"./prices/{symbol}.csv" for symbol in SYMBOLS], list(SYMBOLS))
    # No keys, no network: the exchange is these files.
    exchange = blankly.KeylessExchange(price_reader=prices, maker_fee=FEE, taker_fee=FEE)

    strategy = blankly.Strategy(exchange)
    for symbol in SYMBOLS:
        strategy.add_price_event(on_price, symbol, resolution="1d")

    if blankly.is_deployed:
        # On a platform: trades when deployed; for a backtest it returns at once, and the platform
        # calls strategy.backtest() itself, with `backtest_args` of blankly.json.
        strategy.start()
    else:
        # By hand: the same arguments, so that both tell the same story.
        manifest = json.loads(Path("blankly.json").read_text(encoding="utf-8"))
        print(strategy.backtest(**manifest["backtest_args"]))
