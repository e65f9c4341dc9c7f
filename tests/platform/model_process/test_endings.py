"""How a backtest ends: with an error, a warning, or normally in spite of everything."""

from __future__ import annotations

import base64

import pytest

from .conftest import ARGUMENTS, HEAD, TAIL, Model, Ran, printed_metrics

TRADES = (
    HEAD
    + """
def on_bar(bar, symbol, state):
    state.interface.market_order(symbol, "buy", 0.1)

strategy.add_bar_event(on_bar, "ASH-USD", resolution="1d")
"""
)
# A model that is not a strategy and sets its own period.
OWN_MODEL = """
import blankly
from blankly.data import PriceReader

class Walk(blankly.Model):
    def main(self, args):
        while self.has_data:
            if self.interface.cash > 200:
                self.interface.market_order("ASH-USD", "buy", 1)
            self.backtester.value_account()
            self.sleep("1d")

exchange = blankly.KeylessExchange(price_reader=PriceReader("./ASH-USD.csv", "ASH-USD"))

def walk():
    model = Walk(exchange)
    model.backtester.add_prices("ASH-USD", "1d", start_date="2023-01-02", stop_date="2023-02-01")
    return model.backtest(args={}, initial_values={"USD": 1000}, kwargs={"GUI_output": True})

"""


def error_of(ran: Ran, path: str | None, line: str | None, script: str) -> str:
    """Check that a run failed with one error on that line; return its message."""
    assert ran.code == 0
    assert ran.last["event"] == "failed"
    assert ran.result is None
    assert ran.left == []
    (problem,) = [problem for problem in ran.problems if problem["severity"] == "error"]
    wanted = None
    if line is not None:
        lines = enumerate(script.splitlines(), 1)
        wanted = next(number for number, text in lines if line in text)
    assert (problem["path"], problem["line"]) == (path, wanted)
    message: str = problem["message"]
    return message


def hint_of(ran: Ran) -> str:
    hint: str = ran.problems[0]["hint"]
    return hint


def test_a_script_that_crashes_shows_its_traceback_alone(bot: Model) -> None:
    bot.write("orders.py", "def size(prices):\n    return prices['BTC']\n")
    script = HEAD + "from orders import size\nsize({})\n"

    ran = bot.run(script)

    (problem,) = ran.problems
    assert problem == {
        "severity": "error",
        "message": "KeyError: 'BTC'",
        "hint": "",
        "path": "orders.py",
        "line": 2,
    }
    assert ran.last["event"] == "failed"
    traceback = ran.printed[ran.printed.index("Traceback") :]
    assert traceback.splitlines()[1].startswith(f'  File "{bot.root / "bot.py"}", line ')
    assert "    return prices['BTC']" in traceback
    assert "blankly_run" not in traceback
    assert traceback.rstrip().endswith("KeyError: 'BTC'")


def test_an_exception_of_the_models_own_kind_ends_as_its_error(bot: Model) -> None:
    """It may say of itself what it likes, or nothing."""
    script = (
        "class Own(Exception):\n"
        "    __traceback__ = property(lambda self: 1 / 0)\n"
        "    def __str__(self): raise SystemExit(3)\n"
        "raise Own\n"
    )
    ran = bot.run(script)
    assert error_of(ran, None, None, script) == "Own: Own"
    assert "blankly_run" not in ran.printed


def test_a_syntax_error_is_reported_at_its_line(bot: Model) -> None:
    """There is no header, because there is no frame."""
    ran = bot.run("import blankly\nif True print()\n")
    assert error_of(ran, "bot.py", "if True", "import blankly\nif True print()\n").startswith(
        "SyntaxError: "
    )
    assert "Traceback" not in ran.printed
    assert "    if True print()" in ran.printed


