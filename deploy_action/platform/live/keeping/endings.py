"""What follows when a version cannot be prepared, or an instance has ended."""

from __future__ import annotations

import traceback

from deploy_action.errors import Problem
from deploy_action.platform.live.host import CannotPrepareError
from deploy_action.platform.live.keeping.life_book import LifeBook
from deploy_action.platform.live.keeping.preparation import Preparation
from deploy_action.platform.live.keeping.running import (
    LOOK_AT_EXCHANGE,
    Running,
    explained,
    in_words,
    is_clean,
    teardown_fault,
)
from deploy_action.platform.live.keeping.telling import Telling
from deploy_action.platform.live.surroundings import NoticeKind, Surroundings
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.storage.records import Life, Progress, State, StopReason
from deploy_action.records import dataclass

_NOT_AGAIN = "It had no strategy, so it is not run again by itself."


@dataclass(slots=True)
class Endings:
    """Decides what follows, and tells of it.

    `restart_at` is when the current version may be started again, on the monotonic clock.
    `replaced` is the version that was stopped for the current one, until that is running.
    """

    around: Surroundings
    book: LifeBook
    telling: Telling
    restart_at: float = 0.0
    replaced: str | None = None
    was_torn_down: bool = False  # an instance was stopped for the present wish to stop
    teardown_fault: str | None = None

    def not_prepared(
        self, preparation: Preparation, error: Exception | None, *, is_next: bool
    ) -> None:
        """Note why a version cannot be prepared: the next one, or the current one again."""
        if isinstance(error, StoppedError):
            return
        version_id = preparation.launch.version_id
        first, *others = self._problems(error)
        for problem in others:
            self.telling.problem(version_id, problem)
        message = preparation.redact(explained(first))
        if not is_next:
            self._unexpected(f"It could not be prepared again: {message}", code=None)
            return
        goes_on = self.book.give_up_next(*preparation.wish, message)
        if goes_on is not None:
            rest = "The version before it goes on." if goes_on else "Nothing runs."
            kind: NoticeKind = "warning" if goes_on else "failure"
            self.telling.alarm(version_id, "could not be deployed", f"{message} {rest}", kind)

    def _problems(self, error: Exception | None) -> tuple[Problem, ...]:
        if isinstance(error, CannotPrepareError) and error.problems:
            return error.problems
        if isinstance(error, OSError):
            place = f" ({error.filename})" if error.filename else ""
            message = f"The operating system refused: {error.strerror or error}{place}."
            hint = "Check that there is room on the disk and that the path can be written to."
            return (Problem(message=message, hint=hint),)
        if error is not None:
            self.around.on_error("".join(traceback.format_exception(error)))
        return (Problem(message="The platform failed; its own log says why."),)

    def not_started(self, message: str) -> None:
        """Note that the current version could not be started."""
        self._unexpected(message, code=None)

    def interrupted(self, life: Life) -> None:
        """Give up a script that the end of the server interrupted after an order."""
        self._give_up(
            life,
            "The server ended while the script ran, which had sent an order by then. It is not run "
            "again by itself, because it could send it twice.",
        )

    def instance_over(self, running: Running, ended: Ended) -> None:
        """Note how an instance ended, and decide what follows."""
        seconds = self.around.monotonic() - running.started_at
        memory = self.around.plans.get(running.version.plan, (0, 0))[1]
        words = in_words(ended, seconds, running.fault, memory)
        clean = is_clean(ended, running.fault)
        self.book.change(
            exit_code=ended.code,
            last_output_at=running.hearing.last_output_at,
            callback_errors=running.all_errors,
        )
        life = self.book.read()
        if life is None or running.stopped_for is not None:
            running.hearing.log.write("platform", words, self.telling.redact)
            ran_before = self.replaced is not None or (life is not None and life.was_running)
            self._torn_down(running, ended, ran_before=ran_before)
            return
        if self.telling.model.is_screener:
            if clean:
                self.book.enter(State.SCHEDULED, problem=None)
                self.telling.event(life.version_id, f"The run of the screener is over. {words}")
            else:
                self._screener_failed(life.version_id, words)
        elif not life.was_running:
            self._ended_at_once(life, words, is_script=clean and not life.had_strategy)
        elif life.had_strategy:
            self._unexpected(words, code=ended.code)
        elif clean:
            self._finish(State.FINISHED, None)
            self.telling.event(life.version_id, f"It has finished. {words} {_NOT_AGAIN}")
        else:
            self._give_up(life, f"{words} {_NOT_AGAIN}")

    def _torn_down(self, running: Running, ended: Ended, *, ran_before: bool) -> None:
        """Tell people if an instance was stopped without its whole teardown.

        `ran_before` says that there was an instance before it, which may have left a position.
        """
        self.was_torn_down = running.stopped_for is StopReason.STOP
        fault = teardown_fault(running, ended)
        if fault is None and self.was_torn_down and ran_before and not running.had_strategy:
            fault = (
                "It was stopped before it had a strategy, so no teardown was called; what ran "
                f"before it was not told to stop for good. {LOOK_AT_EXCHANGE}"
            )
        self.replaced = None
        self.teardown_fault = None if fault is None else self.telling.redact(fault)
        if fault is not None:
            self.telling.alarm(running.version.id, "was not torn down", fault)

    def at_rest(self, life: Life) -> None:
        """Note that a model is stopped, and what is known of its teardown."""
        fault = self.teardown_fault
        if not self.was_torn_down and life.launched and life.state != State.FINISHED:
            fault = (
                f"Nothing ran when it was stopped, so no teardown was called. {LOOK_AT_EXCHANGE}"
            )
        self.was_torn_down, self.teardown_fault = False, None
        self.book.enter(State.STOPPED, restarts=0, problem=fault)
        said = "It is stopped, and stays stopped."
        self.telling.event(life.version_id, said if fault is None else f"{said} {fault}")

    def _screener_failed(self, version_id: str | None, words: str) -> None:
        """Note that a run of a screener failed; the next one comes at its time."""
        self.book.enter(State.SCHEDULED, problem=self.telling.redact(words))
        self.telling.alarm(version_id, "failed", f"A run of the screener: {words}")

    def _ended_at_once(self, life: Life, words: str, *, is_script: bool) -> None:
        """Fail the deploy of a version that ended before it was `running`."""
        message = f"It ended before it was running. {words}"
        self.book.note_progress(str(life.version_id), Progress.FAILED, self.telling.redact(message))
        self._finish(State.FINISHED if is_script else State.FAILED, message)
        before = f" Version {self.replaced} was stopped for it." if self.replaced else ""
        self.replaced = None
        self.telling.alarm(life.version_id, "ended at once", f"{message} Nothing runs.{before}")

    def _unexpected(self, words: str, *, code: int | None) -> None:
        """Start the current version again after a pause, or give it up."""
        life = self.book.read()
        if life is None or not life.keep:
            return
        if self.telling.model.is_screener:
            self._screener_failed(life.version_id, words)
            return
        if not life.was_running:
            self._ended_at_once(life, words, is_script=False)
            return
        pause = self.around.restarts.pause(life.restarts)
        if pause is None:
            most = self.around.restarts.most
            times = "once" if most == 1 else f"{most} times in a row"
            often = f"It was restarted {times}." if most else "This server restarts no model."
            self._give_up(life, f"{words} {often}")
            return
        self.restart_at = self.around.monotonic() + pause
        restarts = life.restarts + 1
        self.book.enter(
            State.RESTARTING,
            restarts=restarts,
            problem=self.telling.redact(words),
            exit_code=code,
        )
        text = f"{words} It is started again in {pause:g} s (restart {restarts})."
        self.telling.event(life.version_id, text)

    def _give_up(self, life: Life, message: str) -> None:
        self._finish(State.FAILED, message)
        self.telling.alarm(life.version_id, "failed", f"{message} Nothing runs.")

    def _finish(self, state: State, message: str | None) -> None:
        """Note that the current version does not run any more, and is not started by itself."""
        problem = None if message is None else self.telling.redact(message)
        self.book.enter(state, keep=False, problem=problem)
