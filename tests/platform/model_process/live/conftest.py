"""Live models, run as the platform runs them, with the real package."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.platform.model_process.conftest import MODEL_PROCESS, Model
from tests.support.waiting import PATIENCE, wait_for

# A strategy with a scheduled event, which needs no prices, and what the tests often call.
HEAD = """
import os, sys, threading, time
import blankly
from blankly.data import PriceReader

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # a line at once, of several threads

def teardown(symbol, state):
    say("teardown", os.environ["BLANKLY_STOP_REASON"])

exchange = blankly.KeylessExchange(price_reader=PriceReader("./ASH-USD.csv", "ASH-USD"))
strategy = blankly.Strategy(exchange)
"""


@dataclass
class Live:
    """The process of a live model, what it reported and what it printed."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    reason: Path = field(default_factory=Path)
    readers: list[threading.Thread] = field(default_factory=list)

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the events of this name."""
        return [event for event in list(self.events) if event["event"] == name]

    def problems(self, name: str) -> list[dict[str, Any]]:
        return [event["problem"] for event in self.of(name)]

    def reports(self, kind: str) -> list[dict[str, Any]]:
        return [event["fields"] for event in self.of("report") if event["kind"] == kind]

    def said(self, *lines: str) -> bool:
        return all(line in self.printed for line in lines)

    def wait(self, until: Callable[[], object]) -> None:
        """Wait until something holds, and show what the model did if it never does."""
        try:
            wait_for(until)
        except AssertionError:
            raise AssertionError("\n".join([*map(str, self.events), *self.printed])) from None

    def wait_said(self, line: str) -> None:
        self.wait(lambda: self.said(line))

    def stop(self, reason: str | None = None) -> int:
        """Stop it as the host does, and return its exit code."""
        if reason is not None:
            self.reason.write_text(reason)
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for its end, and return its exit code."""
        self.process.wait(PATIENCE)
        self.kill_group()  # of processes that it forked, as its launcher does
        self.wait(lambda: not any(thread.is_alive() for thread in self.readers))
        return self.process.returncode

    def kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def teardowns(self) -> list[str]:
        return [event["state"] for event in self.of("teardown")]


@dataclass(frozen=True)
class LiveModel:
    """A model, and the way to run it live."""

    bot: Model

    @contextmanager
    def running(
        self, script: str, *options: str, environ: Mapping[str, str] | None = None
    ) -> Iterator[Live]:
        """Write the script, and run it for the duration of the block."""
        self.bot.write("bot.py", script)
        reader, writer = os.pipe()
        reason = self.bot.root.parent / "stop-reason"
        command = [
            *(str(self.bot.python), "-u", str(MODEL_PROCESS / "run_live.py")),
            *("--script", str(self.bot.root / "bot.py"), "--root", str(self.bot.root)),
            *("--events-fd", str(writer), "--stop-reason", str(reason)),
            *options,
        ]
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.bot.root.parent),
            "PYTHONPATH": f"{self.bot.root}:{MODEL_PROCESS / 'hooks'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environ or {}),
        }
        with ExitStack() as stack:
            source = stack.enter_context(os.fdopen(reader))
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self.bot.root,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    pass_fds=[writer],
                    start_new_session=True,
                )
            finally:
                os.close(writer)
            live = Live(process, reason=reason)
            live.readers = [
                threading.Thread(target=_read, args=(source, live.events, json.loads)),
                threading.Thread(target=_read, args=(process.stdout, live.printed, str.rstrip)),
            ]
            for thread in live.readers:
                thread.start()
            try:
                yield live
            finally:
                live.kill_group()
                process.wait()
                for thread in live.readers:
                    thread.join()
                assert process.stdout is not None
                process.stdout.close()


def _read(source: Any, into: list[Any], parse: Callable[[str], Any]) -> None:
    into.extend(parse(line) for line in source)  # each at once


@pytest.fixture
def model(bot: Model) -> LiveModel:
    return LiveModel(bot)
