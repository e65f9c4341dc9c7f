"""What a live model reports of itself: its start, its faults, and what it cannot do."""

from __future__ import annotations

import pytest

from .conftest import HEAD, LiveModel


def line_of(script: str, text: str) -> int:
    return next(number for number, line in enumerate(script.splitlines(), 1) if text in line)


def test_a_strategy_reports_its_way_and_counts_what_its_callbacks_raise(model: LiveModel) -> None:
    script = HEAD + (
        "def broken(state):\n"
        "    raise ValueError('in a callback')\n"
        "def leaves(state):\n"
        "    sys.exit(4)\n"
        "def dies():\n"
        "    raise MemoryError('in a thread')\n"
        "def on_own_schedule():\n"
        "    raise IndexError('of its own')\n"
        "def on_price(price, symbol, state):\n"
        "    say('never')\n"
        "strategy.add_scheduled_event(broken, 0.05)\n"
        "strategy.add_scheduled_event(leaves, '1h')\n"
        "strategy.add_price_event(on_price, 'ASH-USD', '1h')\n"
        "strategy.add_arbitrage_event(on_price, ['ASH-USD'], '1h')\n"
        "threading.Thread(target=dies).start()\n"
        "strategy.start()\n"
    )
    with model.running(script) as live:
        live.wait(lambda: len(live.of("callback_error")) >= 4 and len(live.of("fault")) >= 2)
        live.wait(lambda: live.of("script_ended"))

    names = [event["event"] for event in live.events]
    assert names.index("strategy") < names.index("starting") < names.index("started")
    first, second, third = live.of("callback_error")[:3]
    assert first["count"] < second["count"] < third["count"]
    assert third["count"] > 10  # of many, one a second is sent
    told = {problem["line"]: problem for problem in live.problems("callback_error")}
    mine = told[line_of(script, "in a callback")]
    assert mine["message"] == (
        "ValueError: in a callback: raised by a callback. "
        "blankly prints such an exception and carries on."
    )
    assert mine["path"] == "bot.py"
    faults = {problem["line"]: problem["message"] for problem in live.problems("fault")}
    assert faults[line_of(script, "sys.exit(4)")].startswith("sys.exit(4): called in a callback")
    assert faults[line_of(script, "in a thread")].endswith("which it ended.")
    # Of the price event, and of the threads in which the arbitrage event asks for its prices.
    assert "Cannot use a keyless exchange" in told[None]["message"]
    assert len(faults) == 2
    (hint,) = [one["hint"] for one in live.problems("fault") if "in a thread" in one["message"]]
    assert hint.startswith("Load less at once, or deploy it with a larger plan")
    printed = "\n".join(live.printed)
    assert "raise ValueError('in a callback')" in printed
    assert "model_process" not in printed  # our own frames tell the author nothing


def test_a_scheduler_of_the_models_own_counts_too(model: LiveModel) -> None:
    script = HEAD + (
        "calls = []\n"
        "def job():\n"
        "    calls.append(1)\n"
        "    if len(calls) == 1:\n"
        "        raise IndexError('job')\n"
        "blankly.Scheduler(job, 0.05)\n"
    )
    with model.running(script) as live:
        live.wait(lambda: live.of("callbacks_work"))
        live.wait(lambda: len(live.of("warning")) >= 2)
    (problem,) = live.problems("callback_error")
    assert (problem["path"], problem["line"]) == ("bot.py", line_of(script, "'job'"))
    (error,) = live.of("callback_error")
    assert (error["count"], error["fails"]) == (1, True)
    assert len(live.of("callbacks_work")) == 1  # however often it is called since then
    # And the strategy that it made was never started.
    assert "without calling start()" in live.problems("warning")[-1]["message"]


