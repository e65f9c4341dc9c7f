"""The comment on a pull request, against a forge that behaves as GitHub and Gitea do."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy_action.errors import DeadlineError, InterruptedRunError
from deploy_action.github.comment import Outcome
from deploy_action.github.pull_request import RunNumber
from deploy_action.interruption import Deadline, deadline_as_error, signals_as_errors
from tests.support.comments import (
    NEWER,
    OLDER,
    POST,
    RUN,
    StartForge,
    keep,
    text_of,
    wire_forge,
    words_of,
)
from tests.support.forge import (
    GITEA_WORKFLOW,
    NO_ACCESS,
    PERSON,
    REPOSITORY,
    STRANGER,
    WORKFLOW,
    Account,
    Clock,
    ForgeServer,
    Seen,
)
from tests.support.scripted_server import Hang, Reply
from tests.support.wire_server import StartWire


def test_the_first_run_writes_a_comment(forge: StartForge) -> None:
    server = forge()
    outcome = keep(server, "# Report\n\n| a | ü 🟢 |")
    assert server.bodies() == [text_of("# Report\n\n| a | ü 🟢 |")]
    assert outcome == Outcome(f"{server.origin}/{REPOSITORY}/pull/7#issuecomment-1001")


def test_later_runs_edit_it(forge: StartForge) -> None:
    server = forge()
    server.add(PERSON, "Please have a look.")
    keep(server, "first")
    server.add(PERSON, "Thank you.")
    outcome = keep(server, "second", run=NEWER)
    assert server.bodies() == ["Please have a look.", text_of("second", NEWER), "Thank you."]
    assert outcome.url.endswith("#issuecomment-1002")
    assert server.count("POST") == 1


def test_a_second_step_of_the_same_run_edits_it_too(forge: StartForge) -> None:
    server = forge()
    keep(server, "first")
    keep(server, "second")
    assert server.bodies() == [text_of("second")]


def test_each_model_has_its_own_comment(forge: StartForge) -> None:
    server = forge()
    server.add(WORKFLOW, text_of("on another pull request"), issue=8)
    keep(server, "one")
    keep(server, "two", key="models/other")
    keep(server, "three")
    assert server.bodies() == [text_of("three"), text_of("two", key="models/other")]
    assert server.bodies(8) == [text_of("on another pull request")]


def test_legs_of_a_matrix_have_their_own_comments(forge: StartForge) -> None:
    server = forge()
    for leg in ("BTC", "ETH"):
        keep(server, f"old {leg}", leg=leg, run=OLDER)
    keep(server, "ETH", leg="ETH", is_failed=True)
    keep(server, "BTC", leg="BTC")
    assert server.bodies() == [
        text_of("BTC", leg="BTC"),
        text_of("ETH", leg="ETH", is_failed=True),
    ]


def test_a_failure_is_still_told_after_a_second_step(forge: StartForge) -> None:
    server = forge()
    keep(server, "## ❌ Failed", is_failed=True, step="0" * 8)
    keep(server, "## ✅ Passed", step="1" * 8)
    (body,) = server.bodies()
    assert "## ✅ Passed" in body
    assert body.index("❌ **Another step or job of this workflow run failed**") < body.index("✅")


@pytest.mark.parametrize("url", ["", "https://forge.example/runs/500"])
def test_a_failure_is_still_told_after_later_attempts(forge: StartForge, url: str) -> None:
    server = forge()
    keep(server, "1", is_failed=True)
    keep(server, "2", run=RunNumber(500, 2), is_failed=True, run_url=url)
    keep(server, "3", run=RunNumber(500, 3), run_url=url)
    (body,) = server.bodies()
    first, second = (
        f"[attempt {one}]({url}/attempts/{one})" if url else f"attempt {one}" for one in (1, 2)
    )
    assert f"❌ **Earlier in this workflow run, {first} and {second} failed.**" in body
    assert body.endswith("\n\n3")


def test_a_later_push_begins_anew(forge: StartForge) -> None:
    server = forge()
    keep(server, "1", is_failed=True)
    keep(server, "2", run=RunNumber(500, 2))
    keep(server, "3", run=NEWER)
    assert server.bodies() == [text_of("3", NEWER)]


def test_a_message_that_is_not_worth_a_comment_edits_one(forge: StartForge) -> None:
    server = forge()
    assert keep(server, "well", is_update=True) == Outcome()
    assert server.bodies() == []
    keep(server, "bad", run=NEWER, is_failed=True)
    keep(server, "well again", run=RunNumber(502, 1), is_update=True)
    assert server.bodies() == [text_of("well again", RunNumber(502, 1))]


def test_the_comment_is_found_on_a_later_page(forge: StartForge) -> None:
    server = forge()
    for number in range(230):
        server.add(PERSON, f"remark {number}")
    keep(server, "first")
    before = len(server.seen)
    keep(server, "second", run=NEWER)
    assert server.bodies()[-1] == text_of("second", NEWER)
    assert server.count("POST") == 1
    pages = [seen.query for seen in server.seen[before:] if seen.method == "GET"][1:4]
    assert [page.get("page", "1") for page in pages] == ["1", "2", "3"]
    assert {page["per_page"] for page in pages} == {"100"}


@pytest.mark.parametrize("number", [100, 150, 230])
def test_the_comment_is_found_if_no_page_links_to_the_next(forge: StartForge, number: int) -> None:
    server = forge(links=False)
    for remark in range(number):
        server.add(PERSON, f"remark {remark}")
    keep(server, "first")
    keep(server, "second", run=NEWER)
    assert server.bodies()[-1] == text_of("second", NEWER)
    assert server.count("POST") == 1


@pytest.mark.parametrize("base", ["", "/api/v3"])
def test_the_api_may_be_below_a_path(forge: StartForge, base: str) -> None:
    server = forge(base=base)
    assert keep(server).problem is None
    assert POST in server.routes()


@pytest.mark.parametrize("account", [GITEA_WORKFLOW, PERSON])
def test_it_works_with_gitea(forge: StartForge, account: Account) -> None:
    """Gitea has no types of users and no pages, and names the token's user."""
    server = forge(account, is_gitea=True, base="/api/v1")
    for number in range(130):
        server.add(STRANGER, f"remark {number}")
    keep(server, "first")
    keep(server, "second", run=NEWER)
    assert server.bodies()[130:] == [text_of("second", NEWER)]


