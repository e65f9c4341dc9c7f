"""Waits until a version runs or has failed to, or until a model has stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Final

from deploy_action.deployment_api.live import LiveApi
from deploy_action.deployment_api.retry_rules import (
    BrokenExchangeError,
    BusyError,
    NotConnectedError,
)
from deploy_action.errors import (
    DeadlineError,
    InterruptedRunError,
    Problem,
    RefusedError,
    Severity,
)
from deploy_action.live.deployed import UNTOLD, DeployedModel, Live, Standing
from deploy_action.outcome.life import Life
from deploy_action.records import dataclass, replace
from deploy_action.text.harmless import one_line, plain
from deploy_action.text.quantities import count

# Seconds between two looks. A version whose environment is kept runs within seconds, a new
# environment takes a minute or two, and some models a quarter of an hour.
_PAUSES: Final = (0.5, *(1.0,) * 15, *(2.0,) * 30)
_LAST_PAUSE: Final = 5.0
_WATCHED_SECONDS: Final = 3.0
# A run that has to end tells what it saw last if that is no older than this.
_FRESH_SECONDS: Final = 10.0
# How long a server may be away, as for an upgrade.
_LONGEST_SILENCE: Final = 300.0
_MOST_LINES: Final = 500
_FIRST_LINES: Final = 10
_LAST_LINES: Final = 20
_AT_REST: Final = frozenset({"stopped", "finished", "failed"})
_SHORT_ID: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Watches one model.

    `on_life` gets what the server tells whenever that changes, so that a run that fails half-way
    can report it. `say` prints a line, `say_log` one of the model's log.
    """

    live: LiveApi
    on_life: Callable[[Life], None]
    say: Callable[[str], None]
    say_log: Callable[[str], None]

    def follow(self, version_id: str, *, after: str | None, before: DeployedModel = UNTOLD) -> Life:
        """Wait until a version runs, ended well, or is stored; return that, with some of its log.

        `after` is the last line of its log that is older than the order: blank if there was none,
        None if that is not known. Returns at once if the server does not tell what its models do;
        one that told it `before` the order has to go on telling it.

        Raises:
            RefusedError: it does not run, and the problem says why.
            DeadlineError, InterruptedRunError: it may still come to run.
        """
        going_on = f"The server goes on with version {short(version_id)}: it may run soon."
        with self._going_on(going_on):
            watch = _Watch(version_id, self.live.api.transport.retries.deadline.clock)
            model = self._look_until(version_id, watch.is_over, before)
        if not model.tells_life:
            return Life(model=model, version_id=version_id)
        life = Life(model=model, version_id=version_id)
        if life.standing is not Standing.STORED:
            life = self._with_log(life, after)
        life = replace(life, problems=warnings_of(life))
        self.on_life(life)
        if not life.is_done:
            raise RefusedError(_failure(model, version_id))
        return life

    def follow_run(self, version_id: str, *, after: str | None, before: DeployedModel) -> Life:
        """Wait until a run of a screener is over that was asked for; return that, with its log.

        The screener was scheduled `before` it was asked. For `after`, see `follow`.

        Raises:
            RefusedError: the run failed, or did not begin.
            DeadlineError, InterruptedRunError: it may still go on.
        """
        since = None if before.live is None else before.live.since

        def is_over(model: DeployedModel) -> bool:
            live, standing = model.live, model.standing(version_id)
            if live is None or standing not in {Standing.UP, Standing.COMING}:
                return True
            return live.state == "scheduled" and live.since != since

        with self._going_on("The server goes on with the run of the screener."):
            model = self._look_until(version_id, is_over, before)
        life = self._with_log(Life(model=model, version_id=version_id, ran_once=True), after)
        self.on_life(life)
        if not life.is_done:
            raise RefusedError(_failure(model, version_id))
        if life.live is not None and life.live.problem:
            raise RefusedError.of(
                message=f"The run of version {short(version_id)} failed: "
                f"{_sentence(life.live.problem)}",
                hint="Look at its log: `blankly-deploy logs` shows it. It runs again by its "
                "schedule.",
            )
        return life

    def follow_stop(self) -> Life:
        """Wait until nothing of the model runs.

        Returns at once if the server does not tell what its models do.

        Raises:
            RefusedError: somebody started it again.
            DeadlineError, InterruptedRunError: it may still run.
        """
        with self._going_on(
            "The model has not stopped yet and may still trade. The server goes on stopping it."
        ):
            model = self._look_until("", _is_over)
        life = Life(
            model=model,
            version_id=model.live.version_id if model.live else "",
            problems=_after_stop(model.live),
        )
        self.on_life(life)
        if model.live is not None and not _is_at_rest(model.live):
            raise RefusedError.of(
                message="Somebody asked for the model to run again while it was being stopped.",
                hint="Find out who did, and stop it again.",
            )
        return life

    def look(self, version_id: str = "", *, listed: str = "") -> Life:
        """Return what the server tells now, without waiting.

        The version `listed` is there to be looked up, however old, if there is one.
        """
        life = Life(model=self.live.describe(listed or version_id), version_id=version_id)
        self.on_life(life)
        return life

    def _look_until(
        self,
        version_id: str,
        is_settled: Callable[[DeployedModel], bool],
        seen: DeployedModel = UNTOLD,
    ) -> DeployedModel:
        """Look until that is settled; `seen` is what the server told last."""
        retries = self.live.api.transport.retries
        said, clock = "", retries.deadline.clock
        seen_at, should_tell = clock(), seen.tells_life or self._should_tell
        for pause in chain(_PAUSES, repeat(_LAST_PAUSE)):
            try:
                model = self.live.describe(version_id, seen=seen)
            except (DeadlineError, InterruptedRunError):
                if clock() - seen_at > _FRESH_SECONDS:
                    self.on_life(Life.unknown(version_id, seen.name))
                raise
            except RefusedError as error:
                self.on_life(Life.unknown(version_id, seen.name))
                if not (should_tell or seen.tells_life):  # it only follows the documentation
                    self.say(f"{error} So it is not known what the model does.")
                    return UNTOLD
                if clock() - seen_at > _LONGEST_SILENCE or not _may_pass(error):
                    raise _lost(error) from error
                self.say(f"{error} Asking again: the server may be restarting.")
            else:
                seen, seen_at = model, clock()
                self.on_life(Life(model=model, version_id=version_id))
                if (now := _in_words(model, version_id)) not in {"", said}:
                    self.say(now)
                    said = now
                if is_settled(model):
                    return model
            retries.pause(min(pause, retries.deadline.remaining()))
        raise AssertionError("the pauses never end")

    def last_line(self, version_id: str) -> str | None:
        """Return the last line of a version's log so far: blank without one, None if unknown."""
        lines = self.live.log(version_id, 1)
        return None if lines is None else "".join(lines)

    def _with_log(self, life: Life, after: str | None) -> Life:
        """Add what the version printed first since the order, or the end of the log; print it."""
        lines = self.live.log(life.version_id, _MOST_LINES)
        if lines is None:
            return life
        known = after is not None and (after in lines or (not after and len(lines) < _MOST_LINES))
        if after and known:
            lines = lines[len(lines) - lines[::-1].index(after) :]
        is_beginning = known and life.is_done and not life.ran_once
        if is_beginning:
            printed = [line for line in lines if line.split(" ", 2)[1:2] != ["platform"]]
            shown = tuple(printed[:_FIRST_LINES])
        else:
            shown = lines[-_LAST_LINES:]
        for line in shown:
            self.say_log(plain(line))
        return replace(life, log=shown, is_beginning=is_beginning)

    @property
    def _should_tell(self) -> bool:
        """Whether the server describes a deploy as those do that run models."""
        try:
            return "unchanged" in self.live.api.fields_of("/model/deploy")
        except DeadlineError:
            raise
        except RefusedError:  # it has just taken an order: it will be back
            return True

    @contextmanager
    def _going_on(self, words: str) -> Iterator[None]:
        """Say what the server does if the run has to end first."""
        try:
            yield
        except (DeadlineError, InterruptedRunError) as error:
            first, *others = error.problems
            error.problems = (replace(first, message=f"{first.message} {words}"), *others)
            raise


