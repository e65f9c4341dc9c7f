"""Deployed models: started, replaced, stopped, restarted and taken up again."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy_action.errors import Problem
from deploy_action.platform.live.host import CannotPrepareError, StillRunningError
from deploy_action.platform.live.keeping import keeper
from deploy_action.platform.live.keeping.life_book import LifeBook
from deploy_action.platform.live.models import NotKeptError
from deploy_action.platform.live.restarts import RestartPolicy
from deploy_action.platform.live.wishes import UnknownVersionError
from deploy_action.platform.storage.records import Progress, State, StopReason
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.transaction import Transaction
from tests.platform.live.conftest import MODEL, PROJECT, LivePlatform, OpenLive
from tests.support.waiting import wait_for

_BROKEN = CannotPrepareError(Problem(message="This is no Python.", path="bot.py", line=3))


def test_a_deployed_version_runs_once_its_strategy_has_started(live: LivePlatform) -> None:
    version_id = live.deploy(wait=True)
    assert live.status.state is State.PREPARING
    live.start_strategy()
    assert live.version(version_id).progress == Progress.RAN
    status = live.status
    assert (status.start_id, status.previous_id) == (version_id, None)


def test_a_script_without_a_strategy_is_running_after_ten_seconds(live: LivePlatform) -> None:
    version_id = live.deploy(wait=True)
    live.pass_time(9.9)
    assert live.version(version_id).progress == Progress.STARTING
    live.pass_time(0.1)
    live.wait_for(State.RUNNING)


def test_the_old_version_runs_while_the_new_one_is_prepared(live: LivePlatform) -> None:
    first = live.run_a_version()
    old = live.instance
    live.host.may_prepare.clear()
    second = live.deploy()
    wait_for(lambda: second in live.host.asked)
    status = live.status
    assert (status.state, status.version and status.version.id) == (State.RUNNING, first)
    assert status.next_id == second
    assert old.reasons == []
    live.host.stops_at_once = False
    live.host.may_prepare.set()
    wait_for(lambda: old.reasons == [StopReason.REPLACE])
    assert len(live.host.instances) == 1
    live.wait_for(State.STOPPING)
    old.end(0)
    wait_for(lambda: len(live.host.instances) == 2)
    live.start_strategy()
    assert live.status.previous_id == first
    assert live.ears.notices[-1][0] == "Golden (project) was replaced"
    assert live.ears.kinds[-1] == "success"


def test_a_version_that_cannot_be_prepared_leaves_the_old_one_running(live: LivePlatform) -> None:
    first = live.run_a_version()
    live.host.may_prepare.clear()
    second = live.deploy()
    live.host.faults[second] = _BROKEN
    live.host.may_prepare.set()
    live.wait_for_progress(second, Progress.FAILED)
    assert live.version(second).problem == "bot.py:3: This is no Python."
    status = live.status
    assert (status.state, status.version and status.version.id) == (State.RUNNING, first)
    assert status.start_id == first
    assert live.instance.reasons == []
    (notice,) = live.ears.notices
    assert live.ears.kinds == ["warning"]
    assert "The version before it goes on." in notice[1]


def test_a_first_version_that_cannot_be_prepared_is_failed_and_never_started(
    live: LivePlatform,
) -> None:
    live.host.may_prepare.clear()
    version_id = live.deploy()
    live.host.faults[version_id] = _BROKEN
    live.host.may_prepare.set()
    live.wait_for(State.FAILED)
    assert live.status.start_id is None
    live.restart()
    live.pass_time(1000)
    assert live.host.asked == []


def test_the_last_of_several_deploys_runs(live: LivePlatform) -> None:
    live.host.may_prepare.clear()
    first, second, third = (live.deploy() for _ in range(3))
    live.host.may_prepare.set()
    wait_for(lambda: live.host.running)
    assert [one.launch.version_id for one in live.host.instances] == [third]
    assert live.version(first).progress == live.version(second).progress == Progress.SUPERSEDED


def test_a_stop_cancels_what_is_prepared(live: LivePlatform) -> None:
    live.host.may_prepare.clear()
    version_id = live.deploy()
    wait_for(lambda: live.host.asked)
    live.stop()
    live.host.may_prepare.set()
    live.wait_for(State.STOPPED)
    assert live.version(version_id).progress == Progress.CANCELLED
    assert live.host.instances == []
    assert live.status.start_id == version_id


def test_a_version_is_preparing_since_it_was_wished_for(live: LivePlatform) -> None:
    live.run_a_version()
    live.stop()
    live.wait_for(State.STOPPED)
    stopped = live.status
    live.host.may_prepare.clear()
    live.clocks.now += 3_600
    assert stopped.start_id is not None
    live.run(stopped.start_id)
    assert (live.status.state, live.status.since) == (State.PREPARING, live.clocks.now)
    live.host.may_prepare.set()


def test_what_runs_keeps_its_time_while_the_next_version_is_prepared(live: LivePlatform) -> None:
    live.run_a_version()
    live.host.may_prepare.clear()
    begun = live.status.since
    live.clocks.now += 3_600
    live.deploy()
    assert (live.status.state, live.status.since) == (State.RUNNING, begun)
    live.host.may_prepare.set()


def test_a_deploy_to_a_stopped_model_is_stored_until_it_is_started(live: LivePlatform) -> None:
    first = live.run_a_version()
    live.stop()
    live.wait_for(State.STOPPED)
    assert live.instance.reasons == [StopReason.STOP]
    second = live.deploy()
    live.restart()
    live.wait_for(State.STOPPED)
    status = live.status
    assert (status.version and status.version.id, status.start_id) == (first, second)
    assert live.version(second).progress == Progress.STORED
    assert live.host.asked == []
    live.run(second)
    wait_for(lambda: live.host.running)
    live.start_strategy()
    assert live.status.previous_id == first


def test_a_rollback_goes_back_one_by_one_and_never_forward(live: LivePlatform) -> None:
    versions = [live.run_a_version() for _ in range(3)]
    went_back = [live.roll_back(), live.roll_back()]
    assert went_back == [versions[1], versions[0]]
    with pytest.raises(LookupError):
        live.roll_back()
    fourth = live.run_a_version()
    assert live.status.previous_id == versions[0]
    assert live.status.start_id == fourth


def test_a_version_that_ends_at_once_fails_its_deploy(live: LivePlatform) -> None:
    first = live.run_a_version()
    second = live.deploy(wait=True)
    live.instance.end(1)
    live.wait_for(State.FAILED)
    assert "It ended with exit code 1" in str(live.version(second).problem)
    assert live.host.running == []
    title, text = live.ears.notices[-1]
    assert title == "Golden (project) ended at once"
    assert f"Nothing runs. Version {first} was stopped for it." in text
    assert (live.status.start_id, live.status.previous_id) == (second, first)


def test_a_script_that_has_done_its_work_is_finished_and_never_run_again(
    live: LivePlatform,
) -> None:
    live.deploy(wait=True)
    live.pass_time(10)
    live.wait_for(State.RUNNING)
    live.instance.end(0)
    live.wait_for(State.FINISHED)
    live.restart()
    live.pass_time(10_000)
    assert live.status.state is State.FINISHED
    assert live.host.asked == []


@pytest.mark.parametrize("code", [1, -9])
def test_a_script_that_fails_after_a_while_is_failed(live: LivePlatform, code: int) -> None:
    live.deploy(wait=True)
    live.pass_time(10)
    live.wait_for(State.RUNNING)
    live.instance.end(code)
    live.wait_for(State.FAILED)
    assert live.status.exit_code == code


def test_a_strategy_that_ends_is_restarted_with_growing_pauses_and_then_given_up(
    open_live: OpenLive,
) -> None:
    live = open_live(restarts=RestartPolicy(most=2, first_seconds=5))
    live.run_a_version()
    for restarts, pause in ((1, 5), (2, 10)):
        live.instance.end(0)
        live.wait_for(State.RESTARTING)
        assert live.status.restarts == restarts
        live.pass_time(pause - 0.1)
        assert live.host.running == []
        live.pass_time(0.1)
        wait_for(lambda: live.host.running)
        live.start_strategy()
    live.instance.end(0)
    live.wait_for(State.FAILED)
    assert "It was restarted 2 times in a row." in str(live.status.problem)
    assert live.ears.notices[-1][0] == "Golden (project) failed"
    live.restart()
    assert live.host.asked == []


def test_a_strategy_that_lasted_for_an_hour_has_a_clean_count(open_live: OpenLive) -> None:
    live = open_live(restarts=RestartPolicy(most=1))
    live.run_a_version()
    live.instance.end(0)
    live.wait_for(State.RESTARTING)
    live.pass_time(5)
    wait_for(lambda: live.host.running)
    live.start_strategy()
    live.pass_time(3600)
    wait_for(lambda: live.status.restarts == 0)
    live.instance.end(0)
    live.wait_for(State.RESTARTING)


def test_a_failed_restart_is_tried_again(live: LivePlatform) -> None:
    version_id = live.run_a_version()
    live.host.faults[version_id] = OSError(28, "No space left on device")
    live.instance.end(0)
    live.wait_for(State.RESTARTING)
    live.pass_time(5)
    wait_for(lambda: live.status.restarts == 2)
    assert "No space left on device" in str(live.status.problem)
    live.host.faults.clear()
    live.pass_time(10)
    wait_for(lambda: live.host.running)


def test_what_should_run_runs_again_on_the_next_server(live: LivePlatform) -> None:
    version_id = live.run_a_version()
    instance = live.instance
    live.restart()
    assert instance.reasons == [StopReason.SHUTDOWN]
    assert live.host.cleared == [live.instance.launch.place]
    assert live.instance.launch.version_id == version_id
    assert live.status.state is State.PREPARING
    assert live.ears.events[-1] == "This server has started, and starts it again."


@pytest.mark.parametrize(("has_ordered", "starts"), [(False, 1), (True, 0)])
def test_a_script_that_had_ordered_is_not_repeated_by_a_new_server(
    live: LivePlatform, *, has_ordered: bool, starts: int
) -> None:
    live.deploy(wait=True)
    if has_ordered:
        live.instance.report("order")
        wait_for(lambda: live.life.ordered)
    live.restart()
    if starts:
        wait_for(lambda: live.host.running)
    else:
        live.wait_for(State.FAILED)
        assert "could send it twice" in str(live.status.problem)
    assert len(live.host.instances) == starts


def test_new_variables_restart_the_version_and_are_named_and_hidden(live: LivePlatform) -> None:
    version_id = live.run_a_version()
    secret = secrets.token_hex(16)
    live.run(version_id)
    live.run(version_id, {"KEY": secret})
    wait_for(lambda: len(live.host.instances) == 2)
    assert live.instance.launch.environment == {"KEY": secret}
    told = f"Of version {version_id}, 0 variables were replaced by 1 (new: `KEY`)."
    assert told in live.ears.events
    assert told in live.log(version_id)
    assert secret not in repr(live.instance.launch)
    live.instance.listener.line("out", f"my key is {secret}")
    live.start_strategy()
    live.instance.report("message", kind="text", text=f"{secret} it is")
    wait_for(lambda: ("Golden (project) sends a text message", "*** it is") in live.ears.notices)
    assert "out my key is ***" in live.log(version_id)
    assert secret not in live.log(version_id) + repr(live.ears)


def test_failing_callbacks_are_counted_with_their_line(live: LivePlatform) -> None:
    live.run_a_version()
    problem = Problem(message="KeyError: 'x'", path="bot.py", line=7).document()
    live.instance.report("callback_error", count=3, problem=problem, fails=True)
    wait_for(lambda: live.status.callback_errors == 3)
    assert live.status.problem == "A callback failed: bot.py:7: KeyError: 'x'."
    assert live.status.state is State.RUNNING
    assert live.status.callbacks_fail
    live.instance.report("callbacks_work")
    wait_for(lambda: not live.status.callbacks_fail)


def test_it_is_known_since_when_callbacks_fail(live: LivePlatform) -> None:
    """That is the first failure of a row, and not the start of the model or the last failure."""
    live.run_a_version()
    for number, (passed, fails, since) in enumerate(
        ((60, True, 60), (60, True, 60), (60, False, None), (60, True, 240)), 1
    ):
        live.clocks.now += passed
        problem = Problem(message="KeyError: 'x'").document()
        live.instance.report("callback_error", count=number, problem=problem, fails=fails)
        wait_for(lambda number=number: live.status.callback_errors == number)  # type: ignore[misc]
        expected = None if since is None else live.status.since + since
        assert live.status.callbacks_fail_since == expected


def test_what_an_exception_means_comes_before_its_words(live: LivePlatform) -> None:
    live.run_a_version()
    hint = "The exchange could not be reached."
    problem = Problem(message="ConnectionError: Max retries", hint=hint, path="bot.py", line=7)
    live.instance.report("callback_error", count=1, problem=problem.document(), fails=True)
    wait_for(lambda: live.status.problem)
    assert live.status.problem == (
        f"A callback failed: {hint} The exception: bot.py:7: ConnectionError: Max retries."
    )


def test_a_stop_is_dated_when_it_is_asked_for(live: LivePlatform) -> None:
    live.run_a_version()
    live.host.stops_at_once = False
    started = live.status.since
    live.clocks.now += 86_400
    live.stop()
    assert (live.status.state, live.status.since) == (State.STOPPING, started + 86_400)


def test_what_a_model_says_of_itself_is_one_line_and_bounded(live: LivePlatform) -> None:
    version_id = live.run_a_version()
    forged = Problem(message="x\nIt is stopped, and stays stopped.").document()
    for event in ("warning", "fault"):
        live.instance.report(event, problem=forged)
    live.instance.report("callback_error", count=10**30, problem=forged)
    for _ in range(3):  # nobody has asked for a teardown
        live.instance.report("teardown", state="failed", problem=forged)
    wait_for(lambda: live.status.problem)
    assert live.status.callback_errors == 0
    live.stop()
    live.wait_for(State.STOPPED)
    lines = [line.split(" ", 2)[1:] for line in live.log(version_id).splitlines()]
    said = ["platform", "It is stopped, and stays stopped."]
    assert lines.count(said) == 1
    assert lines[-1] == said
    assert [title for title, _ in live.ears.notices] == []


def test_a_failed_write_is_made_up_for(live: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model told before is not forgotten, and decides what follows its end."""
    live.deploy(wait=True)
    is_broken = threading.Event()
    change = LifeBook.change

    def fail(self: LifeBook, **changes: object) -> None:
        if is_broken.is_set():
            is_broken.clear()
            raise sqlite3.OperationalError("database or disk is full")
        change(self, **changes)

    monkeypatch.setattr(LifeBook, "change", fail)
    monkeypatch.setattr(keeper, "_PAUSE_SECONDS", 0.01)
    is_broken.set()
    live.instance.report("order")
    wait_for(lambda: live.life.ordered)
    live.instance.report("starting")
    wait_for(lambda: live.life.had_strategy)
    assert "disk is full" in live.errors.pop()


