"""The comment on a pull request, against a forge that behaves as GitHub and Gitea do."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy_action.errors import DeadlineError, InterruptedRunError, Severity
from deploy_action.github.comment import (
    LARGEST_BODY,
    Outcome,
    keep_comment,
    marker_of,
)
from deploy_action.github.pull_request import Place, RunNumber
from deploy_action.interruption import Deadline, deadline_as_error, signals_as_errors
from tests.support.forge import (
    ARCHIVED,
    GITEA_WORKFLOW,
    LARGEST_COMMENT,
    LOCKED,
    NO_ACCESS,
    PERSON,
    REPOSITORY,
    STRANGER,
    WORKFLOW,
    Account,
    ActAndCut,
    ActAndFail,
    Clock,
    ForgeServer,
    Seen,
    rate_limited,
)
from tests.support.scripted_server import Cut, CutAfterBody, Hang, Reply
from tests.support.wire_server import Connection, Handler, WireServer, drip_for_ever

TOKEN = "token-of-the-test"  # noqa: S105  # opened by nothing but the servers of these tests
KEY = "models/golden-cross"
RUN = RunNumber(500, 1)
OLDER = RunNumber(499, 3)
NEWER = RunNumber(500, 2)
POST = f"POST /repos/{REPOSITORY}/issues/7/comments"
LIST = f"GET /repos/{REPOSITORY}/issues/7/comments"

StartForge = Callable[..., ForgeServer]
StartWire = Callable[[Mapping[str, Handler]], WireServer]


@dataclass(slots=True)
class Waits:
    """Stands in for sleeping, and keeps what was waited for."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def forge() -> Iterator[StartForge]:
    """Return a function that starts forges; `account` is whose token it is."""
    started: list[ForgeServer] = []

    def start(account: Account = WORKFLOW, **options: Any) -> ForgeServer:
        server = ForgeServer(accounts={TOKEN: account}, **options)
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


def keep(server: ForgeServer | str, body: str = "# Report", **changes: Any) -> Outcome:
    """Keep a comment as a run does, without waiting."""
    url = server if isinstance(server, str) else server.url
    place = Place(url, changes.pop("repository", REPOSITORY), 7, changes.pop("run", RUN))
    token, key = changes.pop("token", TOKEN), changes.pop("key", KEY)
    return keep_comment(place, token, key, body, **{"pause": Waits(), **changes})


def text_of(body: str, run: RunNumber = RUN, key: str = KEY) -> str:
    """Return the whole comment."""
    return f"{marker_of(key, run)}\n{body}"


def words_of(outcome: Outcome) -> str:
    """Return what a comment that was not written says, which is a notice."""
    assert outcome.problem is not None
    assert outcome.url == ""
    assert outcome.problem.severity is Severity.NOTICE
    assert TOKEN not in outcome.problem.text()
    assert "The job's summary says the same" in outcome.problem.hint
    return outcome.problem.text()


# --------------------------------------------------------------------------- written and found


def test_the_first_run_writes_a_comment(forge: StartForge) -> None:
    """Marker and Markdown, and the page of it is known."""
    server = forge()

    outcome = keep(server, "# Report\n\n| a | ü 🟢 |")

    assert server.bodies() == [text_of("# Report\n\n| a | ü 🟢 |")]
    assert outcome == Outcome(f"{server.origin}/{REPOSITORY}/pull/7#issuecomment-1001")


def test_later_runs_edit_it(forge: StartForge) -> None:
    """Whatever else was said before and after."""
    server = forge()
    server.add(PERSON, "Please have a look.")
    keep(server, "first")
    server.add(PERSON, "Thank you.")

    outcome = keep(server, "second", run=NEWER)

    assert server.bodies() == ["Please have a look.", text_of("second", NEWER), "Thank you."]
    assert outcome.url.endswith("#issuecomment-1002")
    assert server.count("POST") == 1


