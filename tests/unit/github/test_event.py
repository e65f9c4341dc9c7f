from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.github.event import Event, describe, read_event
from deploy_action.text.harmless import cut, tidy


def event(name: str, **payload: Any) -> Event:
    return Event(
        name=name,
        payload=payload,
        sha="0123456789abcdef",
        workflow="Deploy",
        run_number="42",
        repository_url="https://forge.example/trader/models",
    )


@pytest.mark.parametrize(
    ("name", "ref", "scope"),
    [
        ("", "", ""),
        ("push", "refs/heads/main", ""),
        ("push", "refs/tags/v1", ""),
        ("release", "refs/tags/v1", ""),
        ("schedule", "refs/heads/main", ""),
        ("push", "refs/heads/idea", "refs/heads/idea"),
        ("workflow_dispatch", "refs/heads/idea", "refs/heads/idea"),
        ("pull_request", "refs/pull/7/merge", "pull/7"),
        ("pull_request_target", "refs/heads/main", "pull/7"),
        # They may have checked out anything.
        ("workflow_run", "refs/heads/main", "workflow_run refs/heads/main"),
        ("issue_comment", "refs/heads/main", "issue_comment refs/heads/main"),
        (
            "merge_group",
            "refs/heads/gh-queue/main/pr-7",
            "merge_group refs/heads/gh-queue/main/pr-7",
        ),
    ],
)
def test_what_is_not_merged_has_a_scope_of_its_own(name: str, ref: str, scope: str) -> None:
    payload = {"repository": {"default_branch": "main"}, "pull_request": {"number": 7}}
    assert replace(event(name, **payload), git_ref=ref).scope == scope


def nobody_asked() -> str:
    """Fail: the event has a message of its own."""
    raise AssertionError("the checkout must not be read")


@pytest.mark.parametrize(
    ("name", "payload", "description"),
    [
        ("push", {"head_commit": {"message": "Buy low\n\nSell high"}}, "Buy low\n\nSell high"),
        ("push", {"ref": "refs/tags/v1", "head_commit": {"message": "Tag"}}, "Tag"),
        ("pull_request", {"pull_request": {"title": "Fix", "number": 7}}, "Fix (#7)"),
        ("pull_request_target", {"pull_request": {"title": "Fix", "number": 7}}, "Fix (#7)"),
        ("pull_request_review", {"pull_request": {"title": "Fix", "number": 7}}, "Fix (#7)"),
        ("release", {"release": {"name": "One", "tag_name": "v1"}}, "One"),
        ("release", {"release": {"name": "", "tag_name": "v1"}}, "v1"),
        ("release", {"release": {"name": None, "tag_name": "v1"}}, "v1"),
        ("merge_group", {"merge_group": {"head_commit": {"message": "Merge"}}}, "Merge"),
        ("workflow_run", {"workflow_run": {"head_commit": {"message": "After"}}}, "After"),
    ],
)
def test_an_event_has_a_description(
    name: str, payload: dict[str, object], description: str
) -> None:
    assert describe(event(name, **payload), nobody_asked) == description


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("workflow_dispatch", {"inputs": {}}),
        ("schedule", {"schedule": "0 0 * * *"}),
        ("repository_dispatch", {}),
        ("push", {"head_commit": None}),
        ("push", {"head_commit": {"message": " \n\t"}}),
        ("push", {"head_commit": "text"}),
        ("pull_request", {"pull_request": {"title": 5, "number": 7}}),
        ("release", {"release": []}),
        ("merge_group", {}),
        ("", {}),
    ],
)
def test_without_a_message_the_checked_out_commit_describes_it(
    name: str, payload: dict[str, object]
) -> None:
    assert describe(event(name, **payload), lambda: "From the checkout\n") == "From the checkout"


def test_half_a_character_in_a_payload_becomes_a_whole_one(tmp_path: Path) -> None:
    """JSON can escape it, and no request or file can hold it."""
    path = tmp_path / "event.json"
    path.write_text('{"a": ["\\ud83d\\ude00", {"b\\uDCFF": "x\\ud800"}], "c": 1e400}')
    found = read_event({"GITHUB_EVENT_PATH": str(path)}).payload
    assert found == {"a": ["\U0001f600", {"b\ufffd": "x\ufffd"}], "c": float("inf")}