def test_a_missing_package_and_what_the_platform_leaves_alone(bot: Model) -> None:
    (bot.root / "models").mkdir()
    bot.write("argparse.py", "raise AssertionError('a module of the model, in place of ours')")
    script = """
        import os, pickle, sys
        import __main__

        class Kept:
            pass

        assert sys.argv == [__file__], sys.argv
        assert sys.path[0] == os.path.dirname(__file__), sys.path
        assert __main__.Kept is Kept
        assert type(pickle.loads(pickle.dumps(Kept()))) is Kept
        assert (__name__, __spec__, __package__) == ("__main__", None, None)
        assert "session" not in sys.modules
        print("all as it should be")
        import no_such_package
    """
    ran = bot.run(script)

    message = error_of(ran, "bot.py", "import no_such", "\n" + script.strip())
    assert message == "ModuleNotFoundError: No module named 'no_such_package'"
    assert "provides `no_such_package` to the requirements" in hint_of(ran)
    assert "all as it should be" in ran.printed


def test_an_exit_code_other_than_0_is_a_failure(bot: Model) -> None:
    script = TRADES + "import sys\nsys.exit('no money')\n"
    ran = bot.run(script)
    assert "sys.exit(no money)" in error_of(ran, "bot.py", "sys.exit(", script)
    assert "Backtesting..." not in ran.printed
    assert "Traceback" not in ran.printed
    assert "no money\n" in ran.printed


def test_a_script_that_ends_early_is_a_normal_end(bot: Model) -> None:
    script = (
        TRADES
        + """
import sys, threading, time, webbrowser

reporter = blankly.reporter
reporter.text("sold\\neverything")
reporter.email("bought")
reporter.export_live_var(strategy, "strategy")
assert reporter.update_live_var(strategy) is strategy
webbrowser.open("https://plots.invalid/")
try:
    webbrowser.get()
except webbrowser.Error:
    pass
from bokeh.plotting import figure, output_file, show
output_file("plot.html")
show(figure())
threading.Thread(target=time.sleep, args=(3600,)).start()
strategy.start()
sys.exit(0)
"""
    )

    ran = bot.run(script)

    assert ran.last["event"] == "finished"
    assert ran.problems == []
    assert "Not sent, this is a backtest: text: 'sold\\neverything'\n" in ran.printed
    assert "Not opened, there is no browser here: https://plots.invalid/\n" in ran.printed
    assert "Not opened, there is no browser here: file://" in ran.printed
    assert "Aborted attempt" not in ran.printed
    assert ran.left == ["result.json"]


def test_an_exception_before_the_first_bar_is_no_partial_result(bot: Model) -> None:
    """The package prints the exception and reports one value."""
    script = (
        HEAD
        + """
def init(symbol, state):
    raise RuntimeError("no model file")

strategy.add_bar_event(print, "ASH-USD", resolution="1d", init=init)
"""
        + TAIL
    )
    bot.write("bot.py", script)
    by_hand = bot.by_hand()

    ran = bot.run()

    assert "Blankly Metrics" in by_hand
    message = error_of(ran, "bot.py", "raise ", script)
    assert message.startswith("RuntimeError: no model file: the backtest was aborted")
    assert "blankly_run" not in ran.printed


def test_an_exception_between_bars_is_no_partial_result(bot: Model) -> None:
    """The package would report the account as it was at that time."""
    script = (
        HEAD
        + """
def on_bar(bar, symbol, state):
    state.interface.market_order(symbol, "buy", 1)
    state.interface.history = lambda **_: 1 / 0

strategy.add_bar_event(on_bar, "ASH-USD", resolution="1d")
"""
        + TAIL
    )

    ran = bot.run(script)

    message = error_of(ran, "bot.py", "1 / 0", script)
    assert message.startswith("ZeroDivisionError: division by zero: the backtest was aborted")
    assert "ZeroDivisionError: division by zero\n" in ran.printed
    assert "blankly_run" not in ran.printed


def test_callbacks_that_never_succeed_fail_the_backtest(bot: Model) -> None:
    """Otherwise a misspelt name would give a flat account."""
    script = TRADES.replace("state.interface", "state.interfaces") + TAIL
    ran = bot.run(script)
    assert ran.last["event"] == "failed"
    assert ran.left == []
    (problem,) = ran.problems
    assert "AttributeError: 'StrategyState' object has no attribute" in problem["message"]
    assert "raised by all 55 calls of the strategy's callbacks" in problem["message"]
    assert (problem["severity"], problem["path"]) == ("error", "bot.py")


