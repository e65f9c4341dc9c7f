"""What a part of a run shows: how much of the whole it did, and no verdict."""

from __future__ import annotations

from dataclasses import replace

from deploy_action.backtest.sweep.combinations import Swept
from deploy_action.backtest.sweep.shards import Part, Shard
from deploy_action.errors import Problem
from deploy_action.outcome.ending import Status
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import to_markdown
from deploy_action.report.summary import build_comment, build_summary
from tests.support.outcomes import backtests, sweeps, with_parts
from tests.support.rendered import Element, render

PART = Part(shard=Shard(3, 10))


def a_part(swept: Swept | None, number: int, part: Part = PART) -> RunOutcome:
    """Return a part of a run with the first combinations of a sweep."""
    kept = None
    if swept is not None:
        combinations = [
            replace(one, figures=None, reason="") if index >= number else one
            for index, one in enumerate(swept.combinations)
        ]
        kept = replace(swept, combinations=tuple(combinations), current=None, own=(3, 3))
    return with_parts(backtests()["gain"], backtests={"sweep": kept, "part": part})


def seen(outcome: RunOutcome) -> Element:
    return render(to_markdown(build_summary(outcome)))


def test_a_part_says_what_it_ran_and_that_nothing_is_judged() -> None:
    body = seen(a_part(sweeps()["sweep"], 10))
    assert body.all("h2")[0].text() == "Part 3 of 10: momentum"
    assert body.all("p")[0].text() == (
        "Beside the model's own setting, this part ran 10 of 99 backtests (10 of 100 "
        "combinations). Nothing is judged here: mode: merge puts all parts together, and judges "
        "them."
    )


def test_a_part_shows_no_result_that_could_be_taken_for_the_whole() -> None:
    text = to_markdown(build_comment(a_part(sweeps()["sweep"], 10), "https://forge.example/run"))
    for word in ("Sharpe", "plateau", "holding", "🟩", "✅", "```mermaid"):
        assert word not in text


def test_failures_of_a_part_are_counted() -> None:
    found = sweeps()["sweep with failures"]
    bare = replace(
        found, combinations=tuple(replace(one, windows=()) for one in found.combinations)
    )
    text = seen(a_part(bare, 21)).text()
    assert (
        "this part ran 21 of 99 backtests (21 of 100 combinations), 1 of them without a result."
        in text
    )


def test_a_part_may_have_windows_alone() -> None:
    windows = backtests()["windows"].backtests.windows
    outcome = with_parts(a_part(None, 0), backtests={"windows": windows[:2]})
    part = replace(PART, windows=tuple(windows))  # type: ignore[arg-type]  # only their number
    text = seen(with_parts(outcome, backtests={"part": part})).text()
    assert "this part ran 2 of 5 backtests. Nothing is judged" in text


def test_a_part_that_failed_says_so() -> None:
    problem = Problem(message="Wrong.")
    ending = {"status": Status.FAILED, "problems": (problem,)}
    body = seen(with_parts(a_part(sweeps()["sweep"], 10), ending=ending))
    assert body.all("h2")[0].text() == "❌ Backtest failed: momentum"
    assert body.all("li")[0].text() == "Wrong."
