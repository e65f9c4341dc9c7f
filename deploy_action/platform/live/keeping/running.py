"""The instance that runs, and the words for how it ended."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Final

from deploy_action.errors import Problem
from deploy_action.platform.live.host import Instance
from deploy_action.platform.live.keeping.hearing import Hearing
from deploy_action.platform.processes.confinement import DISK_VARIABLE
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.storage.records import StopReason, Version
from deploy_action.records import dataclass, field, replace
from deploy_action.text.harmless import one_line

LOOK_AT_EXCHANGE: Final = "Look at the exchange for open orders and positions."
_DECISIVE: Final = ("had_strategy", "ordered")


@dataclass(slots=True)
class Running:
    """An instance, and what it has told so far; `started_at` is a monotonic time in seconds."""

    version: Version
    hearing: Hearing
    started_at: float
    instance: Instance | None = None
    earlier_errors: int = 0  # of callbacks, in earlier instances of the version
    callback_errors: int = 0
    # The time of the first of the latest errors; None if a callback has succeeded since.
    callbacks_fail_since: float | None = None
    problem: str | None = None
    had_strategy: bool = False
    ordered: bool = False
    teardown: str = ""  # how far it came: `began`, and then `ended`, `failed` or `none`
    teardown_problem: str = ""
    written: Mapping[str, object] = field(default_factory=dict)  # of the facts, to the store
    written_at: float = 0.0
    has_started: bool = False  # `Strategy.start()` has returned
    is_settled: bool = False  # it got as far as `running`
    settled_at: float = 0.0
    has_lasted: bool = False  # for long enough to forget the restarts before it
    fault: Problem | None = None
    stopped_for: StopReason | None = None
    ended: Ended | None = None

    @property
    def facts(self) -> dict[str, object]:
        """What it has told that is to be written to the model's life."""
        told = {
            "had_strategy": self.had_strategy,
            "ordered": self.ordered,
            "problem": self.problem,
            "callback_errors": self.all_errors if self.callback_errors else 0,
        }
        return {name: value for name, value in told.items() if value}

    @property
    def is_urgent(self) -> bool:
        """Whether there are facts to write that decide whether it may be started again."""
        return any(self.facts.get(one) != self.written.get(one) for one in _DECISIVE)

    @property
    def all_errors(self) -> int:
        """How many callbacks failed since the version took over."""
        return self.earlier_errors + self.callback_errors

    @property
    def callbacks_work(self) -> bool:
        """Whether a callback of this instance has succeeded after one that failed."""
        return self.callback_errors > 0 and self.callbacks_fail_since is None

    def stop(self, reason: StopReason) -> bool:
        """Have it end; return False if that was done before."""
        if self.stopped_for is not None or self.instance is None:
            return False
        self.stopped_for = reason
        self.instance.stop(reason)
        return True


def in_words(ended: Ended, seconds: float, fault: Problem | None, memory: int) -> str:
    """Say how an instance ended; `memory` is the limit of its plan in MiB."""
    if ended.out_of_memory:
        cause = f"It ran out of memory: its plan allows {memory} MiB"
    elif ended.out_of_disk:
        cause = (
            "It was ended because its files, in BLANKLY_STATE_DIR and elsewhere, took more than "
            f"they may (the server's variable {DISK_VARIABLE}, in GB)"
        )
    elif ended.code < 0:
        cause = f"It was killed ({_signal_name(-ended.code)})"
    else:
        cause = f"It ended with exit code {ended.code}"
    text = f"{cause}, after {_duration(seconds)}."
    if fault is not None:
        text += f" {explained(fault)}"
    if ended.left:
        text += f" At least {ended.left} of its processes could not be ended."
    return text


def teardown_fault(running: Running, ended: Ended) -> str | None:
    """Say what is wrong with the teardown of an instance that was stopped; None if nothing is."""
    if running.teardown in {"ended", "none"} or not running.had_strategy:
        return None
    if running.teardown == "failed":
        fault = (
            f"Its teardown failed, and nothing tries it again. {running.teardown_problem}".rstrip()
        )
    elif running.teardown == "began":
        fault = "Its teardown did not finish, and nothing goes on with it."
    else:
        fault = "It told nothing of a teardown before it ended."
    if ended.code == -signal.SIGKILL:
        fault += " It was killed when its time was over."
    return f"{fault} {LOOK_AT_EXCHANGE}"


def explained(problem: Problem) -> str:
    """Return a problem as sentences in one line: the place, the message, and what to do."""
    text = one_line(replace(problem, message=problem.sentence).text())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def for_people(problem: Problem) -> str:
    """Return a problem of a script in one line: what it means first, if that is known."""
    if not problem.hint:
        return explained(problem)
    return f"{one_line(problem.hint)} The exception: {explained(replace(problem, hint=''))}"


def is_clean(ended: Ended, fault: Problem | None) -> bool:
    """Whether an instance did what it had to do, as far as that can be seen."""
    return ended.code == 0 and fault is None and not (ended.out_of_memory or ended.out_of_disk)


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"