def test_a_second_step_of_the_same_run_edits_it_too(forge: StartForge) -> None:
    """What is as new is not older."""
    server = forge()
    keep(server, "first")

    keep(server, "second")

    assert server.bodies() == [text_of("second")]


def test_each_model_has_a_comment_of_its_own(forge: StartForge) -> None:
    """And each pull request."""
    server = forge()
    server.add(WORKFLOW, text_of("on another pull request"), issue=8)

    keep(server, "one")
    keep(server, "two", key="models/other")
    keep(server, "three")

    assert server.bodies() == [text_of("three"), text_of("two", key="models/other")]
    assert server.bodies(8) == [text_of("on another pull request")]


def test_it_is_found_behind_many_pages(forge: StartForge) -> None:
    """Each of a hundred, as the forge links them."""
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
def test_it_is_found_where_no_page_links_to_the_next(forge: StartForge, number: int) -> None:
    """As long as pages are full, there may be another."""
    server = forge(links=False)
    for remark in range(number):
        server.add(PERSON, f"remark {remark}")
    keep(server, "first")

    keep(server, "second", run=NEWER)

    assert server.bodies()[-1] == text_of("second", NEWER)
    assert server.count("POST") == 1


@pytest.mark.parametrize("base", ["", "/api/v3"])
def test_the_api_may_be_below_a_path(forge: StartForge, base: str) -> None:
    """As that of an own GitHub server is."""
    server = forge(base=base)

    assert keep(server).problem is None
    assert POST in server.routes()


@pytest.mark.parametrize("account", [GITEA_WORKFLOW, PERSON])
def test_gitea_keeps_it_too(forge: StartForge, account: Account) -> None:
    """It knows no types of users, no pages, and says whose token it is."""
    server = forge(account, is_gitea=True, base="/api/v1")
    for number in range(130):
        server.add(STRANGER, f"remark {number}")

    keep(server, "first")
    keep(server, "second", run=NEWER)

    assert server.bodies()[130:] == [text_of("second", NEWER)]


def test_gitea_may_keep_whose_token_it_is_to_itself(forge: StartForge) -> None:
    """The user that runs workflows there has a number that nobody else has."""
    server = forge(GITEA_WORKFLOW, is_gitea=True)
    number = server.add(GITEA_WORKFLOW, text_of("first", OLDER))
    server.add(Account("gitea-actions", 44), text_of("not ours"))
    server.faults["GET"] = [Reply(403, {"message": "token does not have the scope read:user"})]

    outcome = keep(server, "second")

    assert outcome.url.endswith(f"-{number}")
    assert server.bodies() == [text_of("second"), text_of("not ours")]


# --------------------------------------------------------------------------- whose it is


@pytest.mark.parametrize("account", [WORKFLOW, PERSON])
def test_what_a_stranger_wrote_is_left_alone(forge: StartForge, account: Account) -> None:
    """Though it begins with our marker; nor is a deleted account ours."""
    server = forge(account)
    strangers = [text_of("mine!", NEWER), text_of("nobody's", NEWER)]
    server.add(STRANGER, strangers[0])
    server.add(None, strangers[1])

    keep(server, "ours")
    keep(server, "ours again")

    assert server.bodies() == [*strangers, text_of("ours again")]


def test_a_person_who_took_another_name_is_the_same(forge: StartForge) -> None:
    """And whoever took the old name is not."""
    server = forge(PERSON)
    server.add(Account(PERSON.login, 77), text_of("by another", OLDER))
    server.add(Account("old-name", PERSON.number), text_of("by the same", OLDER))

    keep(server)

    assert server.bodies() == [text_of("by another", OLDER), text_of("# Report")]


def test_a_comment_that_quotes_ours_is_left_alone(forge: StartForge) -> None:
    """Though an app wrote it, too."""
    server = forge()
    server.add(WORKFLOW, f"> {text_of('quoted', OLDER)}")

    keep(server)

    assert server.bodies() == [f"> {text_of('quoted', OLDER)}", text_of("# Report")]


