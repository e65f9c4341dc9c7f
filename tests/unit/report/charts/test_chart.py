from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from deploy_action.backtest.account import AccountValues
from deploy_action.report.charts.chart import Curve, Drawing, draw
from deploy_action.report.charts.mermaid import MOST_POINTS
from tests.support.backtests import DAY, a_result
from tests.support.nasty import nasty_text

# Gitea renders no source that is longer.
GITEA = 5_000
finite = st.floats(allow_nan=False, allow_infinity=False)


def drawn(values: Sequence[float | None], unit: str = "USD", *, step: float = DAY) -> Drawing:
    drawing = draw(a_result(values, step=step).account_values, unit)
    assert drawing is not None
    return drawing


def line(picture: str) -> list[float]:
    found = re.search(r"^  line \[(.*)\]$", picture, re.MULTILINE)
    assert found
    return [float(value) for value in found[1].split(", ")]


def labels(picture: str) -> list[str]:
    found = re.search(r"^  x-axis \[(.*)\]$", picture, re.MULTILINE)
    assert found
    return re.findall(r'"([^"]*)"', found[1])


def dates(picture: str) -> list[str]:
    bare = (re.sub("[\u200b\u200c]", "", label) for label in labels(picture))
    return [label for label in bare if label]


def limits(picture: str) -> tuple[float, float]:
    found = re.search(r"y-axis (?:\".*\" )?(\S+) --> (\S+)", picture)
    assert found
    return float(found[1]), float(found[2])


def test_a_series_is_drawn_with_its_drawdown() -> None:
    values: list[float | None] = [100.0 + day - (30 if 40 <= day < 50 else 0) for day in range(100)]
    value, drawdown = drawn(values).mermaid
    assert 'title "Account value in USD"' in value
    assert line(value) == values
    assert limits(value)[0] < 100
    assert limits(value)[1] > 199
    assert 'title "Drawdown in %"' in drawdown
    assert min(line(drawdown)) == pytest.approx((110 / 139 - 1) * 100, abs=0.01)
    assert max(line(drawdown)) == 0
    assert dates(value) == dates(drawdown) == ["11 Mar", "31 Mar", "20 Apr", "10 May", "30 May"]


@pytest.mark.parametrize("values", [[], [None], [5.0], [None, 5.0, None]])
def test_less_than_two_values_are_no_chart(values: list[float | None]) -> None:
    assert draw(a_result(values).account_values, "USD") is None


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (7 * DAY, ["May 2023", "Sep 2023", "Feb 2024", "Jul 2024", "Nov 2024"]),
        (DAY / 4, ["03 Mar", "08 Mar", "13 Mar", "18 Mar", "23 Mar"]),
        (3_600, ["01 Mar 16:00", "03 Mar 02:00", "04 Mar 11:00"]),
        (60, ["00:10", "00:30", "00:50", "01:10", "01:30"]),
    ],
    ids=["years", "weeks", "days", "hours"],
)
def test_dates_are_as_short_as_the_period_allows(step: float, expected: list[str]) -> None:
    assert dates(drawn([float(day) for day in range(100)], step=step).mermaid[0]) == expected


@given(st.lists(finite | st.none(), max_size=300), st.sampled_from([1e-3, 1, DAY, 1e15]))
def test_any_series_is_drawn(values: list[float | None], step: float) -> None:
    drawing = draw(a_result(values, step=step).account_values, "USD")
    known = [value for value in values if value is not None]
    assert (drawing is None) == (len(known) < 2)
    for picture in drawing.mermaid if drawing else ():
        low, high = limits(picture)
        assert low < high
        assert all(math.isfinite(value) and low <= value <= high for value in line(picture))
        assert 20 <= len(line(picture)) <= MOST_POINTS
        assert len(set(labels(picture))) == len(labels(picture)) == len(line(picture))
        assert len(picture) < GITEA
    for row in drawing.text.split("\n") if drawing else ():
        assert len(row) <= 96


@given(nasty_text)
def test_the_unit_cannot_break_out_of_the_title(unit: str) -> None:
    """It is the only text in a chart that comes from a server."""
    drawing = drawn([2.0, 1.0], unit)
    source = drawing.mermaid[0].split("\n")
    assert len(source) == 6
    assert re.fullmatch(r'  title "[\w .,%()^-]*"', source[2])
    assert re.fullmatch(r"Account value[\w .,%()^-]{,20}", drawing.text.split("\n")[0])


