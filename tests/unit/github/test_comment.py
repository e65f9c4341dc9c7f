"""How the comment is found again, and which of several runs has the last word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.github.comment import (
    LARGEST_BODY,
    Draft,
    Message,
    Note,
    Said,
    marker_of,
    next_step,
)
from deploy_action.github.forge import is_same_user
from deploy_action.github.pull_request import RunNumber

RUN = RunNumber(8345, 2)


# --------------------------------------------------------------------------- the marker


def said_by(run: RunNumber, *, is_failed: bool = False) -> Said:
    return Said(run, f"{run.run % 0x10000:04x}{run.attempt % 0x10000:04x}", is_failed)


def test_the_marker_is_one_line_that_markdown_does_not_show() -> None:
    """It does not contain the model's name, which could end it."""
    said = [said_by(RunNumber(10**19 - 1, 10**9 - number), is_failed=True) for number in range(20)]
    marker = marker_of("models/a --> **b**\n", "--> **b**", said)
    assert marker.startswith("<!-- ")
    assert marker.index("-->") == len(marker) - 3
    assert "\n" not in marker


def test_a_comment_has_room_for_all_that_was_said() -> None:
    runs = [RunNumber(10**19 - 1, 10**9 - 40 + one) for one in range(39)]
    others = [Said(run, "0" * 8, is_failed=True) for run in runs]
    now = said_by(RunNumber(10**19 - 1, 10**9 - 1))
    message = Message(key="a", body="b" * LARGEST_BODY, run_url=f"https://forge.example/{'r' * 99}")
    assert len(Draft(message, now).text([others[0]])) <= 65_536
    assert len(Draft(message, now).text(others)) <= 65_536


@given(one=st.text(), other=st.text())
def test_each_model_has_its_own_marker(one: str, other: str) -> None:
    prefix, same = (
        marker_of(one, leg, [said_by(run)]).partition("leg=")[0]
        for leg, run in (("a", RUN), ("b", RunNumber(1, 1)))
    )
    assert prefix == same
    assert (marker_of(other, "a", [said_by(RUN)]).partition("leg=")[0] == prefix) == (one == other)


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
        ({"login": "github-actions[bot]", "type": "Bot"}, None, True),
        ({"login": "app", "type": "Bot"}, None, True),
        ({"login": "github-actions[bot]"}, None, False),
        ({"login": "github-actions[bot]", "type": "User"}, None, False),
        ({"login": "github-actions", "type": "User"}, None, False),
        ({"login": "octocat", "type": "User", "id": 1}, None, False),
        ({"login": "gitea-actions", "id": -2}, None, True),
        ({"login": "gitea-actions", "id": 2}, None, False),
        ({"login": "ghost", "id": -1}, None, False),
        ({"login": "bot"}, None, False),
        ({"login": "bot[bot]x", "type": "User"}, None, False),
        ({}, None, False),
        ({}, {"login": "trader"}, False),
        ({"type": "Bot"}, {"login": "trader"}, False),
        (None, None, False),
        (None, {"login": "trader"}, False),
    ],
)
def test_a_comment_is_ours_by_its_author(
    user: Mapping[str, object] | None, known: Mapping[str, object] | None, *, is_same: bool
) -> None:
    assert is_same_user(user, known) == is_same


# --------------------------------------------------------------------------- the next step

LEG = "a"
runs = st.builds(RunNumber, st.integers(1, 4), st.integers(1, 2))


def draft_of(run: RunNumber, leg: str = LEG, *, is_failed: bool = False) -> Draft:
    message = Message(key="model", leg=leg, body=f"by {run.run}.{run.attempt}", is_failed=is_failed)
    return Draft(message, said_by(run, is_failed=is_failed))


def note_of(number: int, draft: Draft) -> Note:
    digest = marker_of("", draft.message.leg, [draft.said]).partition("leg=")[2][:16]
    return Note(number, digest, (draft.said,), draft.text())


