"""As much of Binance's and OANDA's APIs as the `blankly` package needs to start, and accounts."""

from __future__ import annotations

from tests.support.stand_in_exchange.account import CASH
from tests.support.stand_in_exchange.answers import Answer, Request
from tests.support.stand_in_exchange.exchange import StandInExchange

_TETHER = "USDT"  # what Binance's cash is counted in; here it is as good as dollars


def answer_as_binance(exchange: StandInExchange, request: Request) -> Answer:
    """Answer a request to a host of Binance."""
    asset_pairs = [asset + _TETHER for asset in exchange.markets if asset not in exchange.unquoted]
    match request.path.strip("/").split("/"):
        case ["api", _, "ping"]:
            return Answer({})
        case ["api", _, "exchangeInfo"]:
            return Answer({"symbols": []})
        case ["api", _, "ticker", "price"]:
            prices = {pair: exchange.price_of(pair.removesuffix(_TETHER)) for pair in asset_pairs}
            prices["USDTTRY"] = 40.0
            return Answer([{"symbol": name, "price": f"{at:.8f}"} for name, at in prices.items()])
        case ["api", _, "account"] if request.key and "signature" in request.query:
            account = exchange.account(request.key)
            names = {CASH: _TETHER}
            return Answer(
                {
                    "balances": [
                        {
                            "asset": names.get(asset, asset),
                            "free": f"{account.available(asset):.8f}",
                            "locked": f"{account.held(asset):.8f}",
                        }
                        for asset in account.holdings
                    ]
                }
            )
        case _:
            pass
    return Answer({"code": -1121, "msg": "Invalid symbol."}, 400)


def answer_as_oanda(exchange: StandInExchange, request: Request) -> Answer:
    """Answer a request to a host of OANDA."""
    if not request.key:
        return Answer({"errorMessage": "Insufficient authorization to perform request."}, 401)
    match request.path.strip("/").split("/"):
        case ["v3", "accounts", _, "instruments"]:
            instrument = {
                "name": "EUR_USD", "tradeUnitsPrecision": 0, "minimumTradeSize": "1",
                "maximumOrderUnits": "100000000",
            }  # fmt: skip
            return Answer({"instruments": [instrument]})
        case ["v3", "accounts", _, *_]:
            worth = f"{exchange.account(request.key).worth:.4f}"
            return Answer({"account": {"currency": "EUR", "NAV": worth, "balance": "1.0"}})
        case ["v3", "instruments", instrument, "candles"]:
            return _candles(exchange, request, instrument.partition("_")[0])
        case _:
            pass
    return Answer({"errorMessage": "not found"}, 404)


def _candles(exchange: StandInExchange, request: Request, asset: str) -> Answer:
    """Answer with bars of minutes or hours."""
    start, stop = (float(request.query[name]) for name in ("from", "to"))
    seconds = {"M1": 60, "H1": 3_600}[request.query["granularity"]]
    candles = [
        {
            "complete": True,
            "volume": int(b.volume),
            "time": f"{b.time:.9f}",
            "mid": {"o": f"{b.open}", "h": f"{b.high}", "l": f"{b.low}", "c": f"{b.close}"},
        }
        for b in exchange.markets[asset].bars(start, stop, seconds, exchange.now())
    ]
    return Answer({"instrument": request.path, "granularity": "M1", "candles": candles})
