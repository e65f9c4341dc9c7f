"""A runner of backtests that a test scripts: no environment is made and no model runs."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field

from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.runs.model_run import BacktestRequest, Outcome

RESULT: dict[str, object] = {"account_values": [], "metrics": {}, "trades": []}


def finished(**facts: object) -> Outcome:
    """Return the outcome of a successful backtest."""
    return Outcome(result=json.dumps(RESULT).encode(), problems=(), facts=facts)


@dataclass(slots=True)
class ScriptedRunner:
    """Returns or raises `outcome`; while `gate` is closed, its backtests do not end."""

    outcome: Outcome | Exception = field(default_factory=finished)
    gate: threading.Event = field(default_factory=threading.Event)
    requests: list[BacktestRequest] = field(default_factory=list)
    most_at_once: int = 0
    running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Open the gate; a test may close it."""
        self.gate.set()

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        """Record the request, wait for the gate, then return or raise the outcome."""
        with self._lock:
            self.requests.append(request)
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        try:
            while not self.gate.wait(0.01):
                if stop.is_set():
                    raise StoppedError
        finally:
            with self._lock:
                self.running -= 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome
