"""Arguments of a backtest: what is sent of input and `blankly.json`, and what is refused before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Runner, write_model
from tests.support.backtests import raw_result
from tests.support.scripted_server import Reply, ScriptedServer

BACKTEST = "POST /model/backtest"
DATES = {"start_date": "2022-01-01", "end_date": "2023-01-01"}


def send(runner: Runner, own: dict[str, Any] | None, given: str) -> tuple[int, Any, list[str]]:
    """Run a backtest; return the exit code, the arguments that were sent, and what was said."""
    write_model(runner.workspace, **({} if own is None else {"backtest_args": own}))
    answer = {"modelId": "m", "versionId": "v", "backtestId": "b", "status": "success"}
    with ScriptedServer({BACKTEST: Reply(body={**answer, "result": raw_result()})}) as server:
        ended = runner.run(
            mode="backtest", api_url=server.url, token="t", model_id="m", backtest_args=given
        )
        sent = [json.loads(one.fields["backtestArgs"]) for one in server.requests_to(BACKTEST)]
    return ended.code, sent[0] if sent else None, ended.annotations


@pytest.mark.parametrize(
    ("own", "given", "sent"),
    [
        ({**DATES, "use_price": "low"}, "to: 3y", {"use_price": "low", "to": "3y"}),
        ({"to": "1y", "initial_values": {"USD": 5}}, json.dumps(DATES), {
            **DATES, "initial_values": {"USD": 5},
        }),
        (DATES, "start_date: '2022-06-01'", {**DATES, "start_date": "2022-06-01"}),
        (DATES, "{start_date: null, end_date: null, to: 3y}", {"to": "3y"}),
        ({"to": "1y", "use_price": "low"}, "use_price: null", {"to": "1y"}),
        ({}, "", {}),
        (None, "", {"to": "1y"}),
    ],
)  # fmt: skip
def test_the_input_wins_key_by_key_and_the_period_is_one_of_them(
    runner: Runner, own: dict[str, Any] | None, given: str, sent: dict[str, Any]
) -> None:
    code, arguments, said = send(runner, own, given)
    assert (code, arguments) == (0, sent), said


@pytest.mark.parametrize(
    ("own", "given", "place", "words"),
    [
        (
            {"start_date": "2024-01-01", "end_date": "2023-01-01"},
            "",
            "file=blankly.json,line=",
            "not after `start_date`",
        ),
        ({"to": "1y"}, "{start_date: '2090-01-01', end_date: '2091-01-01'}", "", "in the future"),
        ({"initial_values": {"USD": 0}}, "", "file=blankly.json,line=", "with nothing"),
        ({"to": "1y"}, "initial_values: {}", "", "with nothing"),
    ],
)
def test_what_cannot_be_meant_sends_nothing(
    runner: Runner, own: dict[str, Any], given: str, place: str, words: str
) -> None:
    code, arguments, said = send(runner, own, given)
    assert (code, arguments) == (2, None)
    (error,) = [one for one in said if one.startswith("::error")]
    assert words in error
    assert place in error
    assert ("Input `backtest-args`: " in error) is bool(given)


def test_an_ambiguous_date_is_a_warning(runner: Runner) -> None:
    code, arguments, said = send(runner, {"start_date": "01/03/2022", "end_date": "2023-01-01"}, "")
    assert (code, arguments["start_date"]) == (0, "01/03/2022")
    assert any("read as 2022-01-03, with the month first" in one for one in said)
