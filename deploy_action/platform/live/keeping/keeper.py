"""The reconciler of one model: one thread that brings about what is wished for."""

from __future__ import annotations

import queue
import sqlite3
import threading
import traceback
from contextlib import closing, suppress
from typing import Final

from deploy_action.platform.live.host import Launch, StillRunningError
from deploy_action.platform.live.keeping.endings import Endings
from deploy_action.platform.live.keeping.hearing import (
    Heard,
    Hearing,
    InstanceOver,
    PreparationOver,
    Reported,
    Woken,
)
from deploy_action.platform.live.keeping.life_book import LifeBook, WishChangedError
from deploy_action.platform.live.keeping.preparation import Preparation, redactor
from deploy_action.platform.live.keeping.reported import take_report
from deploy_action.platform.live.keeping.running import Running
from deploy_action.platform.live.keeping.telling import Telling
from deploy_action.platform.live.keeping.timing import (
    SECONDS_BETWEEN_NOTES,
    due_times,
    has_lasted_by,
    is_settled_by,
)
from deploy_action.platform.live.schedule import missed_runs, next_run
from deploy_action.platform.live.status import Pulse
from deploy_action.platform.live.surroundings import Surroundings
from deploy_action.platform.live.wishes import wish_stop
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.storage.records import Life, Model, State, StopReason, Wanted

_NEXT, _CURRENT = "next", "current"
_LATE_SECONDS: Final = 60.0  # a screener's run that is later than this is a missed one
_PAUSE_SECONDS: Final = 5.0  # after a failure of our own, before it is tried again
_LONGEST_WAIT: Final = 3600.0
_MOST_AT_ONCE: Final = 200


