"""The windows of a backtest: kept with it, shown on its page, and listed nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from deploy_action.errors import Problem
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.records import WindowPlace
from tests.support.backtests import DAY, START, a_market, an_order, raw_result
from tests.support.scripted_live_server import LivePlatform
from tests.support.scripted_runner import ScriptedRunner
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

# The results of these tests are from 2023-03-01 to 2023-03-04.
PERIOD = {"start_date": "2023-03-01", "end_date": "2023-03-05"}


def a_result(gain: float = 0.29) -> Outcome:
    result = raw_result(
        (10_000.0, 10_400.0, 9_900.0, 10_000.0 * (1 + gain)),
        [an_order("buy", 1, 100.0), an_order("sell", 1, 120.0, time=float(START + 2 * DAY))],
        market=a_market({"OAK-USD": [100.0, 100.0, 120.0, 130.0]}),
    )
    return Outcome(result=json.dumps(result).encode(), problems=(), facts={})


@contextmanager
def opening(runner: ScriptedRunner) -> Iterator[None]:
    """Let backtests end at last, whatever happens."""
    try:
        yield
    finally:
        runner.gate.set()


class Windowed:
    """A model with a backtest of the whole period, of which a test asks for windows."""

    def __init__(self, live: LivePlatform, reader: Visitor, **fields: str) -> None:
        self.live, self.reader = live, reader
        self.model_id = live.create_model()
        self.whole = self.backtest(**fields)

    def backtest(self, **fields: str) -> dict[str, Any]:
        self.live.parts.runner.outcome = a_result()
        answer: dict[str, Any] = self.live.backtest(self.model_id, None, **fields).json()
        return answer

    def ask(self, number: int, name: str, **changes: str) -> dict[str, Any]:
        """Ask for a window, and return the answer."""
        answer = self.live.post("/model/backtest", **self.fields(number, name) | changes)
        found: dict[str, Any] = answer.json()
        return found

    def fields(self, number: int, name: str) -> dict[str, str]:
        return {
            "projectId": self.live.user_id,
            "modelId": self.model_id,
            "versionId": self.whole["versionId"],
            "windowOf": self.whole["backtestId"],
            "window": name,
            "windowNumber": str(number),
            "type": "strategy",
            "plan": "nano",
            "pythonVersion": "3.10",
            "backtestDescription": f"Window {name} of: Raise the stop",
            "backtestArgs": json.dumps(PERIOD),
        }

    def window(
        self, number: int, name: str, outcome: Outcome | Exception, **changes: str
    ) -> dict[str, Any]:
        self.live.parts.runner.outcome = outcome
        return self.ask(number, name, **changes)

    @property
    def listed(self) -> list[dict[str, Any]]:
        """All backtests of the model, as the API lists them, and then their windows."""
        return self.live.with_windows(self.model_id)

    def page(self, path: str = "") -> str:
        answer = self.reader.get(f"/{self.live.user_id}/{self.model_id}/backtests{path}")
        assert answer.status_code == 200
        return answer.text

    def page_of(self, answer: Mapping[str, Any]) -> str:
        return self.page(f"/{answer['backtestId']}")

    def wait_for_figures(self) -> None:
        def none_lack() -> bool:
            with self.live.parts.store.snapshot() as snapshot:
                return not snapshot.figures.lacking(1)

        wait_for(none_lack)


@pytest.fixture
def tested(live: LivePlatform, reader: Visitor) -> Windowed:
    return Windowed(live, reader, windows="2", combinations="0")


def test_the_page_of_the_whole_period_has_a_table_of_its_windows(tested: Windowed) -> None:
    tested.window(2, "calm", a_result(-0.1))
    first = tested.window(1, "bull", a_result(0.4))
    tested.wait_for_figures()

    html = tested.page_of(tested.whole)

    shown = text_of(html)
    assert "2 windows : 1 gained, 1 made more than holding. Each starts" in shown
    assert "1. bull 2023-03-01 to 2023-03-05 🟩 +40.00% +30.00%" in shown
    assert "2. calm 2023-03-01 to 2023-03-05 🟥 \u221210.00% +30.00%" in shown
    assert shown.index("1. bull") < shown.index("2. calm") < shown.index("Worst")
    assert f'/backtests/{first["backtestId"]}">1. bull</a>' in html
    assert "Not all windows" not in shown
    assert _refreshed(html) == []


def test_the_page_of_a_window_says_what_it_is_a_part_of(tested: Windowed) -> None:
    window = tested.window(1, "bull", a_result())

    html = tested.page_of(window)

    assert "This is window 1 of 2, bull , of the backtest of the whole period" in text_of(html)
    assert f'/backtests/{tested.whole["backtestId"]}">the backtest of the whole' in html
    assert "Compare it" not in html
    assert "Compare it" in tested.page_of(tested.whole)


def test_windows_are_no_backtests_of_their_own_on_lists(tested: Windowed) -> None:
    tested.backtest(backtestDescription="Another one")
    for number in (1, 2):
        tested.window(number, f"part {number}", a_result())
    tested.wait_for_figures()
    live = tested.live

    shown = tested.page()
    with live.parts.store.snapshot() as snapshot:
        version = snapshot.live.version(live.user_id, tested.model_id, tested.whole["versionId"])
        assert version is not None
        of_bundle = snapshot.uploaded.backtests_of_bundle(version, 9)
        latest = snapshot.figures.latest(live.user_id, tested.model_id, 9)

    assert "2 backtests, the newest first" in text_of(shown)
    assert "part 1" not in shown
    chosen = re.findall(r'value="([^"]+)" required aria-label="[AB]: [^"]*" checked', shown)
    assert sorted(chosen) == sorted(one["backtestId"] for one in tested.listed[:2])
    assert len(of_bundle) == 2
    assert len(latest) == 2
    assert "2 backtests" in text_of(tested.page("/history"))


def test_the_api_says_what_they_are_and_sends_their_results_when_asked(tested: Windowed) -> None:
    window = tested.window(1, "bull", a_result())

    whole, of_window = tested.listed

    names = ("windowOf", "window", "windowNumber", "windows", "combinations")
    assert [whole[name] for name in names] == [None, None, None, 2, 0]
    assert [of_window[name] for name in names] == [
        tested.whole["backtestId"],
        *("bull", 1, None, None),
    ]
    assert whole["result"] is not None
    assert of_window["result"] is None
    asked = {"projectId": tested.live.user_id, "modelId": tested.model_id}
    (_, found) = tested.live.post(
        "/model/details", **asked, backtestId=window["backtestId"]
    ).json()["backtests"]
    assert found["result"] == window["result"]


def test_a_window_that_is_asked_for_again_is_there_once(tested: Windowed) -> None:
    before = tested.window(1, "bull", a_result(0.1))
    tested.wait_for_figures()
    again = tested.window(1, "bull", a_result(0.4))
    tested.wait_for_figures()

    (of_window,) = [one for one in tested.listed if one["windowOf"]]
    assert of_window["backtestId"] == again["backtestId"]
    assert not tested.live.parts.store.result_path(before["backtestId"]).exists()
    assert tested.live.parts.store.result_path(again["backtestId"]).exists()
    assert "+40.00%" in tested.page_of(tested.whole)
    assert "+10.00%" not in tested.page_of(tested.whole)


def test_a_window_that_still_runs_is_stopped_when_it_is_asked_for_again(tested: Windowed) -> None:
    """A client that lost its connection asks again before the server notices that it is gone."""
    runner = tested.live.parts.runner
    runner.outcome = a_result()
    runner.gate.clear()
    with ThreadPoolExecutor(2) as threads, opening(runner):
        first = threads.submit(tested.ask, 1, "bull")
        wait_for(lambda: runner.running == 1)
        second = threads.submit(tested.ask, 1, "bull")
        answer = first.result(10)
        runner.gate.set()
        finished = second.result(10)

    assert (answer["status"], finished["status"]) == ("stopped", "success")
    (of_window,) = [one for one in tested.listed if one["windowOf"]]
    assert (of_window["backtestId"], of_window["status"]) == (finished["backtestId"], "finished")
    results = tested.live.parts.store.result_path("x").parent
    assert len(list(results.iterdir())) == 2


def test_nothing_is_left_of_a_window_that_went_while_it_ran(tested: Windowed) -> None:
    runner, store = tested.live.parts.runner, tested.live.parts.store
    runner.outcome = a_result()
    runner.gate.clear()
    with ThreadPoolExecutor(1) as threads, opening(runner):
        asked = threads.submit(tested.ask, 1, "bull")
        wait_for(lambda: runner.running == 1)
        with store.transaction() as transaction:
            transaction.windows.remove(WindowPlace(tested.whole["backtestId"], 1, "bull"))
        runner.gate.set()
        answer = asked.result(10)

    assert answer["error"] == "The backtest was deleted, or asked for again, before it ended."
    assert len(list(store.result_path("x").parent.iterdir())) == 1


def test_two_backtests_have_their_windows_side_by_side(live: LivePlatform, reader: Visitor) -> None:
    """By name and period: a window that one of them lacks is not compared."""
    tested = Windowed(live, reader, windows="3", combinations="0")
    first = tested.whole
    tested.window(1, "bull", a_result(0.4))
    tested.window(2, "calm", a_result(0.1))
    tested.window(3, "flat", a_result(0.1))
    later = tested.whole = tested.backtest(windows="4", combinations="0")
    alone = text_of(tested.page(f"/compare?a={first['backtestId']}&b={later['backtestId']}"))
    tested.window(1, "bull", a_result(0.5))
    tested.window(2, "calm", a_result(-0.1))
    tested.window(3, "flat", a_result(0.1))
    other = json.dumps({**PERIOD, "end_date": "2023-03-06"})
    tested.window(4, "late", a_result(), backtestArgs=other)
    tested.wait_for_figures()

    shown = text_of(tested.page(f"/compare?a={first['backtestId']}&b={later['backtestId']}"))
    same = text_of(tested.page(f"/compare?a={first['backtestId']}&b={first['backtestId']}"))

    assert "Only A has windows on this server" in alone
    assert "Of 3 windows with a result of both, B made more in 1 and A in 1." in shown
    assert "bull 2023-03-01 to 2023-03-05 +40.00% +50.00% +10 pp" in shown
    assert "calm 2023-03-01 to 2023-03-05 +10.00% \u221210.00% \u221220 pp" in shown
    assert "flat 2023-03-01 to 2023-03-05 +10.00% +10.00% same" in shown
    assert "late 2023-03-01 to 2023-03-06 not tested +29.00%" in shown
    assert "Windows" not in same


def test_windows_that_wait_run_fail_or_stop_say_so(live: LivePlatform, reader: Visitor) -> None:
    tested = Windowed(live, reader, windows="4", combinations="0")
    runner = live.parts.runner
    failure = Problem(message="division by zero in `bot.py`")
    tested.window(1, "failed", Outcome(result=None, problems=(failure,), facts={}))
    runner.outcome = a_result()
    runner.gate.clear()
    with ThreadPoolExecutor(2) as threads, opening(runner):
        threads.submit(tested.ask, 2, "runs")
        wait_for(lambda: runner.running == 1)
        threads.submit(tested.ask, 3, "waits")
        wait_for(lambda: len(tested.listed) == 4)
        html = tested.page_of(tested.whole)

    shown = text_of(html)
    assert (
        "⏳ So far 1 of 4 windows , 2 still to end: 0 gained; 1 window without a result ." in shown
    )
    assert "The run wants 4 windows." in shown
    assert "one after the other: 3 so far." in shown
    assert "1. failed 2023-03-01 to 2023-03-05 failed ❌ no result: division by zero" in shown
    assert "running ⏳ no result yet: it runs" in shown
    assert "queued ⏳ no result yet: it waits for its turn" in shown
    assert _refreshed(html) == ["windows-part"]


def _refreshed(html: str) -> list[str]:
    """Return the ids of the parts that stay up to date, besides the state of the model."""
    return [one for one in re.findall(r'id="([^"]+)" data-refresh', html) if one != "state"]


def test_figures_of_some_windows_are_named_as_such(live: LivePlatform, reader: Visitor) -> None:
    tested = Windowed(live, reader, windows="3", combinations="0")
    tested.window(1, "bull", a_result(0.4))
    tested.wait_for_figures()
    live.parts.runner.gate.clear()
    with ThreadPoolExecutor(1) as threads, opening(live.parts.runner):
        threads.submit(tested.ask, 2, "runs")
        wait_for(lambda: live.parts.runner.running == 1)
        shown = text_of(tested.page_of(tested.whole))

    assert "So far 1 of 3 windows , 1 still to end: 1 gained" in shown
    assert "Worst so far +40.00%" in shown
    assert "without a result" not in shown


def test_a_page_waits_for_the_windows_that_are_still_to_be_asked_for(
    live: LivePlatform, reader: Visitor
) -> None:
    """Only its table stays up to date, and for a limited time: the charts stay as they are."""
    tested = Windowed(live, reader, windows="2", combinations="0")
    pages = [tested.page_of(tested.whole)]
    tested.window(1, "bull", a_result())
    tested.wait_for_figures()
    pages.append(tested.page_of(tested.whole))
    assert [_refreshed(html) for html in pages] == [["windows-part"]] * 2
    assert all("Not all windows are here" not in text_of(html) for html in pages)

    live.clock.now += 3_601.0
    reader.sign_in(live.refresh_token)
    late = tested.page_of(tested.whole)
    live.sign_in()
    tested.window(2, "calm", a_result())
    tested.wait_for_figures()
    for html in (late, tested.page_of(tested.whole)):
        assert _refreshed(html) == []
    assert "The run wanted 2 windows, and this server was asked for 1 of them." in text_of(late)


def test_windows_come_after_the_whole_period_that_runs(live: LivePlatform, reader: Visitor) -> None:
    tested = Windowed(live, reader)
    live.parts.runner.gate.clear()
    with ThreadPoolExecutor(1) as threads, opening(live.parts.runner):
        threads.submit(tested.backtest, windows="3")
        wait_for(lambda: live.parts.runner.running == 1)
        (running,) = (one for one in tested.listed if one["status"] == "running")
        html = tested.page(f"/{running['backtestId']}")
    assert "It asks for them after the whole period" in text_of(html)
    assert "Not all windows are here" not in text_of(html)
    assert _refreshed(html) == ["backtest"]


def test_a_script_with_a_period_of_its_own_has_no_figures_of_a_window(tested: Windowed) -> None:
    other = {"start_date": "2022-01-01", "end_date": "2022-06-01"}
    window = tested.window(1, "2022", a_result(), backtestArgs=json.dumps(other))
    right = tested.window(2, "2023", a_result())
    tested.wait_for_figures()

    why = (
        "the backtest was from 2023-03-01 to 2023-03-04: the model's script sets a period of its"
        " own"
    )
    assert f"❌ no result: {why}" in _plain(tested.page_of(tested.whole))
    assert f"This is not the result of the window: {why}." in _plain(tested.page_of(window))
    assert "This is not the result" not in _plain(tested.page_of(right))


def _plain(html: str) -> str:
    return text_of(html).replace("&#39;", "'").replace(" :", ":")


def test_a_window_whose_script_fails_after_its_end_has_no_figures(tested: Windowed) -> None:
    """As in the run, which takes no result of such a script."""
    late = Problem(message="It fell later")
    tested.window(1, "bull", replace(a_result(), problems=(late,)))
    tested.wait_for_figures()

    shown = text_of(tested.page_of(tested.whole))

    assert "failed ❌ no result: It fell later" in shown
    assert "1 window without a result" in shown


def test_windows_without_dates_are_shown_by_their_names(tested: Windowed) -> None:
    tested.window(1, "by name", a_result(), backtestArgs="{}")
    tested.window(2, "at no time", a_result(), backtestArgs='{"start_date": [], "end_date": 1e300}')
    tested.wait_for_figures()

    shown = text_of(tested.page_of(tested.whole))

    assert "1. by name 🟨 +29.00%" in shown
    assert "2. at no time 🟨 +29.00%" in shown


@pytest.mark.parametrize(
    ("fields", "said", "not_said"),
    [
        ({"windows": "0", "combinations": "0"}, "", "The run"),
        ({"windows": "0", "combinations": "500"}, "The run wanted 500 combinations", "window"),
        (
            {"windows": "3"},
            "The run wants 3 windows.",
            "comb",
        ),
        (
            {},
            "Whether windows or combinations of values were tested as well is not known",
            "Not all windows",
        ),
    ],
)
def test_what_is_not_kept_is_said_where_it_is_known(
    live: LivePlatform, reader: Visitor, fields: dict[str, str], said: str, not_said: str
) -> None:
    tested = Windowed(live, reader, **fields)
    shown = text_of(tested.page_of(tested.whole))
    assert said in shown
    assert not_said not in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windowOf": "none"}, "This windowOf is no backtest"),
        ({"window": " "}, "A windowOf needs a window and a windowNumber from 1 to 100."),
        ({"windowNumber": "0"}, "A windowOf needs a window and a windowNumber"),
        ({"windowNumber": "101"}, "A windowOf needs a window and a windowNumber"),
        ({"windowNumber": "one"}, "windowNumber must be a whole number"),
        ({"ephemeral": "true"}, "Both windowOf and ephemeral were given"),
        ({"windowOf": ""}, "A window and a windowNumber need a windowOf."),
        (
            {"windowNumber": "3"},
            "is 3, and the run of this windowOf has 2 windows.",
        ),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(
    tested: Windowed, changes: dict[str, str], message: str
) -> None:
    answer = tested.live.post("/model/backtest", **tested.fields(1, "bull") | changes)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert len(tested.listed) == 1


def test_a_window_belongs_to_a_whole_period_of_the_same_version(tested: Windowed) -> None:
    window = tested.window(1, "bull", a_result())
    other = tested.backtest()
    within = {"windowOf": window["backtestId"]}
    for changes in (within, {"windowOf": other["backtestId"]}):
        assert "is no backtest of the whole period" in tested.ask(1, "bull", **changes)["error"]
    answer = tested.live.backtest(tested.model_id, windowOf="x", window="a", windowNumber="1")
    assert answer.json() == {"error": "A windowOf needs the versionId of that backtest."}


def test_names_of_windows_stay_text(tested: Windowed) -> None:
    hostile = "<script>alert(1)</script>\u202e`x`"
    window = tested.window(1, hostile, a_result())
    for html in (tested.page_of(tested.whole), tested.page_of(window)):
        assert "&lt;script&gt;alert" in html
        assert "<script>alert" not in html
        assert "\u202e" not in html


def test_a_model_is_deleted_with_its_windows(tested: Windowed) -> None:
    tested.window(1, "bull", a_result())
    tested.wait_for_figures()
    asked = {"projectId": tested.live.user_id, "modelId": tested.model_id}
    assert tested.live.post("/model/delete", **asked).status_code == 200
    assert not list(tested.live.parts.store.result_path("x").parent.iterdir())


def test_only_a_server_with_pages_lists_the_fields(live: LivePlatform) -> None:
    document = live.get("/openapi.json").json()
    content = document["paths"]["/model/backtest"]["post"]["requestBody"]["content"]
    for form in content.values():
        assert {"windowOf", "window", "windowNumber"} <= set(form["schema"]["properties"])
