from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.errors import Problem, Severity
from deploy_action.github.pull_request import Place, RunNumber, find_place

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
    found = find_place(ENVIRON | environ, payload)
    assert isinstance(found, Place), found
    return found


def reason_of(payload: Mapping[str, object], **environ: str) -> str:
    found = find_place(ENVIRON | environ, payload)
    assert isinstance(found, Problem)
    assert found.severity is Severity.NOTICE
    return found.text()


def test_the_runner_names_the_pull_request() -> None:
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
    assert place_of(payload, GITHUB_REF=ref).number == number


def test_a_workflow_run_takes_the_pull_request_of_this_repository() -> None:
    """The branch may also have one in the repository that this one was forked from."""
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
def test_other_events_belong_to_no_pull_request(payload: Mapping[str, object], ref: str) -> None:
    assert "belongs to no pull request" in reason_of(payload, GITHUB_REF=ref)


@pytest.mark.parametrize(
    "url", ["", "ftp://forge.example", "forge.example", "https://", "https://a b", "https://[",
            "https://user:word@forge.example", "https://forge.example/?a=b"],
)  # fmt: skip
def test_an_invalid_server_gives_no_pull_request(url: str) -> None:
    assert "GITHUB_API_URL" in reason_of(PULL_REQUEST, GITHUB_API_URL=url)


@pytest.mark.parametrize(
    "name", ["", "models", "a/b/c", "../models", "trader/..", "a/b?c", "a b/c"]
)
def test_an_invalid_repository_gives_no_pull_request(name: str) -> None:
    assert "GITHUB_REPOSITORY" in reason_of(PULL_REQUEST, GITHUB_REPOSITORY=name)


def test_a_run_without_a_number_comes_before_all_others() -> None:
    """Other forges may not number runs or attempts."""
    place = place_of(PULL_REQUEST, GITHUB_RUN_ID="", GITHUB_RUN_ATTEMPT="x")
    assert place.run == RunNumber(0, 0) < RunNumber(1, 0)


def test_a_later_attempt_is_newer_and_a_later_run_newer_still() -> None:
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
    max_leaves=12,
)


@given(
    payload=st.dictionaries(
        st.sampled_from(["pull_request", "issue", "workflow_run", "repository"]), JSON
    ),
    values=st.dictionaries(st.sampled_from(sorted(ENVIRON)), st.text()),
)
def test_any_payload_and_variables_are_read(
    payload: Mapping[str, object], values: Mapping[str, str]
) -> None:
    found = find_place({**ENVIRON, **values}, payload)
    assert isinstance(found, Problem) or found.number > 0
