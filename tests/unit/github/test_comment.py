"""Where the comment goes, how it is found again, and which of several runs has the last word."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.errors import Problem, Severity
from deploy_action.github.comment import (
    LARGEST_BODY,
    Note,
    Place,
    RunNumber,
    find_place,
    marker_of,
    next_step,
)
from deploy_action.github.forge import is_same_user

ENVIRON = {
    "GITHUB_API_URL": "https://forge.example/api/v3",
    "GITHUB_REPOSITORY": "trader/models",
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_RUN_ID": "8345",
    "GITHUB_RUN_ATTEMPT": "2",
}
PULL_REQUEST = {"pull_request": {"number": 7}}
RUN = RunNumber(8345, 2)


def place_of(payload: Mapping[str, object], **environ: str) -> Place:
    """Return the place, which there is."""
    found = find_place(ENVIRON | environ, payload)
    assert isinstance(found, Place), found
    return found


def reason_of(payload: Mapping[str, object], **environ: str) -> str:
    """Return why there is no place, which is a notice."""
    found = find_place(ENVIRON | environ, payload)
    assert isinstance(found, Problem)
    assert found.severity is Severity.NOTICE
    return found.text()


# --------------------------------------------------------------------------- the place


def test_the_runner_says_where_the_comment_goes() -> None:
    """The API, the repository and the run are in variables, the pull request in the payload."""
    assert place_of(PULL_REQUEST) == Place("https://forge.example/api/v3", "trader/models", 7, RUN)


@pytest.mark.parametrize(
    ("payload", "ref", "number"),
    [
        (PULL_REQUEST, "refs/pull/9/merge", 7),
        ({"issue": {"number": 8, "pull_request": {"url": "u"}}}, "refs/heads/main", 8),
        ({"workflow_run": {"pull_requests": [{"number": 12}]}}, "refs/heads/main", 12),
        ({}, "refs/pull/9/merge", 9),
        ({}, "refs/pull/10/head", 10),
        ({"pull_request": {"number": "7"}}, "refs/pull/9/merge", 9),
        ({"pull_request": {"number": True}}, "refs/pull/9/merge", 9),
        ({"pull_request": None, "issue": [], "workflow_run": 1}, "refs/pull/9/merge", 9),
    ],
)
def test_each_event_of_a_pull_request_names_it(
    payload: Mapping[str, object], ref: str, number: int
) -> None:
    """In the place that this event has for it."""
    assert place_of(payload, GITHUB_REF=ref).number == number


def test_a_run_that_follows_another_takes_the_pull_request_of_this_repository() -> None:
    """The branch may have one in the repository it was forked from, too."""
    payload = {
        "repository": {"id": 2},
        "workflow_run": {
            "pull_requests": [
                {"number": 900, "base": {"repo": {"id": 1}}},
                {"number": 12, "base": {"repo": {"id": 2}}},
            ]
        },
    }

    assert place_of(payload).number == 12


@pytest.mark.parametrize(
    ("payload", "ref"),
    [
        ({}, "refs/heads/main"),
        ({}, "refs/pull/0/merge"),
        ({}, "refs/heads/refs/pull/3/merge"),
        ({"issue": {"number": 8}}, "refs/heads/main"),
        ({"workflow_run": {"pull_requests": []}}, "refs/heads/main"),
    ],
)
def test_a_run_of_no_pull_request_has_no_place(payload: Mapping[str, object], ref: str) -> None:
    """An issue is none, and forks are not listed."""
    assert "belongs to no pull request" in reason_of(payload, GITHUB_REF=ref)


@pytest.mark.parametrize(
    "url", ["", "ftp://forge.example", "forge.example", "https://", "https://a b", "https://[",
            "https://user:word@forge.example", "https://forge.example/?a=b"],
)  # fmt: skip
def test_a_server_that_is_none_gives_no_place(url: str) -> None:
    """On a terminal the variable is not set."""
    assert "GITHUB_API_URL" in reason_of(PULL_REQUEST, GITHUB_API_URL=url)


@pytest.mark.parametrize(
    "name", ["", "models", "a/b/c", "../models", "trader/..", "a/b?c", "a b/c"]
)
def test_a_repository_that_is_none_gives_no_place(name: str) -> None:
    """Nothing else gets into the path of a request."""
    assert "GITHUB_REPOSITORY" in reason_of(PULL_REQUEST, GITHUB_REPOSITORY=name)


def test_a_run_without_a_number_comes_before_all_others() -> None:
    """Other forges do not number attempts, or runs."""
    place = place_of(PULL_REQUEST, GITHUB_RUN_ID="", GITHUB_RUN_ATTEMPT="x")

    assert place.run == RunNumber(0, 0) < RunNumber(1, 0)


def test_a_later_attempt_is_newer_and_a_later_run_newer_still() -> None:
    """So runs compare."""
    assert RunNumber(9, 3) < RunNumber(10, 1) < RunNumber(10, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["number", "pull_request", "pull_requests", "issue", "base", "repo", "id"]
            ),
            inner,
        )
    ),
)


@given(
    payload=st.dictionaries(
        st.sampled_from(["pull_request", "issue", "workflow_run", "repository"]), JSON
    ),
    values=st.dictionaries(st.sampled_from(sorted(ENVIRON)), st.text()),
)
def test_no_payload_and_no_variable_breaks_it(
    payload: Mapping[str, object], values: Mapping[str, str]
) -> None:
    """There is a place that makes sense, or a reason."""
    found = find_place({**ENVIRON, **values}, payload)

    assert isinstance(found, Problem) or found.number > 0


# --------------------------------------------------------------------------- the marker


def test_the_marker_is_one_line_that_markdown_does_not_show() -> None:
    """It names no model, for a name could end it, and leaves room for the rest."""
    marker = marker_of("models/a --> **b**\n", RunNumber(10**19 - 1, 10**9 - 1))

    assert marker.startswith("<!-- ")
    assert marker.index("-->") == len(marker) - 3
    assert "\n" not in marker
    assert len(marker) + 1 + LARGEST_BODY <= 65_536


@given(one=st.text(), other=st.text())
def test_each_model_has_a_marker_of_its_own(one: str, other: str) -> None:
    """The same for each run of it."""
    prefix, same = (marker_of(one, run).partition("run=")[0] for run in (RUN, RunNumber(1, 1)))

    assert prefix == same
    assert (marker_of(other, RUN).partition("run=")[0] == prefix) == (one == other)


# --------------------------------------------------------------------------- the author


@pytest.mark.parametrize(
    ("user", "known", "is_same"),
    [
        ({"login": "trader", "id": 5}, {"login": "trader", "id": 5}, True),
        ({"login": "trader", "id": 5}, {"login": "trader", "id": 6}, False),
        ({"login": "renamed", "id": 5}, {"login": "trader", "id": 5}, True),
        ({"login": "trader"}, {"login": "trader", "id": 5}, True),
        ({"login": "mallory"}, {"login": "trader", "id": 5}, False),
        ({"login": "github-actions[bot]", "type": "Bot"}, {"login": "trader"}, False),
        ({"login": "github-actions[bot]"}, None, True),
        ({"login": "app", "type": "Bot"}, None, True),
        ({"login": "github-actions", "type": "User"}, None, True),
        ({"login": "gitea-actions", "id": -2}, None, True),
        ({"login": "gitea-actions", "id": 2}, None, False),
        ({"login": "ghost", "id": -1}, None, False),
        ({"login": "bot"}, None, False),
        ({"login": "bot[bot]x", "type": "User"}, None, False),
        ({}, None, True),
        ({}, {"login": "trader"}, True),
        (None, None, False),
        (None, {"login": "trader"}, False),
    ],
)
def test_a_comment_is_ours_by_its_author(
    user: Mapping[str, object] | None, known: Mapping[str, object] | None, *, is_same: bool
) -> None:
    """Where it is not known whose token it is, what an app wrote is ours."""
    assert is_same_user(user, known) == is_same


# --------------------------------------------------------------------------- the next step

runs = st.builds(RunNumber, st.integers(0, 3), st.integers(0, 2))


def text_of(run: RunNumber) -> str:
    """Return what a run has to say."""
    return f"said by {run.run}.{run.attempt}"


notes = st.lists(
    st.builds(lambda number, run: Note(number, run, text_of(run)), st.integers(1, 9), runs),
    unique_by=lambda note: note.number,
    max_size=5,
)


@given(found=notes, run=runs)
def test_one_comment_is_left_and_it_is_of_the_newest_run(found: list[Note], run: RunNumber) -> None:
    """The oldest stays, so that all who decide at once decide for the same one."""
    step = next_step(found, run, text_of(run), None)

    kept = step.body if step.body is not None or step.keeper is None else step.keeper.body
    assert kept == text_of(max([run, *(note.run for note in found)]))
    assert step.keeper is None or step.keeper.number == min(note.number for note in found)
    assert len(step.removed) == max(0, len(found) - 1)


@given(found=notes, run=runs)
def test_what_is_done_is_done(found: list[Note], run: RunNumber) -> None:
    """After the step was taken there is nothing to do, for nobody."""
    step = next_step(found, run, text_of(run), None)
    number = step.keeper.number if step.keeper else 1
    newest = max([run, *(note.run for note in found)])

    after = [Note(number, newest, text_of(newest))]

    assert next_step(after, run, text_of(run), number).is_settled


@given(found=notes, pair=st.lists(runs, min_size=2, max_size=2, unique=True).map(sorted))
def test_what_an_older_run_wrote_in_between_is_written_over(
    found: list[Note], pair: list[RunNumber]
) -> None:
    """Though the newer one had written there before."""
    older, run = pair
    step = next_step(found, run, text_of(run), None)
    number = step.keeper.number if step.keeper else 1

    again = next_step([Note(number, older, text_of(older))], run, text_of(run), number)

    assert again.body == text_of(run)
