from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.text.cron import cron_fault


@pytest.mark.parametrize(
    "expression", ["30 14 * * 1-5", "*/5 * * * *", "0 0 L * *", "0 9 * JAN MON#1"]
)
def test_a_valid_cron_expression_is_accepted(expression: str) -> None:
    assert cron_fault(expression) is None


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("* * * *", "has 4 fields"),
        ("0 * * * * *", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("", "has 0 fields"),
        ("60 * * * *", "is not a cron expression"),
        ("* " * 150, "is longer than 200 characters"),
    ],
)
def test_anything_else_is_refused(expression: str, fault: str) -> None:
    assert fault in (cron_fault(expression) or "")


@given(st.text(st.sampled_from("0123456789*/-,#L SUNJAW\u00b2"), max_size=30))
def test_no_cron_expression_raises_an_exception(expression: str) -> None:
    assert cron_fault(expression) is None or len(cron_fault(expression) or "") > 5
