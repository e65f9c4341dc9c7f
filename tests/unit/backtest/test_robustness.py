"""Whether a setting stands on a plateau, on a slope or on a peak."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy_action.backtest.sweep.grid import Axis
from deploy_action.backtest.sweep.robustness import (
    Neighbourhood,
    Standing,
    ordered,
    robustness_of,
)
from deploy_action.text.located_json import JsonValue
from tests.support.sweeps import figures, swept

GRID: dict[str, Sequence[JsonValue]] = {"env.FAST": [5, 10, 15], "env.SLOW": [20, 30, 40]}


def around(results: Sequence[float | None], current: int | None = 4) -> Neighbourhood:
    """Return the neighbourhood in a grid of three by three; index 4 is in its middle."""
    made = iter(results)
    found = robustness_of(swept(GRID, lambda *_: next(made), current=current)).neighbourhood
    assert found is not None
    return found


def test_neighbours_differ_by_one_step_in_one_parameter() -> None:
    found = around([9.0, 80.0, 9.0, 70.0, 100.0, 90.0, 9.0, 60.0, 9.0])
    assert [one.index for one in found.neighbours] == [1, 7, 3, 5]
    assert found.shares == (0.6, 0.7, 0.8, 0.9)
    assert (found.median_share, found.kept, found.edges) == (0.75, 4, ())
    assert (found.worst, found.better) == (7, None)
    assert found.standing is Standing.PLATEAU


@pytest.mark.parametrize(
    ("beside", "result", "standing"),
    [
        ([50.0, 50.0, 50.0, 50.0], 100.0, Standing.PLATEAU),
        ([149.0, 50.0, 50.0, 50.0], 100.0, Standing.PLATEAU),
        ([150.0, 90.0, 90.0, 90.0], 100.0, Standing.SLOPE),
        ([49.0, 90.0, 90.0, 90.0], 100.0, Standing.SLOPE),
        ([49.0, 49.0, 90.0, 90.0], 100.0, Standing.SLOPE),
        ([49.0, 49.0, 49.0, 90.0], 100.0, Standing.PEAK),
        ([49.0, 49.0, 49.0, 110.0], 100.0, Standing.SLOPE),
        ([-50.0, -9.0, 0.0, 10.0], 100.0, Standing.PEAK),
        ([9.0, 9.0, 9.0, 9.0], 0.0, Standing.NO_GAIN),
        ([-9.0, -9.0, -9.0, -9.0], -8.0, Standing.NO_GAIN),
        ([90.0, 90.0, None, None], 100.0, Standing.PLATEAU),
        ([90.0, None, None, None], 100.0, Standing.UNKNOWN),
        ([90.0, 90.0, 90.0, 90.0], None, Standing.UNKNOWN),
    ],
)
def test_what_neighbours_say(
    beside: Sequence[float | None], result: float | None, standing: Standing
) -> None:
    up, down, left, right = beside
    found = around([1.0, up, 1.0, left, result, right, 1.0, down, 1.0])
    assert found.standing is standing


def test_a_corner_has_two_neighbours_and_two_edges() -> None:
    found = around([100.0, 90.0, 1.0, 80.0, 1.0, 1.0, 1.0, 1.0, 1.0], current=0)
    assert [one.index for one in found.neighbours] == [3, 1]
    assert found.edges == ("FAST", "SLOW")
    assert found.standing is Standing.PLATEAU


def test_without_a_current_setting_the_best_one_is_looked_at() -> None:
    found = around([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], current=None)
    assert (found.setting, found.is_current, found.result) == (8, False, 9.0)


def test_of_equals_the_current_setting_is_the_best() -> None:
    assert robustness_of(swept(GRID, lambda *_: 5.0, current=4)).ranking[:3] == (4, 0, 1)
    assert robustness_of(swept(GRID, lambda *_: 5.0)).ranking[:3] == (0, 1, 2)


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([30, 5, 10.5], (1, 2, 0)),
        (["30", "5", "1e1"], (1, 2, 0)),
        (["2024-02-01", "2023-12-31", "2024-01-01T12:00:00"], (1, 2, 0)),
        (["1y", "30d", "2w"], (2, 1, 0)),
        ([None, 20, 10], (2, 1)),
        (["fast", "slow"], ()),
        ([True, False], ()),
        ([10, "close"], ()),
        ([{"USD": 1}, {"USD": 2}], ()),
        ([10], ()),
        ([None, 10], ()),
        (["inf", "1"], ()),
        ([10**400, 1], ()),
    ],
)
def test_an_order_needs_numbers_dates_or_lengths(
    values: Sequence[JsonValue], places: Sequence[int]
) -> None:
    assert ordered(Axis("x", tuple(values))) == places


def test_words_have_no_neighbours() -> None:
    axes: dict[str, Sequence[JsonValue]] = {"env.KIND": ["ema", "sma"], "env.FAST": [3, 1, 2]}
    found = robustness_of(swept(axes, lambda kind, fast: fast + (kind == "sma"), current=2))
    assert found.neighbourhood is not None
    assert [one.index for one in found.neighbourhood.neighbours] == [1, 0]
    assert found.neighbourhood.edges == ()


def test_a_parameter_without_effect_is_named_and_has_no_neighbours() -> None:
    found = robustness_of(swept(GRID, lambda fast, _: float(fast), current=4))
    assert found.idle == ("SLOW",)
    assert found.neighbourhood is not None
    assert [one.index for one in found.neighbourhood.neighbours] == [1, 7]
    assert not any(one.is_same for one in found.neighbourhood.neighbours)


def test_a_neighbour_with_the_same_trades_is_marked() -> None:
    found = robustness_of(swept(GRID, lambda fast, slow: max(fast * 4, slow), current=4))
    assert found.idle == ()
    assert found.neighbourhood is not None
    assert [one.is_same for one in found.neighbourhood.neighbours] == [False, False, True, True]


def test_a_single_value_and_failed_combinations_are_not_without_effect() -> None:
    axes: dict[str, Sequence[JsonValue]] = {"env.FAST": [1, 2], "env.SLOW": [20]}
    assert robustness_of(swept(axes, lambda *_: None)).idle == ()
    assert robustness_of(swept(axes, lambda fast, _: fast)).idle == ()


def test_returns_of_other_periods_are_not_compared() -> None:
    def sharpe_of(to: str) -> object:
        return figures({"1y": 30.0, "2y": 50.0}[to], sharpe={"1y": 2.0, "2y": 1.0}[to])

    found = robustness_of(swept({"to": ["1y", "2y"]}, sharpe_of, current=0))  # type: ignore[arg-type]  # figures
    assert (found.objective, found.ranking) == ("sharpe", (0, 1))
    assert found.neighbourhood is not None
    assert found.neighbourhood.shares == (0.5,)
    assert robustness_of(swept({"to": ["1y"]}, lambda _: 1.0)).objective == "cum_returns"


def test_all_combinations_are_summed_up() -> None:
    made = iter([-10.0, 0.0, None, 10.0, 20.0, 30.0, 40.0])
    found = robustness_of(swept({"env.X": range(7)}, lambda _: next(made), current=3))
    assert found.ranking == (6, 5, 4, 3, 1, 0)
    assert (found.gained, found.beat, found.held) == (4, 2, 6)


def test_what_holding_made_may_be_unknown() -> None:
    found = robustness_of(swept({"env.X": [1, 2]}, lambda x: figures(float(x), held=None)))
    assert (found.beat, found.held) == (0, 0)


def test_nothing_is_said_of_a_sweep_in_which_all_failed() -> None:
    found = robustness_of(swept(GRID, lambda *_: None))
    assert (found.neighbourhood, found.ranking, found.idle) == (None, (), ())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_neighbours_are_all_that_differ_in_one_parameter_by_one_step(data: st.DataObject) -> None:
    """Whatever the number of parameters and the order in which values were given."""
    number = data.draw(st.integers(1, 3))
    values = st.lists(st.integers(-9, 9), min_size=1, max_size=4, unique=True)
    axes: dict[str, Sequence[JsonValue]] = {f"p{n}": data.draw(values) for n in range(number)}
    made = {
        one: data.draw(st.one_of(st.none(), st.floats(-50, 50))) for one in product(*axes.values())
    }
    combinations = [*made]
    current = data.draw(st.integers(0, len(combinations) - 1))
    # Trades that differ everywhere: no parameter is without effect.
    found = robustness_of(
        swept(
            axes,
            lambda *one: None if made[one] is None else figures(made[one], trades=repr(one)),
            current=current,
        )
    ).neighbourhood
    assert found is not None

    def is_beside(other: tuple[JsonValue, ...]) -> bool:
        own = combinations[current]
        differing = [n for n in range(number) if other[n] != own[n]]
        if len(differing) != 1:
            return False
        (n,) = differing
        order = sorted(axes[f"p{n}"])  # type: ignore[type-var]  # integers
        return abs(order.index(other[n]) - order.index(own[n])) == 1

    beside = [index for index, one in enumerate(combinations) if is_beside(one)]
    assert sorted(one.index for one in found.neighbours) == beside
    for one in found.neighbours:
        assert one.result == made[combinations[one.index]]
        assert not one.is_same


def test_two_of_six_neighbours_say_too_little() -> None:
    axes: dict[str, Sequence[JsonValue]] = {name: [1, 2, 3] for name in ("a", "b", "c")}

    def made(*values: int, known: int) -> float | None:
        beside = [(1, 2, 2), (3, 2, 2), (2, 1, 2), (2, 3, 2), (2, 2, 1), (2, 2, 3)]
        return None if values in beside[known:] else 90.0 + sum(values)

    standings = []
    for known in (2, 3):
        found = robustness_of(swept(axes, partial(made, known=known), current=13)).neighbourhood
        assert found is not None
        standings.append(found.standing)
    assert standings == [Standing.UNKNOWN, Standing.PLATEAU]
