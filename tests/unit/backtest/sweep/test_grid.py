"""The input `sweep`."""

from __future__ import annotations

import pytest

from deploy_action.backtest.sweep.grid import Axis, Sweep, WrongSweepError, parse_sweep


def test_every_combination_comes_in_order_with_the_last_parameter_fastest() -> None:
    sweep = parse_sweep("env.FAST: [5, 10]\nuse_price: [open, close]")
    assert sweep == Sweep((Axis("env.FAST", ("5", "10")), Axis("use_price", ("open", "close"))))
    values = list(sweep.combinations())
    assert values == [("5", "open"), ("5", "close"), ("10", "open"), ("10", "close")]
    assert len(sweep) == 4
    assert sweep.arguments(values[1]) == {"use_price": "close"}
    assert sweep.variables(values[1]) == {"FAST": "5"}
    assert sweep.name(values[1]) == "FAST=5, use_price=close"


def test_variables_are_texts_and_arguments_keep_their_types() -> None:
    sweep = parse_sweep('{"env.X": [1, 0.5, true, "01"], "to": ["1y", null, 86400]}')
    assert sweep.axes[0].values == ("1", "0.5", "true", "01")
    assert sweep.axes[1].values == ("1y", None, 86400)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1, 2]", "mapping"),
        ("{}", "names no parameter"),
        ("FAST: 5", "`FAST` has no list of values"),
        ("FAST: []", "the list of `FAST` is empty"),
        ("to: [1y, 2y, 1y]", "`to` has the value 1y twice"),
        ("env.A: [1, '1']", "`env.A` has the value 1 twice"),
        ("env.1A: [1]", "`env.1A` is no variable"),
        ("env.BACKTESTING: [1]", "is not yours to set"),
        ("env.PYTHONPATH: [x]", "is not yours to set"),
        ("env.A: [[1]]", "no text and no number"),
        ("env.A: [null]", "no text and no number"),
        (f"a: {list(range(101))}\nb: {list(range(100))}", "it has 10,100 combinations"),
    ],
)
def test_what_cannot_be_meant_is_named(text: str, fault: str) -> None:
    with pytest.raises(WrongSweepError) as wrong:
        parse_sweep(text)
    assert fault in str(wrong.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(WrongSweepError) as wrong:
        parse_sweep("a: 1\nb: []")
    assert "`a`" in str(wrong.value)
    assert "`b`" in str(wrong.value)


def test_one_million_values_are_counted_and_not_made() -> None:
    axes = "\n".join(f"p{number}: {list(range(50))}" for number in range(20))
    with pytest.raises(WrongSweepError, match="combinations"):
        parse_sweep(axes)