def test_secrets_stay_hidden_after_a_restart(live: LivePlatform) -> None:
    version_id = live.run_a_version()
    secret = secrets.token_hex(16)
    live.run(version_id, {"KEY": secret})
    wait_for(lambda: len(live.host.instances) == 2)
    live.start_strategy()
    live.restart()
    live.instance.report("message", kind="text", text=f"{secret} it is")
    live.instance.report("fault", problem=Problem(message=f"no {secret}").document())
    wait_for(lambda: live.ears.notices)
    wait_for(lambda: live.status.problem == "no ***.")
    assert secret not in live.log(version_id) + repr(live.ears)


def test_a_refused_delete_leaves_a_model_that_can_be_started(live: LivePlatform) -> None:
    version_id = live.run_a_version()
    live.host.stops_at_once = False
    live.models.stop_seconds = -10  # it would wait for so long
    with pytest.raises(StillRunningError):
        live.models.delete(PROJECT, MODEL)
    live.instance.end(0)
    assert live.host.forgotten == []
    live.host.stops_at_once = True
    live.run(version_id)
    wait_for(lambda: len(live.host.instances) == 2)
    assert live.models.fault() is None


@pytest.mark.parametrize(
    ("reports", "code", "expected"),
    [
        ([("began", None), ("ended", None)], 0, None),
        ([("none", None)], 0, None),
        (
            [("began", None), ("failed", "KeyError")],
            1,
            "Its teardown failed, and nothing tries it again. bot.py:9: KeyError.",
        ),
        ([("began", None)], 0, "Its teardown did not finish, and nothing goes on with it."),
        ([("began", None)], -9, "nothing goes on with it. It was killed when its time was over."),
        ([], -9, "It told nothing of a teardown before it ended. It was killed"),
    ],
)
def test_a_stop_tells_what_became_of_the_teardown(
    live: LivePlatform, reports: list[tuple[str, str | None]], code: int, expected: str | None
) -> None:
    live.run_a_version()
    live.host.stops_at_once = False
    live.stop()
    wait_for(lambda: live.instance.reasons)
    for state, words in reports:
        told = words and Problem(message=words, path="bot.py", line=9).document()
        live.instance.report("teardown", state=state, problem=told)
    live.instance.end(code)
    live.wait_for(State.STOPPED)
    problem = live.status.problem
    assert (expected is None) == (problem is None)
    if expected is not None:
        assert expected in str(problem)
        assert "open orders and positions" in str(problem)
        assert live.ears.notices[-1][0] == "Golden (project) was not torn down"


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (StopReason.STOP, "somebody asked for that"),
        (StopReason.REPLACE, "another version takes its place"),
        (StopReason.SHUTDOWN, "this server ends"),
    ],
)
def test_events_say_when_and_why_a_teardown_ran(
    reason: StopReason, why: str, live: LivePlatform
) -> None:
    """Orders that nobody expects are its, above all when the server was only restarted."""
    live.run_a_version()
    instance = live.instance
    live.host.stops_at_once = False
    if reason is StopReason.STOP:
        live.stop()
    elif reason is StopReason.REPLACE:
        live.deploy()
    else:
        threading.Thread(target=live.models.close).start()
    wait_for(lambda: instance.reasons == [reason])
    instance.report("teardown", state="began")
    instance.report("teardown", state="ended")
    instance.end(0)
    wait_for(lambda: "Its teardown is done." in live.ears.events)
    told = f"It is stopped, since {why}. Its teardown has begun, which may send orders."
    assert told in live.ears.events


