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


STEPS = EVENT.replace(
    "exchange =",
    """def tick(state):
    is_free.set()

def stop(symbol, state):
    for step in range(STEPS):
        say("step", step); time.sleep(PAUSE); is_torn.set()
    say("is done")

is_free, is_torn = threading.Event(), threading.Event()
exchange =""",
).replace('"1h", teardown=teardown', "0.05, teardown=stop")


def steps(count: int, pause: float) -> str:
    return STEPS.replace("STEPS", str(count)).replace("PAUSE", str(pause))


BRIEF = steps(8, 0.1) + START
SIDE = "threading.Thread(target=is_torn.wait).start()\n"  # only Python waits for it
ENDS = {
    "it waits for the package": BRIEF + "say('waits')",
    "its own loop ends": BRIEF + "say('waits')\nwhile not is_torn.is_set():\n    time.sleep(0.01)",
    "it raises": BRIEF + "say('waits'); is_torn.wait(); raise KeyError('ASH')",
    "it leaves": BRIEF + "say('waits'); is_torn.wait(); sys.exit(3)",
    # A callback ends its thread, so that none of the package is left.
    "it waits for other threads": BRIEF.replace("is_free.set()", "sys.exit()")
    + SIDE
    + "threading.Thread(target=lambda: (time.sleep(0.5), say('waits'))).start()\n",
    "it is in a function of atexit": BRIEF.replace("is_free.set()", "sys.exit()")
    + "import atexit\natexit.register(lambda: (say('waits'), is_torn.wait()))\n",
    "a handler of its own raises": BRIEF.replace("is_torn.set()", "os.kill(os.getpid(), 14)")
    + "import signal\nsignal.signal(signal.SIGALRM, lambda *_: 1 / 0)\nsay('waits')",
}


@pytest.mark.parametrize("script", ENDS.values(), ids=ENDS)
def test_a_teardown_is_not_cut_off_however_the_script_ends(model: LiveModel, script: str) -> None:
    with model.running(script, "--held-seconds", "0.1") as live:
        live.wait_said("waits")
        live.wait(lambda: live.of("started"))

        assert live.stop() == 0

        assert live.teardowns == ["began", "ended"]
        assert live.printed.count("is done") == 1


def test_a_long_teardown_does_all_its_steps(model: LiveModel) -> None:
    with model.running(steps(9, 1) + START) as live:
        live.wait(lambda: live.of("started"))

        assert live.stop() == 0

        assert live.teardowns == ["began", "ended"]
        assert live.said(*(f"step {number}" for number in range(9)), "is done")


def test_a_teardown_may_use_threads_and_pools(model: LiveModel) -> None:
    """Python's own end, after which there are none, has not begun with the script's end."""
    script = TICKS.replace(
        '    say("teardown"',
        "    from concurrent.futures import ThreadPoolExecutor\n"
        "    with ThreadPoolExecutor() as pool:\n"
        "        say(*pool.map(str.upper, ['sold', 'all']))\n"
        '    say("teardown"',
    )
    with model.running(script + START) as live:
        live.wait(lambda: live.of("started"))
        live.wait(lambda: live.of("script_ended"))

        assert live.stop() == 0

        assert live.said("SOLD ALL", "teardown shutdown")


def test_a_handler_of_its_own_ends_it_as_in_python(model: LiveModel) -> None:
    script = (
        TICKS
        + START
        + "import atexit, signal\n"
        + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        + "atexit.register(say, 'at exit')\n"
    )
    with model.running(script) as live:
        live.wait(lambda: live.of("started") and live.of("script_ended"))
        assert live.stop() == 3
        assert live.said("at exit")
        assert live.teardowns == []


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
