"""How the comment is found again, and which of several runs has the last word."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.github.comment import LARGEST_BODY, Note, marker_of, next_step
from deploy_action.github.forge import is_same_user
from deploy_action.github.pull_request import RunNumber

RUN = RunNumber(8345, 2)


# --------------------------------------------------------------------------- the marker


def test_the_marker_is_one_line_that_markdown_does_not_show() -> None:
    """It does not contain the model's name, which could end it."""
    marker = marker_of("models/a --> **b**\n", RunNumber(10**19 - 1, 10**9 - 1))
    assert marker.startswith("<!-- ")
    assert marker.index("-->") == len(marker) - 3
    assert "\n" not in marker
    assert len(marker) + 1 + LARGEST_BODY <= 65_536


@given(one=st.text(), other=st.text())
def test_each_model_has_its_own_marker(one: str, other: str) -> None:
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

runs = st.builds(RunNumber, st.integers(0, 3), st.integers(0, 2))


def text_of(run: RunNumber) -> str:
    return f"said by {run.run}.{run.attempt}"


notes = st.lists(
    st.builds(lambda number, run: Note(number, run, text_of(run)), st.integers(1, 9), runs),
    unique_by=lambda note: note.number,
    max_size=5,
)


@given(found=notes, run=runs)
def test_one_comment_stays_with_the_newest_text(found: list[Note], run: RunNumber) -> None:
    """The oldest comment stays, so that concurrent runs choose the same one."""
    step = next_step(found, run, text_of(run), None)
    kept = step.body if step.body is not None or step.keeper is None else step.keeper.body
    assert kept == text_of(max([run, *(note.run for note in found)]))
    assert step.keeper is None or step.keeper.number == min(note.number for note in found)
    assert len(step.removed) == max(0, len(found) - 1)


@given(found=notes, run=runs)
def test_a_second_look_finds_nothing_to_do(found: list[Note], run: RunNumber) -> None:
    step = next_step(found, run, text_of(run), None)
    number = step.keeper.number if step.keeper else 1
    newest = max([run, *(note.run for note in found)])
    after = [Note(number, newest, text_of(newest))]
    assert next_step(after, run, text_of(run), number).is_settled


@given(found=notes, pair=st.lists(runs, min_size=2, max_size=2, unique=True).map(sorted))
def test_a_text_of_an_older_run_is_overwritten(found: list[Note], pair: list[RunNumber]) -> None:
    older, run = pair
    step = next_step(found, run, text_of(run), None)
    number = step.keeper.number if step.keeper else 1
    again = next_step([Note(number, older, text_of(older))], run, text_of(run), number)
    assert again.body == text_of(run)
