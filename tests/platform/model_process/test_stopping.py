"""A model that is stopped says where its script stood."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import PATIENCE

from .conftest import ARGUMENTS, HEAD, TAIL, Model

TRADES = (
    HEAD
    + """
import time

def on_bar(bar, symbol, state):
    IN_CALLBACK

strategy.add_bar_event(on_bar, "ASH-USD", resolution="1d")
"""
)
WAIT = "while True:\n    print('waits', flush=True); time.sleep(60)\n"


def stopped(bot: Model, script: str, tmp_path: Path) -> tuple[int, list[dict[str, Any]]]:
    """Stop a script when it has printed that it waits; return its exit code and its events."""
    bot.write("bot.py", script)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as events:
        process = subprocess.Popen(
            bot.command(writer, tmp_path / "result.json"),
            cwd=bot.root,
            env=bot.environ(ARGUMENTS),
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[writer],
        )
        os.close(writer)
        with process:
            assert process.stdout is not None
            assert any(line == "waits\n" for line in process.stdout), "the script did not wait"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
        told = [json.loads(line) for line in events.read().splitlines()]
    return process.returncode, [one for one in told if one["event"] not in ("progress", "started")]


def line_of(script: str, text: str) -> int:
    return next(number for number, line in enumerate(script.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("script", "when", "hint"),
    [
        (
            TRADES.replace("IN_CALLBACK", "pass") + "strategy.start()\n" + WAIT,
            "before its backtest had begun",
            "leave it out in a backtest",
        ),
        (
            TRADES.replace("IN_CALLBACK", "pass") + "strategy.backtest()\n" + WAIT,
            "after its backtest was over",
            "leave it out in a backtest",
        ),
        (
            TRADES.replace("IN_CALLBACK", "print('waits', flush=True); time.sleep(60)") + TAIL,
            "while the backtest was under way",
            "a shorter period",
        ),
    ],
)
def test_a_stopped_script_says_where_it_stood(
    bot: Model, tmp_path: Path, script: str, when: str, hint: str
) -> None:
    code, events = stopped(bot, script, tmp_path)
    assert code == -signal.SIGTERM
    (problem,) = events[-1]["problems"]
    assert events[-1]["event"] == "stopped"
    assert problem["message"] == f"The script stood here, {when}."
    assert hint in problem["hint"]
    assert (problem["path"], problem["line"]) == ("bot.py", line_of(script, "waits"))


def test_a_stop_in_the_package_names_its_function(bot: Model, tmp_path: Path) -> None:
    """The script has ended, and a download of prices hangs, for example."""
    (tmp_path / "library").mkdir()
    bot.write(
        "../library/slow.py", "import time\ndef wait(*_):\n    " + WAIT.splitlines()[1].strip()
    )
    script = TRADES.replace("IN_CALLBACK", "pass") + (
        "import sys\nsys.path.append('../library')\nimport slow\n"
        "exchange.interface.calls.get_product_history = slow.wait\n"
    )
    _, events = stopped(bot, script, tmp_path)
    (problem,) = events[-1]["problems"]
    assert problem["path"] is None
    assert problem["message"].startswith("The package was at work in `blankly.exchanges.")
    assert problem["message"].endswith("`, while prices were downloaded.")
    assert problem["hint"].startswith("The exchange is slow, or does not answer")


def test_a_process_that_a_model_forks_ends_as_before(bot: Model, tmp_path: Path) -> None:
    """A pool of processes ends them with the same signal."""
    script = HEAD + (
        "import os, signal, threading, time\n"
        "def check():\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        time.sleep(30)\n"
        "        os._exit(1)\n"
        "    os.kill(child, signal.SIGTERM)  # it may not have got anywhere yet\n"
        "    assert os.waitpid(child, 0)[1] == signal.SIGTERM\n"
        "for _ in range(20):\n"
        "    check()\n"
        "thread = threading.Thread(target=check)\n"
        "thread.start()\n"
        "thread.join()\n" + WAIT
    )
    _, events = stopped(bot, script, tmp_path)
    assert [one["event"] for one in events] == ["stopped"]


def test_a_handler_of_the_models_own_replaces_ours(bot: Model, tmp_path: Path) -> None:
    script = HEAD + (
        "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exec('raise KeyError'))\n"
    )
    code, events = stopped(bot, script + WAIT, tmp_path)
    assert code == 0
    assert [one["event"] for one in events] == ["failed"]
