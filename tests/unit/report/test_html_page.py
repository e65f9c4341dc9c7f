"""The page that a run leaves behind, as a file."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from deploy_action.backtest.comparison import (
    Base,
    BaseState,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.sweep.shards import Part, Shard
from deploy_action.console import Console
from deploy_action.errors import Problem, Severity
from deploy_action.outcome.ending import Status
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.pages import rendering
from deploy_action.report.html_page import MOST_TRIPS, Written, build_page
from deploy_action.report.sections.backtests.combinations import MOST_COMBINATIONS
from deploy_action.report.sections.trades import MOST_ORDERS
from deploy_action.reporting import Reporting, load_ahead
from tests.support.backtests import a_market, raw_result, read_result
from tests.support.outcomes import (
    a_backtest,
    a_sweep,
    an_outcome,
    backtests,
    orders,
    prices,
    swept_backtests,
    wave,
    with_parts,
    with_problems,
)
from tests.support.runner_protocol import read_entries
from tests.support.sweeps import swept

WRITTEN = 1_700_000_000.0
SECRET = "sk-test-4f9a1c77e2"  # noqa: S105  # of nobody


class Parts(HTMLParser):
    """What a browser would load, run and obey in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"style": [], "script": [], "title": []}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.texts:
            self._open = tag
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = "" if tag == self._open else self._open

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data


def page_of(outcome: RunOutcome) -> str:
    return build_page(outcome, Written(WRITTEN, "backtest-1.json"))


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.mark.parametrize("name", ["gain", "nasty", "sweep with failures", "no values"])
def test_the_policy_allows_its_own_styles_and_scripts_and_nothing_else(name: str) -> None:
    parts = Parts(page_of(backtests()[name]))
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in parts.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    styles = {f"'sha256-{digest(text)}'" for text in parts.texts["style"]}
    assert set(rules["style-src"].split()) == styles
    scripts = {
        f"'sha256-{digest(text)}'"
        for text, (_, attributes) in zip(
            parts.texts["script"],
            (one for one in parts.elements if one[0] == "script"),
            strict=True,
        )
        if attributes.get("type") != "application/json"
    }
    assert set(rules["script-src"].split()) == (scripts or {"'none'"})