def test_gitea_may_not_name_the_tokens_user(forge: StartForge) -> None:
    """The user that runs workflows on Gitea has a fixed number (-2)."""
    server = forge(GITEA_WORKFLOW, is_gitea=True)
    number = server.add(GITEA_WORKFLOW, text_of("first", OLDER))
    server.add(Account("gitea-actions", 44), text_of("not ours"))
    server.faults["GET"] = [Reply(403, {"message": "token does not have the scope read:user"})]
    outcome = keep(server, "second")
    assert outcome.url.endswith(f"-{number}")
    assert server.bodies() == [text_of("second"), text_of("not ours")]


@pytest.mark.parametrize("account", [WORKFLOW, PERSON])
def test_comments_of_others_are_left_alone(forge: StartForge, account: Account) -> None:
    server = forge(account)
    strangers = [text_of("mine!", NEWER), text_of("nobody's", NEWER)]
    server.add(STRANGER, strangers[0])
    server.add(None, strangers[1])
    keep(server, "ours")
    keep(server, "ours again")
    assert server.bodies() == [*strangers, text_of("ours again")]


def test_a_renamed_person_is_the_same(forge: StartForge) -> None:
    """Somebody else may take the old name."""
    server = forge(PERSON)
    server.add(Account(PERSON.login, 77), text_of("by another", OLDER))
    server.add(Account("old-name", PERSON.number), text_of("by the same", OLDER))
    keep(server)
    assert server.bodies() == [text_of("by another", OLDER), text_of("# Report")]


def test_a_comment_that_quotes_ours_is_left_alone(forge: StartForge) -> None:
    server = forge()
    server.add(WORKFLOW, f"> {text_of('quoted', OLDER)}")
    keep(server)
    assert server.bodies() == [f"> {text_of('quoted', OLDER)}", text_of("# Report")]


def test_a_person_edits_no_comment_of_a_bot(forge: StartForge) -> None:
    server = forge(PERSON)
    server.add(WORKFLOW, text_of("the bot's", OLDER))
    keep(server, "the person's")
    assert server.bodies() == [text_of("the bot's", OLDER), text_of("the person's")]


def test_another_app_finds_its_comment(wire: StartWire) -> None:
    user = {"login": "deployer", "id": 3, "type": "Bot"}
    listed = [{"id": 1, "body": text_of("first", OLDER), "user": user, "html_url": "http://x/1"}]
    server, written = wire_forge(wire, listed)
    assert keep(server.url).url == "http://x/1"
    assert written == ["PATCH"]


