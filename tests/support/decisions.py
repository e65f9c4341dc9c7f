"""Runs with gates and comparisons that ended in every way, for looking at their summaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from deploy_action.backtest.comparison import (
    Base,
    BaseState,
    Comparison,
    compare_metrics,
    first_difference,
)
from deploy_action.backtest.model_changes import Changed, FileChanges, ModelChanges
from deploy_action.backtest.result import BacktestResult
from deploy_action.errors import Problem, Severity
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Evidence, Verdict, judge
from deploy_action.gates.messages import problem_of
from deploy_action.outcome.ending import Status
from deploy_action.outcome.run_outcome import RunOutcome
from tests.support.backtests import (
    DAY,
    START,
    a_market,
    raw_result,
    read_result,
)
from tests.support.outcomes import (
    LONG_NAME,
    a_backtest,
    orders,
    prices,
    wave,
    with_parts,
    with_problems,
)

COMMIT = "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e"
NOTHING = ModelChanges(facts=(), requirements=(), files=FileChanges())
CHANGES = ModelChanges(
    facts=(
        Changed("Plan", "nano", "micro"),
        Changed("Schedule", None, "*/15 9-16 * * 1-5"),
        Changed("Symbols", "OAK-USD", "OAK-USD, ELM-USD"),
        Changed("Argument initial_values", '{"USD": 10000}', '{"USD": 25000, "BTC": 0.5}'),
    ),
    requirements=(
        Changed("numpy", "==1.26.4", "==1.26.5"),
        Changed("scikit-learn", None, ">=1.4"),
        Changed("ta", "", None),
    ),
    files=FileChanges(("signals.py",), (), ("bot.py", "requirements.txt")),
)


def a_base(result: BacktestResult | None = None, **changes: Any) -> Base:
    """Return a base that was backtested with this result; without one, it failed."""
    known: dict[str, Any] = {
        "ref": "main",
        "commit": COMMIT,
        "state": BaseState.FAILED if result is None else BaseState.BACKTESTED,
        "commit_url": f"https://forge.example/trader/models/commit/{COMMIT}",
        "backtest_id": "bt_880",
        "result": result,
    }
    return Base(**{**known, **changes})


def compared(
    outcome: RunOutcome,
    base: dict[str, Any],
    changes: ModelChanges | None = CHANGES,
    **of_base: Any,
) -> RunOutcome:
    """Return a backtest that was compared with a base that has this result."""
    result, candidate = read_result(base), outcome.backtests.result
    assert candidate is not None
    comparison = Comparison(
        base=a_base(result, **of_base),
        metrics=compare_metrics(result.analysis.metrics, candidate.analysis.metrics),
        first_difference=first_difference(result, candidate),
        changes=changes,
    )
    return with_parts(outcome, backtests={"comparison": comparison})


def judged(outcome: RunOutcome, lines: str, **reasons: Any) -> RunOutcome:
    """Return a run that was judged by gates."""
    result, comparison = outcome.backtests.result, outcome.backtests.comparison
    assert result is not None
    base = None if comparison is None else comparison.base.result
    gates, problems = parse_gates(lines)
    assert not problems
    verdicts = judge(
        gates,
        Evidence(
            metrics=result.analysis.metrics,
            base=None if base is None else base.analysis.metrics,
            **reasons,
        ),
    )
    failed = errors_of(verdicts)
    status = Status.FAILED if failed else outcome.ending.status
    return with_parts(
        outcome,
        backtests={"verdicts": verdicts},
        ending={"problems": (*failed, *outcome.ending.problems), "status": status},
    )


def errors_of(verdicts: Iterable[Verdict]) -> list[Problem]:
    """Return an error for each gate that stops the model."""
    return [problem for problem in map(problem_of, verdicts) if problem is not None]


def _worse() -> RunOutcome:
    """Return a backtest of more return, at a deeper fall."""
    market = a_market({"OAK-USD": prices(541, gain=0.4)})
    values = [(value or 0) * (1 + day / 4_000) for day, value in enumerate(wave(541, swing=0.12))]
    now = a_backtest(raw_result(values, orders(24), market=market))
    trades = [*orders(11), *orders(17, size=250.0)[11:]]
    return compared(now, raw_result(wave(541), trades, market=market))


def _deployed(**parts: Mapping[str, object]) -> RunOutcome:
    known = with_parts(
        _worse(),
        request={"mode": "deploy", "server": "https://deploy.example", "is_local": False},
        target={
            "url": "https://app.example/Qk3v9/bN7x2/overview",
            "project_url": "https://app.example/Qk3v9",
            "is_deployed": True,
        },
        ending={"status": Status.DEPLOYED},
    )
    return with_parts(known, **parts)


def _identical(changes: ModelChanges) -> RunOutcome:
    result = raw_result(wave(541), orders(17))
    return compared(a_backtest(result), result, changes=changes)


def _without_base(**base: Any) -> RunOutcome:
    comparison = Comparison(base=a_base(**base))
    return a_backtest(raw_result(wave(541), orders(17)), backtests={"comparison": comparison})


def _long() -> RunOutcome:
    """Return a comparison in which all is as long as it may be."""
    symbol = "A-VERY-LONG-NAME-OF-A-TOKEN-ON-A-CHAIN-X-USD"
    now = raw_result(
        wave(20_000, 123_456_789.0),
        orders(300, symbol=symbol, type="stop_loss_limit"),
        step=3_600,
        quote_asset="WRAPPED-LIQUID-STAKED-DOLLARS",
    )
    base = {
        **now,
        **raw_result(
            wave(20_000, 98_765_432.1)[::-1],
            orders(300, symbol=symbol, type="stop_loss_limit", side="sell"),
            step=3_600,
            quote_asset="WRAPPED-LIQUID-STAKED-DOLLARS",
        ),
    }
    name = "mean_reversion_on_volatility_breakouts_of_2024_v2"
    names = tuple(f"{number}/{LONG_NAME}" for number in range(40))
    changes = ModelChanges(
        facts=tuple(Changed(f"Argument {'x' * 60}{n}", "a" * 400, "b" * 400) for n in range(40)),
        requirements=tuple(Changed(f"{'package-' * 9}{n}", None, ">=1") for n in range(40)),
        files=FileChanges(names, names, names),
    )
    ref = f"feature/{'a-branch-with-a-name-that-goes-on-' * 5}"
    outcome = compared(a_backtest(now, model={"name": name}), base, changes, ref=ref)
    lines = ["final_account_value >= base + 12345678.987%", "cvar <= base - 0.125%"]
    return judged(outcome, "\n".join([*lines, *(f"trades > {n}" for n in range(120))]))


@cache
def decisions() -> Mapping[str, RunOutcome]:
    """Return the runs, by name."""
    gates = "sharpe >= 1\nmax_drawdown <= base\ncum_returns >= base - 10%"
    no_base = "The model did not exist at `main`."
    later = raw_result(wave(300), orders(17), start_time=float(START))
    for point in later["account_values"]:
        point["time"] += 300 * DAY
    fewer = raw_result(wave(541), orders(9))
    ended = a_backtest(raw_result(wave(541), orders(17)))
    warning = Problem(
        message="The Sharpe ratio is 3.4, and 1.02 at the base: so large a step "
        "suggests look-ahead bias.",
        hint="Look whether a bar's close is used to trade in that bar.",
        severity=Severity.WARNING,
    )
    passed = judged(_worse(), "sharpe >= 1\ncum_returns > base\ntrades != 0")
    return {
        "passed": with_problems(passed, warning),
        "stopped": judged(_worse(), gates),
        "identical": _identical(replace(CHANGES, facts=(), requirements=())),
        "nothing changes": _identical(NOTHING),
        "same bundle": compared(
            a_backtest(raw_result(wave(541), orders(17))),
            raw_result(wave(541), orders(17)),
            changes=NOTHING,
            is_same_bundle=True,
        ),
        "absent": judged(
            _without_base(state=BaseState.ABSENT), "cvar <= base\nsharpe > 0.5", no_base=no_base
        ),
        "base failed": _without_base(reason="`bot.py` is not there, and 2 problems more"),
        "no more trades": compared(ended, fewer),
        "other times": compared(a_backtest(raw_result(wave(541), orders(17))), later),
        "other asset": compared(
            a_backtest(raw_result(wave(541), orders(17))),
            raw_result(wave(541), orders(17), quote_asset="EUR"),
        ),
        "deployed after gates": judged(_deployed(), "sharpe >= 1"),
        "not deployed": with_parts(
            judged(_deployed(), gates), target={"is_deployed": False, "version_id": ""}
        ),
        "long": _long(),
        "few values": compared(
            a_backtest(raw_result([100.0, 103.0, 99.0])), raw_result([100.0, 101.0])
        ),
    }
