"""SIGTERM calls the teardown once, whatever the model is doing, and ends the process."""

from __future__ import annotations

import signal

import pytest

from .conftest import HEAD, LiveModel

EVENT = HEAD + 'strategy.add_scheduled_event(tick, "1h", teardown=teardown)\n'
TICKS = EVENT.replace("exchange =", "def tick(state):\n    say('tick')\n\nexchange =")
START = "strategy.start()\n"

PLACES = {
    "after the script's end": TICKS + START + "say('waits')",
    "in a callback": TICKS.replace(
        "say('tick')", "say('waits'); time.sleep(0.5); say('done with it')"
    )
    + START,
    "with the package's lock held": TICKS
    + START
    + "with strategy.model.lock:\n    say('waits'); time.sleep(0.5)\ntime.sleep(60)",
    "in a lock that the teardown needs": TICKS.replace(
        "def teardown(symbol, state):\n",
        "LOCK = threading.Lock()\ndef teardown(symbol, state):\n    LOCK.acquire()\n",
    )
    + START
    + "with LOCK:\n    say('waits'); time.sleep(0.1)\ntime.sleep(60)",
    "in its own teardown": TICKS.replace(
        "    say('tick')", "    pass\n\ndef slow(symbol, state):\n    say('waits'); time.sleep(0.5)"
    )
    + 'strategy.add_scheduled_event(tick, "1h", teardown=slow)\n'
    + 'os.environ["BLANKLY_STOP_REASON"] = "replace"\n'
    + START
    + "time.sleep(0.5); strategy.model.teardown(); time.sleep(60)",
    "in compiled code": TICKS
    + START
    + "say('waits'); import hashlib\n"
    + "hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10 ** 9)",
    "while it has forked": TICKS
    + START
    + "if os.fork() == 0:\n    time.sleep(60)\nsay('waits')\nthreading.Event().wait()",
}


@pytest.mark.parametrize("script", PLACES.values(), ids=PLACES)
def test_a_stop_calls_the_teardown_once(model: LiveModel, script: str) -> None:
    with model.running(script) as live:
        live.wait_said("waits")
        live.wait(lambda: live.of("started"))

        assert live.stop("replace") == 0

        assert live.teardowns == ["began", "ended"]
        assert live.printed.count("teardown replace") == 1
        if "done with it" in script:
            assert live.printed.index("done with it") < live.printed.index("teardown replace")


def test_the_scripts_own_loop_waits_while_the_teardown_runs(model: LiveModel) -> None:
    script = (
        TICKS.replace('    say("teardown"', '    say("selling"); time.sleep(0.5); say("teardown"')
        + START
        + "while True:\n    say('trades'); time.sleep(0.01)\n"
    )
    with model.running(script) as live:
        live.wait(lambda: live.of("started"))
        assert live.stop() == 0
    end = live.printed[live.printed.index("selling") :]
    assert end == ["selling", "teardown shutdown"]


def test_every_teardown_is_called_and_nothing_else_once_one_runs(model: LiveModel) -> None:
    """The package leaves out the others if one raises, and its schedulers go on meanwhile."""
    script = HEAD + (
        "def tick(state):\n"
        "    say('late' if is_down.is_set() else 'tick')\n"
        "def broken(symbol, state):\n"
        "    is_down.set(); time.sleep(0.5)\n"
        "    raise KeyError('BTC')\n"
        "is_down = threading.Event()\n"
        'strategy.add_scheduled_event(tick, "1h", teardown=broken)\n'
        "strategy.add_scheduled_event(tick, 0.05, teardown=teardown)\n"
        "strategy.add_scheduled_event(tick, '1h', teardown=lambda *_: sys.exit())\n"  # no failure
        "blankly.Scheduler(lambda: tick(None), 0.05)\n"
        "strategy.start()\n"
    )
    with model.running(script) as live:
        live.wait(lambda: live.printed.count("tick") > 5)

        assert live.stop() == 1

        assert live.teardowns == ["began", "failed"]
        assert live.said("teardown shutdown")
        assert not live.said("late")
        (problem,) = [event["problem"] for event in live.of("teardown") if "problem" in event]
        line = script.splitlines().index("    raise KeyError('BTC')") + 1
        assert (problem["path"], problem["line"]) == ("bot.py", line)
        assert problem["message"] == (
            "KeyError: 'BTC': the teardown raised this, and did not finish."
        )
        assert "KeyError: 'BTC'" in "\n".join(live.printed)


def test_without_a_started_strategy_there_is_no_teardown(model: LiveModel) -> None:
    with model.running(TICKS + "say('waits'); time.sleep(60)") as live:
        live.wait_said("waits")
        assert live.stop() == 0
        assert live.teardowns == ["none"]
        assert not live.said("teardown shutdown")


def test_a_model_of_its_own_kind_is_torn_down(model: LiveModel) -> None:
    script = HEAD + (
        "class Own(blankly.Model):\n"
        "    def main(self, args):\n        say('waits'); time.sleep(60)\n"
        "    def teardown(self):\n        say('own teardown')\n"
        "Own(exchange).run()\n"
    )
    with model.running(script) as live:
        live.wait_said("waits")
        assert live.stop() == 0
        assert live.teardowns == ["began", "ended"]
        assert live.said("own teardown")


def test_the_models_own_handler_replaces_ours(model: LiveModel) -> None:
    script = (
        TICKS
        + START
        + (
            "import signal\n"
            "signal.signal(signal.SIGTERM, lambda *_: (say('own'), os._exit(3)))\n"
            "say('waits')\n"
        )
    )
    with model.running(script) as live:
        live.wait_said("waits")
        assert live.stop() == 3
        assert live.said("own")
        assert live.teardowns == []


def test_a_second_stop_that_is_not_part_of_the_first_ends_it_at_once(model: LiveModel) -> None:
    script = (
        TICKS.replace(
            '    say("teardown"', "    say('tears down'); time.sleep(60)\n    say(\"teardown\""
        )
        + START
    )
    with model.running(script) as live:
        live.wait(lambda: live.of("started"))
        live.process.send_signal(signal.SIGTERM)
        live.process.send_signal(signal.SIGTERM)  # the same stop: a service manager tells everyone
        live.wait_said("tears down")

        def told_again() -> bool:
            live.process.send_signal(signal.SIGTERM)
            return live.process.poll() is not None

        live.wait(told_again)
        assert live.end() == 1
        assert live.teardowns == ["began", "failed"]
        problem = live.of("teardown")[-1]["problem"]
        assert "is not done" in problem["message"]