class Keeper:
    """Keeps one model in the state that is wished for.

    Wishes are in the store; `wake` says that there is a new one. All decisions are made on one
    thread, which reads the life of the model anew before each. While `starting` is held, nothing
    is started: whoever stores a wish to stop holds it.
    """

    def __init__(self, around: Surroundings, model: Model, place: str) -> None:
        """Prepare; `place` is the model's name for the host."""
        self.starting = threading.Lock()
        self._around = around
        self._model = model
        self._place = place
        self._book = LifeBook(around.store, model)
        with around.store.snapshot() as snapshot:
            names = {each.id: each.name for each in snapshot.projects()}
        self._telling = Telling(around, model, names.get(model.project_id, model.project_id))
        self._endings = Endings(around, self._book, self._telling)
        self._inbox: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._preparations: dict[str, Preparation] = {}
        self._cancelled = 0  # preparations that were cancelled and have not ended yet
        self._running: Running | None = None
        self._count = 0
        self._clear_at: float | None = 0.0  # when to end what an earlier instance left
        self._runs_now = False
        self._halted = False
        self._is_new = True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the wishes again."""
        self._inbox.put(Woken())

    def run_now(self) -> None:
        """Run a scheduled screener as soon as possible, unless it runs."""
        if self._running is None:
            self._runs_now = True
            self.wake()

    def halt(self, *, is_halted: bool) -> None:
        """Stop what runs, and start nothing, although that cannot be stored; or take it back."""
        self._halted = is_halted
        self.wake()

    def close(self) -> None:
        """Stop what runs and end; what is wished for stays. Returns at once."""
        self._closing.set()
        self.wake()

    def join(self, seconds: float) -> bool:
        """Wait for the end after `close`; return whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def is_idle(self) -> bool:
        """Whether nothing of the model runs or is prepared."""
        return self._running is None and not self._preparations and not self._cancelled

    @property
    def pulse(self) -> Pulse | None:
        """What is newer than the store, while something runs."""
        running = self._running
        if running is None:
            return None
        return Pulse(
            last_output_at=running.hearing.last_output_at,
            callback_errors=running.all_errors,
            callbacks_fail_since=running.callbacks_fail_since,
            callbacks_work=running.callbacks_work,
            problem=running.problem,
        )

    def _work(self) -> None:
        while True:
            try:
                self._reconcile()
                if self._closing.is_set() and self.is_idle:
                    return
                self._handle(self._wait())
                for _ in range(_MOST_AT_ONCE):  # one commit for many reports
                    if self._inbox.empty():
                        break
                    self._handle(self._inbox.get())
            except Exception:  # noqa: BLE001  # a bug, or a full disk: the model needs its keeper
                self._around.on_error(traceback.format_exc())
                self._closing.wait(_PAUSE_SECONDS)

    def _wait(self) -> Heard:
        """Return what is heard next, or that it is time to look."""
        try:
            return self._inbox.get(timeout=self._patience())
        except queue.Empty:
            return Woken()

    def _patience(self) -> float:
        """Return the seconds until something has to be done that nobody will say."""
        if self._halted:
            return _PAUSE_SECONDS
        if self._closing.is_set():
            return _LONGEST_WAIT
        now, running, waits = self._around.monotonic(), self._running, [_LONGEST_WAIT]
        if running is not None:
            waits += [due - now for due in due_times(running, self._around)]
        elif self._endings.restart_at > now:
            waits.append(self._endings.restart_at - now)
        if self._clear_at is not None:
            waits.append(self._clear_at - now)
        if self._model.is_screener:
            life = self._book.read()
            if life is not None and life.next_run_at is not None:
                # At most a minute: the clock may be set.
                waits.append(min(60.0, max(1.0, life.next_run_at - self._around.clock())))
        return max(0.0, min(waits))

    # What is wished for

    def _reconcile(self) -> None:
        """Take the next steps towards what is wished for."""
        if self._is_halted() and not self._closing.is_set():
            return
        self._note_facts()
        self._note_end()
        if self._closing.is_set():
            self._cancel_all()
            life = self._book.read()
            is_wanted = life is not None and life.wanted == Wanted.RUNNING
            self._stop_running(StopReason.SHUTDOWN if is_wanted else StopReason.STOP)
            return
        if self._is_in_the_way():
            return
        life = self._book.read()
        if life is None or life.wanted == Wanted.STOPPED:
            self._come_to_rest(life)
            return
        self._pass_time(life)
        if not self._advance_next(life):
            self._keep_current()

    def _is_halted(self) -> bool:
        """Stop what runs although that could not be stored; try to store it again."""
        if not self._halted:
            return False
        self._cancel_all()
        self._stop_running(StopReason.STOP)
        with suppress(OSError, sqlite3.Error):
            with self._around.store.transaction() as transaction:
                wish_stop(transaction, self._model.project_id, self._model.id)
            self._halted = False
        return self._halted

    def _note_facts(self) -> None:
        """Write what the instance has told, until that succeeds: later decisions rest on it."""
        running, now = self._running, self._around.monotonic()
        if running is None or running.facts == running.written:
            return
        if running.is_urgent or now >= running.written_at + SECONDS_BETWEEN_NOTES:
            facts = running.facts
            self._book.change(**facts)
            running.written, running.written_at = facts, now

    def _note_end(self) -> None:
        """Note that the instance has ended; until that is written, no other is started."""
        running = self._running
        if running is None or running.ended is None:
            return
        self._endings.instance_over(running, running.ended)
        if running.ended.left is None or running.ended.left:
            self._clear_at = self._around.monotonic()
        self._running = None

    def _is_in_the_way(self) -> bool:
        """End what an earlier server or instance left, before anything else is done."""
        if self._clear_at is None:
            return False
        if self._clear_at > self._around.monotonic():
            return True
        try:
            self._around.host.clear(self._place, self._closing)
        except StillRunningError as error:
            self._clear_at = self._around.monotonic() + _PAUSE_SECONDS
            problem = f"Nothing is started, because two could run at once: {error}"
            self._book.change(problem=problem)
            return True
        except StoppedError:
            return True
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing may be started
            self._around.on_error(traceback.format_exc())
            self._clear_at = self._around.monotonic() + _PAUSE_SECONDS
            self._book.change(problem=f"What ran before cannot be looked for: {error}")
            return True
        self._clear_at = None
        return False

    def _come_to_rest(self, life: Life | None) -> None:
        self._cancel_all()
        self._runs_now = False
        if self._running is not None:
            if self._stop_running(StopReason.STOP):
                self._book.enter(State.STOPPING)
        elif life is not None and life.state != State.STOPPED:
            self._endings.at_rest(life)

    def _pass_time(self, life: Life) -> None:
        """Note what has come about because time has passed."""
        running, now = self._running, self._around.monotonic()
        if running is None or running.stopped_for is not None:
            return
        if not running.is_settled:
            if running.has_started or now >= is_settled_by(running, self._around):
                self._settle(running)
        elif not running.has_lasted and now >= has_lasted_by(running, self._around):
            if life.restarts:
                self._book.change(restarts=0)
            running.has_lasted = True

    # The version that takes over

    def _advance_next(self, life: Life) -> bool:
        """Prepare it, stop what it replaces, and start it; return whether the last two are done.

        While it is only prepared, the current version goes on.
        """
        preparation = self._preparations.get(_NEXT)
        wish = (life.next_id, life.generation)
        if preparation is not None and preparation.wish != wish:
            self._cancel(_NEXT)
            preparation = None
        if life.next_id is None:
            return False
        if preparation is None:
            self._prepare(_NEXT, life.next_id, life.generation)
            return False
        if preparation.prepared is None:
            return False
        if self._running is None:
            self._cancel(_CURRENT)
            self._take_over(self._preparations.pop(_NEXT))
        elif self._stop_running(StopReason.REPLACE):
            self._book.enter(State.STOPPING)
        return True

    def _take_over(self, preparation: Preparation) -> None:
        """Make a version the current one, and start it."""
        is_screener = self._model.is_screener
        with self.starting, closing(preparation):
            if self._halted:
                return
            try:
                replaced = self._book.take_over(*preparation.wish, launched=not is_screener)
            except WishChangedError:
                self.wake()
                return
            self._is_new = False
            self._endings.restart_at = 0.0
            self._endings.replaced = replaced
            if not is_screener:
                self._start(preparation)
                return
        self.wake()

    # The version that is kept running

    def _keep_current(self) -> None:
        life = self._book.read()
        if life is None or not life.keep or life.version_id is None:
            self._cancel(_CURRENT)
            return
        if self._model.is_screener:
            if not life.was_running:
                self._note_ran(life.version_id, State.SCHEDULED)
            if not self._is_due(life):
                return
        elif self._running is not None or self._endings.restart_at > self._around.monotonic():
            return
        elif life.ordered and not life.had_strategy and not life.was_running:
            self._endings.interrupted(life)
            return
        self._start_current(life, life.version_id)

    def _start_current(self, life: Life, version_id: str) -> None:
        """Prepare the current version again, or start it if that is done."""
        preparation = self._preparations.get(_CURRENT)
        if preparation is None:
            if self._is_new and not self._model.is_screener:
                self._telling.event(version_id, "This server has started, and starts it again.")
            self._is_new = False
            self._prepare(_CURRENT, version_id, life.generation)
        elif preparation.prepared is not None:
            del self._preparations[_CURRENT]
            with self.starting, closing(preparation):
                now = self._book.read()
                is_wanted = now is not None and now.keep and now.version_id == version_id
                if self._halted or not is_wanted:
                    self.wake()
                    return
                self._runs_now = False
                self._start(preparation)

    def _is_due(self, life: Life) -> bool:
        """Whether a screener has to run; also note when it does next."""
        found = self._book.version(str(life.version_id))
        now, schedule = self._around.clock(), (found[0].schedule if found else None) or ""
        is_busy = self._running is not None or self._runs_now
        if life.next_run_at is None:
            self._book.change(next_run_at=next_run(schedule, now))
        elif life.next_run_at <= now:
            planned = missed_runs(schedule, life.next_run_at, now)
            self._book.change(next_run_at=next_run(schedule, now))
            if not is_busy and now - planned[-1] <= _LATE_SECONDS:
                planned.pop()
                self._runs_now = True
            reason = "the run before was not over" if is_busy else "the server did not run"
            self._telling.missed(life.version_id, planned, reason)
        return self._runs_now and self._running is None

    # Starting and stopping

    def _prepare(self, slot: str, version_id: str, generation: int) -> None:
        found = self._book.version(version_id)
        if found is None:
            raise RuntimeError(f"version {version_id} was removed while it should run")
        version, environment = found
        cpu, memory = self._around.plans.get(version.plan, (0, 0))
        launch = Launch(
            place=self._place,
            version_id=version_id,
            bundle=self._around.store.bundle_path(version_id),
            bundle_sha256=version.sha256,
            python_version=version.python_version,
            plan=version.plan,
            cpu=cpu,
            memory=memory,
            environment=environment,
        )
        log = self._around.logs.open(version_id)
        redact = redactor(launch, self._around.passwords)
        preparation = Preparation(launch, version, generation, slot == _NEXT, log, redact)
        self._preparations[slot] = preparation
        preparation.begin(self._around.host, self._inbox)

    def _start(self, preparation: Preparation) -> None:
        """Start what is prepared; `starting` is held."""
        prepared, version_id = preparation.prepared, preparation.launch.version_id
        if prepared is None:
            raise RuntimeError("only what is prepared can be started")
        self._telling.redact = preparation.redact
        for problem in prepared.problems:
            self._telling.problem(version_id, problem)
        self._count += 1
        log, clock = preparation.log, self._around.clock
        log.write("platform", f"Starting version {version_id}.")
        hearing = Hearing(self._count, self._inbox, log, preparation.redact, clock)
        life = self._book.read()
        running = Running(preparation.version, hearing, self._around.monotonic())
        running.earlier_errors = 0 if life is None else life.callback_errors
        try:
            running.instance = self._around.host.start(prepared, hearing)
        except StillRunningError as error:
            self._clear_at = self._around.monotonic() + _PAUSE_SECONDS
            self._telling.event(version_id, f"It was not started yet: {error}")
        except OSError as error:
            self._endings.not_started(f"The operating system refused to start it: {error}.")
        else:
            preparation.prepared = None  # it is the host's by now
            self._running = running
            if self._model.is_screener:
                running.is_settled = True
                self._book.enter(State.RUNNING, launched=True)

    def _settle(self, running: Running) -> None:
        """Note that an instance is `running`."""
        self._note_ran(running.version.id, State.RUNNING, running.problem)
        running.is_settled, running.settled_at = True, self._around.monotonic()

    def _note_ran(self, version_id: str, state: State, problem: str | None = None) -> None:
        self._book.note_ran(version_id, state, problem)
        self._telling.event(version_id, f"It is {state}.")
        if (replaced := self._endings.replaced) is not None:
            self._endings.replaced = None
            text = f"Version {version_id} is {state}, in place of {replaced}."
            self._telling.notice("was replaced", text, "success")

    def _stop_running(self, reason: StopReason) -> bool:
        """Have what runs stopped; return False if nothing does, or that was done before."""
        running = self._running
        if running is None or not running.stop(reason):
            return False
        running.hearing.log.write("platform", f"Stopping it (reason: {reason}).")
        return True

    def _cancel_all(self) -> None:
        for slot in list(self._preparations):
            self._cancel(slot)

    def _cancel(self, slot: str) -> None:
        preparation = self._preparations.pop(slot, None)
        if preparation is None:
            return
        preparation.stop.set()
        if preparation.prepared is None:
            self._cancelled += 1
        else:
            preparation.close()

    # What is heard

    def _handle(self, heard: Heard) -> None:
        running = self._running
        if isinstance(heard, PreparationOver):
            self._preparation_over(heard)
        elif running is None or isinstance(heard, Woken) or heard.number != running.hearing.number:
            return
        elif isinstance(heard, InstanceOver):
            running.ended = heard.ended
        elif isinstance(heard, Reported):
            try:
                take_report(self._telling, running, heard.event)
            finally:
                lost = running.hearing.done()
            if lost:
                text = f"{lost} reports were lost: the model reports faster than they can be kept."
                self._telling.event(running.version.id, text)

    def _preparation_over(self, heard: PreparationOver) -> None:
        mine = [slot for slot, one in self._preparations.items() if one is heard.preparation]
        if not mine:  # it was cancelled
            self._cancelled -= 1
            if heard.prepared is not None:
                heard.prepared.close()
            return
        (slot,) = mine
        preparation = self._preparations[slot]
        if heard.prepared is not None:
            preparation.prepared = heard.prepared
            return
        del self._preparations[slot]
        if slot == _CURRENT:
            self._runs_now = False
        self._endings.not_prepared(preparation, heard.error, is_next=slot == _NEXT)
