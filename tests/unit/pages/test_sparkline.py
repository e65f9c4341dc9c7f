from __future__ import annotations

import pytest

from deploy_action.pages.rendering import Renderer
from deploy_action.pages.sparkline import sparkline

DAY = 86_400.0


def test_a_line_is_a_path_and_words() -> None:
    line = sparkline([(0, 1_000.0), (DAY, 950.0), (2 * DAY, 1_100.0)], "USD")
    assert line is not None
    assert line.path == "M2.0 20.7L60.0 30.0L118.0 2.0"
    assert line.label == "from 1,000.00 to 1,100.00 USD (+100.00, +10% in 2 days)"
    assert line.change == "+100.00, +10% in 2 days"


def test_no_line_is_drawn_over_a_gap_and_a_lone_value_is_a_dot() -> None:
    points = [(0.0, 1.0), (0.5, 2.0), (1.0, 2.0), (1.5, None), (2.0, 3.0), (2.5, None), (4.0, 1.0)]
    line = sparkline(points)
    assert line is not None
    assert line.path == "M2.0 30.0L16.5 16.0L31.0 16.0"
    assert line.dots == "M60.0 2.0h0M118.0 30.0h0"
    assert line.change == "0.00, 0% in 0.1 minutes, gaps included"


def test_two_values_are_no_slope() -> None:
    line = sparkline([(0.0, 1.0), (1.0, None), (2.0, 2.0), (3.0, 3.0), (4.0, None)])
    assert line is not None
    assert (line.path, line.dots) == ("", "M2.0 30.0h0M79.3 16.0h0M118.0 2.0h0")


def test_a_gap_at_the_end_is_no_part_of_the_change() -> None:
    line = sparkline([(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, None)])
    assert line is not None
    assert "gaps" not in line.change


def test_a_value_that_does_not_change_is_a_line_in_the_middle() -> None:
    line = sparkline([(0.0, 5.0), (3_600.0, 5.0)])
    assert line is not None
    assert line.dots == "M2.0 16.0h0M118.0 16.0h0"
    assert line.label == "from 5.00 to 5.00 (0.00, 0% in 1 hour)"


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(0.0, 1.0), (1.0, None)]])
def test_without_two_values_there_is_no_line(points: list[tuple[float, float | None]]) -> None:
    assert sparkline(points) is None


def test_the_largest_values_that_are_kept_are_drawn() -> None:
    line = sparkline([(0.0, 1e-300), (DAY, 1e15), (2 * DAY, -1e15)], "USD")
    assert line is not None
    assert line.path == "M2.0 16.0L60.0 2.0L118.0 30.0"
    assert not {"nan", "inf"} & set(line.label.split())
    steep = sparkline([(0.0, 1e-300), (DAY, 1e15)])
    assert steep is not None
    assert steep.change == "+1e+15 in 1 day"


def test_no_share_is_told_of_an_account_that_began_with_nothing() -> None:
    line = sparkline([(0.0, 0.0), (DAY, 10.0)], "USD")
    assert line is not None
    assert line.label == "from 0.00 to 10.00 USD (+10.00 in 1 day)"


def test_the_picture_has_its_words_and_escapes_what_others_wrote() -> None:
    line = sparkline([(0.0, 1.0), (DAY, 2.0)], '<b>"')
    source = "{% from 'sparkline.html' import sparkline %}{{ sparkline(line, what) }}"
    environment = Renderer()._environment  # noqa: SLF001  # a template of the test's own
    html = environment.from_string(source).render(line=line, what="Account")
    assert html.startswith('<svg class="sparkline" role="img" aria-label="Account: from 1.00 to ')
    assert "<b>" not in html
    assert "&lt;b&gt;&#34;" in html
    assert "style=" not in html
