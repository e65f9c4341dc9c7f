"""What a server is told of the backtest before a deploy."""

from __future__ import annotations

import json

from deploy_action.backtest.wire import parse_run
from deploy_action.outcome.backtests import Backtests
from deploy_action.platform.runs.told_figures import read_told
from deploy_action.stages.tested import LARGEST, figures_to_tell
from tests.support.backtests import a_market, a_result, an_order


def found(**arguments: object) -> Backtests:
    result = a_result(
        trades=[an_order("buy", 1.0, 100.0)], market=a_market({"OAK-USD": [100.0, 110.0, 105.0]})
    )
    return Backtests(result=result, run=parse_run({"arguments": arguments}))


def test_what_the_server_reads_is_what_was_found() -> None:
    text = figures_to_tell(found(to="1y"), str)

    told = read_told(text)

    assert told["metrics"]["cum_returns"] == 29.0
    assert told["arguments"] == {"to": "1y"}
    assert {name for name in json.loads(text) if name not in told} == set()


def test_a_result_that_is_not_known_is_not_told() -> None:
    assert figures_to_tell(Backtests(), str) == ""


def test_secrets_are_not_told() -> None:
    text = figures_to_tell(
        found(key="hunter22-hunter22"), lambda text: text.replace("hunter22", "*")
    )

    assert "hunter22" not in text
    assert json.loads(text)["arguments"] == {"key": "*-*"}


def test_too_much_is_left_out_and_the_metrics_stay() -> None:
    many = found(**{f"a{number}": "x" * 30 for number in range(90)})
    symbols = {f"SYMBOL{number:04}-USD": [1.0, 2.0] for number in range(250)}
    result = a_result(market=a_market(symbols))
    reasons = dict.fromkeys(map(str, range(500)), "x" * 40)
    result.analysis.reasons.update(reasons)  # type: ignore[attr-defined]  # it is a dict

    text = figures_to_tell(Backtests(result=result, run=many.run), str)

    assert len(text) <= LARGEST
    assert "reasons" not in json.loads(text)
    assert json.loads(text)["arguments"] is not None
    assert read_told(text)["metrics"]["final_account_value"] is not None
