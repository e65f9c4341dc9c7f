"""The part of a summary about a backtest: what a trader looks at first, and the rest folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy_action.backtest.comparison import Base
from deploy_action.backtest.metrics import METRICS, NOT_A_NUMBER, Unit
from deploy_action.backtest.result import BacktestResult, BacktestRun, Metric
from deploy_action.backtest.trades import Trade
from deploy_action.gates.judgement import are_passed
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report import blocks
from deploy_action.report.blocks import figures, linked, model_name, short, some
from deploy_action.report.charts.chart import draw
from deploy_action.report.document import (
    Block,
    Bullets,
    Chart,
    Code,
    Details,
    Inline,
    Line,
    Paragraph,
    Table,
    prose,
)
from deploy_action.report.sections import comparison as comparison_section
from deploy_action.report.sections import gates as gate_section
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import count, decimal, duration, exact, moment, per_cent

_MOST_METRICS: Final = 50
_MOST_SYMBOLS: Final = 5
_MOST_CALLS: Final = 10
# At the start of the list, and again at its end.
_MOST_TRADES: Final = 10
_LONGEST_NAME: Final = 40
_LONGEST_CALL: Final = 100
_DAY: Final = 86_400
_NOT_COMPUTED: Final = "not computed"


def headline(outcome: RunOutcome, result: BacktestResult) -> Line:
    """Return the title: the gates, the model, and the two numbers that traders compare."""
    numbers = _numbers(result)
    if not outcome.backtests.verdicts:
        return ["✅ Backtest of ", model_name(outcome), f": {numbers}"]
    mark = "✅" if are_passed(outcome.backtests.verdicts) else "❌"
    words = gate_section.in_words(outcome.backtests.verdicts)
    return [f"{mark} {words[0].upper()}{words[1:]}: ", model_name(outcome), f", {numbers}"]


def _numbers(result: BacktestResult) -> str:
    if not result.filled_trades:
        return "no trades"
    gained, sharpe = _gained(result), result.analysis.metrics["sharpe"]
    start = f"return {gained}" if gained == _NOT_COMPUTED else gained
    return start if sharpe is None else f"{start}, Sharpe {decimal(sharpe)}"


def about(outcome: RunOutcome, result: BacktestResult) -> Line:
    """Return a sentence with the period, the exchange and the symbols."""
    days = (result.stop_time - result.start_time) / _DAY
    period = f"{moment(result.start_time, '%Y-%m-%d')} to {moment(result.stop_time, '%Y-%m-%d')}"
    symbols = _symbols(outcome, result)
    of: Line = [": ", *some(symbols, _MOST_SYMBOLS)] if symbols else []
    length = f"{days:,.0f} days" if days >= 2 else f"{days * 24:,.1f} hours"  # noqa: PLR2004  # "1 days" would be wrong
    return [f"{period} ({length}) on ", Code(short(result.exchange)), *of, "."]


def results(outcome: RunOutcome, result: BacktestResult) -> list[Block]:
    """Return the metrics, beside those of the base if there is one, and the chart."""
    shown: list[Block] = []
    if not result.filled_trades:
        shown.append(Paragraph(_no_trades(result, outcome.backtests.run)))
    comparison = outcome.backtests.comparison
    if comparison is None:
        shown.append(_key_figures(result))
    elif comparison.base.result is None:
        shown += [*comparison_section.no_base(comparison), _key_figures(result)]
    else:
        metrics = comparison_section.metrics(comparison, result)
        trades = comparison_section.trades(comparison, result)
        # If both did the same, say so first: then nobody needs the table.
        shown += [*trades, *metrics] if comparison.is_identical else [*metrics, *trades]
    shown += _not_computed(result)
    shown += _chart(result, outcome.backtests.base)
    return shown


def details(outcome: RunOutcome, result: BacktestResult) -> list[Block]:
    """Return the folded parts: all metrics, trades, arguments and facts."""
    shown: list[Block] = [_metrics(result)]
    if result.trades:
        shown.append(_trades(result))
    if arguments := blocks.arguments(outcome):
        shown.append(Details("Backtest arguments", arguments))
    shown.append(_facts(outcome, result))
    return shown


def _no_trades(result: BacktestResult, run: BacktestRun | None) -> Line:
    calls = None if run is None else run.callback_calls
    if result.trades:
        placed = count(len(result.trades), "order")
        why = f"It placed {placed}, and none was filled: the price never got to where they were."
    elif calls == 0:
        why = (
            "It was never called: look at the events that its script adds to the strategy, and "
            "whether there are prices in this period."
        )
    else:
        called = f"It was called {count(calls, 'time')}. " if calls else ""
        why = (
            f"{called}Usually its conditions to buy were never met in this period, or its orders "
            "were refused: look in the log for what it printed."
        )
    return [f"**The model made no trades.** {why}"]


def _key_figures(result: BacktestResult) -> Table:
    trips = result.analysis.round_trips
    ended = "" if trips.win_rate is None else f" ({trips.wins:,} won, {trips.losses:,} lost)"
    return blocks.facts_table(
        [
            ("Return", [f"**{_gained(result)}**"]),
            ("Sharpe ratio", [_computed(result, "sharpe")]),
            ("Sortino ratio", [_computed(result, "sortino")]),
            ("Maximum drawdown", [_computed(result, "max_drawdown")]),
            ("Trades", [f"{len(result.filled_trades):,}{ended}"]),
            ("Final value", _final_value(result)),
        ]
    )


def _final_value(result: BacktestResult) -> Line:
    last, first = result.final_account_value, result.initial_account_value
    unit = prose(short(result.quote_asset))
    if last is None:
        return [NOT_A_NUMBER]
    start: Line = [] if first is None else [f", from {decimal(first)} ", *unit]
    return [f"{decimal(last)} ", *unit, *start]


def _gained(result: BacktestResult) -> str:
    value = result.analysis.metrics["cum_returns"]
    return _NOT_COMPUTED if value is None else per_cent(value, with_sign=True)


def _computed(result: BacktestResult, name: str) -> str:
    value = result.analysis.metrics[name]
    return _NOT_COMPUTED if value is None else figures(METRICS[name].unit, value)[0]


def _figure(metric: Metric) -> str:
    """Return a value as a comparison shows it; metrics unknown to us have all digits."""
    if metric.value is None:
        return _NOT_COMPUTED
    if metric.contract_id:
        return figures(METRICS[metric.contract_id].unit, metric.value)[0]
    return exact(metric.value) + (" s" if metric.id == "resampled_time" else "")


def _not_computed(result: BacktestResult) -> list[Block]:
    """Say why metrics have no value: key figures, and others that the package could not compute."""
    lines = [_why(name, reason) for name, reason in result.analysis.reasons.items()]
    if not lines:
        return []
    return [Paragraph(["**Not computed**"]), Bullets(lines[:_MOST_METRICS])]


def _why(name: str, reason: str) -> Line:
    return [f"{METRICS[name].name}: ", *prose(cut(reason, _LONGEST_CALL)), "."]


def _chart(result: BacktestResult, base: Base | None) -> list[Block]:
    values = result.account_values
    base_values, notes = None, list[str]()
    if base is not None and base.result is not None:
        if base.result.quote_asset == result.quote_asset:
            base_values = base.result.account_values
        else:
            notes.append("The base's curve is not drawn: its account is in another asset.")
    drawing = draw(values, result.quote_asset, base_values)
    known = len(values.known())
    if drawing is None:
        only = "no account value" if not known else "a single account value"
        return [Paragraph([f"There is no chart: the result has {only}."])]
    legend: Line = []
    if base is not None and drawing.has_base:
        legend = ["🔵 now, 🟠 base: ", *comparison_section.base_name(base)]
    shown: list[Block] = [Chart(drawing.mermaid, drawing.text, legend)]
    notes += [drawing.note] if drawing.note else []
    if missing := len(values) - known:
        notes.append(
            f"{missing:,} of {count(len(values), 'account value')} "
            "have no number, and are left out of the chart."
        )
    return [*shown, Paragraph([" ".join(notes)])] if notes else shown


def _metrics(result: BacktestResult) -> Details:
    rows = [
        (
            prose(cut(metric.display_name, _LONGEST_NAME)),
            [_figure(metric), *_asset(metric, result)],
            [Code(metric.contract_id)] if metric.contract_id else [],
        )
        for metric in result.metrics[:_MOST_METRICS]
    ]
    shown: list[Block] = [
        Table([["Metric"], ["Value"], ["Id"]], rows, right=frozenset({1})),
        Paragraph(
            ["Returns, growth and drawdown come from the package, rounded to whole percent."]
        ),
    ]
    return Details("All metrics", shown)


def _asset(metric: Metric, result: BacktestResult) -> Line:
    kind = METRICS.get(metric.contract_id)
    if metric.value is None or kind is None or kind.unit is not Unit.AMOUNT:
        return []
    return [" ", *prose(short(result.quote_asset))]


def _trades(result: BacktestResult) -> Details:
    filled, trips = len(result.filled_trades), result.analysis.round_trips
    closed = len(trips.closed)
    rate = "" if trips.win_rate is None else f" ({per_cent(round(trips.win_rate * 100, 1))})"
    counts = (
        f"{count(len(result.trades), 'order')}, {filled:,} filled. {count(closed, 'trade')} closed "
        f"a position: {trips.wins:,} won{rate}, {trips.losses:,} lost, {trips.even:,} even, by "
        "average cost and before fees, which the package does not report. Orders that the model "
        "cancelled are not in its list."
    )
    shown: list[Block] = [
        Paragraph([counts]),
        Table(
            [["Placed (UTC)"], ["Side"], ["Size"], ["Price"], ["Symbol"], ["Type"]],
            _trade_rows(result.trades),
            right=frozenset({2, 3}),
        ),
        Paragraph(["SHA-256 of what the model did: ", Code(result.trades_sha256)]),
    ]
    title = f"Trades: {filled:,} filled, {trips.wins:,} won, {trips.losses:,} lost"
    return Details(title, shown)


def _trade_rows(trades: Sequence[Trade]) -> list[Sequence[Line]]:
    left = len(trades) - 2 * _MOST_TRADES
    if left <= 0:
        return [_trade_row(trade) for trade in trades]
    gap: Sequence[Line] = [[f"… {left:,} more"], *([["…"]] * 5)]
    first = [_trade_row(trade) for trade in trades[:_MOST_TRADES]]
    return [*first, gap, *map(_trade_row, trades[-_MOST_TRADES:])]


def _trade_row(trade: Trade) -> Sequence[Line]:
    kind = trade.type if trade.was_filled else f"{trade.type}, not filled"
    return [
        [moment(trade.time)],
        prose(short(trade.side)),
        [exact(trade.size)],
        ["" if trade.price is None else exact(trade.price)],
        [Code(short(trade.symbol))],
        prose(cut(kind, _LONGEST_NAME)),
    ]


def _facts(outcome: RunOutcome, result: BacktestResult) -> Details:
    run = outcome.backtests.run
    points = count(len(result.account_values), "account value")
    period = f"{moment(result.start_time)} to {moment(result.stop_time)} UTC, {points}"
    rows: list[tuple[str, Line]] = [
        ("Period", [period]),
        ("Symbols", some(_symbols(outcome, result), _MOST_SYMBOLS)),
        ("Exchange", [Code(short(result.exchange))]),
        ("Called", [] if run is None else _calls(run)),
        *_on_the_server(outcome),
        ("Commit", blocks.commit(outcome)),
        ("Bundle", blocks.bundle(outcome)),
        ("Environment", _environment(outcome)),
        ("Duration", [_durations(outcome)]),
    ]
    table = blocks.facts_table(rows)
    return Details("About this backtest", [table, *blocks.bundle_digest(outcome)])


def _on_the_server(outcome: RunOutcome) -> list[tuple[str, Line]]:
    """Return the ids on the server; those on the embedded platform end with the job."""
    if outcome.request.mode == "deploy":  # the server has the version, and no backtest of it
        return [("Backtest", [Code(outcome.backtests.backtest_id), " on the embedded platform"])]
    ids: list[tuple[str, Line]] = [
        ("Backtest", linked(outcome.backtests.backtest_id, outcome.target.url)),
        ("Model", [Code(outcome.model_id)]),
    ]
    if outcome.request.is_local:
        return ids
    return [
        *ids,
        ("Version", [Code(outcome.target.version_id)]),
        ("Project", linked(outcome.project_id, outcome.target.project_url)),
        ("Server", blocks.server_name(outcome)),
        ("Plan", [Code(outcome.model.runs_on.plan)]),
        ("Created", [Code(", ".join(outcome.target.created))]),
    ]


def _symbols(outcome: RunOutcome, result: BacktestResult) -> Sequence[str]:
    """Return the traded symbols, else the symbols that the model asked for."""
    run = outcome.backtests.run
    return [short(one) for one in result.symbols or (run.symbols if run is not None else ())]


def _calls(run: BacktestRun) -> Line:
    line: list[Inline] = []
    if run.callback_calls is not None:
        line.append(count(run.callback_calls, "time"))
    for one in run.schedule[:_MOST_CALLS]:
        line += ["; " if line else "", Code(cut(one.in_words(), _LONGEST_CALL))]
    left = len(run.schedule) - _MOST_CALLS
    return [*line, f" and {left:,} more"] if left > 0 else line


def _environment(outcome: RunOutcome) -> Line:
    run = outcome.backtests.run
    if run is None:
        python = outcome.model.runs_on.python_version
        return ["Python ", Code(python)] if python else []
    wanted = run.wanted_python
    is_other = wanted and not f"{run.python}.".startswith(f"{wanted}.")
    other: Line = [" (", *prose(wanted), " was wanted)"] if is_other else []
    package: Line = [", `blankly` ", *prose(run.blankly)] if run.blankly else []
    applied: Line = [", with ", Code(", ".join(run.constraints))] if run.constraints else []
    return ["Python ", *prose(run.python), *other, *package, *applied]


def _durations(outcome: RunOutcome) -> str:
    run, whole = outcome.backtests.run, duration(outcome.ending.seconds)
    if run is None:
        return whole
    parts = f"environment {duration(run.environment_seconds)}, model {duration(run.model_seconds)}"
    return f"{whole} ({parts})"
