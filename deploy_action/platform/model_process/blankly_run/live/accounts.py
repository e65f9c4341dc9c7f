"""Reads what an account at an exchange is worth, without touching what the model uses.

The requests go through a session of our own, with the keys and the signatures of the package's
objects, which are only read: `requests` does not promise that threads can share a session, and the
package sets no time-outs. No other request than GET can be sent.

The package's `get_account()` is not used: it answers for Alpaca with buying power as cash, which
counts borrowed money, and for OANDA with units of positions as money.
"""

from __future__ import annotations

import copy
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

import requests

_SECONDS = 10.0  # that the exchange may take to connect, and then between two parts of its answer
_SECONDS_BETWEEN = 0.5  # two requests
_MOST_PRICES = 20  # asked for one by one, in one sample
_TINY = 1e-9  # of whatever asset
_LOOKS = 5  # at a simulated account, until two of them agree
_PAUSE_SECONDS = 0.05
_NOT_FOUND = 404

Holdings = Dict[str, float]
# Returns the price of an asset in a currency; None if there is no such market.
PriceOf = Callable[[str, str], Optional[float]]


class UnknownError(Exception):
    """The value is not known; the message is for people."""


class NotYetError(Exception):
    """There is no account yet."""


class Value(NamedTuple):
    """What an account is worth in `quote`, without the assets in `missing`, which have no price."""

    quote: str
    value: float
    missing: list[str]
    simulated: bool


class Session(requests.Session):
    """Sends GET requests with a time-out; `check` is called before each, and may raise.

    They are sent one after the other with pauses: the model has the same rate limit.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check
        self._next = 0.0

    def request(self, method: Any, url: Any, *positional: Any, **named: Any) -> Any:
        """Send a request, unless it could change something."""
        if str(method).upper() != "GET":
            raise UnknownError("Only GET is allowed here.")
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._check()
        self._next = time.monotonic() + _SECONDS_BETWEEN
        # A redirection could take the keys in the headers to another host.
        ours = {"timeout": _SECONDS, "allow_redirects": False}
        return super().request(method, url, *positional, **{**named, **ours})

    def json(self, url: str, **named: Any) -> Any:
        """Return an answer's JSON."""
        response = self.get(url, **named)
        response.raise_for_status()
        return response.json()


def in_words(error: BaseException) -> str:
    """Say why a value is not known, without what the exchange or an address says."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status_code", None)
    if isinstance(error, UnknownError):
        return str(error)
    if isinstance(error, requests.Timeout):
        return f"The exchange did not answer within {_SECONDS:.0f} seconds."
    if isinstance(status, int):
        return f"The exchange answered with HTTP {status}."
    if isinstance(error, (requests.ConnectionError, OSError)) and not isinstance(error, ValueError):
        return "The exchange cannot be reached."
    if isinstance(error, (ValueError, KeyError, TypeError, IndexError)):
        return "The answer of the exchange cannot be understood."
    return f"The account could not be read ({type(error).__name__})."


def name_of(exchange: Any) -> tuple[str, str | None]:
    """Return the name of an exchange, as orders have it, and that of the portfolio of its keys."""
    kind = exchange.get_interface().get_exchange_type()
    portfolio = getattr(exchange, "portfolio_name", None)
    return str(kind), None if portfolio is None else str(portfolio)


def is_paper(exchange: Any) -> bool:
    """Whether the exchange is a PaperTrade, which simulates."""
    return bool(exchange.get_type() == "paper_trade")


def is_for_tests(interface: Any) -> bool | None:
    """Whether the interface of an exchange uses an account for tests; None where that is unknown.

    Not meant for a PaperTrade, which has the name of the exchange whose prices it uses.
    """
    is_test = _TESTS.get(str(interface.get_exchange_type()))
    return None if is_test is None else is_test(interface.calls)


def reader_of(exchange: Any, session: Session) -> Callable[[], Value]:
    """Return what reads the account of an exchange; it raises whatever goes wrong.

    Raises:
        UnknownError: accounts of this exchange are not read.
    """
    interface = exchange.get_interface()
    kind, calls = name_of(exchange)[0], interface.calls
    if is_paper(exchange):
        prices = _PRICES.get(kind)
        if prices is None:
            raise UnknownError(f"Simulated accounts with prices of {kind} are not read.")
        return lambda: _paper(interface, _cash_of(interface), prices(calls.calls, session))
    read = _READERS.get(kind)
    if read is None or not _is_spot(exchange):
        raise UnknownError(f"Accounts at {kind} are not read.")
    return lambda: read(calls, session, _cash_of(interface))


def _is_spot(exchange: Any) -> bool:
    return any(
        (one.__module__, one.__name__) == ("blankly.exchanges.exchange", "Exchange")
        for one in type(exchange).__mro__
    )


def _cash_of(interface: Any) -> str:
    """Return the currency that the package takes for cash on this exchange."""
    settings = interface.user_preferences["settings"]
    return str(settings[interface.get_exchange_type()]["cash"])


# ------------------------------------------------------------------ accounts for tests


def _is_alpaca_paper(calls: Any) -> bool:
    return "paper-api" in str(vars(calls)["_base_url"])


def _is_oanda_practice(calls: Any) -> bool:
    return "practice" in vars(calls)["_OandaAPI__api_url"]


def _is_coinbase_sandbox(calls: Any) -> bool:
    return "sandbox" in vars(calls)["_API__api_url"]


def _is_binance_testnet(calls: Any) -> bool:
    return bool(calls.testnet)


_TESTS: dict[str, Callable[[Any], bool]] = {
    "alpaca": _is_alpaca_paper,
    "oanda": _is_oanda_practice,
    "coinbase_pro": _is_coinbase_sandbox,
    "binance": _is_binance_testnet,
}


# ------------------------------------------------------------------ exchanges that tell the value


def _alpaca(calls: Any, session: Session, _quote: str) -> Value:
    api = _with_session(calls, session)
    account = api.get_account()
    return Value(str(account["currency"]), float(account["equity"]), [], _is_alpaca_paper(calls))


def _oanda(calls: Any, session: Session, _quote: str) -> Value:
    api = _with_session(calls, session)
    session.headers.update(calls.session.headers)
    account = api.get_account_summary()["account"]
    return Value(str(account["currency"]), float(account["NAV"]), [], _is_oanda_practice(calls))


def _with_session(calls: Any, session: Session) -> Any:
    """Return a copy of the package's object for requests that uses our session."""
    own = copy.copy(calls)
    ours = {"session": session, "_session": session, "_retry": 0}  # Alpaca's waits, and tries again
    vars(own).update({name: value for name, value in ours.items() if name in vars(own)})
    return own


