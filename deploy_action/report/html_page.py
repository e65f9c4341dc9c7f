"""The page that a run with a backtest leaves behind: its summary as HTML, with live charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from deploy_action import __version__
from deploy_action.backtest.warning_signs import few_returns
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.records import dataclass
from deploy_action.report.blocks import commit, model_name
from deploy_action.report.document import Code, Heading, Line, Link, Paragraph, text_of
from deploy_action.report.markup import Places, to_html
from deploy_action.report.sections.backtests.combinations import (
    COMBINATIONS,
    MOST_COMBINATIONS,
    all_combinations,
)
from deploy_action.report.sections.backtests.windows import BY_WINDOW
from deploy_action.report.sections.chart import ACCOUNT
from deploy_action.report.sections.trades import MOST_ORDERS, ORDERS, ROUND_TRIPS, all_orders
from deploy_action.report.summary import build_summary
from deploy_action.text.quantities import moment

if TYPE_CHECKING:
    from markupsafe import Markup

    from deploy_action.backtest.result import BacktestResult
    from deploy_action.pages.rendering import Renderer

MOST_TRIPS: Final = 5_000
_MOST_UNFOLDED: Final = 100  # rows
_MEANING: Final = (
    "What every figure means",
    "https://github.com/blankly-community/deploy-action/blob/main/docs/metrics.md",
)
_PARTS: Final = "backtest_parts.html"
_SCRIPTS: Final = ("lightweight-charts.js", "charts.js", "tables.js")


@dataclass(frozen=True, slots=True)
class Written:
    """When the page is written, in seconds since 1970, and the name of the report beside it.

    The name is blank if there is no report.
    """

    at: float
    report_name: str

    @property
    def whole(self) -> Line:
        """Where all of it is."""
        if not self.report_name:
            return ["the JSON report of this run, which could not be written"]
        return [Code(self.report_name), ", which was written beside this page"]


def load_templates() -> None:
    """Compile what pages are made with."""
    from deploy_action.pages.file import TEMPLATES
    from deploy_action.pages.rendering import Renderer

    Renderer().load(_PARTS, *TEMPLATES)


def build_page(outcome: RunOutcome, written: Written) -> str:
    """Return the page of a run.

    Raises:
        ValueError: the run has no result.
    """
    from deploy_action.pages.file import FilePage, render_file

    result = outcome.backtests.result
    if result is None:
        raise ValueError("there is no result to show")
    document = build_summary(outcome)
    title = next(text_of(block.line) for block in document if isinstance(block, Heading))
    page = FilePage(
        title=title,
        about=to_html([Paragraph(_about(outcome, written.at))], {}),
        content=to_html(document, _places(outcome, result, written)),
        ending=to_html([Paragraph(_ending(written))], {}),
        scripts=_SCRIPTS,
    )
    return render_file(page)


def _about(outcome: RunOutcome, now: float) -> Line:
    """Say what this is to somebody who got it in a mail."""
    is_deploy = outcome.request.mode == "deploy"
    meaning = "A backtest runs a trading model on past prices: nothing is bought or sold in it."
    of_commit: Line = [" of commit ", *commit(outcome)] if outcome.model.commit else []
    beside = ", with the backtest before it," if is_deploy else ""
    url = outcome.target.url
    where: Line = [" ", Link("On the server", url), "."] if url else []
    return [
        "A deploy" if is_deploy else "A backtest",
        *of_commit,
        f"{beside} by blankly-deploy-action {__version__}, written on {moment(now)} UTC. {meaning}",
        *where,
    ]


def _ending(written: Written) -> Line:
    return ["All values and orders are in ", *written.whole, ". ", Link(*_MEANING), "."]


def _places(outcome: RunOutcome, result: BacktestResult, written: Written) -> Places:
    """Return what the page has in the places of the summary."""
    from markupsafe import Markup

    from deploy_action.pages.rendering import Renderer

    renderer = Renderer()

    def account(_: Markup) -> Markup:
        warnings = renderer.part(_PARTS, "problem_list", tuple(few_returns(result)))
        return warnings + renderer.part(_PARTS, "charts", _chart_data(outcome, result), "account")

    def round_trips(best_and_worst: Markup) -> Markup:
        table = _round_trips(renderer, result, written)
        number = len(result.analysis.round_trips.closed)
        if number <= _MOST_UNFOLDED:
            return table
        which = _which("last", MOST_TRIPS, number)
        return best_and_worst + _folded(f"{which} round trips", table)

    def orders(first_and_last: Markup) -> Markup:
        number = len(result.trades)
        table = to_html(all_orders(result, written.whole), {})
        if number <= _MOST_UNFOLDED:
            return table
        return first_and_last + _folded(f"{_which('last', MOST_ORDERS, number)} orders", table)

    def combinations(_: Markup) -> Markup:
        swept = outcome.backtests.sweep
        if swept is None:
            return Markup()
        table = to_html(all_combinations(swept, written.whole), {})
        which = _which("first", MOST_COMBINATIONS, len(swept.combinations))
        return _folded(f"{which} combinations", table)

    return {
        ACCOUNT: account,
        ROUND_TRIPS: round_trips,
        ORDERS: orders,
        BY_WINDOW: lambda _: Markup(),  # its table has the same
        COMBINATIONS: combinations,
    }


def _which(some: str, most: int, number: int) -> str:
    return f"All {number:,}" if number <= most else f"The {some} {most:,} of {number:,}"


def _folded(title: str, inner: Markup) -> Markup:
    from markupsafe import Markup

    return Markup("<details>\n<summary>{}</summary>\n{}\n</details>").format(title, inner)


def _chart_data(outcome: RunOutcome, result: BacktestResult) -> Mapping[str, object]:
    """Return the model's account, and that of the base if it is another one in the same asset."""
    from deploy_action.pages.charts import chart_data

    named = [(text_of([model_name(outcome)]), result)]
    compared = outcome.backtests.comparison
    before = None if compared is None else compared.base.result
    if (
        compared is not None
        and before is not None
        and not compared.is_identical
        and before.quote_asset == result.quote_asset
    ):
        named.append((f"Base {compared.base.ref}", before))
    return chart_data(named, with_details=True)


def _round_trips(renderer: Renderer, result: BacktestResult, written: Written) -> Markup:
    """Return the table of round trips, the last ones if they are very many."""
    from deploy_action.pages.round_trips import sorted_trips, trip_rows, view_round_trips

    trips = view_round_trips(result)
    ordered = sorted_trips(trips.closed, "closed", descending=False)
    shown = ordered[-MOST_TRIPS:]
    table = renderer.part(_PARTS, "trips_table", trips, trip_rows(shown), None)
    if len(shown) == len(ordered):
        return table
    said = f"These were closed from {moment(shown[0].closed_at)} on. All are in "
    return to_html([Paragraph([said, *written.whole, "."])], {}) + table
