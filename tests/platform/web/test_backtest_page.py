from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from deploy_action.backtest.figures.words import NO_FIGURE
from deploy_action.errors import Problem
from deploy_action.platform.runs.model_run import Outcome
from tests.support.backtests import DAY, START, a_market, an_order, raw_result
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/models/golden-cross"
MODEL_PROCESS = ROOT / "deploy_action/platform/model_process"
VALUES = (10_000.0, 10_400.0, 9_900.0, 12_900.0)
TRADES = (an_order("buy", 1, 100.0), an_order("sell", 1, 120.0, time=float(START + 2 * DAY)))
FACTS = {
    "python": "3.11.2",
    "blankly": "1.18.25b0",
    "arguments": {"to": "1y", "initial_values": {"USD": 10_000}},
    "argumentSources": {"to": "given", "initial_values": "script"},
    "callbackCalls": 4,
    "environmentSeconds": 1.0,
    "modelSeconds": 2.5,
}


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    found = Visitor(live.parts.url)
    found.sign_in(live.refresh_token)
    return found


def a_raw_result(**changes: Any) -> dict[str, Any]:
    return (
        raw_result(VALUES, TRADES, market=a_market({"OAK-USD": [100.0, 100.0, 120.0, 130.0]}))
        | changes
    )


def outcome(raw: object, *problems: Problem) -> Outcome:
    return Outcome(result=json.dumps(raw).encode(), problems=problems, facts=FACTS)


def run(
    live: LivePlatform, result: Outcome | Exception, description: str = "Raise the stop"
) -> str:
    """Run a backtest that ends like this, and return the path of its page."""
    live.parts.runner.outcome = result
    model_id = live.create_model()
    answer = live.backtest(model_id, backtestDescription=description).json()
    return f"/{live.user_id}/{model_id}/backtests/{answer['backtestId']}"


def page_of(live: LivePlatform, visitor: Visitor, result: Outcome | Exception) -> str:
    answer = visitor.get(run(live, result))
    assert answer.status_code == 200
    return text_of(answer.text)


def test_it_says_what_was_made_beside_holding_and_over_which_period(
    live: LivePlatform, visitor: Visitor
) -> None:
    shown = page_of(live, visitor, outcome(a_raw_result()))

    assert "Backtest: +29.0% against +30.0% for holding, Sharpe" in shown
    assert "2023-03-01 to 2023-03-04 (3 days) on keyless: OAK-USD, from 10,000.00 USD." in shown
    assert "Return +29.00% holding +30.00%" in shown
    assert "Max drawdown 4.81% holding 0.00%" in shown
    assert "Trades 2" in shown
    assert "Round trips 1 1 won, 0 lost" in shown
    assert "Each order pays 0.10% in fees." in shown
    assert "finished" in shown


def test_every_figure_of_the_report_is_there_with_a_reason_where_there_is_none(
    live: LivePlatform, visitor: Visitor
) -> None:
    shown = page_of(live, visitor, outcome(a_raw_result()))

    assert f"Profit factor {NO_FIGURE} no round trip lost money profit_factor" in shown
    assert "Longest drawdown 2 days 0 days longest_drawdown_days" in shown
    assert "Cumulative Returns (%) 29" in shown
    assert "The model was called 4 times" in shown
    assert "Python 3.11.2, blankly 1.18.25b0" in shown
    assert 'initial_values {"USD": 10000} the script' in shown.replace("&#34;", '"')
    assert "2023 +29.0 +29.0" in shown


def test_the_charts_have_the_values_the_orders_and_gaps(
    live: LivePlatform, visitor: Visitor
) -> None:
    raw = a_raw_result()
    raw["account_values"][1]["value"] = None

    html = visitor.get(run(live, outcome(raw))).text

    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', html)
    assert found
    data = json.loads(found[1])
    assert data["accounts"][0]["values"] == [10_000, None, 9_900, 12_900]
    assert data["prices"][0]["orders"][0] == [START + DAY, 1, 1, 100]
    assert "gaps" in data["notes"][0]


def statuses(live: LivePlatform, model_id: str) -> list[object]:
    return [one["status"] for one in live.backtests(model_id)]