@pytest.mark.parametrize("outcome", backtests().values())
def test_nothing_is_loaded_from_anywhere(outcome: RunOutcome) -> None:
    for tag, attributes in Parts(page_of(outcome)).elements:
        assert tag not in {"iframe", "object", "embed", "form", "base", "img", "audio", "video"}
        assert not {"src", "srcset", "style", "srcdoc"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        if tag == "link":
            assert (attributes["href"] or "").startswith("data:image/svg+xml;base64,")


def test_somebody_who_got_it_in_a_mail_reads_what_it_is() -> None:
    page = page_of(backtests()["gain"])
    assert Parts(page).texts["title"] == [
        "Backtest of momentum: +53.0% against +65.0% for holding, Sharpe 7.31"
    ]
    assert "<p>A backtest of commit <a " in page
    assert "written on <time>2023-11-14 22:13</time> UTC" in page
    assert "nothing is bought or sold" in page
    assert "<code>backtest-1.json</code>" in page


def test_the_page_of_a_deploy_says_that_its_figures_are_of_the_backtest_before() -> None:
    known = backtests()["gain"]
    outcome = with_parts(
        known,
        request={"mode": "deploy", "server": "https://deploy.example", "is_local": False},
        target={"url": "https://deploy.example/p/m/overview", "is_deployed": True},
        ending={"status": Status.DEPLOYED},
    )
    page = page_of(outcome)
    assert "5f2c9e81b7a0</a>, with the backtest before it, by blankly-deploy-action" in page
    assert '<a href="https://deploy.example/p/m/overview" rel="noopener noreferrer">' in page
    assert "The backtest: +53.0% against +65.0% for holding" in page


def test_a_run_without_a_result_has_no_page() -> None:
    with pytest.raises(ValueError, match="no result"):
        page_of(an_outcome("deploy", Status.DEPLOYED))


def test_no_template_is_compiled_for_a_page_if_that_was_done_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rendering._make_environment.cache_clear()  # noqa: SLF001  # other tests have filled it
    load_ahead()
    compiled: list[object] = []
    original = Environment.compile

    def compile_late(self: Environment, source: Any, *others: Any, **named: Any) -> Any:
        compiled.append(others)
        return original(self, source, *others, **named)

    monkeypatch.setattr(Environment, "compile", compile_late)
    assert "<h1>" in page_of(backtests()["gain"])
    assert compiled == []


def rows_of(page: str) -> dict[str, int]:
    """Return how many rows each sortable table has, by the title of the fold that it is in."""
    found = re.findall(r"(?s)<summary>([^<]*)</summary>(.*?)</details>", page)
    return {title: inner.count("<tr>") - 1 for title, inner in found if "data-sortable" in inner}


def test_ten_thousand_trades_are_on_a_page_of_less_than_two_megabytes() -> None:
    """The fixture has 10,000 orders, 5,000 round trips, and 20,000 account values."""
    page = page_of(backtests()["large"])
    assert len(page.encode()) < 2_000_000
    assert rows_of(page) == {
        "All 5,000 round trips": 5_000,
        f"The last {MOST_ORDERS:,} of 10,000 orders": MOST_ORDERS,
    }
    assert re.search(r"These were placed from <time>[0-9: -]+</time> on. All are in <code>", page)
    assert "The 5 best and the 5 worst" in page


def test_of_more_round_trips_the_last_are_listed_and_the_page_says_so() -> None:
    raw = raw_result(wave(900), orders(2 * MOST_TRIPS + 8))
    page = page_of(a_backtest(raw))
    assert rows_of(page).items() >= {"The last 5,000 of 5,004 round trips": MOST_TRIPS}.items()
    assert re.search(r"These were closed from <time>[0-9: -]+</time> on. All are in <code>", page)
    assert len(page.encode()) < 2_000_000


def test_all_orders_are_listed_where_the_summary_has_the_first_and_the_last() -> None:
    page = page_of(a_backtest(raw_result(wave(900), orders(300))))
    assert rows_of(page).items() >= {"All 300 orders": 300}.items()
    assert "280 more" in page
    assert "These were placed from" not in page
    few = page_of(a_backtest(raw_result(wave(900), orders(60))))
    assert "more</td>" not in few
    assert rows_of(few) == {}


def test_few_round_trips_are_not_folded() -> None:
    page = page_of(backtests()["gain"])
    assert rows_of(page) == {}
    assert page.count("data-sortable>") == 2  # and the orders
    assert "From best to worst" not in page


def test_ten_thousand_combinations_are_bounded_and_the_page_says_so() -> None:
    axes = {"env.X": range(100), "env.Y": range(100)}
    outcome = a_sweep(swept(axes, lambda x, y: x - y / 7, current=MOST_COMBINATIONS))
    page = page_of(outcome)
    assert rows_of(page) == {"The first 3,000 of 10,000 combinations": MOST_COMBINATIONS}
    assert "These are the first in the order of the sweep. All are in <code>" in page
    assert "The current setting is in bold" not in page
    assert len(page.encode()) < 2_000_000


def test_the_current_setting_is_marked_among_all_combinations() -> None:
    page = page_of(swept_backtests()["sweep"])
    assert rows_of(page) == {"All 100 combinations": 100}
    assert "The current setting is in bold." in page
    cell = '<td class="number"><strong><code>20</code></strong></td>'
    assert f"<tr>{cell}{cell.replace('20', '80')}" in page


def charts_of(page: str) -> dict[str, Any]:
    (data,) = re.findall(r'<script type="application/json" id="account">(.*?)</script>', page)
    found: dict[str, Any] = json.loads(data)
    return found


def with_base(trades: list[dict[str, Any]], **changes: Any) -> RunOutcome:
    """Return a backtest that was compared with a base that made these trades."""
    known = a_backtest(raw_result(wave(99), orders(4), market=a_market({"OAK-USD": prices(99)})))
    candidate = known.backtests.result
    assert candidate is not None
    before = read_result(raw_result(wave(99, swing=0.02), trades, **changes))
    base = Base(ref="main", commit="5f2c9e8", state=BaseState.BACKTESTED, result=before)
    comparison = Comparison(
        base=base,
        metrics=compare_metrics(before.analysis.metrics, candidate.analysis.metrics),
        first_difference=first_difference(before, candidate),
    )
    return with_parts(known, backtests={"comparison": comparison})


def test_the_base_is_drawn_beside_the_model_with_holding_and_orders() -> None:
    data = charts_of(page_of(with_base(orders(6))))
    assert [one["name"] for one in data["accounts"]] == ["momentum", "Base main"]
    assert data["holding"] is not None
    assert len(data["prices"][0]["orders"]) == 4


def test_a_base_that_did_the_same_is_not_drawn_again() -> None:
    data = charts_of(page_of(with_base(orders(4))))
    assert [one["name"] for one in data["accounts"]] == ["momentum"]


def test_a_base_in_another_asset_is_not_drawn_and_the_page_says_why() -> None:
    page = page_of(with_base(orders(6), quote_asset="EUR"))
    assert len(charts_of(page)["accounts"]) == 1
    assert "The base&#39;s curve is not drawn: its account is in another asset." in page


def reporting(folder: Path, stream: io.StringIO, *, for_runner: bool = True) -> Reporting:
    environ = {"RUNNER_TEMP": str(folder), "GITHUB_OUTPUT": str(folder / "output")}
    return Reporting(
        environ=environ if for_runner else {},
        console=Console(stream=stream, for_runner=for_runner),
        platform_data=folder,
        pause=lambda _: None,
    )


def outputs(folder: Path) -> dict[str, str]:
    return read_entries(folder / "output")


def test_it_lies_beside_the_report_and_both_are_named_by_outputs(tmp_path: Path) -> None:
    stream = io.StringIO()
    shown = reporting(tmp_path, stream).report(
        a_backtest(raw_result(wave(9), orders(4)), backtests={"backtest_id": "backtest-1"})
    )
    named = outputs(tmp_path)
    assert named["report"] == "reports/backtest-1.json"
    assert named["report-html"] == shown.page_path == "reports/backtest-1.html"
    assert (tmp_path / named["report-html"]).read_text(encoding="utf-8").startswith("<!DOCTYPE")
    assert json.loads((tmp_path / named["report"]).read_bytes())["metrics"]
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == [
        "backtest-1.html",
        "backtest-1.json",
    ]


def test_a_failed_run_that_has_a_result_has_it_too(tmp_path: Path) -> None:
    reporting(tmp_path, io.StringIO()).report(backtests()["gate"])
    page = (tmp_path / outputs(tmp_path)["report-html"]).read_text(encoding="utf-8")
    assert "The gate <code>sharpe &gt;= 1</code> failed" in page


def test_a_terminal_is_told_where_it_is(tmp_path: Path) -> None:
    stream = io.StringIO()
    shown = reporting(tmp_path, stream, for_runner=False).report(backtests()["gain"])
    assert Path(shown.page_path).is_file()
    assert f"As a page to keep and send: {shown.page_path}\n" in stream.getvalue()


def test_a_part_of_a_run_has_no_page(tmp_path: Path) -> None:
    """It judges nothing, and most of what it would show is elsewhere."""
    whole = swept_backtests()["sweep with failures"]
    reporting(tmp_path, io.StringIO()).report(
        with_parts(whole, backtests={"part": Part(shard=Shard(1, 2))})
    )
    assert "report-html" not in outputs(tmp_path)
    assert [path.suffix for path in (tmp_path / "reports").iterdir()] == [".json"]


def test_a_page_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    stream = io.StringIO()
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "backtest-1.html").mkdir()  # in its way
    known = a_backtest(raw_result(wave(9)), backtests={"backtest_id": "backtest-1"})
    reporting(tmp_path, stream).report(known)
    assert "backtest-1.html cannot be written" in stream.getvalue()
    assert "report-html" not in outputs(tmp_path)
    assert outputs(tmp_path)["report"] == "reports/backtest-1.json"


