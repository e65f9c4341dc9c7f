"""Which backtests a sweep has, whose they are, and which of them is the model's own setting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy_action.backtest.figures.kept import KeptFigures
from deploy_action.backtest.period.windows import Window
from deploy_action.backtest.sweep.cells import (
    Cell,
    cells_of,
    expected_seconds,
    key_of,
    with_current,
)
from deploy_action.backtest.sweep.combinations import Combination, Swept
from deploy_action.backtest.sweep.grid import parse_sweep
from deploy_action.backtest.sweep.shards import Shard, parse_shard, share_out

SWEEP = parse_sweep("env.FAST: [5, 10]\nenv.SLOW: [40, 80]")
WINDOWS = (Window("first", 0, 100), Window("second", 100, 150))


def figures(number: int) -> KeptFigures:
    return KeptFigures(metrics={"cum_returns": float(number)}, trades_sha256=f"{number:064}")


def swept(*own: int | None) -> Swept:
    combinations = [
        Combination(values=values, figures=figures(index))
        for index, values in enumerate(SWEEP.combinations())
    ]
    return Swept(sweep=SWEEP, combinations=tuple(combinations), own=own)


def test_a_combination_has_the_whole_period_and_each_window() -> None:
    cells = cells_of(2, SWEEP, current=2)
    assert cells[:5] == [Cell(None, 0), Cell(None, 1), Cell(0, None), Cell(0, 0), Cell(0, 1)]
    assert [one.combination for one in cells[5:]] == [1, 1, 1, 3, 3, 3]
    assert cells_of(1, None, None) == [Cell(None, 0)]


def test_without_earlier_durations_the_length_of_the_period_counts() -> None:
    cells = cells_of(2, SWEEP, None)[:5]
    assert expected_seconds(cells, WINDOWS, SWEEP, {}) == [100, 50, 150, 100, 50]


def test_earlier_durations_count_and_others_are_typical() -> None:
    cells = cells_of(2, SWEEP, None)[:8]
    values = list(SWEEP.combinations())
    earlier = {
        key_of(SWEEP, values[0], None): 9.0,
        key_of(SWEEP, values[0], "first"): 4.0,
        key_of(SWEEP, ("other", "values"), None): 1000.0,
    }
    expected = [4.0, 6.5, 9.0, 4.0, 6.5, 9.0, 4.0, 6.5]
    assert expected_seconds(cells, WINDOWS, SWEEP, earlier) == expected


def test_shares_are_even_complete_and_always_the_same() -> None:
    weights = [1.0] * 100
    shares = share_out(weights, 10)
    assert sorted(shares) == sorted([*range(1, 11)] * 10)
    assert shares == share_out(weights, 10)
    assert share_out([9, 5, 4], 2) == (1, 2, 2)
    assert share_out([1.0], 3) == (1,)


def test_known_values_say_which_combination_is_the_own_setting() -> None:
    found = with_current(swept(1, 0), figures(7), ())
    assert found.current == 2
    assert found.combinations[2].figures == figures(7)
    assert found.name(2) == "FAST=10, SLOW=40"


def test_unknown_values_leave_the_results_to_say() -> None:
    assert with_current(swept(None, 0), figures(2), ()).current == 2
    assert with_current(swept(None, None), figures(3), ()).current == 3
    assert with_current(swept(None, 1), figures(2), ()).current is None  # it did what SLOW=40 did


def test_the_last_bits_of_a_number_make_no_other_setting() -> None:
    one = figures(2)
    nearly = replace(one, metrics={"cum_returns": 2.0 * (1 + 3e-16)})
    assert nearly.metrics != one.metrics
    assert with_current(swept(None, 0), nearly, ()).current == 2


def test_a_number_is_not_the_same_value_as_true() -> None:
    sweep = parse_sweep("smooth_prices: [1, true]")
    found = [Combination(values=values, figures=figures(7)) for values in sweep.combinations()]
    one = Swept(sweep=sweep, combinations=tuple(found), own=(1,))
    assert [one.may_be_own(index) for index in (0, 1)] == [False, True]


def doing(*numbers: int) -> Swept:
    one = swept(None, None)
    pairs = zip(one.combinations, numbers, strict=True)
    combinations = [replace(found, figures=figures(number)) for found, number in pairs]
    return replace(one, combinations=tuple(combinations))


def test_of_several_that_did_the_same_none_is_named() -> None:
    assert with_current(doing(1, 1, 2, 3), figures(1), ()).current is None


def test_a_parameter_without_effect_hides_no_setting() -> None:
    assert with_current(doing(1, 1, 2, 2), figures(2), ()).current == 2
    assert with_current(doing(1, 1, 1, 1), figures(1), ()).current == 0


def test_a_setting_that_is_not_tried_is_no_combination() -> None:
    nowhere = replace(swept(0, 0), own=None)
    assert with_current(nowhere, figures(1), ()).current is None


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/100000", ""])
def test_what_is_no_shard(text: str) -> None:
    assert parse_shard(text) is None


def test_a_shard() -> None:
    assert parse_shard(" 3 / 10 ") == Shard(3, 10)
    assert str(Shard(3, 10)) == "3/10"