def test_a_backtest_that_waits_or_runs_says_so_and_keeps_itself_up_to_date(
    live: LivePlatform, visitor: Visitor
) -> None:
    runner = live.parts.runner
    runner.outcome = outcome(a_raw_result())
    model_id = live.create_model()
    version_id = str(live.backtest(model_id).json()["versionId"])
    asked = {"projectId": live.user_id, "modelId": model_id, "versionId": version_id}
    asked |= {"backtestArgs": "{}", "backtestDescription": ""}
    runner.gate.clear()
    for _ in range(2):
        assert live.post("/model/backtest-uploaded-model", **asked).status_code == 200
    wait_for(lambda: statuses(live, model_id) == ["finished", "running", "queued"])
    base = f"/{live.user_id}/{model_id}/backtests"
    _, first, second = (f"{base}/{one['backtestId']}" for one in live.backtests(model_id))

    running, queued = visitor.get(first).text, visitor.get(second).text

    assert "running" in text_of(running)
    assert "It has no result yet." in text_of(running)
    assert "It waits for a backtest that runs to end." in text_of(queued)
    assert 'id="backtest" data-refresh' in running
    runner.gate.set()
    wait_for(lambda: set(statuses(live, model_id)) == {"finished"})
    done = visitor.get(first).text
    assert "against +30.0% for holding" in text_of(done)
    assert 'id="backtest" data-refresh' not in done


def test_a_failed_one_says_where_and_what_to_do(live: LivePlatform, visitor: Visitor) -> None:
    problem = Problem(message="`foo` is not defined", hint="Define `foo`.", path="bot.py", line=3)

    shown = page_of(live, visitor, Outcome(result=None, problems=(problem,), facts=FACTS))

    assert "failed" in shown
    assert shown.index("Error: bot.py") < shown.index("It has no result.")
    assert "Error: bot.py:3 : foo is not defined" in shown
    assert "Define foo ." in shown


def test_one_whose_script_failed_after_its_end_shows_both(
    live: LivePlatform, visitor: Visitor
) -> None:
    problem = Problem(message="division by zero", path="bot.py", line=9)

    shown = page_of(live, visitor, outcome(a_raw_result(), problem))

    assert "failed after its end" in shown
    assert "+29.0% against +30.0%" in shown
    assert "division by zero" in shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "`trades` is null or missing"),
        (b"not JSON", "cannot be read: it is not JSON"),
        (
            json.dumps(a_raw_result(account_values=[{"time": "x", "value": 1}])).encode(),
            "should be a number",
        ),
    ],
)
def test_a_result_that_cannot_be_read_is_said(
    content: bytes, said: str, live: LivePlatform, visitor: Visitor
) -> None:
    path = run(live, outcome(a_raw_result()))
    live.parts.store.result_path(path.rpartition("/")[2]).write_bytes(content)

    shown = text_of(visitor.get(path).text)

    assert "The result is not as it should be: " in shown
    assert said in shown
    assert "+29.0%" not in shown


def test_a_result_that_was_removed_is_said(live: LivePlatform, visitor: Visitor) -> None:
    path = run(live, outcome(a_raw_result()))
    live.parts.store.result_path(path.rpartition("/")[2]).unlink()

    shown = text_of(visitor.get(path).text)

    assert "The result was removed since" in shown
    assert "+29.0%" not in shown


def test_no_backtest_of_another_model_is_shown(live: LivePlatform, visitor: Visitor) -> None:
    path = run(live, outcome(a_raw_result()))
    other = live.create_model()
    backtest_id = path.rpartition("/")[2]

    assert visitor.get(f"/{live.user_id}/{other}/backtests/{backtest_id}").status_code == 404
    assert visitor.get(f"{path.rpartition('/')[0]}/none").status_code == 404
    assert Visitor(live.parts.url).get(path).status_code == 303


def many_trips(number: int) -> dict[str, Any]:
    prices = [100.0 + bar % 7 for bar in range(2 * number + 1)]
    orders = [
        an_order("sell" if bar % 2 else "buy", 1, prices[bar], time=float(START + DAY * bar))
        for bar in range(2 * number)
    ]
    values = [10_000.0 + bar for bar in range(2 * number + 1)]
    no_fees = {"maker_fee": 0.0, "taker_fee": 0.0}
    return raw_result(values, orders, market=a_market({"OAK-USD": prices}, of_symbol=no_fees))


def gains(html: str) -> list[str]:
    return re.findall(r'<tr><td class="number[^"]*">([^<]*)<td', html)


