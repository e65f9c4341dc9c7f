"""A forge's limits, failures and refusals, and where the token is sent."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy_action.github.comment import LARGEST_BODY, Outcome
from deploy_action.github.pull_request import RunNumber
from tests.support.comments import (
    LIST,
    NEWER,
    OLDER,
    RUN,
    TOKEN,
    StartForge,
    keep,
    text_of,
    wire_forge,
    words_of,
)
from tests.support.forge import (
    ARCHIVED,
    LARGEST_COMMENT,
    LOCKED,
    NO_ACCESS,
    PERSON,
    WORKFLOW,
    Account,
    ActAndCut,
    ActAndFail,
    ForgeServer,
    Seen,
    rate_limited,
)
from tests.support.scripted_server import Cut, CutAfterBody, Hang, Reply
from tests.support.transports import Waits
from tests.support.wire_server import Connection, Handler, StartWire, drip_for_ever


def failing(forge: StartForge, method: str, faults: list[Any]) -> ForgeServer:
    """Start a forge with faults, and with the comments that make a run use this method."""
    server = forge(faults={method: faults})
    for _ in range({"PATCH": 1, "DELETE": 2}.get(method, 0)):
        server.add(WORKFLOW, text_of("before", OLDER))
    return server


def test_a_fork_may_not_write_and_the_notice_says_so_once(forge: StartForge) -> None:
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
def test_the_reason_why_no_comment_is_accepted_is_reported(
    forge: StartForge, options: dict[str, bool], said: str
) -> None:
    words = words_of(keep(forge(**options)))
    assert said in words
    assert "permissions" not in words


def test_an_invalid_token_is_not_used_again(forge: StartForge) -> None:
    server = forge()
    words = words_of(keep(server, token="another-token"))
    assert "does not accept the token (401: Bad credentials)" in words
    assert "`github-token`" in words
    assert server.routes() == ["GET /user"]


def test_a_repository_that_the_token_cannot_see_needs_a_permission(forge: StartForge) -> None:
    """GitHub answers as if it did not exist."""
    words = words_of(keep(forge(), repository="trader/secret"))
    assert "(404: Not Found)" in words
    assert "`permissions: pull-requests: write`" in words


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "tökén", "a\x00b"])
def test_an_invalid_token_is_not_sent(forge: StartForge, token: str) -> None:
    """It is not shown either: it may be part of a valid one."""
    server = forge()
    outcome = keep(server, token=token)
    assert outcome.problem is not None
    assert "there is no token" in outcome.problem.message
    assert token.strip() == "" or token not in outcome.problem.text()
    assert server.seen == []


def test_a_text_that_is_too_long_is_not_sent(forge: StartForge) -> None:
    server = forge()
    assert keep(server, "🟢" * LARGEST_BODY).problem is None
    words = words_of(keep(server, "x" * LARGEST_COMMENT, run=NEWER))
    assert "65,536" in words
    assert server.count("PATCH") == 0


def test_the_forges_message_is_safe_to_print(forge: StartForge) -> None:
    said = f"::error::{TOKEN}\n##[warning]{TOKEN} \x1b[31m" + "x" * 5000
    server = forge(faults={"POST": [Reply(422, {"message": said, "errors": ["and\nmore"]})]})
    words = words_of(keep(server))
    assert "(422: ::error::*** ⏎ ##[warning]*** " in words
    assert "\n" not in words
    assert len(words) < 500


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
def test_a_long_rate_limit_is_not_waited_for(forge: StartForge, limit: Reply, method: str) -> None:
    """Ignoring it is no option: GitHub may block the token."""
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
def test_a_short_rate_limit_is_waited_for(forge: StartForge, limit: Reply, method: str) -> None:
    server = failing(forge, method, [limit])
    waits = Waits()
    assert keep(server, pause=waits).problem is None
    assert waits.seconds[0] == 4
    assert server.bodies() == [text_of("# Report")]


@pytest.mark.parametrize("when", ["0", "Fri, 31 Dec 1999 23:59:59 GMT"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_rate_limit_that_is_over_is_not_waited_for(
    forge: StartForge, method: str, when: str
) -> None:
    limit = Reply(429, {"message": "Too many requests"}, {"Retry-After": when})
    waits = Waits()
    server = failing(forge, method, [limit])
    assert keep(server, pause=waits).problem is None
    assert 0 < waits.seconds[0] < 1  # as after any failure that passes
    words = words_of(keep(forge(faults={method: [limit] * 9}), pause=Waits()))
    assert "accepts no more requests for now (429: Too many requests)." in words
    assert "asks to wait" not in words


def test_a_rate_limit_until_its_reset_is_waited_for(forge: StartForge) -> None:
    """The reset is in seconds since the epoch."""
    server = forge(faults={"GET": [rate_limited(5)]})
    waits = Waits()
    assert keep(server, pause=waits).problem is None
    assert 3 <= waits.seconds[0] <= 6


def test_a_reset_is_by_the_clock_of_the_forge(
    forge: StartForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of this machine may be wrong, or be set meanwhile."""
    limit = rate_limited(5)
    date = format_datetime(datetime.now(UTC), usegmt=True)
    server = forge(faults={"GET": [replace(limit, headers={**limit.headers, "Date": date})]})
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() - 3_600)
    waits = Waits()
    assert keep(server, pause=waits).problem is None
    assert 3 <= waits.seconds[0] <= 7


