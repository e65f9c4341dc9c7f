"""A stand-in for exchanges: models reach it, unmodified, through their environment alone.

The model's variables name a proxy on this machine, which answers for every host by itself, over
TLS, with certificates of an authority that it made when it started. It speaks as much of Coinbase
Pro and of Alpaca as the `blankly` package needs to trade there, and of Binance and OANDA what it
needs to tell what an account is worth.
"""

from tests.support.stand_in_exchange.exchange import Fault, StandInExchange
from tests.support.stand_in_exchange.market import Market
from tests.support.stand_in_exchange.server import serving_stand_in
from tests.support.stand_in_exchange.time_lapse import TimeLapse, libfaketime

__all__ = [
    "Fault",
    "Market",
    "StandInExchange",
    "TimeLapse",
    "libfaketime",
    "serving_stand_in",
]
