"""Constant value: hold one asset for a fixed amount of money, and trade back when it drifts.

What has risen is sold, what has fallen is bought again. The same file is backtested, from a file of
prices and without keys, and trades live, at Alpaca. Nothing is kept between calls: what is held and
what is ordered is asked of the exchange, so a restart in between loses and repeats nothing.
"""

import json
import os
import tempfile
from pathlib import Path

import blankly
from blankly.data import PriceReader

ASSET = "YEW"  # invented, see generate_prices.py: to trade live, put a real one here, like SPY
EVERY = os.environ.get("EVERY", "1d")  # how often it looks at the price
STAKE = 5_000  # dollars to hold in the asset
BAND = 0.03  # share of the stake below which a difference is left alone
FEE = 0.001  # share of every trade, in backtests
DECIMALS = 6  # of an order's size

# A platform runs this file for backtests too; by hand it is always a backtest.
LIVE = blankly.is_deployed and os.environ.get("BACKTESTING") != "1"
SYMBOL = ASSET if LIVE else f"{ASSET}-USD"  # Alpaca's name, and the one that backtests need


def on_price(price, symbol, state):
    """Buy or sell what the stake differs by, if it is worth an order."""
    if state.interface.orders:
        return  # one is not filled yet, such as before the market opens: another would be too many
    missing = STAKE - held(state) * price
    if abs(missing) < BAND * STAKE:
        return
    side = "buy" if missing > 0 else "sell"
    if side == "buy" and missing > state.interface.cash:
        print(f"not bought: {missing:.2f} dollars are more than there is")
        return
    trade(symbol, side, abs(missing) / price, price, state)


def teardown(symbol, state):
    """Sell everything when somebody stops the model; keep it for a new version or a restart."""
    size = held(state)
    if os.environ.get("BLANKLY_STOP_REASON") == "stop" and size:
        trade(symbol, "sell", size, state.interface.get_price(symbol), state)


def held(state):
    """Return how much of the asset can be sold; an exchange may not list what there is none of."""
    account = state.interface.account
    return account[state.base_asset].available if state.base_asset in account else 0


def trade(symbol, side, size, price, state):
    """Place an order, and say so in the log."""
    size = blankly.trunc(size, DECIMALS)
    state.interface.market_order(symbol, side, size)
    if LIVE:
        print(f"{side} {size} {symbol} at about {price:.2f}")


def real_exchange():
    """Return Alpaca, with the keys of `keys.json` or of variables.

    By variables it is Alpaca's paper trading, unless ALPACA_REAL_MONEY says `yes`.
    """
    if Path("keys.json").exists():
        return blankly.Alpaca()
    account = {
        "API_KEY": os.environ["ALPACA_KEY"],
        "API_SECRET": os.environ["ALPACA_SECRET"],
        "sandbox": os.environ.get("ALPACA_REAL_MONEY") != "yes",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as keys:  # blankly reads them from a file
        json.dump({"alpaca": {"main": account}}, keys)
        keys.flush()
        return blankly.Alpaca(keys_path=keys.name)


def recorded_exchange():
    """Return an exchange that knows the prices of a file, and can be used in backtests only."""
    prices = PriceReader(f"./prices/{SYMBOL}.csv", SYMBOL)
    return blankly.KeylessExchange(price_reader=prices, maker_fee=FEE, taker_fee=FEE)


if __name__ == "__main__":
    strategy = blankly.Strategy(real_exchange() if LIVE else recorded_exchange())
    strategy.add_price_event(on_price, SYMBOL, resolution=EVERY, teardown=teardown)

    if blankly.is_deployed:
        # On a platform: trades when deployed; for a backtest it returns at once, and the platform
        # calls strategy.backtest() itself, with `backtest_args` of blankly.json.
        strategy.start()
    else:
        # By hand: the same arguments, so that both tell the same story.
        manifest = json.loads(Path("blankly.json").read_text(encoding="utf-8"))
        print(strategy.backtest(**manifest["backtest_args"]))