def test_a_person_edits_no_comment_of_a_bot(forge: StartForge) -> None:
    """Where the forge says whose token it is, nobody else's comment is ours."""
    server = forge(PERSON)
    server.add(WORKFLOW, text_of("the bot's", OLDER))

    keep(server, "the person's")

    assert server.bodies() == [text_of("the bot's", OLDER), text_of("the person's")]


@pytest.mark.parametrize(
    "user", [{"login": "deployer[bot]", "id": 3}, {"login": "deployer", "id": 3, "type": "Bot"}]
)
def test_an_app_of_ones_own_finds_its_comment(wire: StartWire, user: dict[str, object]) -> None:
    """By its type, or by the end of its name."""
    listed = [{"id": 1, "body": text_of("first", OLDER), "user": user, "html_url": "http://x/1"}]
    server, written = wire_forge(wire, listed)

    assert keep(server.url).url == "http://x/1"
    assert written == ["PATCH"]


def test_a_comment_without_any_user_is_ours(wire: StartWire) -> None:
    """A forge that does not say who wrote it cannot be asked."""
    server, written = wire_forge(wire, [{"id": 1, "body": text_of("first", OLDER)}])

    assert keep(server.url) == Outcome("")
    assert written == ["PATCH"]


def wire_forge(wire: StartWire, listed: list[Any]) -> tuple[WireServer, list[str]]:
    """Return a server that lists these comments and takes edits, and what was written."""
    written: list[str] = []

    def answer(connection: Connection) -> None:
        connection.read_body()
        method = connection.route.partition(" ")[0]
        if method == "GET":
            connection.reply(200, listed)
            return
        written.append(method)
        listed[0]["body"] = text_of("# Report")
        connection.reply(200, listed[0])

    issues = f"/repos/{REPOSITORY}/issues"
    server = wire(
        {
            f"GET {issues}/7/comments?per_page=100": answer,
            f"PATCH {issues}/comments/1": answer,
            f"POST {issues}/7/comments": answer,
        }
    )
    return server, written


# --------------------------------------------------------------------------- several runs


