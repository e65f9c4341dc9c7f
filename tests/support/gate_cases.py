"""Gates for tests: as lines, drawn at random, and judged by ready values."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from decimal import Decimal

from hypothesis import strategies as st

from deploy_action.backtest.metrics import METRICS
from deploy_action.gates.grammar import parse_gates
from deploy_action.gates.judgement import Bound, Evidence, Gate, Operator, Reference, Verdict, judge

VALUES: Mapping[str, float | None] = {
    "sharpe": 0.96,
    "cum_returns": -5.0,
    "max_drawdown": 24.0,
    "volatility": 0.27,
    "trades": 12,
    "final_account_value": 9_500.0,
    "calmar": None,
    "sortino": math.nan,
}
BASE: Mapping[str, float | None] = {
    "sharpe": 1.1,
    "cum_returns": -5.0,
    "max_drawdown": 20.0,
    "final_account_value": 10_000.0,
    "cagr": 0.0,
}

bounds = st.builds(
    lambda number, *, is_per_cent, of_base: Bound(
        number=number,
        is_per_cent=is_per_cent,
        reference=Reference.BASE if of_base else Reference.ZERO,
    ),
    st.decimals(-1000, 1000, places=3),
    is_per_cent=st.booleans(),
    of_base=st.booleans(),
)
metric_names = st.sampled_from(list(METRICS))
operators = st.sampled_from(list(Operator))
finite = st.floats(allow_nan=False, allow_infinity=False)
plain_values = st.one_of(
    finite,
    st.decimals(-1000, 1000, places=2).map(float),
    st.sampled_from([0.0, -0.0, 0.1 + 0.2, 5e-324, sys.float_info.max, -sys.float_info.max]),
)
maybe = st.one_of(st.none(), st.floats(), plain_values)


def one_gate(text: str) -> Gate:
    """Return the gate in a line."""
    (gate,), _ = parse_gates(text)
    assert isinstance(gate, Gate)
    return gate


def bound(number: str, *, is_per_cent: bool = False, of_base: bool = False) -> Bound:
    reference = Reference.BASE if of_base else Reference.ZERO
    return Bound(number=Decimal(number), is_per_cent=is_per_cent, reference=reference)


def verdict_of(text: str, base: Mapping[str, float | None] | None = BASE) -> Verdict:
    """Return the verdict on one gate with the values above."""
    (verdict,) = judge([one_gate(text)], Evidence(metrics=VALUES, base=base))
    return verdict