def test_what_is_reported_while_a_teardown_runs_is_marked_with_its_reason(
    live: LivePlatform,
) -> None:
    live.run_a_version()
    live.host.stops_at_once = False

    def order() -> None:
        live.instance.report("report", kind="live/spot-market", fields={"id": "1"})

    order()
    live.stop()
    wait_for(lambda: live.instance.reasons)
    order()
    live.instance.report("teardown", state="began")
    order()
    live.instance.report("teardown", state="ended")
    live.instance.end(0)
    live.wait_for(State.STOPPED)

    assert live.ears.torn_down_for == ["", "", "stop"]


def test_a_stop_between_two_instances_says_that_no_teardown_was_called(live: LivePlatform) -> None:
    live.run_a_version()
    live.instance.end(0)
    live.wait_for(State.RESTARTING)
    live.stop()
    live.wait_for(State.STOPPED)
    assert "no teardown was called" in str(live.status.problem)


def test_a_stop_before_the_new_version_has_a_strategy_says_so(live: LivePlatform) -> None:
    """The version before it was told `replace`, and may have kept its position."""
    live.run_a_version()
    live.deploy(wait=True)
    live.stop()
    live.wait_for(State.STOPPED)
    assert "no teardown was called" in str(live.status.problem)


def test_a_stop_that_cannot_be_stored_stops_the_model_anyway(
    live: LivePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, where a write fails at the end of its transaction."""
    version_id = live.run_a_version()
    transaction = Store.transaction
    failed = threading.Semaphore(0)

    @contextmanager
    def fail(store: Store) -> Iterator[Transaction]:
        with store.rehearsal() as rehearsed:
            yield rehearsed
        failed.release()
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(keeper, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(Store, "transaction", fail)
    with pytest.raises(NotKeptError):
        live.stop()
    wait_for(lambda: live.instance.reasons == [StopReason.STOP])
    for _ in range(10):
        assert failed.acquire(timeout=30)
    assert len(live.host.instances) == 1
    monkeypatch.setattr(Store, "transaction", transaction)
    live.wait_for(State.STOPPED)
    assert live.status.problem is None
    live.restart()
    live.wait_for(State.STOPPED)
    assert live.host.asked == []
    live.run(version_id)
    wait_for(lambda: live.host.running)


def test_versions_that_do_not_exist_or_were_only_backtested_do_not_run(live: LivePlatform) -> None:
    live.run_a_version()
    with pytest.raises(UnknownVersionError):
        live.run("no-such-version")


def test_a_model_without_memory_says_so(live: LivePlatform) -> None:
    version_id = live.deploy(wait=True)
    live.instance.end(-9, out_of_memory=True)
    live.wait_for(State.FAILED)
    assert "It ran out of memory: its plan allows 256 MiB" in str(live.version(version_id).problem)


def test_a_model_whose_files_took_too_much_says_so_and_did_not_end_well(live: LivePlatform) -> None:
    version_id = live.deploy(wait=True)
    live.instance.end(0, out_of_disk=True)
    live.wait_for(State.FAILED)
    assert "BLANKLY_DEPLOY_MODEL_DISK" in str(live.version(version_id).problem)


def test_a_deleted_model_is_stopped_and_forgotten(live: LivePlatform) -> None:
    live.run_a_version()
    instance = live.instance
    live.models.delete(PROJECT, MODEL)
    assert instance.reasons == [StopReason.STOP]
    assert live.host.forgotten == [instance.launch.place]


def test_what_a_server_left_of_a_deleted_model_is_removed_by_the_next(live: LivePlatform) -> None:
    """It was killed after the rows were deleted. Of other places, nobody knows whose they are."""
    live.run_a_version()
    deleted = live.instance.launch.place
    live.models.delete(PROJECT, MODEL)
    with live.store.transaction() as transaction:
        transaction.add_model(PROJECT, MODEL, model_type="strategy", name="New", description="")
    live.run_a_version()
    kept = live.instance.launch.place
    live.close()
    live.open(deleted, kept, str(int(kept) + 1), "0", "notes")
    assert live.host.forgotten == [deleted]


def test_a_screener_runs_by_its_schedule_one_run_at_a_time(open_live: OpenLive) -> None:
    live = open_live("screener")
    live.clocks.now = 1_700_000_040.0  # 22:14:00 UTC
    version_id = live.deploy(schedule="*/5 * * * *")
    live.wait_for(State.SCHEDULED)
    wait_for(lambda: live.status.next_run_at == 1_700_000_100.0)  # 22:15
    live.pass_time(60)
    wait_for(lambda: live.host.running)
    live.wait_for(State.RUNNING)
    live.pass_time(300)
    wait_for(lambda: any("22:20 UTC, because the run before" in one for one in live.ears.events))
    live.run(version_id)
    live.instance.end(0)
    live.wait_for(State.SCHEDULED)
    assert len(live.host.instances) == 1
    live.run(version_id)
    wait_for(lambda: len(live.host.instances) == 2)
    live.instance.end(1)
    wait_for(lambda: live.ears.notices)
    assert live.ears.notices[-1][0] == "Golden (project) failed"
    assert live.status.state is State.SCHEDULED
    live.run(version_id)
    wait_for(lambda: len(live.host.instances) == 3)
    live.wait_for(State.RUNNING)
    live.restart()
    assert live.status.state is State.SCHEDULED
    assert live.status.problem == "The server ended during its run, which is not made up for."


def test_runs_that_were_missed_are_said_and_not_made_up_for(open_live: OpenLive) -> None:
    live = open_live("screener")
    live.deploy(schedule="0 * * * *")
    wait_for(lambda: live.status.next_run_at)
    live.close()
    live.clocks.now += 3 * 3600
    live.open()
    wait_for(lambda: any("because the server did not run" in one for one in live.ears.events))
    assert live.status.state is State.SCHEDULED
    assert live.host.instances == []
