"""The list of a model's backtests."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deploy_action.errors import Problem
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.records import VersionStatus
from deploy_action.platform.storage.tables.figures import Figures
from deploy_action.platform.storage.tables.reports import Kept
from tests.support.backtests import a_market, an_order, raw_result
from tests.support.scripted_live_server import LivePlatform
from tests.support.versions import a_version
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    visitor = Visitor(live.parts.url)
    visitor.sign_in(live.refresh_token)
    return visitor


def outcome(**changes: Any) -> Outcome:
    result = raw_result(
        (10_000.0, 10_400.0, 9_900.0, 12_900.0),
        [an_order("buy", 1.0, 100.0), an_order("sell", 1.0, 90.0)],
        market=a_market({"OAK-USD": [100.0, 110.0, 105.0, 120.0]}),
    )
    return Outcome(result=json.dumps({**result, **changes}).encode(), problems=(), facts={})


def backtest(live: LivePlatform, model_id: str, description: str = "Raise the stop") -> str:
    """Run a backtest whose figures are computed; return its id."""
    found: str = live.backtest(model_id, backtestDescription=description).json()["backtestId"]

    def has_figures() -> bool:
        with live.parts.store.snapshot() as snapshot:
            latest = snapshot.figures.latest(live.user_id, model_id, 1)
        return bool(latest) and latest[-1].backtest_id == found

    wait_for(has_figures)
    return found


def page(visitor: Visitor, live: LivePlatform, model_id: str, query: str = "") -> str:
    answer = visitor.get(f"/{live.user_id}/{model_id}/backtests{query}")
    assert answer.status_code == 200
    return answer.text


def test_a_backtest_is_listed_with_its_figures(live: LivePlatform, visitor: Visitor) -> None:
    live.parts.runner.outcome = outcome()
    model_id = live.create_model()
    found = backtest(live, model_id, "Raise the stop\n\nBecause")

    html = page(visitor, live, model_id)

    text = text_of(html)
    assert f'href="/{live.user_id}/{model_id}/backtests/{found}"' in html
    assert "Raise the stop" in text
    assert "Because" not in text
    for figure in (
        "+29.00%",
        "+20.00%",
        "4.81%",
        "2023-03-01 to 2023-03-05",
        "asked for 2023-11-14",
    ):
        assert figure in text


def test_a_single_one_is_compared_with_nothing(live: LivePlatform, visitor: Visitor) -> None:
    live.parts.runner.outcome = outcome()
    model_id = live.create_model()
    backtest(live, model_id)

    html = page(visitor, live, model_id)

    assert 'type="radio"' not in html
    assert "Compare A with B" not in html
    backtest(live, model_id)
    html = page(visitor, live, model_id)
    assert html.count('type="radio"') == 4
    assert "Compare A with B" in html


def test_the_newest_is_first_and_the_latest_two_are_chosen(
    live: LivePlatform, visitor: Visitor
) -> None:
    live.parts.runner.outcome = outcome()
    model_id = live.create_model()
    before = backtest(live, model_id, "First change")
    now = backtest(live, model_id, "Second change")

    html = page(visitor, live, model_id)

    assert html.index("Second change") < html.index("First change")
    assert set(
        re.findall(r'name="(.)" value="([^"]*)" required aria-label="[^"]*" checked', html)
    ) == {
        ("a", before),
        ("b", now),
    }


def test_one_that_is_chosen_already_is_compared_with_any_on_other_pages(
    live: LivePlatform, visitor: Visitor
) -> None:
    live.parts.runner.outcome = outcome()
    model_id = live.create_model()
    first = backtest(live, model_id, "The first")
    with live.parts.store.transaction() as transaction:
        for _ in range(60):
            version = a_version(live.user_id, model_id)
            transaction.add_version(version, "")
            transaction.add_backtest(version.id, args={}, description="", workplace="none")

    html = page(visitor, live, model_id, f"?a={first}")

    assert f'<input type="hidden" name="a" value="{first}">' in html
    assert 'type="radio" name="a"' not in html
    assert f'href="?page=2&amp;a={first}"' in html
    assert "A is The first" in text_of(html)
    assert "A is" not in text_of(page(visitor, live, model_id, "?a=nothing"))


def test_what_has_no_figures_says_why(live: LivePlatform, visitor: Visitor) -> None:
    problem = Problem(message=f"NameError: {HOSTILE}")
    live.parts.runner.outcome = Outcome(result=None, problems=(problem,))
    model_id = live.create_model()
    backtest(live, model_id)

    html = page(visitor, live, model_id)

    assert "<script>alert" not in html
    text = text_of(html)
    assert "failed" in text
    assert "NameError: &lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in text
    assert "no figures: it has no result" in text
    assert "0%" not in text
    assert "Compare A with B" not in text


def test_one_that_runs_says_so_and_is_refreshed(live: LivePlatform, visitor: Visitor) -> None:
    runner = live.parts.runner
    runner.gate.clear()
    model_id = live.create_model()
    version = live.deploy(model_id).json()["versionId"]
    live.post_json(
        "/model/backtest-uploaded-model",
        projectId=live.user_id,
        modelId=model_id,
        versionId=version,
        backtestArgs={},
        backtestDescription="",
        pythonVersion="3.10",
    )
    wait_for(lambda: runner.running)

    html = page(visitor, live, model_id)

    assert "no figures: it runs" in text_of(html)
    assert 'id="list" data-refresh' in html
    runner.gate.set()
    wait_for(lambda: "cannot be read" in text_of(page(visitor, live, model_id)))
    assert 'id="list" data-refresh' in page(visitor, live, model_id), "others may come"


def test_there_are_fifty_on_a_page(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    with live.parts.store.transaction() as transaction:
        for number in range(120):
            version = a_version(live.user_id, model_id)
            transaction.add_version(version, "")
            transaction.add_backtest(
                version.id, args={}, description=f"Change {number}.", workplace="none"
            )

    first, last = page(visitor, live, model_id), page(visitor, live, model_id, "?page=3")

    assert "Page 1 of 3" in text_of(first)
    assert re.findall(r"Change (\d+)\.", first) == [str(each) for each in range(119, 69, -1)]
    assert re.findall(r"Change (\d+)\.", last) == [str(each) for each in range(19, -1, -1)]


def test_what_was_tested_before_a_deploy_is_a_claim_of_the_action(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    with live.parts.store.transaction() as transaction:
        version = a_version(
            live.user_id,
            model_id,
            status=VersionStatus.DEPLOYED,
            commit="abc1234def",
            commit_repository="https://forge.example/o/r",
        )
        transaction.add_version(version, "")
        claimed = {"metrics": {"sharpe": 1.25}, "period": [0, 86_400]}
        transaction.figures.keep(Figures(version.id, None, 1_700_000_000, claimed))

    html = page(visitor, live, model_id)
    text = text_of(html)

    assert "tested before the deploy" in text
    assert "this server did not compute them" in text
    assert "so it has no page" in text
    assert "one whose gates failed leaves nothing here" in text
    assert "1.25" in text
    assert 'href="https://forge.example/o/r/commit/abc1234def"' in html


def test_the_page_of_a_version_shows_what_was_told_with_its_deploy(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    told = {"metrics": {"sharpe": 1.25, "cum_returns": 3.0}, "gates": ["<b>sharpe >= 1</b>"]}
    version = live.deploy(model_id, tested=json.dumps(told)).json()["versionId"]

    html = visitor.get(f"/{live.user_id}/{model_id}/versions/{version}").text

    text = text_of(html)
    assert "Tested before the deploy by the action" in text
    assert "Return +3.00% (holding" in text
    assert "Sharpe 1.25" in text
    assert "&lt;b&gt;sharpe" in html
    assert "<b>sharpe" not in html
    assert "None on this server" not in text


def test_a_backtest_of_bytes_that_were_deployed_leads_to_that_version(
    live: LivePlatform, visitor: Visitor
) -> None:
    live.parts.runner.outcome = outcome()
    model_id = live.create_model()
    backtest(live, model_id)
    with live.parts.store.snapshot() as snapshot:
        tested = snapshot.figures.page(live.user_id, model_id, most=1)[0].version
        assert tested.status == VersionStatus.BACKTEST
    deployed = a_version(
        live.user_id, model_id, status=VersionStatus.DEPLOYED, sha256=tested.sha256
    )
    with live.parts.store.transaction() as transaction:
        transaction.add_version(deployed, "")

    assert f"/versions/{deployed.id}" in page(visitor, live, model_id)


SECRET = "fifty-and-five"  # noqa: S105  # of nothing


def test_only_the_same_bytes_with_the_same_variables_are_deployed(
    live: LivePlatform, visitor: Visitor
) -> None:
    live.parts.runner.outcome = outcome()
    model_id = live.create_model()
    deployed = live.deploy(model_id, environment=json.dumps({"FAST": "10"})).json()["versionId"]
    for value in (SECRET, "10"):
        answer = live.backtest(model_id, environment=json.dumps({"FAST": value}))
        assert answer.json()["run"]["variables"]["names"] == ["FAST"]
    live.backtest(model_id)

    html = page(visitor, live, model_id)

    none, ten, five = (text_of(row) for row in html.split('<td class="what">')[1:])
    name = f"version id {deployed[:8]}"
    assert (
        html.count(f'/{model_id}/versions/{deployed}" title="Version {deployed}">{name}</a>') == 3
    )
    assert f"{name} , deployed" in ten
    for other in (none, five):
        assert f"same bytes as {name} , deployed, but not with the same variables" in other
    assert "same bytes" not in ten
    assert "with FAST" in ten
    assert "with FAST" in five
    assert "with FAST" not in none
    assert SECRET not in html


def test_two_with_other_variables_are_not_alike(live: LivePlatform, visitor: Visitor) -> None:
    live.parts.runner.outcome = outcome()
    model_id = live.create_model()
    for variables in ({"FAST": SECRET}, {"FAST": "10"}, {}):
        live.backtest(model_id, environment=json.dumps(variables))
    with live.parts.store.snapshot() as snapshot:
        ids = [one.id for one in snapshot.backtests(live.user_id, model_id)]

    def compared(a: int, b: int) -> str:
        of_model = f"/{live.user_id}/{model_id}/backtests"
        return visitor.get(f"{of_model}/compare?a={ids[a]}&b={ids[b]}").text

    assert "The values of their variables are not the same: FAST." in text_of(compared(0, 1))
    assert "other variables: A with FAST, B with none." in text_of(compared(1, 2))
    assert "Not like with like" not in text_of(compared(2, 2))
    assert SECRET not in compared(0, 1)


def test_what_was_told_before_a_deploy_has_the_variables_of_the_deploy(
    live: LivePlatform, visitor: Visitor
) -> None:
    model_id = live.create_model()
    told = json.dumps({"metrics": {"sharpe": 1.25}})
    live.deploy(model_id, tested=told, environment=json.dumps({"FAST": SECRET}))

    html = page(visitor, live, model_id)

    assert "with FAST" in text_of(html)
    assert "</a>, deployed<br>" in html
    assert SECRET not in html


def test_a_backtest_leads_to_its_own_commit_and_run(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    page_of_run = "https://forge.example/o/r/actions/runs/7"
    answer = live.backtest(
        model_id,
        commit="abc1234def",
        committedAt="2024-05-31T12:00:00Z",
        commitRepository="https://forge.example/o/r",
        runUrl=page_of_run,
    )
    assert answer.status_code == 200

    html = page(visitor, live, model_id)

    assert 'href="https://forge.example/o/r/commit/abc1234def"' in html
    assert f'href="{page_of_run}"' in html


def test_what_the_bot_reports_is_apart(live: LivePlatform, visitor: Visitor) -> None:
    model_id = live.create_model()
    with live.parts.store.transaction() as transaction:
        document = {"label": HOSTILE, "summary": "Sharpe 9", "successful": True}
        transaction.reports.put(
            live.user_id, model_id, "backtest", Kept("b-1", 1_700_000_000, document)
        )

    html = page(visitor, live, model_id)

    assert "<script>alert" not in html
    assert "This server did not run these" in text_of(html)
    assert "Sharpe 9 (said to be successful)" in text_of(html)


def test_a_model_without_backtests_says_how_to_make_one(
    live: LivePlatform, visitor: Visitor
) -> None:
    text = text_of(page(visitor, live, live.create_model()))

    assert "There are no backtests of this model yet" in text
    assert visitor.get(f"/{live.user_id}/nothing/backtests").status_code == 404