def test_without_prices_the_packages_message_is_shown(bot: Model) -> None:
    ran = bot.run(HEAD + TAIL)
    assert error_of(ran, None, None, "").startswith("LookupError: No prices added.")


def test_an_exit_in_a_callback_fails_the_backtest(bot: Model) -> None:
    script = TRADES.replace("state.interface.", "raise SystemExit(0); state.") + (
        'strategy.backtest(to="1y")\n'
    )
    ran = bot.run(script)
    assert "in the middle of its backtest" in error_of(ran, "bot.py", "raise ", script)
    assert ran.printed.count("Backtesting...") == 1


def test_two_strategies_and_two_calls_report_the_first_once(bot: Model) -> None:
    script = (
        TRADES
        + """
def sell(price, symbol, state):
    pass

other = blankly.Strategy(exchange)
other.add_price_event(sell, "FIR-USD", resolution="1d")
assert other.backtest().start_time == 1672617600
first = strategy.backtest(**{
    "start_date": "2023-01-02", "end_date": "2023-02-25", "initial_values": {"USD": 10_000}
})
first.trades["created"][0]["price"] = "spoilt"
assert strategy.backtest(to="5y") is first
print(first)
"""
    )

    ran = bot.run(script)

    assert ran.metrics == printed_metrics(ran.printed)
    assert ran.printed.count("Backtesting...") == 2
    assert ran.result["symbols"] == ["ASH-USD"]
    assert all(isinstance(trade["price"], float) for trade in ran.result["trades"])
    again, two = ran.problems
    assert "already backtested" in again["message"]
    assert (
        again["line"] == script.splitlines().index('assert strategy.backtest(to="5y") is first') + 1
    )
    assert "creates 2 strategies" in two["message"]
    assert ran.left == ["result.json"]


def test_an_unhashable_strategy_and_a_fork_cause_no_problem(bot: Model) -> None:
    """A dataclass cannot be hashed, and a forked child reaches the script's end too."""
    script = TRADES.replace(
        "strategy = blankly.Strategy(exchange)",
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Mine(blankly.Strategy):\n"
        "    exchange: object\n"
        "    def __post_init__(self):\n"
        "        super().__init__(self.exchange)\n"
        "strategy = Mine(exchange)",
    )
    script += (
        "import os, sys\n"
        "print(strategy.backtest())\n"
        "if os.fork() == 0:\n"
        "    sys.exit(0)\n"
        "os.wait()\n"
    )
    assert "Mine(exchange)" in script

    ran = bot.run(script)

    assert ran.last["event"] == "finished", ran.problems
    assert ran.metrics == printed_metrics(ran.printed)
    assert ran.printed.count("Backtesting...") == 1
    assert [event["event"] for event in ran.events].count("finished") == 1


def test_a_model_that_is_no_strategy_reports_its_first_result(bot: Model) -> None:
    ran = bot.run(OWN_MODEL + "print(walk())\nwalk()\n")
    assert ran.metrics == printed_metrics(ran.printed)
    assert ran.result["account_values"][0]["value"] == 1000
    assert ran.last["arguments"] is None
    own, several = ran.problems
    assert "the platform's arguments do not apply" in own["message"]
    assert "ran 2 backtests" in several["message"]
    assert "Not opened" not in ran.printed
    assert ran.left == ["result.json"]


def test_a_script_without_a_strategy(bot: Model) -> None:
    ran = bot.run("import blankly\n")
    assert error_of(ran, "bot.py", None, "") == "bot.py ended without creating a blankly.Strategy."
    assert "blankly.Strategy" in hint_of(ran)


