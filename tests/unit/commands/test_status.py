"""What `blankly-deploy status` says, and its exit code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy_action.commands.status import StatusText, is_as_wanted
from deploy_action.live.deployed import Account, DeployedModel, DeployedVersion, Event, Live, Order

NOW = 1_700_000_000.0
VERSIONS = {
    "v-1": DeployedVersion(id="v-1", description="First"),
    "v-2": DeployedVersion(id="v-2", description="Raise the stop\n\nBecause"),
}


def text_of(model: DeployedModel) -> str:
    return "\n".join(
        StatusText(model, "m-1", lambda text: text.replace("hush", "***"), NOW).lines()
    )


def model_of(live: Live | None, **changes: object) -> DeployedModel:
    return DeployedModel(name="Golden", tells_life=True, live=live, versions=VERSIONS, **changes)  # type: ignore[arg-type]


def test_a_running_model_is_described() -> None:
    live = Live(
        state="running",
        version_id="v-2",
        wanted="running",
        since=NOW - 90,
        restarts=1,
        problem="A callback failed: main.py:12: KeyError: hush",
        callback_errors=3,
        last_output_at=NOW - 7_200,
        previous_id="v-1",
    )
    orders = (
        Order(time=NOW, symbol="BTC-USD", side="buy", type="market", size=0.01, status="done"),
        Order(
            time=NOW,
            symbol="BTC-USD",
            side="sell",
            type="limit",
            size=1,
            price=45_000.5,
            status="filled",
            is_updated=True,
        ),
    )
    events = (Event(time=NOW, source="platform", type="lifecycle", text="started\nagain"),)
    assert text_of(model_of(live, orders=orders, events=events)) == (
        "Golden: running since 2023-11-14 22:11:50 UTC (1 min 30 s)\n"
        "  version             v-2  Raise the stop\n"
        "  problem             A callback failed: main.py:12: KeyError: ***\n"
        "  restarts            1\n"
        "  callback errors     3\n"
        "  last output         2023-11-14 20:13:20 UTC (2 hours ago)\n"
        "  rollback would run  v-1  First\n"
        "\n"
        "Last orders\n"
        "  2023-11-14 22:13:20 UTC  market buy 0.01 BTC-USD (done when sent)\n"
        "  2023-11-14 22:13:20 UTC  limit sell 1 BTC-USD at 45,000.5 filled\n"
        "\n"
        "Last events\n"
        "  2023-11-14 22:13:20 UTC  platform: lifecycle started ⏎ again"
    )


def test_a_stopped_model_says_what_a_start_would_run() -> None:
    live = Live(state="stopped", version_id="v-1", wanted="stopped", start_id="v-2")
    said = text_of(model_of(live))
    assert said.startswith("Golden: stopped\n  version             v-1  First\n")
    assert "start would run     v-2  Raise the stop" in said
    assert "rollback would run  nothing" in said
    assert "last output         none" in said


def test_what_is_not_known_is_not_made_up() -> None:
    assert text_of(model_of(None)) == "Golden: nothing was deployed yet, so nothing runs"
    assert text_of(DeployedModel()) == "m-1: the server does not tell what the model does"


def test_an_end_with_zero_is_not_praised() -> None:
    live = Live(state="failed", version_id="v-1", wanted="running", exit_code=0)
    said = text_of(model_of(live))
    assert "ended with          code 0, which does not prove that nothing failed" in said
    assert "should be           running" in said


def test_hostile_words_of_the_server_stay_on_their_line() -> None:
    live = Live(state="running\x1b[2J\nfake: stopped", version_id="v\u202e", problem="x\r\ny")
    lines = text_of(model_of(live)).split("\n")
    assert lines[0] == "Golden: running ⏎ fake: stopped"
    assert lines[1] == "  version             v\\u202e"


@pytest.mark.parametrize(
    ("state", "wanted", "expected"),
    [
        ("running", "running", True),
        ("scheduled", "running", True),
        ("running", "stopped", False),
        ("stopped", "stopped", True),
        ("stopped", "running", False),
        ("preparing", "running", True),
        ("stopping", "stopped", True),
        ("restarting", "running", False),
        ("failed", "running", False),
        ("who knows", "running", False),
    ],
)
def test_the_exit_code_tells_whether_it_does_what_it_should(
    state: str,
    wanted: str,
    expected: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    assert is_as_wanted(model_of(Live(state=state, wanted=wanted))) is expected


@pytest.mark.parametrize(
    ("exit_code", "problem", "expected"), [(0, "", True), (1, "", False), (0, "It raised", False)]
)
def test_a_script_that_finished_with_nothing_wrong_did_what_it_should(
    exit_code: int,
    problem: str,
    expected: bool,  # noqa: FBT001  # as above
) -> None:
    for state in ("finished", "scheduled"):  # the end of a script, or of a screener's last run
        live = Live(state=state, wanted="running", exit_code=exit_code, problem=problem)
        assert is_as_wanted(model_of(live)) is expected


def test_a_model_whose_callbacks_all_fail_does_not_do_what_it_should() -> None:
    live = Live(state="running", wanted="running", since=NOW, callback_errors=3)
    assert is_as_wanted(model_of(live))  # they succeed again
    failing = model_of(replace(live, callbacks_fail=True))
    assert not is_as_wanted(failing)
    first, *facts = text_of(failing).split("\n")
    assert first.endswith("(0.0 s), but its callbacks fail")
    assert "  callback errors     3, and none has succeeded since" in facts


def test_a_model_that_was_never_deployed_does_not_do_what_it_should() -> None:
    assert not is_as_wanted(model_of(None))


@pytest.mark.parametrize(
    ("account", "line"),
    [
        (
            Account(exchange="alpaca", quote="USD", value=10_214.3, time=NOW - 840),
            "10,214.30 USD at alpaca, 14 min 0 s ago; all of it, with deposits and other bots",
        ),
        (
            Account(
                exchange="binance", portfolio="second", quote="USDT", value=5.0,
                missing=("ELM", "YEW"), is_simulated=True,
            ),
            "5.00 USDT at binance (second), simulated, without ELM, YEW",
        ),
        (
            Account(exchange="alpaca", problem="The exchange cannot be reached.", time=NOW),
            "unknown, at alpaca: The exchange cannot be reached.",
        ),
        (Account(exchange="alpaca"), "unknown, at alpaca"),
    ],
)  # fmt: skip
def test_what_an_account_is_worth_is_told_in_one_line(account: Account, line: str) -> None:
    live = Live(state="running", wanted="running")
    assert (
        f"  account             {line}" in text_of(model_of(live, accounts=(account,))).splitlines()
    )