FAILURES = [
    *(Reply(500, "<h1>Oops</h1>"), Reply(502), Reply(504), Reply(522), Reply(408)),
    *(Cut(), CutAfterBody()),
]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_temporary_failure_is_retried(forge: StartForge, failure: Any, method: str) -> None:
    server = failing(forge, method, [failure, failure])
    assert keep(server).problem is None
    assert server.bodies() == [text_of("# Report")]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("failure", [ActAndCut(), ActAndFail(Reply(502, "bad gateway"))])
def test_an_unanswered_write_is_not_repeated(forge: StartForge, failure: Any, method: str) -> None:
    """The comments are listed first."""
    server = failing(forge, method, [failure])
    assert keep(server).problem is None
    assert server.bodies() == [text_of("# Report")]
    assert server.count("POST") == (1 if method == "POST" else 0)


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("failure", FAILURES)
def test_retries_of_a_permanent_failure_end(forge: StartForge, failure: Any, method: str) -> None:
    server = failing(forge, method, [failure] * 50)
    waits = Waits()
    words = words_of(keep(server, pause=waits))
    assert re.search(r"failed \([45]|cannot be reached or hung up", words)
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
def test_no_answer_leads_to_a_wrong_outcome(
    faults: Mapping[str, list[Any]], before: list[RunNumber]
) -> None:
    server = ForgeServer(accounts={TOKEN: WORKFLOW}, faults=dict(faults))
    with server:
        for run in before:
            server.add(WORKFLOW, text_of("before", run))
        outcome = keep(server)
        assert len(server.seen) < 50
        assert outcome.problem or text_of("# Report") in server.bodies()
        assert server.bodies().count(text_of("# Report")) <= 1 + sum(map(len, faults.values()))


def test_a_failure_of_the_last_listing_is_no_failure(forge: StartForge) -> None:
    server = forge()

    def fail(seen: Seen) -> None:
        if seen.method == "POST":
            server.faults["GET"] = [Reply(500)] * 9

    server.before = fail

    outcome = keep(server)

    assert outcome.problem is None
    assert outcome.url.endswith("#issuecomment-1001")


def test_a_forge_that_is_not_there_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = words_of(keep(f"http://127.0.0.1:{port}"))
    assert f"127.0.0.1:{port} cannot be reached or hung up: nothing listens there" in words


def test_an_address_that_cannot_work_is_tried_once() -> None:
    waits = Waits()
    words = words_of(keep("http://127.0.0.1:99999999", pause=waits))
    assert "cannot be reached" in words
    assert waits.seconds == []


