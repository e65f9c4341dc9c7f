"""Arguments are merged key by key, and an account that starts with nothing is refused."""

from __future__ import annotations

import pytest

from .conftest import ARGUMENTS, HEAD, Model, write_prices

TRADES = (
    HEAD
    + """
def on_bar(bar, symbol, state):
    state.interface.market_order(symbol, "buy", 0.1)

strategy.add_bar_event(on_bar, "ASH-USD", resolution="1d")
"""
)
PERIOD = {"start_date": "2023-01-10", "end_date": "2023-01-20"}


def test_without_arguments_the_scripts_own_apply(bot: Model) -> None:
    script = TRADES + (
        'strategy.backtest("1y", {"USD": 900}, start_date="2023-01-10", end_date="2023-01-20")\n'
    )
    ran = bot.run(script, {})
    assert ran.problems == []
    assert ran.last["callback_calls"] == 11
    assert ran.last["arguments"] == {
        "to": "1y",
        "initial_values": {"USD": 900},
        "start_date": "2023-01-10",
        "end_date": "2023-01-20",
    }


def test_the_arguments_of_a_backtest_are_reported(bot: Model) -> None:
    script = TRADES + (
        "values = {'USD': 900}\n"
        "strategy.backtest('5y', values, benchmark_symbol='ASH-USD')\n"
        "values['USD'] = 1\n"
    )
    assert bot.run(script).last["arguments"] == {**ARGUMENTS, "benchmark_symbol": "ASH-USD"}


def test_arguments_that_are_no_json_are_not_reported(bot: Model) -> None:
    script = TRADES + (
        "import numpy\n"
        "values = {'USD': numpy.int64(900)}\n"
        "strategy.backtest(initial_values=values, start_date='2023-01-10',\n"
        "    end_date='2023-01-20', risk_free_return_rate=numpy.float64(0.5), callbacks=[print])\n"
        "values['USD'] = 1\n"
    )

    ran = bot.run(script, {})

    assert ran.last["event"] == "finished", ran.problems
    assert ran.last["arguments"] == {
        "initial_values": {"USD": 900},
        "start_date": "2023-01-10",
        "end_date": "2023-01-20",
        "risk_free_return_rate": 0.5,
    }


def test_the_platform_wins_key_by_key_and_the_period_is_one_of_them(bot: Model) -> None:
    ran = bot.run(
        TRADES + "strategy.backtest('5y', {'USD': 900}, use_price='close')\n",
        {**PERIOD, "use_price": "low"},
    )
    assert ran.last["arguments"] == {"initial_values": {"USD": 900}, **PERIOD, "use_price": "low"}
    assert ran.last["argument_sources"] == {
        "initial_values": "script",
        "start_date": "given",
        "end_date": "given",
        "use_price": "given",
    }
    assert ran.result["market"]["start_value"] == 900
    (notice,) = ran.problems
    assert notice["message"] == (
        "The script calls backtest(to='5y', use_price='close'), and the platform's arguments "
        "replace that: start_date='2023-01-10', end_date='2023-01-20', use_price='low'."
    )


def test_arguments_that_agree_are_not_mentioned(bot: Model) -> None:
    script = TRADES + (
        "strategy.backtest(start_date='2023-01-10', end_date='2023-01-20',\n"
        "    initial_values={'USD': 900})\n"
    )
    assert bot.run(script, PERIOD).problems == []


@pytest.mark.parametrize("given", [{"to": "1y"}, {}], ids=["as blankly init writes it", "without"])
def test_a_keyless_template_runs_in_its_own_period(bot: Model, given: dict[str, str]) -> None:
    """It has prices of years ago, says so in its script, and its blankly.json has `to: 1y`."""
    script = TRADES + (
        "strategy.backtest(start_date=1673308800, end_date=1674172800, "
        "initial_values={'USD': 900})\n"
    )
    ran = bot.run(script, given)
    assert ran.last["event"] == "finished", ran.problems
    assert ran.last["argument_sources"] == dict.fromkeys(
        ["start_date", "end_date", "initial_values"], "script"
    )
    assert ran.result["start_time"] == 1673308800