def test_without_a_report_the_page_does_not_name_one(tmp_path: Path) -> None:
    stream = io.StringIO()
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "backtest-1.json").mkdir()  # in its way
    known = a_backtest(raw_result(wave(9)), backtests={"backtest_id": "backtest-1"})
    shown = reporting(tmp_path, stream).report(known)
    assert "backtest-1.json cannot be written" in stream.getvalue()
    page = (tmp_path / shown.page_path).read_text(encoding="utf-8")
    assert "in the JSON report of this run, which could not be written." in page
    assert outputs(tmp_path)["report-html"] == shown.page_path


def test_no_secret_is_on_the_page(tmp_path: Path) -> None:
    """Wherever others may have written one: names, orders, arguments, problems, descriptions."""
    known = with_problems(
        a_backtest(
            raw_result(wave(9), orders(4, symbol=SECRET, type=f"<{SECRET}>"), exchange=SECRET),
            model={"name": SECRET, "description": f"use {SECRET}"},
        ),
        Problem(message=f"The model printed `{SECRET}`.", severity=Severity.WARNING),
    )
    target = reporting(tmp_path, io.StringIO())
    target.console.mask([SECRET])
    shown = target.report(known)
    page = (tmp_path / shown.page_path).read_text(encoding="utf-8")
    assert SECRET not in page
    assert "***" in page


def test_figures_from_few_returns_are_warned_of_where_they_are_drawn() -> None:
    short, long = (page_of(a_backtest(raw_result([100.0 + day % 3 for day in range(days)])))
                   for days in (6, 60))  # fmt: skip
    assert "are from 5 returns only" in short
    assert "returns only" not in long