def test_an_older_run_leaves_what_a_newer_one_wrote(forge: StartForge) -> None:
    """It writes nothing, and names the comment."""
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
    """With what the newest says; the others are deleted."""
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
    """Several runs at once, each request of which takes the time that the test says."""

    def __init__(self, server: ForgeServer, runs: Mapping[RunNumber, Mapping[str, float]]) -> None:
        """Give each run a token, so that its requests are told apart."""
        self.server = server
        self.clock = Clock()
        self.runs = {f"token-{run.run}": run for run in runs}
        self.seconds = {f"token-{run.run}": seconds for run, seconds in runs.items()}
        self.outcomes: list[Outcome] = []
        server.accounts |= dict.fromkeys(self.runs, WORKFLOW)
        server.before = self.take_time

    def take_time(self, seen: Seen) -> None:
        """Let a request arrive when it is due."""
        token = seen.headers["authorization"].removeprefix("Bearer ")
        self.clock.wait(token, self.seconds[token][seen.method])

    def run(self) -> None:
        """Start all and wait for them."""
        self.clock.join(*self.runs)
        threads = [threading.Thread(target=self.keep, args=(token,)) for token in self.runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def keep(self, token: str) -> None:
        """Be one run, which says its token."""
        try:
            self.clock.wait(token, self.seconds[token]["start"])
            outcome = keep(
                self.server,
                token,
                run=self.runs[token],
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
def test_of_runs_at_the_same_time_the_newest_has_the_last_word(
    times: list[dict[str, float]], before: list[str]
) -> None:
    """However their requests fall, if each takes less than half of what settling takes."""
    with ForgeServer() as server:
        for body in before:
            server.add(WORKFLOW, text_of(body, RunNumber(1, 1)))
        runs = {RunNumber(10 + number, 1): taken for number, taken in enumerate(times)}
        simulation = Simulation(server, runs)

        simulation.run()

        newest = max(runs)
        assert server.bodies() == [text_of(f"token-{newest.run}", newest)]
        said = [one.problem.message for one in simulation.outcomes if one.problem is not None]
        assert all("left as a later run" in message for message in said)
        assert len(said) < len(runs)


def test_a_list_that_lags_behind_makes_no_second_comment(forge: StartForge) -> None:
    """What was just made may be missing from it for a while."""
    server = forge(lags={1001: 3})

    outcome = keep(server)

    assert outcome.url.endswith("#issuecomment-1001")
    assert server.bodies() == [text_of("# Report")]
    assert server.count("POST") == 1


def test_a_comment_that_somebody_deletes_meanwhile_is_written_anew(forge: StartForge) -> None:
    """The edit finds nothing."""
    server = forge()
    server.add(WORKFLOW, text_of("before", OLDER))

    def delete(seen: Seen) -> None:
        if seen.method == "PATCH":
            server.comments.clear()

    server.before = delete
    keep(server)

    assert server.bodies() == [text_of("# Report")]


def test_a_comment_that_is_listed_and_never_there_is_given_up(forge: StartForge) -> None:
    """After a bounded number of looks; a second one is not made."""
    server = forge(faults={"PATCH": [Reply(404)] * 20})
    server.add(WORKFLOW, text_of("before", OLDER))

    words = words_of(keep(server))

    assert "says that it does not exist" in words
    assert server.count("PATCH") == 8
    assert server.count("POST") == 0


def test_another_that_never_ends_is_not_fought_for_ever(forge: StartForge) -> None:
    """What was written last stays as it is, whoever wrote it."""
    server = forge()

    def spoil(seen: Seen) -> None:
        for stored in server.comments if seen.method == "GET" else ():
            stored.body = text_of("spoiled", OLDER)

    server.before = spoil

    outcome = keep(server)

    assert outcome.url.endswith("#issuecomment-1001")
    assert server.count("PATCH") == 7


def at_first(server: ForgeServer, method: str, act: Callable[[], object]) -> None:
    """Let something happen right before the first request of a method is answered."""

    def come_between(seen: Seen) -> None:
        if seen.method == method:
            server.before = lambda _seen: None
            act()

    server.before = come_between


def test_of_two_that_were_made_at_once_the_later_one_goes(forge: StartForge) -> None:
    """It is deleted once, though it was just made."""
    server = forge()
    at_first(server, "POST", lambda: server.add(WORKFLOW, text_of("other", OLDER)))

    outcome = keep(server)

    assert server.bodies() == [text_of("# Report")]
    assert outcome.url.endswith("#issuecomment-1001")
    assert [server.count(method) for method in ("POST", "PATCH", "DELETE")] == [1, 1, 1]


def replace_by_newer(server: ForgeServer) -> Callable[[float], None]:
    """Return a pause in which our new comment goes, and one of a newer run comes."""

    def wait(_seconds: float) -> None:
        if server.seen[-1].method == "POST":
            server.add(WORKFLOW, text_of("newer", NEWER))
            del server.comments[0]

    return wait


def test_the_only_comment_that_is_left_is_never_deleted(forge: StartForge) -> None:
    """Though the one that should have stayed is gone, which a list that lags does not say."""
    server = forge()

    outcome = keep(server, pause=replace_by_newer(server))

    assert server.bodies() == [text_of("newer", NEWER)]
    assert outcome.url.endswith("#issuecomment-1002")
    assert [server.count(method) for method in ("PATCH", "DELETE")] == [1, 0]


def test_a_comment_that_is_gone_again_is_not_named(forge: StartForge) -> None:
    """Where nothing else is known, for the last look failed."""
    server = forge()
    at_first(server, "PATCH", lambda: server.faults.update(GET=[Reply(500)] * 9))

    words = words_of(keep(server, pause=replace_by_newer(server)))

    assert "failed (500)" in words


def test_a_second_comment_that_cannot_be_deleted_is_said(forge: StartForge) -> None:
    """The comment is up to date all the same."""
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


# --------------------------------------------------------------------------- refused


def test_a_fork_may_not_write_and_the_reason_is_said_once(forge: StartForge) -> None:
    """With what to do about it."""
    server = forge(Account("github-actions[bot]", 41_898_282, "Bot", may_write=False))

    words = words_of(keep(server))

    assert f"(403: {NO_ACCESS})" in words
    assert "pull request #7 was not written" in words
    assert "`permissions: pull-requests: write`" in words
    assert "fork" in words
    assert server.count("POST") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"is_locked": True}, f"a locked conversation (403: {LOCKED[:-1]})"),
        ({"is_archived": True}, f"an archived repository (403: {ARCHIVED[:-1]})"),
        ({"is_archived": True, "is_gitea": True}, "an archived repository (423: "),
    ],
)
def test_a_place_that_takes_no_comments_is_named(
    forge: StartForge, options: dict[str, bool], said: str
) -> None:
    """Another permission would not help there."""
    words = words_of(keep(forge(**options)))

    assert said in words
    assert "permissions" not in words


