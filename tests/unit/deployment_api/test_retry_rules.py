"""What may be sent again after which answer."""

from __future__ import annotations

import pytest

from deploy_action.deployment_api.retry_rules import is_refusal, may_repeat_change
from deploy_action.http.exchange import Answer


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520])
def test_a_server_that_did_not_get_the_whole_request_did_nothing(status: int) -> None:
    assert may_repeat_change(Answer(status, b"", was_sent_whole=False))
    assert not may_repeat_change(Answer(status, b""))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 429])
def test_a_refusal_leaves_no_doubt(status: int) -> None:
    assert is_refusal(Answer(status, b""))


@pytest.mark.parametrize("status", [200, 202, 301, 303, 307, 408, 500, 502, 503, 504, 599])
def test_any_other_answer_is_no_refusal(status: int) -> None:
    assert not is_refusal(Answer(status, b""))


def test_a_time_to_come_back_makes_a_503_a_refusal() -> None:
    assert is_refusal(Answer(503, b"", retry_after=0.0))