def test_a_screener_is_not_backtested(bot: Model) -> None:
    script = HEAD.replace("strategy = ", "#") + (
        "def crash(*_):\n    raise ValueError\nblankly.Screener(exchange, crash, ['ASH-USD'])\n"
    )
    ran = bot.run(script)
    assert "screeners cannot be backtested" in error_of(ran, None, None, script)


def test_a_missing_settings_file_gets_a_hint(bot: Model) -> None:
    (bot.root / "backtest.json").unlink()
    ran = bot.run(TRADES + TAIL)
    assert ran.last["event"] == "failed"
    assert "make sure a backtest.json file is placed" in ran.problems[0]["message"]
    assert hint_of(ran).startswith("Put backtest.json into the model's working_directory")


def test_an_exchange_without_keys_gets_a_hint(bot: Model) -> None:
    script = "import blankly\nblankly.Alpaca()\n"
    ran = bot.run(script)
    assert "FileNotFoundError" in error_of(ran, "bot.py", "Alpaca", script)
    assert "`keys-json`" in hint_of(ran)


def test_a_process_of_the_model_is_not_the_run(bot: Model) -> None:
    """Forked or spawned, it finds the hooks but reports nothing."""
    script = (
        TRADES
        + """
import multiprocessing, os, subprocess, sys

def count(result):
    return len(result.trades["created"])

def search(to):
    return count(strategy.backtest(
        start_date="2023-01-02", end_date="2023-01-12", initial_values={"USD": 9000}
    ))

def number(name):
    return blankly.is_deployed and blankly.reporter.strategy_count

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print("in a fork:", pool.map(search, ["1y"]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("spawned:", pool.map(number, ["ASH-USD"]))
    listing = "import os; print('open:', sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    subprocess.run([sys.executable, "-c", listing], close_fds=False)
"""
    )

    ran = bot.run(script)

    assert ran.last["event"] == "finished"
    assert sum(event["event"] == "finished" for event in ran.events) == 1
    assert "in a fork: [11]" in ran.printed
    assert "spawned: [1]" in ran.printed
    assert "open: [0, 1, 2]" in ran.printed
    assert ran.last["callback_calls"] == 55


def test_a_model_that_closes_our_pipe_is_run_to_its_end(bot: Model) -> None:
    """A file that gets the pipe's number is not written to."""
    script = TRADES + (
        "import os\nos.closerange(3, 100)\nfiles = [open(str(i), 'w') for i in range(20)]\n"
        "print('the script ended')\n"
    )
    ran = bot.run(script)
    assert [event["event"] for event in ran.events] == ["started"]
    assert ran.code == 0
    assert "the script ended" in ran.printed
    assert "Backtesting..." in ran.printed
    assert {(bot.root / str(number)).read_text() for number in range(20)} == {""}


def test_a_file_that_hides_the_package_is_named(bot: Model) -> None:
    """A script called blankly.py is a common mistake."""
    bot.write("blankly.py", "Strategy = None\n")
    ran = bot.run("import blankly\n")
    assert error_of(ran, "blankly.py", None, "") == ("blankly.py shadows a module of the platform.")


def test_a_failed_import_of_the_package_has_a_reason(bot: Model) -> None:
    """With numpy 2 it fails like this."""
    bot.write("bokeh.py", "raise ValueError('numpy.dtype size changed, may indicate')\n")
    ran = bot.run("import blankly\n")
    assert [event["event"] for event in ran.events] == ["failed"]
    assert ran.problems[0]["message"] == (
        "The blankly package cannot be imported: "
        "ValueError: numpy.dtype size changed, may indicate."
    )
    assert (ran.problems[0]["path"], ran.problems[0]["line"]) == ("bokeh.py", 1)
    assert "numpy<2" in hint_of(ran)