def test_a_token_that_is_not_valid_is_not_used_again(forge: StartForge) -> None:
    """One request, and the hint names the input."""
    server = forge()

    words = words_of(keep(server, token="another-token"))

    assert "does not accept the token (401: Bad credentials)" in words
    assert "`github-token`" in words
    assert server.routes() == ["GET /user"]


def test_a_repository_that_the_token_cannot_see_needs_a_permission(forge: StartForge) -> None:
    """GitHub says that there is none."""
    words = words_of(keep(forge(), repository="trader/secret"))

    assert "(404: Not Found)" in words
    assert "`permissions: pull-requests: write`" in words


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "tökén", "a\x00b"])
def test_what_is_no_token_is_not_sent(forge: StartForge, token: str) -> None:
    """Nor shown: it may be a part of one."""
    server = forge()

    outcome = keep(server, token=token)

    assert outcome.problem is not None
    assert "there is no token" in outcome.problem.message
    assert token.strip() == "" or token not in outcome.problem.text()
    assert server.seen == []


def test_a_text_that_is_too_long_is_not_sent(forge: StartForge) -> None:
    """What fits is taken by the forge, whatever the characters."""
    server = forge()

    assert keep(server, "🟢" * LARGEST_BODY).problem is None
    words = words_of(keep(server, "x" * LARGEST_COMMENT, run=NEWER))

    assert "65,536" in words
    assert server.count("PATCH") == 0


def test_what_the_forge_says_is_shown_harmlessly(forge: StartForge) -> None:
    """No command, no token, not more than a line of it."""
    said = f"::error::{TOKEN}\n##[warning]{TOKEN} \x1b[31m" + "x" * 5000
    server = forge(faults={"POST": [Reply(422, {"message": said, "errors": ["and\nmore"]})]})

    words = words_of(keep(server))

    assert "(422: ::error::*** ⏎ ##[warning]*** " in words
    assert "\n" not in words
    assert len(words) < 500


# --------------------------------------------------------------------------- limits and failures


@pytest.mark.parametrize(
    "limit",
    [
        Reply(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "60"}),
        Reply(403, {"message": "You have exceeded a secondary rate limit."}),
        Reply(429, {"message": "Too many requests"}, {"Retry-After": "100"}),
        Reply(429, "slow down"),
        rate_limited(3000),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_limit_that_lasts_too_long_is_not_waited_for(
    forge: StartForge, limit: Reply, method: str
) -> None:
    """And not asked against: that could have the token banned."""
    server = forge(faults={method: [limit] * 9})
    waits = Waits()

    words = words_of(keep(server, pause=waits))

    assert "accepts no more requests for now" in words
    assert "asks to wait for" in words
    assert "permissions" not in words
    assert server.count(method) == 1
    assert waits.seconds == []


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize(
    "limit",
    [
        Reply(429, {"message": "Too many requests"}, {"Retry-After": "4"}),
        Reply(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "4"}),
        Reply(503, "busy", {"Retry-After": "4"}),
    ],
)
def test_a_short_limit_is_waited_for(forge: StartForge, limit: Reply, method: str) -> None:
    """As long as the forge asks."""
    server = forge(faults={method: [limit]})
    if method == "PATCH":
        server.add(WORKFLOW, text_of("before", OLDER))
    waits = Waits()

    assert keep(server, pause=waits).problem is None

    assert waits.seconds[0] == 4
    assert server.bodies() == [text_of("# Report")]