@pytest.mark.parametrize(
    "author",
    [
        {},
        {"user": None},
        {"user": {}},
        {"user": {"login": "github-actions", "type": "User", "id": 7}},
        {"user": {"login": "github-actions[bot]", "type": "User", "id": 7}},
        {"user": {"login": "deployer[bot]", "id": 7}},
    ],
)
def test_a_copy_of_the_marker_is_not_ours(wire: StartWire, author: dict[str, object]) -> None:
    """Where the forge does not say who we are, only a bot's comment counts."""
    server, written = wire_forge(wire, [{"id": 1, "body": text_of("first", OLDER), **author}])
    keep(server.url)
    assert written == ["POST"]


def test_an_older_run_leaves_a_newer_ones_comment(forge: StartForge) -> None:
    server = forge()
    keep(server, "new", run=NEWER)
    before = len(server.seen)
    outcome = keep(server, "old", run=OLDER)
    assert server.bodies() == [text_of("new", NEWER)]
    assert outcome.url.endswith("#issuecomment-1001")
    assert outcome.problem is not None
    assert f"left as a later run, number {NEWER.run}, wrote it" in outcome.problem.message
    assert {seen.method for seen in server.seen[before:]} == {"GET"}


def test_of_several_comments_the_oldest_stays(forge: StartForge) -> None:
    server = forge()
    for run in (OLDER, NEWER, RUN):
        server.add(WORKFLOW, text_of(f"by {run}", run))
    outcome = keep(server, "mine")
    assert server.bodies() == [text_of(f"by {NEWER}", NEWER)]
    assert outcome.url.endswith("#issuecomment-1001")


@pytest.mark.parametrize("other", [OLDER, NEWER])
@pytest.mark.parametrize("before", [[], ["before"]])
@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_run_that_comes_in_between_changes_nothing(
    forge: StartForge, other: RunNumber, before: list[str], step: int
) -> None:
    """One comment is left, of the newer run.

    Between the look (step 2) and the write (step 3) there is no lock to be had. What happens then
    is found by looking again, for which the next test has a clock.
    """
    server = forge()
    for body in before:
        server.add(WORKFLOW, text_of(body, RunNumber(1, 1)))

    def come_between(_seen: Seen) -> None:
        if len(server.seen) == step - 1:
            server.before = lambda _seen: None
            keep(server, "other", run=other)

    server.before = come_between
    keep(server, "mine")

    assert server.before is not come_between
    assert server.bodies() == [text_of("other", other) if other > RUN else text_of("mine")]