def test_a_forge_that_hangs_is_given_up(forge: StartForge) -> None:
    server = forge(faults={"GET": [Hang()] * 9})
    begun = time.monotonic()
    words = words_of(keep(server, seconds=0.2))
    assert "it took longer than 0.2 s" in words
    assert time.monotonic() - begun < 5


def drip_header(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not connection.closing.wait(0.02):
        connection.send(b"x")


@pytest.mark.parametrize("drip", [drip_for_ever, drip_header])
def test_a_forge_that_answers_byte_by_byte_is_given_up(wire: StartWire, drip: Handler) -> None:
    """Each byte restarts a read time-out."""
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
def test_nothing_is_written_without_a_valid_list(forge: StartForge, answer: Reply) -> None:
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
        Reply(200, {}), Reply(200, {"error": "read only"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_invalid_answer_is_reported(forge: StartForge, answer: Reply, method: str) -> None:
    server = forge(faults={method: [answer] * 9})
    if method == "PATCH":
        server.add(WORKFLOW, text_of("before", OLDER))
    words = words_of(keep(server))
    assert "pull request #7 may be written or not: " in words
    assert "does not answer like a forge's API" in words
    assert server.count(method) == 1


def test_a_lost_comment_that_is_not_listed_yet_may_be_written(forge: StartForge) -> None:
    """The list that would show it fails, or comes too late."""
    server = forge(faults={"POST": [ActAndCut()]})
    server.before = lambda seen: (
        server.faults.update(GET=[Reply(500)] * 9) if seen.method == "POST" else None
    )
    assert "may be written or not: " in words_of(keep(server))
    assert len(server.bodies()) == 1


@pytest.mark.parametrize("entry", [{"id": 5}, {"id": 5, "body": None}, {"id": 5, "body": ["x"]}])
def test_a_list_without_texts_is_not_taken_for_an_empty_one(
    wire: StartWire, entry: dict[str, object]
) -> None:
    server, written = wire_forge(wire, [entry])
    assert "does not answer like a forge's API" in words_of(keep(server.url))
    assert written == []


def test_malformed_entries_are_skipped(wire: StartWire) -> None:
    odd: list[Any] = [None, 1, [], {}, {"id": 5}, {"id": 6, "body": 7, "user": "x"}, {"body": "x"}]
    bot = {"type": "Bot"}
    ours = {"id": 1, "body": text_of("x", OLDER), "user": bot, "html_url": "javascript:alert(1)"}
    server, written = wire_forge(wire, [ours, *odd])
    assert keep(server.url) == Outcome("")
    assert written == ["PATCH"]


@pytest.mark.parametrize(
    "user", [[], {}, {"login": 5}, {"login": ""}, {"error": {"code": 1}}, None, "x"]
)
def test_nothing_is_written_without_a_valid_user(forge: StartForge, user: object) -> None:
    """Our comments would look like those of others, and another one would be written."""
    server = forge(PERSON, faults={"GET": [Reply(200, user)]})
    server.add(PERSON, text_of("before", OLDER))
    assert "does not answer like a forge's API" in words_of(keep(server))
    assert server.bodies() == [text_of("before", OLDER)]


def test_the_token_is_in_one_header_and_nowhere_else(
    forge: StartForge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    other = forge()
    reply = Reply(status, b"", {"Location": f"{other.url}/user"})
    server = forge(faults={method: [reply]})
    words = words_of(keep(server))
    assert f"redirects, and the token is not sent on ({status})" in words
    assert other.seen == []


def test_the_token_follows_no_link_to_another_server(forge: StartForge) -> None:
    """No comment is written: the next page might have one already."""
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
def test_an_endless_list_is_given_up(forge: StartForge, link: str) -> None:
    """Nothing is written: there might be a comment already."""
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
def test_an_invalid_link_to_a_next_page_ends_the_list(forge: StartForge, link: str) -> None:
    server = forge(next_link=link or "<x>")
    for number in range(101):
        server.add(PERSON, f"remark {number}")
    assert keep(server).problem is None