@pytest.mark.parametrize(
    ("last", "code", "message"),
    [
        ("{}['BTC']", 1, "KeyError: 'BTC'"),
        ("sys.exit(3)", 3, "bot.py ended itself with sys.exit(3)."),
    ],
)
def test_a_script_that_ends_by_an_exception(
    model: LiveModel, last: str, code: int, message: str
) -> None:
    script = HEAD + last + "\n"
    with model.running(script) as live:
        assert live.end() == code
    (problem,) = live.problems("fault")
    assert problem["message"] == message
    assert (problem["path"], problem["line"]) == ("bot.py", line_of(script, last))
    assert live.of("script_ended") == []


def test_an_init_that_raises_is_a_fault_and_the_strategy_has_not_started(model: LiveModel) -> None:
    script = HEAD + (
        "def init(state):\n"
        "    raise RuntimeError('no network')\n"
        "strategy.add_scheduled_event(lambda state: None, '1h', init=init)\n"
        "strategy.start()\n"
    )
    with model.running(script) as live:
        assert live.end() == 0  # as the bare script: the exit code says nothing
    (problem,) = live.problems("fault")
    assert "raised while the strategy was being started: it does not trade" in problem["message"]
    assert problem["line"] == line_of(script, "no network")
    assert live.of("starting")
    assert not live.of("started")
    assert not live.of("callback_error")


def test_it_warns_of_what_cannot_trade(model: LiveModel) -> None:
    script = HEAD + (
        "paper = blankly.PaperTrade(exchange)\n"
        "def on_time(state):\n"
        "    say(state.interface.stop_loss_order('ASH-USD', 1, 1))\n"
        "strategy.add_scheduled_event(on_time, '1h')\n"
        "strategy.start()\n"
    )
    with model.running(script) as live:
        live.wait_said("None")
        live.wait(lambda: len(live.of("warning")) >= 3)
    told = {problem["line"]: problem for problem in live.problems("warning")}
    keyless = told[line_of(script, "exchange = ")]
    assert "cannot trade" in keyless["message"]
    assert "BACKTESTING" in keyless["hint"]
    assert "no real orders" in told[line_of(script, "paper =")]["message"]
    lost = told[line_of(script, "stop_loss_order")]
    assert lost["message"].startswith("stop_loss_order() placed no order")


def test_a_backtest_in_a_live_model_trades_nothing(model: LiveModel) -> None:
    """Some try their strategy on past prices before they start it."""
    script = HEAD + (
        "def on_bar(bar, symbol, state):\n"
        "    state.interface.market_order(symbol, 'buy', 1)\n"
        "    raise ValueError(len(state.interface.orders))\n"
        "strategy.add_bar_event(on_bar, 'ASH-USD', '1d')\n"
        "strategy.backtest(start_date='2023-01-02', end_date='2023-01-20', GUI_output=False,\n"
        "                  initial_values={'USD': 10000})\n"
        "say('backtested')\n"
    )
    with model.running(script) as live:
        live.wait_said("backtested")
        live.wait(lambda: live.of("script_ended"))
    assert {event.get("kind") for event in live.of("report")} == {
        "model/used-exchange",
        "model/used-symbol",
    }
    assert not live.of("order")
    assert not live.of("callback_error")


def test_the_script_runs_as_under_python(model: LiveModel) -> None:
    """Its path, its arguments, its `__main__`, and processes that it starts anew or forks."""
    script = """
import blankly, multiprocessing, os, pickle, sys

class Order:
    size = 1

def work(number):
    return number * Order.size, os.environ.get("BACKTESTING"), blankly.is_deployed

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

if __name__ == "__main__":
    say(sys.argv == [__file__], sys.path[0] == os.path.dirname(__file__), __spec__, __package__)
    say(pickle.loads(pickle.dumps(Order())).size, sys.modules["__main__"].Order is Order)
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            say(method, pool.map(work, [1, 2]))
    if os.fork() == 0:
        blankly.reporter.chat("from a fork")
        sys.exit(0)
    os.wait()
"""
    with model.running(script) as live:
        assert live.end() == 0
    answers = [(1, None, True), (2, None, True)]
    assert live.printed == [
        "True True None None",
        "1 True",
        f"spawn {answers}",
        f"fork {answers}",
    ]
    assert [event["event"] for event in live.events] == ["message", "script_ended"]