def test_round_trips_are_sorted_and_paged_by_links_alone(
    live: LivePlatform, visitor: Visitor
) -> None:
    path = run(live, outcome(many_trips(250)))
    html = visitor.get(path).text

    assert len(gains(html)) == 100
    assert "Page 1 of 3" in text_of(html)
    link = re.search(r'<a href="([^"]*)">Gain</a>', html)
    assert link
    best = visitor.get(f"{path}{link[1]}".replace("&amp;", "&").partition("#")[0]).text
    assert gains(best)[0] == "+1.00"
    assert 'aria-sort="descending"' in best
    last = visitor.get(f"{path}?sort=profit&order=asc&page=3").text
    assert len(gains(last)) == 50
    assert gains(last)[-1] == "+1.00"
    assert gains(visitor.get(f"{path}?sort=profit&order=asc").text)[0] == "\u22126.00"


@pytest.mark.parametrize("query", ["sort=x", "order=<b>"])
def test_odd_addresses_show_the_page(query: str, live: LivePlatform, visitor: Visitor) -> None:
    answer = visitor.get(f"{run(live, outcome(a_raw_result()))}?{query}")

    assert answer.status_code == 200
    assert gains(answer.text) == ["+19.76"]
    assert "order=<b>" not in answer.text


def test_what_others_wrote_stays_text(live: LivePlatform, visitor: Visitor) -> None:
    hostile = '</script><script>alert(1)</script>\u202e"'
    raw = a_raw_result(exchange=hostile, quote_asset=hostile)
    raw["trades"][0]["symbol"] = hostile
    problem = Problem(message=hostile)

    html = visitor.get(run(live, outcome(raw, problem), hostile)).text

    assert "<script>alert" not in html
    assert "\u202e" not in html


def test_two_visitors_who_look_at_once_see_the_same(live: LivePlatform, visitor: Visitor) -> None:
    path = run(live, outcome(many_trips(20)))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(visitor.get(path).text)) for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1


def made_by_the_package(python: Path, folder: Path) -> bytes:
    """Run the example as the platform does, with the real package, and return its result."""
    model, result = folder / "model", folder / "result.json"
    shutil.copytree(EXAMPLE, model)
    arguments = json.loads((model / "blankly.json").read_text())["backtest_args"]
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": f"{model}:{MODEL_PROCESS / 'hooks'}",
        "BACKTESTING": "1",
        "BACKTESTING_ID": "b",
        "BACKTESTING_ARGS": base64.b64encode(json.dumps(arguments).encode()).decode(),
    }
    with (folder / "events").open("wb") as events:
        done = subprocess.run(
            [
                *(str(python), str(MODEL_PROCESS / "run_model.py"), "--result", str(result)),
                *("--script", str(model / "bot.py"), "--root", str(model)),
                *("--events-fd", str(events.fileno())),
            ],
            cwd=model, env=environ, pass_fds=[events.fileno()], capture_output=True, timeout=120,
            check=False,
        )  # fmt: skip
    assert result.exists(), done.stderr
    return result.read_bytes()


def test_what_the_real_package_made_is_shown(
    live: LivePlatform, visitor: Visitor, blankly_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    content = made_by_the_package(blankly_python, tmp_path / "run")

    shown = page_of(live, visitor, Outcome(result=content, problems=(), facts={}))

    assert "Backtest: +37.9% against +65.0% for holding, Sharpe 0.96" in shown
    assert "2023-03-01 to 2024-08-23 (541 days) on keyless: OAK-USD" in shown
    assert "8 round trips: 5 won, 3 lost, 1 still open." in shown
    assert "16.48% 2024-03-11 2024-07-21 not yet 165 days" in shown


def test_all_orders_are_listed_a_hundred_on_each_page(live: LivePlatform, visitor: Visitor) -> None:
    trades = [
        an_order("buy" if number % 2 else "sell", 1, 100.0 + number, time=float(START + number))
        for number in range(250)
    ]
    trades[120] |= {"type": "<b>limit</b>", "price": None}
    path = run(live, outcome(a_raw_result(trades=trades)))

    pages = [visitor.get(f"{path}?orders={number}").text for number in (1, 2, 3, 99)]

    shown = [text_of(page.partition('id="orders"')[2].partition("</table>")[0]) for page in pages]
    assert all("250 orders, as the package lists them" in one for one in shown)
    assert "buy 1 101 OAK-USD spot-market" in shown[0]
    assert "buy 1 301 OAK-USD spot-market" in shown[2]
    assert shown[2] == shown[3]
    assert f"sell 1 {NO_FIGURE} OAK-USD &lt;b&gt;limit" in shown[1]
    assert "?orders=2#orders" in pages[0]
    assert "Page 2 of 3" in text_of(pages[1])