def test_another_period_without_prices_says_which_prices_there_are(bot: Model) -> None:
    script = TRADES + (
        "strategy.backtest(start_date='2023-01-10', end_date='2023-01-20', "
        "initial_values={'USD': 900})\n"
    )
    ran = bot.run(script, {"start_date": "2020-01-01", "end_date": "2021-01-01"})
    assert ran.last["event"] == "failed"
    (error,) = [one for one in ran.problems if one["severity"] == "error"]
    assert error["message"] == (
        "There are no prices of ASH-USD from 2020-01-01 to 2021-01-01; its prices cover "
        "2023-01-01 to 2023-03-01."
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ("None", "there are no initial_values."),
        ("{'USD': 0, 'ASH': 0.0}", "initial_values are all 0."),
        ("{}", "initial_values are all 0."),
        (
            "{'EUR': 900}",
            "initial_values name EUR, and the assets of this exchange's prices are ASH, USD.",
        ),
    ],
)
@pytest.mark.parametrize("reads", ["symbol", "state.interface.account['ASH'].available"])
def test_an_account_that_starts_with_nothing_is_refused(
    bot: Model, values: str, why: str, reads: str
) -> None:
    """Whether the model looks at its account or not."""
    script = TRADES.replace("    state.interface.market_order", f"    {reads}\n    #")
    ran = bot.run(script + f"strategy.backtest(initial_values={values})\n", PERIOD)
    assert ran.result is None
    (error,) = ran.problems
    assert error["message"] == f"The account starts with nothing: {why}"
    assert '"initial_values": {"USD": 10000}' in error["hint"]


def test_balances_of_a_real_exchange_are_a_warning(bot: Model) -> None:
    """Paper trading takes the account's own balances where there are no initial values."""
    script = TRADES.replace(
        "strategy = blankly.Strategy",
        "exchange.interface.calls.get_account = lambda symbol=None: {\n"
        "    'USD': {'available': 700.0, 'hold': 0.0}, 'ASH': {'available': 0.0, 'hold': 0.0}}\n"
        "type(exchange.interface).get_exchange_type = lambda self: 'coinbase_pro'\n"
        "strategy = blankly.Strategy",
    )
    ran = bot.run(script, PERIOD)
    assert ran.result["market"]["start_value"] == 700
    (warning,) = ran.problems
    assert warning["severity"] == "warning"
    assert "starts with the account's own balances at the exchange" in warning["message"]


def test_every_balance_of_a_real_exchange_has_attributes(bot: Model) -> None:
    """The package adds assets without a balance as plain dictionaries."""
    script = TRADES.replace(
        "strategy = blankly.Strategy",
        "exchange.interface.calls.get_account = lambda symbol=None: {\n"
        "    'USD': {'available': 700.0, 'hold': 0.0}, 'ASH': {'available': 0.0, 'hold': 0.0}}\n"
        "type(exchange.interface).get_exchange_type = lambda self: 'coinbase_pro'\n"
        "strategy = blankly.Strategy",
    ).replace(
        "    state.interface.market_order",
        "    state.interface.account[state.base_asset].available\n    state.interface.market_order",
    )
    ran = bot.run(script, PERIOD)
    assert ran.last["event"] == "finished", ran.problems
    assert len(ran.result["trades"]) == 11


def test_holdings_alone_are_an_account(bot: Model) -> None:
    script = TRADES.replace('"buy", 0.1', '"sell", 0.1')
    ran = bot.run(script, {**PERIOD, "initial_values": {"USD": 0, "ASH": 5}})
    assert ran.last["event"] == "finished", ran.problems
    assert ran.result["market"]["initial_values"] == {"ASH": 5.0}