def text_in(body: str) -> str:
    return body.splitlines()[-1]


notes = st.lists(
    st.builds(lambda number, run: note_of(number, draft_of(run)), st.integers(1, 9), runs),
    unique_by=lambda note: note.number,
    max_size=5,
)


@given(found=notes, run=runs)
def test_one_comment_stays_with_the_newest_text(found: list[Note], run: RunNumber) -> None:
    """The oldest comment stays, so that concurrent runs choose the same one."""
    step = next_step(found, draft_of(run), None)
    kept = step.body if step.body is not None or step.keeper is None else step.keeper.body
    assert kept is not None
    newest = max([run, *(note.run for note in found)])
    assert text_in(kept) == draft_of(newest).message.body
    assert step.keeper is None or step.keeper.number == min(note.number for note in found)
    assert len(step.removed) == max(0, len(found) - 1)


@given(found=notes, run=runs)
def test_a_second_look_finds_nothing_to_do(found: list[Note], run: RunNumber) -> None:
    step = next_step(found, draft_of(run), None)
    number = step.keeper.number if step.keeper else 1
    newest = max([run, *(note.run for note in found)])
    after = [note_of(number, draft_of(newest))]
    assert next_step(after, draft_of(run), number).is_settled


@given(found=notes, pair=st.lists(runs, min_size=2, max_size=2, unique=True).map(sorted))
def test_a_text_of_an_older_run_is_overwritten(found: list[Note], pair: list[RunNumber]) -> None:
    older, run = pair
    step = next_step(found, draft_of(run), None)
    number = step.keeper.number if step.keeper else 1
    again = next_step([note_of(number, draft_of(older))], draft_of(run), number)
    assert again.body is not None
    assert text_in(again.body) == draft_of(run).message.body


# --------------------------------------------------------------------------- legs and steps


def test_a_leg_leaves_the_comments_of_others_alone() -> None:
    found = [note_of(1, draft_of(RUN, "b")), note_of(2, draft_of(RunNumber(1, 1), "c"))]
    step = next_step(found, draft_of(RUN), None)
    assert (step.keeper, step.removed) == (None, ())


def test_a_leg_takes_over_the_only_comment_of_an_earlier_workflow_run() -> None:
    """The workflow was changed since."""
    earlier = note_of(1, draft_of(RunNumber(RUN.run - 1, 1), "b"))
    step = next_step([earlier], draft_of(RUN), None)
    assert step.keeper == earlier
    assert step.body == draft_of(RUN).text()


def test_a_leg_that_a_later_workflow_run_does_without_makes_no_comment() -> None:
    later = note_of(1, draft_of(RunNumber(RUN.run + 1, 1), "b"))
    step = next_step([later], draft_of(RUN), None)
    assert step.is_settled
    assert step.keeper == later


def test_a_step_that_was_overwritten_without_a_trace_writes_again() -> None:
    other = Draft(draft_of(RUN).message, Said(RUN, "0" * 8, is_failed=False))
    mine = draft_of(RUN, is_failed=True)
    step = next_step([note_of(1, other)], mine, 1)
    assert step.body == mine.text([other.said])


def test_a_step_that_is_told_of_is_done() -> None:
    mine = draft_of(RUN, is_failed=True)
    other = Draft(draft_of(RUN).message, Said(RUN, "0" * 8, is_failed=False))
    told = replace(note_of(1, other), said=(other.said, mine.said))
    assert next_step([told], mine, 1).is_settled


def test_runs_without_numbers_are_not_taken_for_one() -> None:
    """Where runs have no numbers, nobody knows which steps belong together."""
    unknown = RunNumber(0, 0)
    failed = Draft(draft_of(unknown).message, Said(unknown, "0" * 8, is_failed=True))
    step = next_step([note_of(1, failed)], draft_of(unknown), None)
    assert step.body == draft_of(unknown).text()