def test_no_extreme_is_lost() -> None:
    values: list[float | None] = [1_000.0 + number % 7 for number in range(100_000)]
    values[0], values[33_333], values[77_777], values[-1] = 1_009.0, 2_000.0, 400.0, 1_010.0
    value, drawdown = map(line, drawn(values).mermaid)
    assert (value[0], max(value), min(value), value[-1]) == (1_009.0, 2_000.0, 400.0, 1_010.0)
    assert min(drawdown) == -80


def test_drawdowns_are_shares_of_the_highest_value_so_far() -> None:
    """Not of the start. An account that starts with nothing has none."""
    found = a_result([100.0, 200.0, 150.0, 300.0, 0.0, -300.0]).account_values.drawdowns()
    assert found is not None
    assert list(found.values) == [0, 0, -25, 0, -100, -200]
    assert a_result([0.0, 5.0]).account_values.drawdowns() is None
    assert a_result([]).account_values.drawdowns() is None


def test_an_account_that_never_fell_has_no_chart_of_it() -> None:
    """The note says why; so it does for an account that started with nothing."""
    assert drawn([1.0, 1.0, 2.0]).note == "The account never fell below an earlier value."
    assert "nothing to lose" in drawn([0.0, 1.0]).note
    assert [len(drawn(values).mermaid) for values in ([1.0, 2.0], [0.0, 1.0], [2.0, 1.0])] == [
        1,
        1,
        2,
    ]


@pytest.mark.parametrize(
    ("scale", "name"),
    [
        (1.0, "USD"),
        (3_333.0, "USD"),
        (3_334.0, "thousand USD"),
        (1e5, "thousand USD"),
        (1e8, "million USD"),
        (1e12, "trillion USD"),
        (1e15, "10^15 USD"),
        (1e-6, "10^-6 USD"),
    ],
)
def test_the_axis_has_readable_numbers(scale: float, name: str) -> None:
    value = drawn([2.0 * scale, 3.0 * scale]).mermaid[0]
    assert f'title "Account value in {name}"' in value
    # Mermaid writes no thousands separators.
    assert max(map(abs, limits(value))) < (1_000 if scale > 3_333 else 11_000)


def test_a_flat_series_lies_in_the_middle() -> None:
    low, high = limits(drawn([1_000.0] * 5).mermaid[0])
    assert low + high == 2_000
    assert limits(drawn([0.0, 0.0]).mermaid[0]) == (0, 1)
    assert limits(drawn([1.0, 100.0]).mermaid[0])[0] == 0
    assert limits(drawn([-1.0, 100.0]).mermaid[0])[0] < -1


def test_the_text_chart_shows_the_same() -> None:
    values: list[float | None] = [*(float(day) for day in range(1, 31)), *[15.0] * 30]

    text = drawn(values).text

    assert text.split("\n") == [
        "Account value in USD",
        "30.00 ┤                          ▁▄▆█",
        "      ┤                      ▁▃▅▇████",
        "      ┤                   ▂▄▇████████",
        "      ┤               ▂▄▆████████████",
        "      ┤           ▁▃▅▇███████████████" + "▇" * 30,
        "      ┤        ▂▅▇██████████████████" + "█" * 31,
        "      ┤    ▂▄▆█████████████████████" + "█" * 32,
        " 1.00 ┤▁▃▅█████████████████████████" + "█" * 32,
        "      └" + "─" * 60,
        "       2023-03-01               2023-03-31               2023-04-29",
        "",
        "Drawdown",
        "  0% ┤" + " " * 30 + "█" * 30,
        "     ┤" + " " * 30 + "█" * 30,
        "     ┤" + " " * 30 + "█" * 30,
        "\u221250% ┤" + " " * 30 + "█" * 30,
        "     └" + "─" * 60,
        "      2023-03-01               2023-03-31               2023-04-29",
    ]


@pytest.mark.slow
def test_a_million_values_fit_into_a_drawing() -> None:
    drawing = drawn([1_000.0 + number % 777 for number in range(1_000_000)], step=60)
    assert max(map(len, drawing.mermaid)) < GITEA
    values = line(drawing.mermaid[0])
    assert len(values) <= MOST_POINTS
    assert (min(values), max(values)) == (1_000.0, 1_776.0)