def test_the_market_of_a_run_is_reported(bot: Model) -> None:
    ran = bot.run(TRADES, {**ARGUMENTS, "use_price": "close"})
    market = ran.result["market"]
    (ash,) = market["prices"]
    assert market["use_price"] == "close"
    assert market["initial_values"] == {"USD": 10_000.0}
    assert market["benchmark_symbol"] is None
    assert (ash["symbol"], ash["base"], ash["quote"]) == ("ASH-USD", "ASH", "USD")
    assert (ash["resolution"], ash["bars"]) == (86_400.0, 54)
    assert (ash["maker_fee"], ash["taker_fee"]) == (0.001, 0.001)
    assert (ash["asked_start"], ash["asked_end"]) == (1_672_617_600.0, 1_677_283_200.0)
    with (bot.root / "ASH-USD.csv").open() as file:
        closes = {line.split(",")[0]: line.split(",")[4] for line in file}
    assert ash["values"] == [float(closes[f"{time:.0f}"]) for time in ash["times"]]
    assert ash["times"][0] == ash["asked_start"]
    assert ash["times"][-1] == ash["asked_end"] - 86_400


def test_prices_are_thinned_where_there_are_too_many(bot: Model) -> None:
    """The first and the last bar stay."""
    write_prices(bot.root / "ASH-USD.csv", 0, bars=3_000, seconds=60)
    script = TRADES.replace('"1d"', '"1h"').replace(
        "import blankly\n", "import blankly\nimport blankly_run.market as market\n", 1
    )
    script = (
        script.replace(
            "strategy = blankly.Strategy", "market._MOST_BARS = 100\nstrategy = blankly.Strategy"
        )
        .replace('"1h"', '"1m"')
        .replace('state.interface.market_order(symbol, "buy", 0.1)', "pass")
    )
    ran = bot.run(script, {**ARGUMENTS, "start_date": "2023-01-01", "end_date": "2023-01-02"})
    (ash,) = ran.result["market"]["prices"]
    assert ash["bars"] == 1_440
    assert len(ash["times"]) == len(ash["values"]) == 100
    ends = ash["times"][0], ash["times"][-1] + 60
    assert ends == (ash["asked_start"], ash["asked_end"])


def test_the_last_year_is_the_default_period(bot: Model) -> None:
    """If neither the platform nor the script asks for one, as with the package's blankly.json."""
    ran = bot.run(TRADES, {"initial_values": {"USD": 900}})
    assert ran.last["event"] == "failed"
    assert "There are no prices of ASH-USD from 20" in ran.problems[0]["message"]


BY_HAND = (
    TRADES
    + """
if __name__ == "__main__":
    if blankly.is_deployed:
        strategy.start()
    else:
        print(strategy.backtest(CALL))
"""
)


def test_a_call_for_runs_by_hand_gives_its_arguments_too(bot: Model) -> None:
    """The templates of `blankly init` have initial_values only there."""
    call = "'1y', initial_values={'USD': 900}, use_price=str('close')"
    ran = bot.run(BY_HAND.replace("CALL", call), PERIOD)
    assert ran.last["event"] == "finished", ran.problems
    assert ran.last["arguments"] == {"initial_values": {"USD": 900}, **PERIOD}
    assert ran.last["argument_sources"]["initial_values"] == "script"
    assert ran.result["market"]["start_value"] == 900


@pytest.mark.parametrize(
    "call",
    [
        "initial_values={'USD': 900}) or strategy.backtest(initial_values={'USD': 800}",
        "{'USD': 900}",
        "initial_values={'USD': 900}, verbose=True",
    ],
    ids=["several", "of something else", "other arguments"],
)
def test_other_calls_for_runs_by_hand_give_none(bot: Model, call: str) -> None:
    ran = bot.run(BY_HAND.replace("CALL", call), PERIOD)
    assert "starts with nothing" in ran.problems[0]["message"]


def test_a_benchmark_without_prices_is_named(bot: Model) -> None:
    ran = bot.run(TRADES, {**ARGUMENTS, "benchmark_symbol": "ELM-USD"})
    (error,) = [one for one in ran.problems if one["severity"] == "error"]
    assert error["message"] == "There are no prices of ELM-USD, the benchmark_symbol."


def test_initial_values_without_prices_are_a_warning(bot: Model) -> None:
    ran = bot.run(TRADES, {**PERIOD, "initial_values": {"USD": 900, "PINE": 50}})
    assert ran.last["event"] == "finished"
    (warning,) = ran.problems
    assert warning["message"] == ("initial_values name PINE, of which this exchange has no prices.")
