"""Which comment a run keeps, whatever else is wrong with its inputs."""

from __future__ import annotations

import pytest

from deploy_action.inputs.comment import CommentWanted, comment_wanted


def wanted(**inputs: str) -> CommentWanted:
    given = {name.replace("_", "-"): value for name, value in inputs.items()}
    found = comment_wanted({"comment": "true", **given})
    assert found is not None
    return found


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"comment": "false"},
        {"comment": "maybe"},
        {"comment": "true", "dry-run": "true"},
        {"comment": "on-problem", "mode": "validate"},
        {"comment": "true", "mode": "discover"},
        {"comment": "true", "mode": "stop"},
    ],
)
def test_these_runs_write_no_comment(inputs: dict[str, str]) -> None:
    assert comment_wanted(inputs) is None


def test_a_model_has_one_key_however_its_path_is_written() -> None:
    assert wanted(model_path="bots/a").key == wanted(model_path="./bots//a/").key
    keys = {
        wanted(**inputs).key
        for inputs in ({}, {"model_path": "a"}, {"model_name": "a"}, {"comment_key": "a"})
    }
    assert len(keys) == 4


def test_arguments_are_the_same_in_every_layout() -> None:
    one = wanted(backtest_args="{to: 1y, symbol: BTC}")
    same = wanted(backtest_args='symbol: "BTC"\nto: 1y')
    other = wanted(backtest_args="{to: 2y, symbol: BTC}")
    assert one == same
    assert one.leg != other.leg
    assert one.key == other.key
    assert one.name == 'backtest-args: {"symbol": "BTC", "to": "1y"}'


def test_no_arguments_are_the_same_as_none() -> None:
    assert wanted(backtest_args="{}") == wanted()
    assert wanted().name == ""


def test_wrong_arguments_have_a_leg_too() -> None:
    assert wanted(backtest_args="[1]").leg != wanted().leg


def test_a_key_names_the_comment() -> None:
    assert wanted(comment_key="fast", backtest_args="{to: 1y}").name == "comment-key: fast"