# ------------------------------------------------------------------ exchanges that tell holdings


def _coinbase(calls: Any, session: Session, quote: str) -> Value:
    url, signed = vars(calls)["_API__api_url"], vars(calls)["_API__auth"]
    accounts = session.json(url + "accounts", auth=signed)
    holdings = {
        str(one["currency"]): float(one["available"]) + float(one["hold"]) for one in accounts
    }
    value, missing = _worth(holdings, quote, _coinbase_prices(calls, session))
    return Value(quote, value, missing, _is_coinbase_sandbox(calls))


def _coinbase_prices(calls: Any, session: Session) -> PriceOf:
    url = vars(calls)["_API__api_url"]

    def price_of(asset: str, quote: str) -> float | None:
        response = session.get(f"{url}products/{asset}-{quote}/ticker")
        if response.status_code == _NOT_FOUND:
            return None
        response.raise_for_status()
        return float(response.json()["price"])

    return price_of


def _binance(calls: Any, session: Session, quote: str) -> Value:
    balances = _binance_api(calls, session).get_account()["balances"]
    holdings = {str(one["asset"]): float(one["free"]) + float(one["locked"]) for one in balances}
    value, missing = _worth(holdings, quote, _binance_prices(calls, session), most=None)
    return Value(quote, value, missing, _is_binance_testnet(calls))


def _binance_api(calls: Any, session: Session) -> Any:
    session.headers.update(calls.session.headers)
    return _with_session(calls, session)


def _binance_prices(calls: Any, session: Session) -> PriceOf:
    """Ask for all prices in one request, which costs less of the rate limit than three single ones.

    A currency that is only quoted the other way round, such as TRY by USDT-TRY, has its price so.
    """
    found: dict[str, float] = {}

    def price_of(asset: str, quote: str) -> float | None:
        if not found:
            tickers = _binance_api(calls, session).get_all_tickers()
            found.update({str(one["symbol"]): float(one["price"]) for one in tickers})
        inverse = found.get(quote + asset)
        return found.get(asset + quote) or (1 / inverse if inverse else None)

    return price_of


def _alpaca_prices(calls: Any, session: Session) -> PriceOf:
    api = _with_session(calls, session)

    def price_of(asset: str, _quote: str) -> float | None:
        try:
            return float(api.get_latest_trade(symbol=asset)["p"])
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", None) == _NOT_FOUND:
                return None
            raise

    return price_of


def _worth(
    holdings: Holdings, quote: str, price_of: PriceOf, *, most: int | None = _MOST_PRICES
) -> tuple[float, list[str]]:
    """Add up holdings at their prices; also return the assets that are left out.

    Those have no price in `quote`, or are beyond the `most` whose prices are asked for.
    """
    value, missing = holdings.get(quote, 0.0), []
    held = sorted(name for name, size in holdings.items() if name != quote and abs(size) > _TINY)
    for number, name in enumerate(held):
        price = price_of(name, quote) if most is None or number < most else None
        if price is None:
            missing.append(name)
        else:
            value += holdings[name] * price
    return value, missing


# ------------------------------------------------------------------ simulated accounts


def _paper(interface: Any, quote: str, price_of: PriceOf) -> Value:
    value, missing = _worth(_paper_holdings(interface), quote, price_of)
    return Value(quote, value, missing, simulated=True)


def _paper_holdings(interface: Any) -> Holdings:
    """Return what a PaperTrade holds, when none of its two sides of a trade is still to be booked.

    The package makes the simulated account at its first use. To make it here could make it twice.

    Raises:
        NotYetError: the model has not used it.
    """
    account = vars(interface)["_PaperTradeInterface__local_account_cache"]
    if account is None:
        raise NotYetError
    before = None
    for _ in range(_LOOKS):
        found = {
            str(name): float(one["available"]) + float(one["hold"])
            for name, one in list(account.local_account.items())
        }
        if found == before:
            return found
        before = found
        time.sleep(_PAUSE_SECONDS)
    raise UnknownError("The simulated account changed while it was read.")


_Reader = Callable[[Any, Session, str], Value]
_READERS: dict[str, _Reader] = {
    "alpaca": _alpaca,
    "oanda": _oanda,
    "coinbase_pro": _coinbase,
    "binance": _binance,
}
_PRICES: dict[str, Callable[[Any, Session], PriceOf]] = {
    "alpaca": _alpaca_prices,
    "coinbase_pro": _coinbase_prices,
    "binance": _binance_prices,
}