def test_a_limit_until_a_moment_is_waited_for(forge: StartForge) -> None:
    """The reset is in seconds of the epoch."""
    server = forge(faults={"GET": [rate_limited(5)]})
    waits = Waits()

    assert keep(server, pause=waits).problem is None

    assert 3 <= waits.seconds[0] <= 6


FAILURES = [Reply(500, "<h1>Oops</h1>"), Reply(502), Reply(504), Cut(), CutAfterBody()]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_passing_failure_passes(forge: StartForge, failure: Any, method: str) -> None:
    """Twice in a row, of any request."""
    server = forge(faults={method: [failure, failure]})
    if method in {"PATCH", "DELETE"}:
        server.add(WORKFLOW, text_of("one", OLDER))
    if method == "DELETE":
        server.add(WORKFLOW, text_of("two", OLDER))

    assert keep(server).problem is None

    assert server.bodies() == [text_of("# Report")]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("failure", [ActAndCut(), ActAndFail(Reply(502, "bad gateway"))])
def test_what_was_done_without_an_answer_is_not_done_twice(
    forge: StartForge, failure: Any, method: str
) -> None:
    """It is looked for first."""
    server = forge(faults={method: [failure]})
    if method in {"PATCH", "DELETE"}:
        server.add(WORKFLOW, text_of("one", OLDER))
    if method == "DELETE":
        server.add(WORKFLOW, text_of("two", OLDER))

    assert keep(server).problem is None

    assert server.bodies() == [text_of("# Report")]
    assert server.count("POST") == (1 if method == "POST" else 0)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_that_does_not_pass_is_given_up(
    forge: StartForge, failure: Any, method: str
) -> None:
    """After a bounded number of tries, with pauses that grow."""
    server = forge(faults={method: [failure] * 50})
    if method == "PATCH":
        server.add(WORKFLOW, text_of("one", OLDER))
    waits = Waits()

    words = words_of(keep(server, pause=waits))

    assert "failed (5" in words or "cannot be reached or hung up" in words
    assert len(server.faults[method]) >= 40
    assert waits.seconds == sorted(waits.seconds)


faults = st.dictionaries(
    st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    st.lists(
        st.sampled_from(
            [
                *FAILURES, ActAndCut(), ActAndFail(Reply(502)), Reply(200, "null"), Reply(200, []),
                Reply(200, {"id": 1}), Reply(201, b""), Reply(204, b""), Reply(301), Reply(404),
                Reply(403, {"message": NO_ACCESS}), Reply(429, "", {"Retry-After": "2"}),
            ]
        ),
        max_size=4,
    ),
)  # fmt: skip


@settings(max_examples=60)
@given(faults=faults, before=st.lists(st.sampled_from([OLDER, RUN, RunNumber(1, 1)]), max_size=3))
def test_whatever_comes_back_the_outcome_is_true(
    faults: Mapping[str, list[Any]], before: list[RunNumber]
) -> None:
    """Nothing is raised, the requests are few, and without a problem the comment is there."""
    server = ForgeServer(accounts={TOKEN: WORKFLOW}, faults=dict(faults))
    with server:
        for run in before:
            server.add(WORKFLOW, text_of("before", run))

        outcome = keep(server)

        assert len(server.seen) < 50
        assert outcome.problem or text_of("# Report") in server.bodies()
        assert server.bodies().count(text_of("# Report")) <= 1 + sum(map(len, faults.values()))