def test_arguments_that_cannot_be_read_are_a_failure(bot: Model) -> None:
    """The last event comes even after a mistake of ours."""
    ran = bot.run("import blankly\n", BACKTESTING_ARGS=base64.b64encode(b"[1]").decode())
    assert "BACKTESTING_ARGS is not an object" in error_of(ran, None, None, "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('open("/nowhere/plot.html", "w")', "FileNotFoundError: [Errno 2]"),
        ("sys.exit(1)", "bot.py ended itself with sys.exit(1)"),
        ("raise KeyboardInterrupt", "bot.py was interrupted (KeyboardInterrupt)"),
    ],
)
def test_a_result_is_kept_when_the_script_fails_after_its_backtest(
    bot: Model, line: str, words: str
) -> None:
    script = TRADES + f"import sys\nresult = strategy.backtest()\nprint(result)\n{line}\n"

    ran = bot.run(script)

    assert ran.last["event"] == "finished"
    (problem,) = ran.problems
    assert problem["severity"] == "error"
    assert problem["message"].startswith(words)
    assert problem["message"].endswith(": the script failed here, after its backtest.")
    assert (problem["path"], problem["line"]) == ("bot.py", script.count("\n"))
    assert ran.metrics == printed_metrics(ran.printed)
    assert ran.last["arguments"] == ARGUMENTS
    assert ran.left == ["result.json"]


def test_a_result_of_an_own_backtest_is_kept_when_the_script_fails_after_it(bot: Model) -> None:
    ran = bot.run(OWN_MODEL + "print(walk())\n1 / 0\n")
    assert ran.metrics == printed_metrics(ran.printed)
    error, own = ran.problems
    assert error["message"].startswith("ZeroDivisionError: division by zero: the script failed")
    assert error["severity"] == "error"
    assert "the platform's arguments do not apply" in own["message"]


def test_a_result_is_kept_when_an_overridden_backtest_fails_after_it(bot: Model) -> None:
    script = (
        TRADES.replace(
            "strategy = blankly.Strategy(exchange)",
            "class Mine(blankly.Strategy):\n"
            "    def backtest(self, *positional, **named):\n"
            "        print(super().backtest(*positional, **named))\n"
            "        raise OSError('no plot')\n"
            "strategy = Mine(exchange)",
        )
        + "strategy.start()\n"
    )
    ran = bot.run(script)
    assert ran.metrics == printed_metrics(ran.printed)
    (problem,) = ran.problems
    assert problem["message"].startswith("OSError: no plot: the script failed here, after its")


def test_a_failed_backtest_is_no_result_when_the_script_fails_after_it(bot: Model) -> None:
    script = TRADES.replace("state.interface", "state.interfaces")
    ran = bot.run(script + "strategy.backtest()\n1 / 0\n")
    assert ran.last["event"] == "failed"
    assert ran.left == []
    calls, crash = ran.problems
    assert "raised by all 55 calls" in calls["message"]
    assert crash["message"] == "ZeroDivisionError: division by zero"


def test_a_failed_thread_of_the_model_is_an_error(bot: Model) -> None:
    """Python prints its exception and ends normally; a library's own thread is not the model's."""
    script = TRADES + (
        "import socketserver, threading\n"
        "def watch():\n"
        "    {}['BTC']\n"
        "for target in (watch, watch, lambda: socketserver.sys.exit(1), None):\n"
        "    thread = threading.Thread(target=target)\n"
        "    thread.run = thread.run if target else 'not callable'\n"
        "    thread.start()\n"
        "    thread.join()\n"
    )

    ran = bot.run(script)

    assert ran.last["event"] == "finished"
    (problem,) = ran.problems
    assert problem["message"] == "KeyError: 'BTC': raised in a thread of the model, which it ended."
    assert problem["severity"] == "error"
    assert script.splitlines()[problem["line"] - 1] == "    {}['BTC']"
    assert ran.printed.count("Exception in thread") == 3
    assert ran.result is not None


def test_a_process_that_ends_after_its_backtest_has_told_of_the_result(bot: Model) -> None:
    ran = bot.run(TRADES + "import os\nprint(strategy.backtest())\nos._exit(3)\n")
    assert [one["event"] for one in ran.events if one["event"] != "progress"] == [
        "started",
        "result",
    ]
    assert ran.last["callback_calls"] == 55
    assert ran.left == ["result.json.strategy"]