@pytest.mark.parametrize("message", [None, "", " \n\x00"])
def test_without_a_checkout_the_run_describes_it(message: str | None) -> None:
    assert describe(event("schedule"), lambda: message) == "Deploy run 42 (0123456)"


def test_on_a_terminal_without_a_repository_there_is_still_a_description() -> None:
    """The server requires one."""
    nowhere = Event("", {}, "", "", "", "")
    assert describe(nowhere, lambda: None) == "Sent from a terminal"


def test_a_long_title_keeps_its_number() -> None:
    pull = {"title": "x" * 3_000, "number": 12}
    description = describe(event("pull_request", pull_request=pull), nobody_asked)
    assert description.endswith("… (#12)")
    assert len(description) == 2_000


def test_a_secret_in_a_title_is_hidden_before_it_is_cut() -> None:
    pull = {"title": "x" * 1_985 + "secret" * 2, "number": 12}
    shown = describe(
        event("pull_request", pull_request=pull),
        nobody_asked,
        lambda text: text.replace("secret", "*"),
    )
    assert shown == "x" * 1_985 + "** (#12)"


def test_a_long_message_is_cut_at_a_code_point() -> None:
    """An emoji outside the basic plane counts as one of the 2,000."""
    message = "😀" * 2_001
    assert tidy(message) == "😀" * 1_999 + "…"
    assert tidy("😀" * 2_000) == "😀" * 2_000


def test_control_characters_are_dropped_and_ends_trimmed() -> None:
    assert tidy("\ufeff \x1b[31mred\x00\r\n\tnext\x85\x9b \n") == "\ufeff [31mred\n\tnext"


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    """JSON can contain one, UTF-8 cannot."""
    assert tidy("a\ud83db") == "a\ufffdb"


@given(st.text(st.characters(exclude_categories=()), max_size=3_000))
def test_a_description_can_always_be_sent(text: str) -> None:
    tidied = tidy(text)
    assert len(tidied) <= 2_000
    assert tidied == tidied.strip()
    tidied.encode()
    assert not [
        char for char in tidied if unicodedata.category(char) == "Cc" and char not in "\n\t"
    ]
    assert tidy(tidied) == tidied


@given(st.text(), st.integers(1, 50))
def test_cut_never_exceeds_the_length(text: str, length: int) -> None:
    assert len(cut(text, length)) <= length
    assert cut(text, len(text) + 1) == text


def test_a_deleted_branch_is_noticed() -> None:
    """Its push has no head commit, and the checkout is another branch."""
    deletion = event("push", deleted=True, head_commit=None, ref="refs/heads/old")
    assert deletion.is_deletion
    assert deletion.ref == "refs/heads/old"
    assert not event("push", deleted=False).is_deletion
    assert not event("pull_request", deleted=True).is_deletion


def test_the_commit_of_a_pull_request_is_its_head() -> None:
    """`GITHUB_SHA` is a merge commit that nobody wrote."""
    assert event("pull_request", pull_request={"head": {"sha": "feed"}}).commit == "feed"
    assert event("push").commit == "0123456789abcdef"


def test_the_runners_variables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"ref": "refs/heads/main"}))
    read = read_event(
        {
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_SHA": "abc",
            "GITHUB_WORKFLOW": "W",
            "GITHUB_RUN_NUMBER": "3",
            "GITHUB_SERVER_URL": "https://forge.example/",
            "GITHUB_REPOSITORY": "a/b",
        }
    )
    assert read == Event(
        "push", {"ref": "refs/heads/main"}, "abc", "W", "3", "https://forge.example/a/b", "a/b"
    )
    assert read.commit_url("a?b") == "https://forge.example/a/b/commit/a%3Fb"
    assert read_event({}).commit_url("abc") is None


def test_a_line_has_a_page() -> None:
    read = read_event({"GITHUB_SERVER_URL": "https://forge.example/", "GITHUB_REPOSITORY": "a/b"})
    page = "https://forge.example/a/b/blob/5f2c/my%20models/b%23.py#L7"
    assert read.line_url("5f2c", "my models/b#.py", 7) == page
    assert read_event({}).line_url("5f2c", "bot.py", 7) == ""


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "[" * 100_000, "\udcff"])
def test_an_unreadable_payload_counts_as_empty(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "event.json"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert read_event({"GITHUB_EVENT_PATH": str(path)}).payload == {}