def series(points: Sequence[tuple[float, float]]) -> AccountValues:
    times, values = zip(*points, strict=True) if points else ((), ())
    return AccountValues(array("d", times), array("d", values))


def lines_of(picture: str) -> list[list[float]]:
    """Return the values of all lines, the model's first; in the source it is last."""
    found = re.findall(r"^  line \[(.*)\]$", picture, re.MULTILINE)
    return [[float(value) for value in one.split(", ")] for one in found][::-1]


def drawn_with(candidate: AccountValues, base: AccountValues) -> Drawing:
    drawing = draw(candidate, "USD", base=base)
    assert drawing is not None
    return drawing


def test_holding_and_the_base_are_drawn_below_in_their_colours() -> None:
    now = series([(day * DAY, 100.0 + day) for day in range(60)])
    held = series([(day * DAY, 100.0 + 2 * day) for day in range(60)])
    base = series([(day * DAY, 200.0 - day) for day in range(60)])
    drawing = draw(now, "USD", holding=held, base=base)
    assert drawing is not None
    value, drawdown = drawing.mermaid
    assert lines_of(value) == [list(one.values) for one in (now, held, base)]
    assert '"plotColorPalette": "#d17a22, #8b949e, #2f81f7"' in value
    assert drawing.curves == (Curve.MODEL, Curve.HOLDING, Curve.BASE)
    assert len(lines_of(drawdown)) == 3
    alone = draw(now, "USD", holding=held)
    assert alone is not None
    assert '"plotColorPalette": "#8b949e, #2f81f7"' in alone.mermaid[0]
    assert (alone.curves, len(alone.mermaid)) == ((Curve.MODEL, Curve.HOLDING), 1)


def test_a_holding_of_a_single_price_is_not_drawn() -> None:
    now = series([(0.0, 1.0), (1.0, 2.0)])
    drawing = draw(now, "USD", holding=series([(0.0, 1.0)]))
    assert drawing is not None
    assert drawing.curves == (Curve.MODEL,)


def test_both_charts_have_the_same_times_one_below_the_other() -> None:
    """Also where the drawdown's extremes are at other times than the value's."""
    values = [1e6 + 4e5 * math.sin(number / 900) + number for number in range(20_000)]
    now = series([(60.0 * number, value) for number, value in enumerate(values)])
    held = series([(60.0 * number, 2e6 - value) for number, value in enumerate(values)])
    drawing = draw(now, "USD", holding=held)
    assert drawing is not None
    value, drawdown = drawing.mermaid
    assert labels(value) == labels(drawdown)
    assert {len(one) for one in (*lines_of(value), *lines_of(drawdown))} == {len(labels(value))}


def test_a_base_is_drawn_below_in_another_colour() -> None:
    now = series([(day * DAY, 100.0 + day) for day in range(60)])
    base = series([(day * DAY, 200.0 - day) for day in range(60)])
    drawing = drawn_with(now, base)
    value, drawdown = drawing.mermaid
    assert lines_of(value) == [list(now.values), list(base.values)]
    assert '"plotColorPalette": "#d17a22, #2f81f7"' in value
    assert '"plotColorPalette": "#d17a22, #2f81f7"' in drawdown
    candidate, falling = lines_of(drawdown)
    assert set(candidate) == {0}
    assert min(falling) == pytest.approx(-29.5)
    assert (drawing.curves, drawing.note) == ((Curve.MODEL, Curve.BASE), "")


points = st.lists(st.tuples(finite, finite), max_size=250)
any_series = st.one_of(points, points.map(sorted)).map(series)


@given(any_series, any_series, any_series)
def test_any_series_are_drawn_together(
    candidate: AccountValues, base: AccountValues, holding: AccountValues
) -> None:
    drawing = draw(candidate, "USD", base=base, holding=holding)
    assert (drawing is None) == (len(candidate) < 2)
    if drawing is None:
        return
    assert (Curve.BASE in drawing.curves) == (len(base) > 1 and base != candidate)
    assert (Curve.HOLDING in drawing.curves) == (len(holding) > 1)
    for picture in drawing.mermaid:
        low, high = limits(picture)
        found = re.findall(r"^  line \[(.*)\]$", picture, re.MULTILINE)
        lines = [[float(value) for value in one.split(", ")] for one in found]
        assert len(picture) < GITEA
        assert len({len(one) for one in lines} | {len(set(labels(picture)))}) == 1
        assert all(low <= value <= high for one in lines for value in one)
    assert all(len(row) <= 96 for row in drawing.text.split("\n"))