@dataclass(slots=True)
class _Watch:
    """Decides when it is known what became of a version.

    One that runs is watched for some seconds more: many faults show at the first callback.
    """

    version_id: str
    clock: Callable[[], float]
    up_at: float | None = None

    def is_over(self, model: DeployedModel) -> bool:
        """Return whether a look at the model was the last one that is needed."""
        standing = model.standing(self.version_id) if model.tells_life else None
        if standing is Standing.COMING:
            self.up_at = None
            return False
        live = model.live
        if standing is not Standing.UP or live is None or live.state != "running":
            return True
        # By the server's clock alone: that of this machine may be set while the run goes on.
        told_at = model.told_at
        if live.since is None or (told_at is not None and told_at - live.since >= _WATCHED_SECONDS):
            return True
        if self.up_at is None:
            self.up_at = self.clock()
        return self.clock() - self.up_at >= _WATCHED_SECONDS


def short(version_id: str) -> str:
    """Return the beginning of a version's id, which is enough for people."""
    return f"`{version_id[:_SHORT_ID]}`" if version_id else "that ran before"


def _may_pass(error: RefusedError) -> bool:
    if isinstance(error, NotConnectedError):
        return not error.is_hopeless
    return isinstance(error, BrokenExchangeError | BusyError)


def _lost(error: RefusedError) -> RefusedError:
    first, *others = error.problems
    return RefusedError(
        replace(
            first,
            message=f"{first.message} What the model does is not known: the server has the order, "
            "and may go on with it.",
        ),
        *others,
    )


