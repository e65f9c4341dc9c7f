"""The market of a run: its prices, fees and balances at the start, and what is wrong with them."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, Iterator, Mapping

from .faults import make_problem
from .prices.checks import check_prices, moment
from .strict_json import describe

_YEAR_5000 = 95_617_584_000  # in seconds since 1970
_MOST_BARS = 1_000_000  # of all symbols together; more are thinned evenly
_MOST_NAMED = 5
_DEEPEST_WRAPPING = 4
_START_HINT = 'Add this to backtest_args in blankly.json: "initial_values": {{"{}": 10000}}.'
_PAID_IN_HINT = (
    "Name an asset that the model trades with in initial_values of backtest_args, such as "
    '"initial_values": {{"{}": 10000}}.'
)


class RefusedRunError(Exception):
    """A run that would mean nothing; `problem` says why."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["message"])
        self.problem = problem


class Market:
    """The market of one run of a controller of the package."""

    def __init__(self, controller: Any, exchange: Any, given_values: Any) -> None:
        """`given_values` is the argument `initial_values`, None without."""
        self.problems: list[dict[str, Any]] = []
        self.has_started = False
        self._controller = controller
        self._interface = exchange.get_interface()
        self._is_keyless = self._interface.get_exchange_type() == "keyless"
        self._given_values = given_values
        self._initial_values: dict[str, float] = {}

    def watch_start(self) -> None:
        """Look at account and prices right before the model is called for the first time.

        There, the package asks the interface for the assets to show; the given balances are in
        the account by then.
        """
        original = self._interface.evaluate_traded_account_assets

        def evaluate(*positional: Any, **named: Any) -> Any:
            found = original(*positional, **named)
            self._check_account()
            self._check_prices()
            self.has_started = True
            return found

        self._interface.evaluate_traded_account_assets = evaluate

    def _check_prices(self) -> None:
        with suppress(Exception):  # another version of the package, or settings without a column
            controller = self._controller
            self.problems += check_prices(
                self._interface.full_prices,
                own_prices(self._interface),
                (float(controller.user_start), float(controller.user_stop)),
                controller.use_price,
            )

    def _check_account(self) -> None:
        """Note the balances at the start.

        Raises:
            RefusedRunError: there are none.
        """
        self._give_attributes()
        account = self._interface.get_account()
        for asset, balance in account.items():
            with suppress(TypeError, ValueError, KeyError):
                held = float(balance["available"]) + float(balance["hold"])
                if held and math.isfinite(held):
                    self._initial_values[describe(asset)] = held
        if not self._initial_values:
            raise RefusedRunError(self._empty(list(account)))
        self._left_out(account)
        if self._given_values is None and not self._is_keyless:
            message = (
                "The backtest starts with the account's own balances at the exchange, because "
                "there are no initial_values: its result changes with them."
            )
            hint = _START_HINT.format(self._quote)
            self.problems.append(make_problem("warning", message, hint))

    def _give_attributes(self) -> None:
        """Let models read every balance as `account.USD.available`.

        The package itself adds assets without a balance as plain dictionaries, which have no such
        attributes, where there are no initial values.
        """
        account = getattr(getattr(self._interface, "local_account", None), "local_account", None)
        if isinstance(account, dict):
            for asset, balance in account.items():
                if type(balance) is dict:
                    account[asset] = type(account)(balance)

    @property
    def _quote(self) -> str:
        with suppress(Exception):  # the model's settings may be anything
            return describe(self._controller.preferences["settings"]["quote_account_value_in"])
        return "USD"

    def _empty(self, assets: list[Any]) -> dict[str, Any]:
        hint = _START_HINT.format(self._quote)
        if self._given_values is None:
            message = "The account starts with nothing: there are no initial_values."
        elif not any(self._numbers_given()):
            message = "The account starts with nothing: initial_values are all 0."
        else:
            known = ", ".join(map(describe, assets[:_MOST_NAMED])) or "none"
            given = ", ".join(map(describe, list(self._given_values)[:_MOST_NAMED]))
            message = (
                f"The account starts with nothing: initial_values name {given}, and the assets of "
                f"this exchange's prices are {known}."
            )
            hint = _PAID_IN_HINT.format(self._quote)
        return make_problem("error", message, hint)

    def _numbers_given(self) -> Iterator[bool]:
        for value in self._given_values.values() if isinstance(self._given_values, dict) else ():
            yield bool(value)

    def _left_out(self, account: Any) -> None:
        """Warn of initial values that the package drops: of assets without prices."""
        given = self._given_values if isinstance(self._given_values, dict) else {}
        lost = [describe(asset) for asset, value in given.items() if value and asset not in account]
        if lost:
            named = ", ".join(lost[:_MOST_NAMED])
            message = f"initial_values name {named}, of which this exchange has no prices."
            hint = "They are left out: the account starts without them."
            self.problems.append(make_problem("warning", message, hint))

    def missing_prices(self, error: Exception) -> dict[str, Any] | None:
        """Return the problem of a run that an error ended because prices are missing."""
        benchmark = (self._controller.preferences or {}).get("settings", {}).get("benchmark_symbol")
        if benchmark and error.args == (benchmark,):  # a KeyError of the package
            message = f"There are no prices of {describe(benchmark)}, the benchmark_symbol."
            hint = "Name a symbol that the strategy has an event for, or remove benchmark_symbol."
            return make_problem("error", message, hint)
        if self.has_started:
            return None
        asked = self._asked()
        empty = [one for one, bars in self._controller.prices.items() if not len(bars)]
        for symbol in (one for one in empty if one in asked):
            period = " to ".join(map(moment, asked[symbol]))
            has = self._own_period(symbol)
            there = f"; its prices cover {has}" if has else ""
            message = f"There are no prices of {describe(symbol)} from {period}{there}."
            hint = (
                "Ask for a period with prices, by `to` or `start_date` with `end_date`: in "
                "`backtest_args` of `blankly.json`, in the input `backtest-args`, or in the script."
            )
            if not self._is_keyless:  # some packages print that they were refused, and go on
                hint = f"{hint} Or the exchange refused them: the log has what it said."
            if self._counts_milliseconds(symbol):
                message = f"The times of the prices of {describe(symbol)} are milliseconds."
                hint = "PriceReader takes seconds since 1970: divide the column `time` by 1000."
            return make_problem("error", message, hint)
        return None

    def _counts_milliseconds(self, symbol: str) -> bool:
        """Return whether prices that the script gave have times beyond the year 5000."""
        try:
            frames = own_prices(self._interface)[symbol].values()
            return any(frame["time"].min() > _YEAR_5000 for frame in frames)
        except Exception:  # noqa: BLE001  # no prices of this symbol, or odd ones
            return False

    def _own_period(self, symbol: str) -> str | None:
        """Return what the prices that the script gave to a keyless exchange cover."""
        try:
            frame = max(own_prices(self._interface)[symbol].values(), key=len)
            return f"{moment(frame['time'].min())} to {moment(frame['time'].max())}"
        except Exception:  # noqa: BLE001  # no prices of this symbol, or odd ones
            return None

    def _asked(self) -> dict[str, Any]:
        """Return the period asked for, by symbol: the earliest start and the latest end."""
        names = self._controller.PriceIdentifiers
        found: dict[str, Any] = {}
        for one in self._controller._BackTestController__user_added_times:  # noqa: SLF001  # there is no other way
            if one is None:
                continue
            start, end = one[names.epoch_start], one[names.epoch_stop]
            if start is None or end is None:
                continue
            symbol = one[names.symbol]
            earliest, latest = found.get(symbol, (start, end))
            found[symbol] = (min(earliest, float(start)), max(latest, float(end)))
        return found

    def describe(self, traded: list[Any]) -> dict[str, Any]:
        """Return the market for the platform; `traded` are the symbols that the model traded."""
        settings: Mapping[str, Any] = self._controller.preferences["settings"]
        asked = self._asked()
        prices = self._controller.prices
        most = max(2, _MOST_BARS // max(1, len(prices)))
        return {
            "use_price": describe(self._controller.use_price),
            "initial_values": self._initial_values,
            "start_value": self._start_value(settings),
            "benchmark_symbol": settings.get("benchmark_symbol"),
            "prices": [
                self._prices(symbol, asked.get(symbol), most, has_fees=symbol in traded)
                for symbol in prices
            ],
        }

    def _start_value(self, settings: Mapping[str, Any]) -> float | None:
        """Return the account's value before the first order.

        The package's result has one value for each time, and orders at the first bar change it.
        """
        if not settings.get("save_initial_account_value"):
            return None
        column = f"Account Value ({self._controller.quote_currency})"
        with suppress(Exception):  # another version of the package
            return float(self._controller.traded_account_values[0][column])
        return None

    def _prices(self, symbol: str, asked: Any, most: int, *, has_fees: bool) -> dict[str, Any]:
        controller = self._controller
        bars = controller.prices[symbol]
        pairs = [
            (float(time), float(value))
            for time, value in zip(bars["time"].tolist(), bars[controller.use_price].tolist())
            if controller.user_start <= time <= controller.user_stop
        ]
        pairs.sort(key=lambda pair: pair[0])
        # Of bars with one time, as two resolutions have them, the engine takes the first.
        pairs = [pair for pair, last in zip(pairs, [(None, 0), *pairs]) if pair[0] != last[0]]
        count = len(pairs)
        if count > most:
            pairs = [pairs[number * (count - 1) // (most - 1)] for number in range(most)]
        fees = self._fees(symbol) if has_fees or self._is_keyless else {}
        base, _, quote = symbol.partition("-")
        return {
            "symbol": symbol,
            "base": base,
            "quote": quote or "USD",  # as the package has it
            "resolution": self.resolution(symbol),
            "asked_start": None if asked is None else asked[0],
            "asked_end": None if asked is None else asked[1],
            "maker_fee": fees.get("maker_fee_rate"),
            "taker_fee": fees.get("taker_fee_rate"),
            "bars": count,
            "times": [time for time, _ in pairs],
            "values": [value for _, value in pairs],
        }

    def resolution(self, symbol: str) -> float:
        """Return the length of a symbol's bars in seconds, 0 if unknown."""
        with suppress(Exception):  # another version of the package
            return float(min(self._interface.full_prices[symbol]))
        return float(self._controller.min_resolution or 0)

    def _fees(self, symbol: str) -> dict[str, float | None]:
        """Return the fees as shares; the exchange is asked only if the model has traded there."""
        try:
            found = self._interface.get_fees(symbol)
            return {name: float(found[name]) for name in ("maker_fee_rate", "taker_fee_rate")}
        except Exception:  # noqa: BLE001  # an exchange that does not answer, or answers oddly
            return {}


def own_prices(interface: Any) -> dict[str, dict[float, Any]]:
    """Return the prices that the script gave to a keyless exchange, by symbol and resolution.

    Paper trading wraps the interface of the exchange. Empty for any other exchange.
    """
    for _ in range(_DEEPEST_WRAPPING):  # a logger and paper trade, each around the next
        found = getattr(interface, "_KeylessAPI__final_prices", None)
        if isinstance(found, dict):
            return found
        interface = getattr(interface, "interface", None) or getattr(interface, "calls", None)
    return {}