def test_a_failure_of_the_last_look_takes_nothing_back(forge: StartForge) -> None:
    """What was written is written."""
    server = forge()

    def fail(seen: Seen) -> None:
        if seen.method == "POST":
            server.faults["GET"] = [Reply(500)] * 9

    server.before = fail

    outcome = keep(server)

    assert outcome.problem is None
    assert outcome.url.endswith("#issuecomment-1001")


def test_nobody_listens() -> None:
    """The address is named, with the reason."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    words = words_of(keep(f"http://127.0.0.1:{port}"))

    assert f"127.0.0.1:{port} cannot be reached or hung up: nothing listens there" in words


def test_an_address_that_cannot_work_is_tried_once() -> None:
    """No pause makes it one."""
    waits = Waits()

    words = words_of(keep("http://127.0.0.1:99999999", pause=waits))

    assert "cannot be reached" in words
    assert waits.seconds == []


def test_a_forge_that_hangs_is_left(forge: StartForge) -> None:
    """Within the time there is for all of it."""
    server = forge(faults={"GET": [Hang()] * 9})
    begun = time.monotonic()

    words = words_of(keep(server, seconds=0.2))

    assert "it took longer than 0.2 s" in words
    assert time.monotonic() - begun < 5


def drip_header(connection: Connection) -> None:
    """Send a header that never ends."""
    connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not connection.closing.wait(0.02):
        connection.send(b"x")


@pytest.mark.parametrize("drip", [drip_for_ever, drip_header])
def test_a_forge_that_drips_is_left(wire: StartWire, drip: Handler) -> None:
    """Each drop would start a time-out anew."""
    begun = time.monotonic()

    words = words_of(keep(wire({"GET /user": drip}).url, seconds=0.2))

    assert "it took longer than 0.2 s" in words
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, "<!DOCTYPE html>"), Reply(200, {"comments": []}), Reply(200, "null"),
        Reply(204, b""), Reply(200, b"\xff\xfe"), Reply(200, "[" * 100_000),
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_not_written_to(forge: StartForge, answer: Reply) -> None:
    """A page of a proxy, say."""
    server = forge(PERSON)
    server.before = lambda seen: (
        server.faults.update(GET=[answer] * 9) if seen.route == "GET /user" else None
    )

    words = words_of(keep(server))

    assert "does not answer like a forge's API" in words
    assert "GITHUB_API_URL" in words
    assert server.count("POST") == 0


@pytest.mark.parametrize(
    "answer",
    [
        Reply(201, "<html>"), Reply(201, []), Reply(201, {"id": "1001", "body": "x"}),
        Reply(201, {"id": True, "body": "x"}), Reply(201, {"id": None}), Reply(200, b""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_answer_to_a_comment_that_is_none_is_said(
    forge: StartForge, answer: Reply, method: str
) -> None:
    """And nothing is sent again."""
    server = forge(faults={method: [answer] * 9})
    if method == "PATCH":
        server.add(WORKFLOW, text_of("before", OLDER))

    words = words_of(keep(server))

    assert "does not answer like a forge's API" in words
    assert server.count(method) == 1


def test_entries_of_other_shapes_are_passed_over(wire: StartWire) -> None:
    """The one that is ours is found among them."""
    odd: list[Any] = [None, 1, [], {}, {"id": 5}, {"id": 6, "body": 7, "user": "x"}, {"body": "x"}]
    ours = {"id": 1, "body": text_of("x", OLDER), "user": {}, "html_url": "javascript:alert(1)"}
    server, written = wire_forge(wire, [ours, *odd])

    assert keep(server.url) == Outcome("")
    assert written == ["PATCH"]


@pytest.mark.parametrize("user", [[], {}, {"login": 5}, None, "x"])
def test_a_forge_that_does_not_say_whose_token_it_is(forge: StartForge, user: object) -> None:
    """It is taken for that of a workflow."""
    server = forge(WORKFLOW, faults={"GET": [Reply(200, user)]})
    server.add(WORKFLOW, text_of("before", OLDER))

    keep(server)

    assert server.bodies() == [text_of("# Report")]


# --------------------------------------------------------------------------- where the token goes


def test_the_token_is_in_one_header_and_nowhere_else(
    forge: StartForge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a `.netrc` says."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = forge()
    server.add(WORKFLOW, text_of("one", OLDER))
    server.add(WORKFLOW, text_of("two", OLDER))

    keep(server)

    assert {seen.method for seen in server.seen} == {"GET", "PATCH", "DELETE"}
    for seen in server.seen:
        others = {key: value for key, value in seen.headers.items() if key != "authorization"}
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in str((seen.path, seen.query, others, seen.body))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_token_follows_no_redirect(forge: StartForge, status: int, method: str) -> None:
    """Wherever it leads."""
    other = forge()
    reply = Reply(status, b"", {"Location": f"{other.url}/user"})
    server = forge(faults={method: [reply]})

    words = words_of(keep(server))

    assert f"redirects, and the token is not sent on ({status})" in words
    assert other.seen == []


def test_the_token_follows_no_page_to_another_server(forge: StartForge) -> None:
    """And no comment is written: there might be one already, behind it."""
    other = forge()
    server = forge(next_link=f'<{other.url}/more>; rel="next"')
    for number in range(101):
        server.add(PERSON, f"remark {number}")

    words = words_of(keep(server))

    assert "another server" in words
    assert other.seen == []
    assert server.count("POST") == 0


@pytest.mark.parametrize(
    "link", ["<http://[>; rel=next", '<{self}>; rel="next"', '<?per_page=1>; rel="next"']
)
def test_pages_without_an_end_come_to_one(forge: StartForge, link: str) -> None:
    """Nothing is written then: there might be a comment already."""
    server = forge()
    itself = f"{server.url}{LIST.removeprefix('GET ')}?per_page=100"
    server.next_link = link.replace("{self}", itself)
    for number in range(101):
        server.add(PERSON, f"remark {number}")

    words = words_of(keep(server))

    assert "lists more than" in words or "does not answer like a forge's API" in words
    assert server.count("GET") < 40
    assert server.count("POST") == 0


@pytest.mark.parametrize("link", ["", "nonsense", "<x>; rel=last", "<>", ";;,,<"])
def test_a_link_to_no_next_page_ends_the_list(forge: StartForge, link: str) -> None:
    """Whatever it is."""
    server = forge(next_link=link or "<x>")
    for number in range(101):
        server.add(PERSON, f"remark {number}")

    assert keep(server).problem is None


# --------------------------------------------------------------------------- ended from outside


def test_a_signal_ends_it(forge: StartForge) -> None:
    """It is not taken for a failure of the network."""
    server = forge()
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    server.before = lambda _seen: signal.pthread_kill(main_thread, signal.SIGTERM)

    with signals_as_errors(), pytest.raises(InterruptedRunError):
        keep(server)


def test_a_deadline_around_it_goes_on(forge: StartForge) -> None:
    """That of the comment ends first, and the other one comes when it is due."""
    server = forge(faults={"GET": [Hang()]})
    outer = Deadline.after(0.3 / 60)

    def keep_and_go_on() -> None:
        with deadline_as_error(outer):
            assert "it took longer" in words_of(keep(server, seconds=0.1))
            server.closing.wait(5)

    with pytest.raises(DeadlineError):
        keep_and_go_on()


def test_a_deadline_that_passes_meanwhile_comes_afterwards(forge: StartForge) -> None:
    """It is held up, not lost."""
    server = forge(faults={"GET": [Hang()]})

    def keep_and_go_on() -> None:
        with deadline_as_error(Deadline.after(0.05 / 60)):
            assert "it took longer" in words_of(keep(server, seconds=0.1))
            server.closing.wait(5)

    with pytest.raises(DeadlineError):
        keep_and_go_on()