def _is_over(model: DeployedModel) -> bool:
    live = model.live
    # That it is wanted again means that somebody asked for it after us.
    return live is None or live.wanted == "running" or _is_at_rest(live)


def _is_at_rest(live: Live) -> bool:
    return live.state in _AT_REST and not live.is_to_run


def _in_words(model: DeployedModel, version_id: str) -> str:
    """Return a line for the log on what the server does."""
    live = model.live
    if live is None:
        return ""
    state = live.state
    if live.next_id and live.next_id == version_id:
        state = f"{state}, and version {short(version_id)} is being prepared"
    why = f": {one_line(live.problem)}" if live.problem else ""
    return f"State: {state}{why}"


def _failure(model: DeployedModel, version_id: str) -> Problem:
    """Return why a version does not run, and what does."""
    live, standing = model.live, model.standing(version_id)
    what = f"Version {short(version_id)}"
    if standing is Standing.CANCELLED:
        return Problem(
            message=f"{what} does not run: somebody stopped the model meanwhile.",
            hint="`mode: start` runs it.",
        )
    if standing is Standing.SUPERSEDED:
        other = f" {short(live.next_id or live.version_id)}" if live is not None else ""
        return Problem(
            message=f"{what} does not run: another version{other} took its place meanwhile.",
            hint="See who deployed it; the last deploy is the one that runs.",
        )
    return _down(model, version_id, what)


def warnings_of(life: Life) -> tuple[Problem, ...]:
    """Return what is wrong with a version although it runs."""
    live = life.live
    if live is None or life.standing is not Standing.UP:
        return ()
    what, found = f"Version {short(life.version_id)}", []
    if live.problem:
        found.append(f"{what} is {live.state}, and has a problem: {_sentence(live.problem)}")
    if live.callback_errors:
        errors = count(live.callback_errors, "error")
        found.append(f"{what} is {live.state}, with {errors} in its callbacks so far.")
    hint = "Look at its log: `blankly-deploy logs` shows it."
    return tuple(Problem(message=one, hint=hint, severity=Severity.WARNING) for one in found)


def _after_stop(live: Live | None) -> tuple[Problem, ...]:
    """Return what went wrong when a model stopped."""
    if live is None or not live.problem or not _is_at_rest(live):
        return ()
    return (
        Problem(
            message=f"The model is stopped, but: {_sentence(live.problem)}",
            hint="Positions and orders may be open: look at the exchange.",
            severity=Severity.WARNING,
        ),
    )


def _down(model: DeployedModel, version_id: str, what: str) -> Problem:
    live, version = model.live, model.versions.get(version_id)
    why = _reason(live, version.problem if version is not None else "", version_id)
    if live is None or live.version_id != version_id:
        still = "Nothing of the model runs."
        if live is not None and live.is_up:
            still = f"Version {short(live.version_id)} still runs, as before."
        return Problem(
            message=f"{what} was not started: {why} {still}",
            hint="Correct what the reason and the log name, and deploy again.",
        )
    if live.state == "restarting":
        return Problem(
            message=f"{what} was started and ended: {why} The server will start it again.",
            hint="Look at the log. `mode: stop` stops it for good.",
        )
    back = ""
    if live.previous_id:
        back = f" `mode: rollback` runs version {short(live.previous_id)} again, which ran before."
    todo = "Correct what the reason and the log name, and deploy again."
    if live.exit_code == 0:
        todo = (
            "It ended by itself; its code 0 does not prove that all went well, so look at what it "
            "printed. Another deploy, or `mode: start`, runs it again. A model that should go on "
            "needs a strategy, or a script that does not end."
        )
    return Problem(
        message=f"{what} does not run: {why} Nothing of the model runs now.",
        hint=f"{todo}{back}",
    )


def _reason(live: Live | None, problem: str, version_id: str) -> str:
    """Return why, as a sentence."""
    is_its_own = live is not None and live.version_id == version_id
    if not problem and live is not None and is_its_own:
        problem = live.problem
    if not problem and live is not None and is_its_own and live.exit_code is not None:
        problem = f"it ended with code {live.exit_code}"
    return _sentence(problem or "the server does not say why")


def _sentence(text: str) -> str:
    words = one_line(text)
    return words if words.endswith((".", "!", "?")) else f"{words}."