class Simulation:
    """Several runs at once; the test says how long each request takes."""

    def __init__(
        self,
        server: ForgeServer,
        runs: Sequence[tuple[RunNumber, Mapping[str, float]]],
        failing: int | None = None,
        *,
        are_legs: bool = False,
    ) -> None:
        self.are_legs = are_legs
        self.server = server
        self.clock = Clock()
        self.runs = {f"token-{number}": run for number, (run, _) in enumerate(runs)}
        self.seconds = {f"token-{number}": seconds for number, (_, seconds) in enumerate(runs)}
        self.failing = f"token-{failing}"
        self.outcomes: list[Outcome] = []
        server.accounts |= dict.fromkeys(self.runs, WORKFLOW)
        server.before = self.take_time

    def take_time(self, seen: Seen) -> None:
        token = seen.headers["authorization"].removeprefix("Bearer ")
        self.clock.wait(token, self.seconds[token][seen.method])

    def run(self) -> None:
        self.clock.join(*self.runs)
        threads = [threading.Thread(target=self.keep, args=(token,)) for token in self.runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def keep(self, token: str) -> None:
        try:
            self.clock.wait(token, self.seconds[token]["start"])
            outcome = keep(
                self.server,
                token,
                run=self.runs[token],
                is_failed=token == self.failing,
                leg=token if self.are_legs else "",
                step=sha256(token.encode()).hexdigest()[:8],
                token=token,
                pause=lambda seconds: self.clock.wait(token, seconds),
            )
            self.outcomes.append(outcome)
        finally:
            self.clock.leave(token)


def times_of(start: float, get: float, post: float, patch: float) -> dict[str, float]:
    """Return when a run starts, and how long its requests take, in seconds."""
    return {"start": start, "GET": get, "POST": post, "PATCH": patch, "DELETE": patch}


hundredths = st.integers(1, 40).map(lambda number: number / 100)


@settings(max_examples=40)
@given(
    times=st.lists(
        st.builds(times_of, hundredths.map(lambda seconds: seconds * 4), *[hundredths] * 3),
        min_size=2,
        max_size=4,
    ),
    before=st.lists(st.just("before"), max_size=2),
)
# The older run looks, the newer one does all it has to, and then the older one writes.
@example(times=[times_of(0.1, 0.1, 0.4, 0.4), times_of(0.25, 0.05, 0.05, 0.05)], before=["before"])
@example(times=[times_of(0.1, 0.1, 0.4, 0.4), times_of(0.25, 0.05, 0.05, 0.05)], before=[])
def test_the_newest_concurrent_run_wins(times: list[dict[str, float]], before: list[str]) -> None:
    """In any order, if each request takes less than half of the settling time."""
    with ForgeServer() as server:
        for body in before:
            server.add(WORKFLOW, text_of(body, RunNumber(1, 1)))
        runs = [(RunNumber(10 + number, 1), taken) for number, taken in enumerate(times)]
        simulation = Simulation(server, runs)
        simulation.run()
        (body,) = server.bodies()
        assert body.endswith(f"\ntoken-{len(runs) - 1}")
        said = [one.problem.message for one in simulation.outcomes if one.problem is not None]
        assert all("left as a later run" in message for message in said)
        assert len(said) < len(runs)


@settings(max_examples=12)
@given(
    times=st.lists(
        st.builds(times_of, hundredths.map(lambda seconds: seconds * 4), *[hundredths] * 3),
        min_size=2,
        max_size=4,
    ),
    before=st.lists(st.just("before"), max_size=2),
    failing=st.integers(0, 3),
)
# Both look, and one writes after the other.
@example(times=[times_of(0.1, 0.1, 0.1, 0.1), times_of(0.1, 0.1, 0.3, 0.3)], before=[], failing=0)
@example(
    times=[times_of(0.1, 0.1, 0.1, 0.1), times_of(0.1, 0.1, 0.3, 0.3)], before=["old"], failing=0
)
def test_no_failure_of_concurrent_steps_is_lost(
    times: list[dict[str, float]], before: list[str], failing: int
) -> None:
    """Nothing tells these steps apart, so one comment has one's message, and tells of the rest."""
    with ForgeServer() as server:
        for body in before:
            server.add(WORKFLOW, text_of(body, RunNumber(1, 1)))
        simulation = Simulation(server, [(RUN, taken) for taken in times], failing % len(times))
        simulation.run()
        (body,) = server.bodies()
        is_shown = body.endswith(f"\n{simulation.failing}")
        assert ("❌ **Another step or job" in body) is not is_shown


@settings(max_examples=12)
@given(
    times=st.lists(
        st.builds(times_of, hundredths.map(lambda seconds: seconds * 4), *[hundredths] * 3),
        min_size=2,
        max_size=4,
    ),
    before=st.lists(st.just("before"), max_size=2),
)
# All take over the only comment at once.
@example(times=[times_of(0.1, 0.1, 0.1, 0.1), times_of(0.1, 0.1, 0.3, 0.3)], before=["before"])
def test_legs_that_end_at_once_have_a_comment_each(
    times: list[dict[str, float]], before: list[str]
) -> None:
    with ForgeServer() as server:
        for number, body in enumerate(before):
            server.add(WORKFLOW, text_of(body, RunNumber(1, 1), leg=f"gone-{number}"))
        Simulation(server, [(RUN, taken) for taken in times], are_legs=True).run()
        left = [] if len(before) == 1 else ["before"] * len(before)
        said = sorted(body.splitlines()[-1] for body in server.bodies())
        assert said == sorted([*left, *(f"token-{number}" for number in range(len(times)))])


def test_a_list_that_lags_behind_makes_no_second_comment(forge: StartForge) -> None:
    """A new comment may be missing from the list for a while."""
    server = forge(lags={1001: 3})
    outcome = keep(server)
    assert outcome.url.endswith("#issuecomment-1001")
    assert server.bodies() == [text_of("# Report")]
    assert server.count("POST") == 1


def test_a_comment_that_somebody_deletes_meanwhile_is_written_again(forge: StartForge) -> None:
    server = forge()
    server.add(WORKFLOW, text_of("before", OLDER))

    def delete(seen: Seen) -> None:
        if seen.method == "PATCH":
            server.comments.clear()

    server.before = delete
    keep(server)

    assert server.bodies() == [text_of("# Report")]


def test_a_comment_that_is_listed_but_never_found_is_given_up(forge: StartForge) -> None:
    server = forge(faults={"PATCH": [Reply(404)] * 20})
    server.add(WORKFLOW, text_of("before", OLDER))
    words = words_of(keep(server))
    assert "says that it does not exist" in words
    assert server.count("PATCH") == 8
    assert server.count("POST") == 0


def test_two_runs_do_not_overwrite_each_other_for_ever(forge: StartForge) -> None:
    server = forge()

    def spoil(seen: Seen) -> None:
        for stored in server.comments if seen.method == "GET" else ():
            stored.body = text_of("spoiled", OLDER)

    server.before = spoil

    outcome = keep(server)

    assert outcome.url.endswith("#issuecomment-1001")
    assert server.count("PATCH") == 7


def at_first(server: ForgeServer, method: str, act: Callable[[], object]) -> None:
    """Call `act` right before the first request of a method is answered."""

    def come_between(seen: Seen) -> None:
        if seen.method == method:
            server.before = lambda _seen: None
            act()

    server.before = come_between


def test_of_two_new_comments_the_later_one_is_deleted(forge: StartForge) -> None:
    server = forge()
    at_first(server, "POST", lambda: server.add(WORKFLOW, text_of("other", OLDER)))
    outcome = keep(server)
    assert server.bodies() == [text_of("# Report")]
    assert outcome.url.endswith("#issuecomment-1001")
    assert [server.count(method) for method in ("POST", "PATCH", "DELETE")] == [1, 1, 1]


def replace_by_newer(server: ForgeServer) -> Callable[[float], None]:
    """Return a pause that deletes our new comment and adds a newer run's."""

    def wait(_seconds: float) -> None:
        if server.seen[-1].method == "POST":
            server.add(WORKFLOW, text_of("newer", NEWER))
            del server.comments[0]

    return wait


def test_the_last_comment_is_never_deleted(forge: StartForge) -> None:
    server = forge()
    outcome = keep(server, pause=replace_by_newer(server))
    assert server.bodies() == [text_of("newer", NEWER)]
    assert outcome.url.endswith("#issuecomment-1002")
    assert [server.count(method) for method in ("PATCH", "DELETE")] == [1, 0]


def test_a_comment_that_is_gone_again_is_not_named(forge: StartForge) -> None:
    server = forge()
    at_first(server, "PATCH", lambda: server.faults.update(GET=[Reply(500)] * 9))
    words = words_of(keep(server, pause=replace_by_newer(server)))
    assert "failed (500)" in words


def test_a_second_comment_that_cannot_be_deleted_is_reported(forge: StartForge) -> None:
    server = forge()
    server.add(WORKFLOW, text_of("one", OLDER))
    server.add(WORKFLOW, text_of("two", OLDER))
    server.faults["DELETE"] = [Reply(403, {"message": NO_ACCESS})]
    outcome = keep(server)
    assert server.bodies() == [text_of("# Report"), text_of("two", OLDER)]
    assert outcome.url.endswith("#issuecomment-1001")
    assert outcome.problem is not None
    assert "Comment 1002 for the same model could not be deleted" in outcome.problem.message
    assert server.count("DELETE") == 1


def test_a_signal_ends_the_writing_of_a_comment(forge: StartForge) -> None:
    server = forge()
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    server.before = lambda _seen: signal.pthread_kill(main_thread, signal.SIGTERM)
    with signals_as_errors(), pytest.raises(InterruptedRunError):
        keep(server)


def test_an_outer_deadline_still_applies(forge: StartForge) -> None:
    server = forge(faults={"GET": [Hang()]})
    outer = Deadline.after(0.3 / 60)

    def keep_and_go_on() -> None:
        with deadline_as_error(outer):
            assert "it took longer" in words_of(keep(server, seconds=0.1))
            server.closing.wait(5)

    with pytest.raises(DeadlineError):
        keep_and_go_on()


def test_an_outer_deadline_that_passes_meanwhile_is_raised_afterwards(forge: StartForge) -> None:
    server = forge(faults={"GET": [Hang()]})

    def keep_and_go_on() -> None:
        with deadline_as_error(Deadline.after(0.05 / 60)):
            assert "it took longer" in words_of(keep(server, seconds=0.1))
            server.closing.wait(5)

    with pytest.raises(DeadlineError):
        keep_and_go_on()
