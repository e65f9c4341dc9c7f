from __future__ import annotations

from typing import Any

import pytest

from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import Heading, Paragraph, to_text
from deploy_action.report.sections.verdict import about, headline
from tests.support.backtests import DAY, START, a_market, an_order, raw_result
from tests.support.decisions import judged
from tests.support.outcomes import a_backtest

TRADES = [an_order("buy", 1, 100.0), an_order("sell", 1, 101.0, time=float(START + 2 * DAY))]


def made(
    values: list[float], prices: list[float] | None = None, gates: str = "", **changes: Any
) -> RunOutcome:
    """Return a backtest whose account has these values, while the symbol has these prices."""
    market = None if prices is None else a_market({"OAK-USD": prices})
    outcome = a_backtest(raw_result(values, TRADES, market=market, **changes))
    return judged(outcome, gates) if gates else outcome


def title(outcome: RunOutcome) -> str:
    assert outcome.backtests.result is not None
    shown = Heading(headline(outcome, outcome.backtests.result))
    return to_text([shown], width=200).splitlines()[0]


def said(outcome: RunOutcome) -> str:
    assert outcome.backtests.result is not None
    return to_text([Paragraph(about(outcome, outcome.backtests.result))], width=200).strip()


def test_the_title_says_what_holding_made() -> None:
    outcome = made([10_000.0, 9_900.0, 13_790.0], [32.0, 30.0, 52.8])
    assert title(outcome).startswith("Backtest of momentum: +37.9% against +65.0% for holding, ")


@pytest.mark.parametrize(
    ("values", "prices", "mark"),
    [
        ([100.0, 90.0, 120.0], [1.0, 1.0, 1.1], "✅ The gate passed: "),
        ([100.0, 90.0, 120.0], None, "✅ The gate passed: "),
        ([100.0, 90.0, 120.0], [1.0, 1.0, 1.3], "The gate passed: "),
        ([100.0, 90.0, 95.0], [1.0, 1.0, 0.5], "The gate passed: "),
        ([100.0, 90.0, 95.0], None, "The gate passed: "),
        ([100.0, 90.0, 100.0], None, "The gate passed: "),
    ],
    ids=["more", "unknown", "less", "lost less", "loss", "nothing"],
)
def test_no_tick_stands_before_a_loss_or_less_than_holding(
    values: list[float], prices: list[float] | None, mark: str
) -> None:
    assert title(made(values, prices, "trades > 0")).startswith(f"{mark}momentum, ")


def test_a_failed_gate_is_marked_whatever_was_made() -> None:
    outcome = made([100.0, 90.0, 120.0], [1.0, 1.0, 1.1], "trades > 100")
    assert title(outcome).startswith("❌ The gate failed: momentum, +20.0% against +10.0%")


def test_without_gates_there_is_no_mark() -> None:
    assert title(made([100.0, 90.0, 500.0])).startswith("Backtest of momentum: +400.0%, Sharpe ")


def test_both_numbers_have_the_digits_that_tell_them_apart() -> None:
    outcome = made([100.0, 90.0, 120.001], [1.0, 1.0, 1.2])
    assert "+20.001% against +20.000% for holding" in title(outcome)
    assert "+0.23% against +0.20% for holding" in title(
        made([10_000.0, 9_990.0, 10_023.0], [1.0, 1.0, 1.002])
    )


def test_a_return_that_is_not_known_is_said() -> None:
    assert title(made([0.0, 1.0, 2.0])) == "Backtest of momentum: return not computed"


def test_a_period_other_than_the_asked_one_is_said() -> None:
    """An account that is flat until the first price counts from there."""
    values = [100.0] * 50 + [100.0 + day for day in range(50)]
    market = a_market({"OAK-USD": [1.0 + day / 100 for day in range(50)]})
    (prices,) = market["prices"]
    prices["times"] = [time + 50 * DAY for time in prices["times"]]
    prices["asked_start"] = float(START)
    prices["asked_end"] = float(START + 100 * DAY)
    outcome = a_backtest(raw_result(values, TRADES, market=market))
    assert said(outcome) == (
        "2023-04-20 to 2023-06-08 (49 days) on keyless: OAK-USD, from 100.00\u00a0USD. "
        "Asked for: 2023-03-01 to 2023-06-09."
    )
    prices["asked_start"] = prices["times"][0]
    assert "Asked for" not in said(a_backtest(raw_result(values, TRADES, market=market)))


def test_a_period_of_hours_has_its_times() -> None:
    outcome = made([100.0, 90.0, 120.0], step=3_600)
    assert said(outcome).startswith("2023-03-01 00:00 to 2023-03-01 02:00 (2 hours) on keyless")
