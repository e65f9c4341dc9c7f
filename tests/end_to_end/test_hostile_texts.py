"""What the author of a pull request writes changes words of what is shown, and no structure."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence

import pytest

from tests.conftest import Ended, Runner, write_model
from tests.support.backtests import raw_result
from tests.support.forge import WORKFLOW, ForgeServer
from tests.support.rendered import Element, render
from tests.support.scripted_server import Reply, ScriptedServer

MARKUP = (
    *("```text", "```", "`", "`` ` ``", "</details>", "<h1>", "<!--", "-->", "<img src=//e.vil>"),
    *("![a](https://e.vil/a.png)", "[a](https://e.vil)", "https://e.vil", "www.e.vil", "@octocat"),
    *("#1", "GH-1", "CVE-2021-44228", "GHSA-jfh8-c2jp-5v3q", "JIRA-1", ":tada:", "c0ffee1", "~~~"),
    *("| a | b |", "\n\n# a\n\n", "- [ ] a", "$x$", "::error::x", "##[error]x", "\u202eabc", "---"),
)
WORDS = (
    *(
        "failed",
        "passed",
        "successful",
        "conclusion",
        "Deployed",
        "workspace",
        "summary",
        "details",
    ),
    *(
        "backtest",
        "deploy",
        "status",
        "success",
        "strategy",
        "sharpe",
        "max_drawdown",
        "cum_returns",
    ),
    *("refs/heads/main", "trader/models", "xychart-beta", "account_values", "start_time", "a", " "),
    *(
        "```mermaid",
        "<details>",
        "</summary>",
        "## ",
        "| :--- |",
        "**",
        "**Warnings**",
        "true",
        "0",
    ),
)
GATES = "sharpe >= 90\ntrades <= 900"


class PullRequest:
    """A pull request whose author chooses the texts, and what is shown of it."""

    def __init__(self, runner: Runner, forge: ForgeServer, server: ScriptedServer) -> None:
        self.runner, self.forge, self.server = runner, forge, server
        self.token = secrets.token_hex()
        forge.accounts[self.token] = WORKFLOW
        runner.environ |= {"GITHUB_API_URL": forge.url, "GITHUB_RUN_ID": "100"}

    def run(
        self, keys: Sequence[str], name: str, api_key: str, title: str, **inputs: str
    ) -> tuple[Ended, Element, Element]:
        """Return how the run ended, its summary and its comment, rendered."""
        write_model(self.runner.workspace, model_name=name, api_key=api_key)
        exchange = {"main": dict(enumerate(keys))}
        (self.runner.workspace / "keys.json").write_text(json.dumps({"alpaca": exchange}))
        self.runner.on("pull_request", {"pull_request": {"title": title, "number": 7}})
        self.forge.comments.clear()
        ended = self.runner.run(
            api_url=self.server.url,
            token=secrets.token_hex(),
            model_id="m",
            project_id="p",
            comment="true",
            github_token=self.token,
            **inputs,
        )
        (comment,) = self.forge.comments
        return ended, render(ended.summary), render(comment.body)


@pytest.fixture
def pull_request(runner: Runner) -> Iterator[PullRequest]:
    answer = {"modelId": "m", "backtestId": "b", "status": "success", "result": raw_result()}
    with ForgeServer() as forge, ScriptedServer({"POST /model/backtest": Reply(body=answer)}) as it:
        yield PullRequest(runner, forge, it)


def structure(page: Element) -> list[str]:
    """Return the tags of a page in order, each with what it links to or shows."""
    return [
        f"{one.tag} {one.attributes.get('href', '')} {one.attributes.get('src', '')}"
        for one in page.descendants()
    ]


def tags(page: Element) -> list[str]:
    return [one.tag for one in page.descendants()]


def masks(ended: Ended) -> list[str]:
    """Return what the runner masks in later steps."""
    return re.findall("(?m)^::add-mask::(.*)$", ended.log)


MODES = [{"mode": "deploy"}, {"mode": "backtest"}, {"mode": "backtest", "gates": GATES}]


@pytest.mark.parametrize("inputs", MODES)
def test_no_text_of_an_author_changes_the_structure(
    pull_request: PullRequest, inputs: dict[str, str]
) -> None:
    key = secrets.token_hex(16)
    harmless, summary, comment = pull_request.run([key], "Trend", key, "Faster", **inputs)
    whole = harmless.summary + pull_request.forge.comments[0].body
    pieces = [*whole.splitlines(), *re.findall(r"\S+", whole), *re.findall(r"[\w-]+|\W+", whole)]
    own = [*MARKUP, *WORDS, *(piece for piece in pieces if key not in piece)]
    for name in ("```text", "`` ` ![a](https://e.vil) @octocat", "</details>\n# a"):
        title = f"{name} JIRA-1 CVE-2021-44228\n```\n# a\n```text\n@octocat"
        ended, *pages = pull_request.run([*own, key], name, name, title, **inputs)
        assert [structure(page) for page in pages] == [structure(summary), structure(comment)]
        assert key not in ended.summary + pull_request.forge.comments[0].body
        # The tokens are masked, the key, and what looks like one: digests and commits.
        others = {*masks(ended)} - {*masks(harmless)} - {key}
        assert not [one for one in others if not re.search("[0-9a-f]{8}", one)]
        assert key in masks(ended)
        # The runner masks the summary, too.
        masked = ended.summary
        for mask in masks(ended):
            masked = masked.replace(mask, "***")
        assert tags(render(masked)) == tags(summary)
        assert ended.outputs.keys() == harmless.outputs.keys()
        assert ended.code == harmless.code


def test_no_word_of_a_failing_gate_is_blanked(pull_request: PullRequest) -> None:
    words = ["failed", "Gate", "sharpe", "sharpe >= 90", "0.93", "90", "below"]
    for keys in (["x"], words):
        ended, summary, comment = pull_request.run(
            keys, "Trend", keys[0], "Faster", mode="backtest", gates=GATES
        )
        assert ended.code == 1
        assert ended.outputs["gates"] == "failed"
        for page in (summary.text(), comment.text()):
            assert "sharpe >= 90" in page
            assert "failed by " in page.replace("\u00a0", " ")
            assert "***" not in page


def test_digests_and_commits_are_shown_even_if_they_are_said_to_be_keys(
    pull_request: PullRequest,
) -> None:
    commit = pull_request.runner.environ["GITHUB_SHA"]
    known = [commit, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
    ended, *_ = pull_request.run(known, "Trend", commit, "Faster", mode="backtest")
    assert ended.outputs["trades-sha256"] == known[1]  # of no trades
    assert commit[:12] in ended.summary
    report = json.loads((pull_request.runner.root / "temp" / ended.outputs["report"]).read_bytes())
    assert [report["commit"], report["trades_sha256"]] == known


def test_a_key_that_is_one_of_our_words_leaves_the_report_whole(runner: Runner) -> None:
    """The owner of the workflow chose it: it is masked, and what we look up stays."""
    answer = {"modelId": "m", "backtestId": "b", "status": "success", "result": raw_result()}
    words = ["account_values", "start_time", "max_drawdown", "strategy", "not_computed"]
    keys, others = (
        json.dumps({"alpaca": {"main": dict(enumerate(values))}})
        for values in (words, [secrets.token_hex(8)])
    )
    with ScriptedServer({"POST /model/backtest": Reply(body=answer)}) as server:
        given = {"api_url": server.url, "token": secrets.token_hex(), "model_id": "m"}
        plain = runner.run(**given, mode="backtest", keys_json=others)
        ended = runner.run(**given, mode="backtest", keys_json=keys)
    assert ended.code == 0, ended.log
    assert structure(render(ended.summary)) == structure(render(plain.summary))
    reports = [
        json.loads((runner.root / "temp" / one.outputs["report"]).read_bytes())
        for one in (plain, ended)
    ]
    first, second = ({**one, "bundle": 0, "run": 0} for one in reports)
    assert first == second


def test_short_values_of_the_keys_are_not_masked_and_a_notice_says_so(runner: Runner) -> None:
    key = secrets.token_hex(16)
    phrase = secrets.token_hex(3)
    values = {"API_KEY": key, "PASS": phrase, "sandbox": "true", "type": 1, "region": "us"}
    ended = runner.run(mode="validate", keys_json=json.dumps({"alpaca": {"main": values}}))
    assert ended.code == 0
    assert sorted(masks(ended)) == sorted([key, phrase])
    (notice,) = [line for line in ended.annotations if "keys-json" in line]
    assert notice.startswith("::notice")
    assert "3 values of fewer than 6 characters, not masked" in notice
    assert "`keys-json`" in ended.summary
