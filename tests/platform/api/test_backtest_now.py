"""The header from which the dates of a backtest count back."""

from __future__ import annotations

import pytest
import requests

from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.assembly import BacktestSettings
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import Platform
from tests.support.scripted_runner import ScriptedRunner


def test_it_is_a_time_with_a_zone() -> None:
    assert Request({}, now="2024-05-31T12:00:00Z").backtest_now() == 1_717_156_800
    assert Request({}, now="2024-05-31T14:00:00+02:00").backtest_now() == 1_717_156_800
    assert Request({}).backtest_now() is None


def test_without_it_the_day_of_the_request_begins_it(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    platform = start_platform(running=BacktestSettings(runner=runner))
    platform.backtest(platform.create_model())
    # The clock of the platform is at 22:13:20.
    assert [one.now for one in runner.requests] == [1_699_920_000]


@pytest.mark.parametrize(
    "text", ["now", "2024-05-31", "2024-05-31T12:00:00", "1717156800", "0001-01-01T00:00:00+23:59"]
)
def test_anything_else_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ApiError, match="Backtest-Now must be a time"):
        Request({}, now=text).backtest_now()


def test_it_is_documented_where_backtests_are_asked_for(platform: Platform) -> None:
    document = requests.get(f"{platform.server.url}/openapi.json", timeout=60).json()
    documented = {
        route
        for route, item in document["paths"].items()
        for one in item.get("post", {}).get("parameters", ())
        if one["name"] == "Backtest-Now"
    }
    assert documented == {
        *("/model/backtest", "/model/backtestuploadedmodel", "/model/backtest-uploaded-model")
    }
