from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deploy_action.pages.thinning import kept_points

VALUES = st.floats(-1e6, 1e6) | st.just(math.nan)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=400)


@given(pairs=PAIRS, most=st.integers(8, 40))
def test_few_points_stay_in_order_and_with_both_ends(
    pairs: list[tuple[float, float]], most: int
) -> None:
    kept = kept_points(list(zip(*pairs, strict=True)), most)

    assert len(kept) <= most
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, len(pairs) - 1)
    if len(pairs) <= most:
        assert len(kept) == len(pairs)


@given(pairs=PAIRS, most=st.integers(8, 40))
def test_the_lowest_and_the_highest_value_of_every_column_stay(
    pairs: list[tuple[float, float]], most: int
) -> None:
    columns = list(zip(*pairs, strict=True))

    kept = kept_points(columns, most)

    for values in columns:
        known = [value for value in values if not math.isnan(value)]
        drawn = [values[index] for index in kept if not math.isnan(values[index])]
        if known:
            assert (min(drawn), max(drawn)) == (min(known), max(known))


@given(pairs=PAIRS, most=st.integers(8, 40))
def test_a_stretch_without_values_stays_a_gap(pairs: list[tuple[float, float]], most: int) -> None:
    columns = list(zip(*pairs, strict=True))

    kept = kept_points(columns, most)

    for values in columns:
        if any(map(math.isnan, values)):
            assert any(math.isnan(values[index]) for index in kept)


def test_extremes_and_gaps_of_a_long_series_are_never_far_from_where_they_were() -> None:
    values = [math.sin(step / 1_000) for step in range(100_000)]
    values[54_321] = -5.0
    values[77_777] = math.nan

    kept = kept_points([values], 3_000)

    assert {54_321, 77_777} <= set(kept)
    assert max(after - before for before, after in pairwise(kept)) < 250
