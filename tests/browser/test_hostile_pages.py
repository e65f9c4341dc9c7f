"""Pages of reports that others wrote: a browser loads and runs nothing of them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.html_page import Written, build_page
from deploy_action.report.reading import WrongReportError, read_report
from tests.browser.conftest import Browse
from tests.hostile.parsers import KEPT, REPORTS
from tests.support.hostile import with_hostile_texts
from tests.support.torture import Rounds

pytestmark = pytest.mark.slow
_WRITTEN = Written(1.7e9, "backtest-1.json")
_COUNT = "[...document.querySelectorAll('script')].length"


def hostile_run(chance: Random) -> RunOutcome:
    """Return what is read of a report in which many texts are attacks."""
    while True:
        valid = REPORTS[chance.choice(sorted(REPORTS))]
        document = with_hostile_texts(chance, valid, chance.random(), kept=KEPT)
        try:
            return read_report(json.dumps(document).encode())
        except WrongReportError:  # such as for the same name twice
            continue


@pytest.mark.torture(quick=1)
def test_no_report_makes_a_page_load_or_run_anything(
    rounds: Rounds, browse: Browse, tmp_path: Path
) -> None:
    """A dialog, an error, or a refusal by the page's own policy would fail this test, too."""
    path = tmp_path / "page.html"
    window = browse(tmp_path.as_uri())
    requests: list[str] = []
    window.page.on("request", lambda request: requests.append(request.url))
    for chance in rounds:
        for _ in range(4):
            page = build_page(hostile_run(chance), _WRITTEN)
            path.write_text(page, encoding="utf-8")
            requests.clear()
            window.open("/page.html")
            assert requests == [path.as_uri()]
            assert window.page.evaluate(_COUNT) == page.count("<script")
            assert window.page.locator("i, u, s, img, iframe, a[href^='javascript']").count() == 0
            rounds.count("pages")
