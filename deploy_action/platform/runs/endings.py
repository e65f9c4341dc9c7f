"""What is said about a model's process that ended in a way of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from deploy_action.errors import Problem, Severity
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.confinement import DISK_VARIABLE
from deploy_action.records import replace
from deploy_action.text.quantities import size


class ModelStoppedError(StoppedError):
    """A model was stopped; `place` says where its script stood, if that is known."""

    def __init__(self, left: int | None, place: Problem | None) -> None:
        super().__init__(left)
        self.place = place


def stopped_problem(message: str, place: Problem | None) -> Problem:
    """Return the problem of a run that was stopped, at the place where its script stood."""
    if place is None:
        return Problem(message=message)
    return replace(place, message=f"{message} {place.message}", severity=Severity.ERROR)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Return those problems that are errors."""
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def not_started(error: OSError) -> Problem:
    """Describe a process that could not be started."""
    return Problem(
        message=f"The Python of the model's environment cannot be started: {error}.",
        hint="Removing the platform's `environments` helps if they were damaged.",
    )


def left_running(count: int) -> Problem:
    """Describe a run of which processes are left."""
    return Problem(
        message=f"At least {count} of the model's processes could not be ended and still run.",
        hint="The result is not used. Look for them with `ps`, and restart the container or the "
        "machine if they stay.",
    )


def unwatched(left: int) -> Problem:
    """Describe the end of a run whose launcher was killed; `left` processes were seen after it."""
    if left:
        return left_running(left)
    return Problem(
        message="The process that watches over the model was killed, by it or by the system.",
        hint="The result is not used, and processes of the model may still run: look for them with "
        "`ps`. If the machine ran out of memory, shorten the period.",
    )


def out_of_disk(most: int | None) -> Problem:
    """Describe the end of a run that wrote too much."""
    return Problem(
        message=f"The model was ended: its files took more than {size(most or 0)}, the most that "
        "it may have beside its bundle.",
        hint=f"Write less, or give models more with the variable {DISK_VARIABLE}, in GB.",
    )


def vanished(code: int, script: str, *, was_over: bool = False) -> Problem:
    """Describe the end of a process that did not report it; `was_over` says that its backtest was.

    Then an exit code of 0 is a normal end, if an odd one.
    """
    when = "after its backtest" if was_over else "before the backtest was over"
    if code >= 0:
        is_normal = was_over and code == 0
        return Problem(
            message=f"{script} ended its own process (exit code {code}) {when}.",
            hint="Look in the model for os._exit, or for code that closes files that it did not "
            "open. Read the end of its output.",
            severity=Severity.NOTICE if is_normal else Severity.ERROR,
        )
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = "Read the end of its output: a compiled package may have crashed."
    if -code == signal.SIGKILL:
        hint = "The machine may have run out of memory. Shorten the period, or load less at once."
    end = f" {when}" if was_over else ""
    return Problem(message=f"The model's process was killed ({name}){end}.", hint=hint)


def explained(problem: Problem, memory_bytes: int | None) -> Problem:
    """Add the memory limit to the problem of a model that ran out of memory."""
    if "MemoryError" not in problem.message or memory_bytes is None:
        return problem
    limit = f"Each process of the model may use {memory_bytes >> 20} MiB."
    return replace(problem, hint=f"{limit} {problem.hint}".rstrip())
