"""The history of a model's backtests: only like with like, and what drifted."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.figures.document import figures_document
from deploy_action.backtest.result import BacktestRun
from deploy_action.backtest.wire import parse_run
from deploy_action.platform.storage.records import VersionStatus
from deploy_action.platform.storage.tables.figures import Figures
from deploy_action.platform.web.backtests.history_chart import _ticks, draw
from deploy_action.platform.web.backtests.lines import Line, Point, lines_of
from tests.support.backtests import START, a_market, a_result
from tests.support.scripted_live_server import LivePlatform
from tests.support.versions import a_version
from tests.support.visitor import Visitor, text_of

DAY = 86_400
PRICES = [100.0 + bar for bar in range(100)]


def a_run(**facts: Any) -> BacktestRun | None:
    return parse_run({"python": "3.11.2", "blankly": "1.18.0", "constraints": [], **facts})


def a_document(
    *,
    prices: list[float] = PRICES,
    start: float = START,
    made: float = 10_500.0,
    arguments: dict[str, object] | None = None,
    symbol: str = "OAK-USD",
    fee: float = 0.001,
    **facts: Any,
) -> dict[str, Any]:
    """Return the figures of a backtest over daily prices."""
    times = [start + DAY * bar for bar in range(len(prices))]
    market = a_market({symbol: prices}, of_symbol={"times": times, "taker_fee": fee})
    values = [{"time": times[0], "value": 10_000.0}, {"time": times[-1], "value": made}]
    result = a_result(account_values=values, market=market, start_time=start)
    run = a_run(arguments={"to": "1y"} if arguments is None else arguments, **facts)
    return dict(figures_document(result, run, {}))


NO_VARIABLES: dict[str, Any] = {"names": [], "digest": ""}


def a_point(
    time: float,
    sha256: str = "a" * 64,
    variables: dict[str, Any] | None = NO_VARIABLES,
    **changes: Any,
) -> Point:
    return Point(
        time=time,
        backtest_id=f"b-{time:g}",
        version=a_version("p", "m", sha256=sha256),
        twin=None,
        deployed=None,
        variables=variables,
        document={**a_document(**changes), "variables": variables},
    )


def with_metric(point: Point, name: str, value: float | None) -> None:
    point.document["metrics"][name] = value


def times(lines: list[Line]) -> list[list[float]]:
    return [[point.time for point in line.points] for line in lines]


def test_like_is_in_one_line_in_the_order_of_time() -> None:
    lines = lines_of([a_point(3), a_point(1, made=9_000.0), a_point(2)])

    assert times(lines) == [[1, 2, 3]]
    assert not lines[0].moves


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {"to": "1y", "use_price": "close"}},
        {"symbol": "ELM-USD"},
        {"fee": 0.0},
        {"prices": PRICES[:50]},
        {"variables": {"names": ["FAST"], "digest": "5" * 64}},
    ],
    ids=["arguments", "symbols", "fees", "length", "variables"],
)
def test_what_is_unlike_is_another_line(other: dict[str, Any]) -> None:
    lines = lines_of([a_point(1), a_point(2), a_point(3, **other)])

    assert times(lines) == [[3], [1, 2]]


def test_other_values_of_the_same_variables_are_another_line_and_no_drift() -> None:
    five, ten = ({"names": ["FAST"], "digest": digit * 64} for digit in "5a")
    points = [a_point(1, variables=ten), a_point(2, variables=five, made=9_000.0)]
    points += [a_point(3, variables=ten), a_point(4, variables=five, made=9_000.0)]

    lines = lines_of(points)

    assert times(lines) == [[2, 4], [1, 3]]
    assert [one.drift for line in lines for one in line.points] == [""] * 4


def test_unknown_variables_are_like_no_others() -> None:
    points = [a_point(1, variables=None), a_point(2, variables=None), a_point(3)]

    assert times(lines_of(points)) == [[3], [2], [1]]


def test_a_period_that_grows_each_time_does_not_stay_in_one_line() -> None:
    weekly = [a_point(week, prices=[100.0] * (100 + 3 * week)) for week in range(100)]

    lines = lines_of(weekly)

    assert len(lines) > 10
    for line in lines:
        lengths = [one.period[1] - one.period[0] for one in line.points if one.period]
        assert max(lengths) - min(lengths) <= 0.03 * max(lengths) + 4 * DAY


def test_what_says_too_little_to_be_compared_is_alone() -> None:
    points = [
        Point(time=time, backtest_id=None, version=a_version("p", "m"), twin=None, deployed=None,
              variables=NO_VARIABLES, document={"metrics": {"sharpe": 1.0}})
        for time in (1, 2)
    ]  # fmt: skip

    assert times(lines_of(points)) == [[2], [1]]


def test_a_period_that_moves_is_one_line_that_says_so() -> None:
    nightly = [a_point(night, start=START + DAY * night) for night in range(3)]

    (line,) = lines_of(nightly)

    assert line.moves
    assert [one.drift for one in line.points] == ["", "", ""]


def test_new_bytes_are_marked() -> None:
    points = [a_point(1), a_point(2), a_point(3, sha256="b" * 64), a_point(4, sha256="a" * 64)]

    (line,) = lines_of(points)

    assert [one.has_new_bytes for one in line.points] == [True, False, True, True]
    assert [one.before_id for one in line.points] == [None, "b-1", "b-2", "b-3"]


def test_other_prices_are_named_as_the_reason_for_a_drift() -> None:
    revised = [*PRICES[:-1], 150.0]
    before, now = a_point(1), a_point(2, made=10_400.0, prices=revised, blankly="1.19.0")

    (line,) = lines_of([before, now])

    said = line.points[1].drift
    assert "the prices are other ones" in said
    assert "blankly is 1.19.0, not 1.18.0" in said
    assert line.points[0].drift == ""


def test_a_drift_without_a_known_reason_says_what_is_the_same() -> None:
    (line,) = lines_of([a_point(1), a_point(2, sha256="b" * 64), a_point(3, made=10_400.0)])

    assert "with the same prices, Python and blankly" in line.points[2].drift


def test_the_last_bits_of_a_float_are_no_drift() -> None:
    (line,) = lines_of([a_point(1), a_point(2, made=10_500.000000001)])

    assert line.points[1].drift == ""


def test_a_picture_has_gaps_where_a_figure_is_unknown() -> None:
    points = [a_point(time) for time in range(5)]
    for point, sharpe in zip(points, (1.0, 2.0, None, 9.0, 3.0), strict=True):
        with_metric(point, "sharpe", sharpe)

    picture = draw(lines_of(points)[0], "sharpe")

    assert picture is not None
    assert len(picture.dots) == 4
    assert len(picture.strokes) == 2
    assert min(picture.dots, key=lambda dot: dot.y).title.startswith("9.00")


def test_the_range_of_the_picture_is_that_of_the_line_without_holding() -> None:
    points = [a_point(1), a_point(2, made=10_510.0)]

    picture = draw(lines_of(points)[0], "cum_returns")

    assert all(point.metrics["hold_return"] == pytest.approx(99) for point in points)
    assert picture is not None
    assert (picture.lowest, picture.highest) == ("5%", "5.1%")
    assert [dot.y for dot in picture.dots] == [88, 12]
    assert picture.zero is None


def test_the_label_says_what_the_picture_shows() -> None:
    picture = draw(lines_of([a_point(1), a_point(2, made=9_000.0)])[0], "cum_returns")

    assert picture is not None
    assert picture.zero is not None
    assert "5% at first, −10% at last" in picture.label  # noqa: RUF001  # a minus sign


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((1.0, 2.0), ["1.00", "1.50", "2.00"]),
        ((-0.3, 0.9), ["0.00", "0.50"]),
        ((-3.0, 9.0), ["0.00", "5.00"]),
        ((0.5, 2.4), ["0.50", "1.00", "1.50", "2.00", "2.50"]),
        ((1.5, 1.5), ["1.50"]),
        ((0.01, 1.0), ["0.00", "0.50", "1.00"]),
        ((0.0, 5e-324), None),
        ((1e-300, 3e-300), None),
    ],
)
def test_the_vertical_axis_has_a_few_round_values(
    values: tuple[float, float], labels: list[str] | None
) -> None:
    points = [a_point(1), a_point(2)]
    for point, sharpe in zip(points, values, strict=True):
        with_metric(point, "sharpe", sharpe)

    picture = draw(lines_of(points)[0], "sharpe")

    assert picture is not None
    ticks = picture.ticks
    assert 1 <= len(ticks) <= 6
    assert labels is None or [one.label for one in ticks] == labels
    assert all(5 < one.y < 95 for one in ticks)
    assert len({one.label for one in ticks}) == len(ticks)
    assert [one.y for one in ticks] == sorted((one.y for one in ticks), reverse=True)
    # Zero is a line of its own where it is a value of the axis.
    assert (picture.zero in [one.y for one in ticks]) == ("0.00" in [one.label for one in ticks])


@given(
    low=st.floats(allow_nan=False, allow_infinity=False),
    high=st.floats(allow_nan=False, allow_infinity=False),
)
def test_each_value_of_the_axis_is_where_it_belongs(low: float, high: float) -> None:
    ticks = _ticks(min(low, high), max(low, high))
    assert 1 <= len(ticks) <= 6
    assert all(min(low, high) <= one <= max(low, high) for one in ticks)


def test_an_amount_has_its_unit() -> None:
    points = [a_point(1), a_point(2, made=9_000.0)]

    picture = draw(lines_of(points)[0], "final_account_value")

    assert picture is not None
    assert picture.unit == "USD"
    assert "Final value of 2 backtests, in USD: " in picture.label
    assert [one.label for one in picture.ticks] == ["9,000.00", "9,500.00", "10,000", "10,500"]
    percent = draw(lines_of(points)[0], "cum_returns")
    assert percent is not None
    assert percent.unit == ""
    assert [one.label for one in percent.ticks] == ["−10%", "−5%", "0%", "5%"]  # noqa: RUF001  # a minus sign


def test_a_single_value_makes_no_picture() -> None:
    points = [a_point(1), a_point(2)]
    with_metric(points[0], "sharpe", 1.0)

    assert draw(lines_of(points)[0], "sharpe") is None


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    visitor = Visitor(live.parts.url)
    visitor.sign_in(live.refresh_token)
    return visitor


def keep(live: LivePlatform, model_id: str, points: list[Point], **version: Any) -> None:
    with live.parts.store.transaction() as transaction:
        for point in points:
            added = a_version(live.user_id, model_id, sha256=point.version.sha256, **version)
            transaction.add_version(added, "")
            transaction.figures.keep(Figures(added.id, None, point.time, point.document))


def page(visitor: Visitor, live: LivePlatform, model_id: str, query: str = "") -> str:
    answer = visitor.get(f"/{live.user_id}/{model_id}/backtests/history{query}")
    assert answer.status_code == 200
    return answer.text


def test_the_page_has_a_picture_and_the_same_numbers_in_a_table(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    keep(live, model_id, [a_point(1), a_point(2, made=9_000.0, sha256="b" * 64)])

    html = page(visitor, live, model_id)

    assert html.count("<circle") == 2
    assert 'role="img" aria-label="Return of 2 backtests: 5% at first' in html
    cells = re.findall(r'<td class="number">([^<]*)</td>', html)
    assert cells[0] == "−10.00%"  # noqa: RUF001  # a minus sign
    assert "+5.00%" in cells
    assert "not drawn. Filled points" in text_of(html)
    assert "OAK-USD over 100 days" in text_of(html)
    assert "2023-03-01 to 2023-06-09" in text_of(html)
    assert "ended 1970-01-01" in text_of(html)
    assert "one whose gates failed leaves nothing here" in text_of(html)
    assert "so it has no page" in text_of(html)
    assert "Fees 0.10%" in text_of(html)


def test_a_moving_period_and_a_drift_are_said_in_words(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    nightly = [a_point(night, start=START + DAY * night) for night in range(3)]
    keep(live, model_id, [*nightly, a_point(9, start=START + DAY * 2, made=9_000.0)])

    text = text_of(page(visitor, live, model_id))

    assert "The period moves: from 2023-03-01" in text
    assert "may come from the market, and not from the model" in text
    assert (
        "Drift. The same bytes, arguments, variables and period had another result before" in text
    )


def test_another_figure_and_only_what_was_deployed(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    keep(live, model_id, [a_point(1), a_point(2)], status=VersionStatus.STOPPED)
    keep(live, model_id, [a_point(3, sha256="b" * 64), a_point(4, sha256="b" * 64)])

    every = page(visitor, live, model_id, "?metric=max_drawdown")
    deployed = page(visitor, live, model_id, "?metric=max_drawdown&deployed=1")

    assert "Maximum drawdown of 4 backtests" in every
    assert "Maximum drawdown of 2 backtests" in deployed
    assert "Return of 4 backtests" in page(visitor, live, model_id, "?metric=nonsense")


def test_backtests_of_before_variables_were_noted_say_so(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    keep(live, model_id, [a_point(time, variables=None) for time in range(2)])

    text = text_of(page(visitor, live, model_id))

    assert "Of 2 backtests it is not known with which variables they ran" in text
    assert "No two of 2 backtests can be compared yet" in text


def test_a_hostile_document_stays_text(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    points = [a_point(1, symbol="<b>-<i>", arguments={"<script>": "</script>"}) for _ in range(2)]
    keep(live, model_id, points, description="<img src=x onerror=alert(1)>")

    html = page(visitor, live, model_id)

    assert "<b>" not in html
    assert "<img" not in html
    assert "<script>&" not in html.replace('<script>"', "")
    assert "&lt;script&gt;" in html


def test_a_model_without_figures_says_so(live: LivePlatform, visitor: Visitor) -> None:
    text = text_of(page(visitor, live, live.create_model()))

    assert "There is no backtest with figures yet" in text