plain_points = st.lists(
    st.tuples(st.integers(0, 500).map(float), st.integers(-9_999, 9_999).map(float)),
    min_size=2,
    max_size=250,
)
plain_series = st.one_of(plain_points, plain_points.map(sorted)).map(series)


@given(plain_series, plain_series)
@example(
    series([(0.0, 1.0), (1.0, 2.0), (1.0, 99.0), (1.0, 3.0)]), series([(0.0, 1.0), (1.0, 2.0)])
)
def test_no_extreme_of_two_series_is_lost(candidate: AccountValues, base: AccountValues) -> None:
    assume(candidate != base)
    lines = lines_of(drawn_with(candidate, base).mermaid[0])
    assert len(lines[0]) <= MOST_POINTS
    for one, drawn_line in zip((candidate, base), lines, strict=True):
        assert min(drawn_line) == pytest.approx(min(one.values), abs=20)
        assert max(drawn_line) == pytest.approx(max(one.values), abs=20)
        assert drawn_line[0] == pytest.approx(one.values[0], abs=20)
        assert drawn_line[-1] == pytest.approx(one.values[-1], abs=20)


def test_an_extreme_is_near_its_time_and_the_axis_even() -> None:
    times = [60.0 * number for number in range(100_000)]
    now = [(time, 1_000.0 + number % 7) for number, time in enumerate(times)]
    base = [(time, 2_000.0 + number % 5) for number, time in enumerate(times)]
    now[25_000], now[75_000] = (times[25_000], 4_000.0), (times[75_000], 10.0)
    base[50_000], base[60_000] = (times[50_000], 5_000.0), (times[60_000], 20.0)
    candidate, other = lines_of(drawn_with(series(now), series(base)).mermaid[0])
    places = [
        (line.index(value) / len(line), value)
        for line, value in ((candidate, 4_000), (candidate, 10), (other, 5_000), (other, 20))
    ]
    assert [value for _, value in places] == [4_000, 10, 5_000, 20]
    assert [place for place, _ in places] == pytest.approx([0.25, 0.75, 0.5, 0.6], abs=0.02)


def test_a_line_is_level_where_its_backtest_has_no_values() -> None:
    now = series([(float(time), float(time)) for time in range(1_000)])
    base = series([(float(time), 5.0 * time) for time in (*range(200, 400), *range(600, 800))])
    drawing = drawn_with(now, base)
    _, other = lines_of(drawing.mermaid[0])
    count = len(other)
    assert set(other[: count // 5 - 1]) == {1_000.0}
    assert set(other[-count // 5 + 2 :]) == {3_995.0}
    assert other[count // 2] == pytest.approx(2_500, rel=0.02)
    assert all(later >= earlier for earlier, later in pairwise(other))
    assert drawing.note.startswith("The two backtests cover different times")


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ([(0.0, 1.0)], "The base has too few account values for a curve."),
        ([], "The base has too few account values for a curve."),
        ([(0.0, 3.0), (1.0, 2.0)], "The curve of the base is the same."),
    ],
)
def test_a_base_without_a_curve_of_its_own_is_not_drawn(
    base: list[tuple[float, float]], said: str
) -> None:
    now = series([(0.0, 3.0), (1.0, 2.0)])
    alone = draw(now, "USD")
    assert alone is not None
    drawing = drawn_with(now, series(base))
    assert (drawing.mermaid, drawing.text) == (alone.mermaid, alone.text)
    assert (drawing.note, drawing.curves) == (said, (Curve.MODEL,))


def test_the_text_chart_marks_the_others_over_the_models_area() -> None:
    now = series([(day * DAY, 10.0 + day) for day in range(31)])
    held = series([(day * DAY, 40.0 - day) for day in range(31)])
    base = series([(day * DAY, 5.0) for day in range(31)])
    drawing = draw(now, "USD", holding=held, base=base)
    assert drawing is not None
    title, *rows = drawing.text.split("\n")[:9]
    assert title == "Account value in USD (o holding, x base)"
    assert rows[0].startswith("40.00 ┤oooo")
    assert rows[0].endswith("█")
    assert rows[7] == " 5.00 ┤" + "x" * 31
    # Nothing of the account fell, so there is no second chart.
    assert "Drawdown" not in drawing.text
    assert len(drawing.mermaid) == 2
