"""Reports of forks, as a job with rights and without their code posts them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy_action.backtest.period.windows import Window
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.json_report import build_report
from tests.conftest import Ended, Runner
from tests.support.decisions import decisions
from tests.support.forge import WORKFLOW, Account, ForgeServer, Pull, Seen, rate_limited
from tests.support.outcomes import backtests, with_parts
from tests.support.rendered import render
from tests.support.scripted_server import Reply
from tests.support.sweeps import swept

COMMIT = "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e"
NEWER = "0" * 40
DECISIONS = decisions()
RUNS = backtests()
PAGE = "https://forge.example/trader/models"
BRANCH = "faster/entry #1"


class Base:
    """The repository that a fork asks to merge from, in a job of `workflow_run`."""

    def __init__(self, runner: Runner, forge: ForgeServer) -> None:
        self.runner = runner
        self.forge = forge
        self.token = secrets.token_hex()
        self.run_id = 400
        self.forge.accounts[self.token] = WORKFLOW
        self.forge.pulls = [Pull(7, BRANCH, COMMIT), Pull(8, "other", COMMIT)]
        runner.environ |= {"GITHUB_API_URL": forge.url, "GITHUB_RUN_ID": "9000"}
        self.on()

    def on(self, **changes: object) -> None:
        """Let a run of the fork have ended."""
        self.run_id += 1
        run = {
            "id": self.run_id,
            "run_attempt": 1,
            "name": "Backtest",
            "event": "pull_request",
            "conclusion": "success",
            "head_branch": BRANCH,
            "head_sha": COMMIT,
            "head_repository": {"id": 77, "full_name": "mallory/models"},
            "pull_requests": [],
            **changes,
        }
        payload = {"workflow_run": run, "repository": {"id": 1, "full_name": "trader/models"}}
        self.runner.on("workflow_run", payload)

    def leave(self, outcome: RunOutcome | bytes | None, name: str = "report/b1.json") -> None:
        """Let the job have downloaded this as its artifact; None is none."""
        path = self.runner.workspace / name
        path.parent.mkdir(exist_ok=True)
        if outcome is not None:
            data = (
                outcome if isinstance(outcome, bytes) else "".join(build_report(outcome)).encode()
            )
            path.write_bytes(data)

    def post(self, **inputs: str) -> Ended:
        given = {"report_path": "report", "github_token": self.token, **inputs}
        return self.runner.run(mode="comment", **given)

    @property
    def run_page(self) -> str:
        return f"{PAGE}/actions/runs/{self.run_id}"


@pytest.fixture
def base(runner: Runner) -> Iterator[Base]:
    with ForgeServer() as forge:
        yield Base(runner, forge)


def test_a_report_becomes_a_comment(base: Base) -> None:
    base.on(conclusion="failure")
    base.leave(DECISIONS["stopped"])
    ended = base.post()
    assert ended.code == 0, ended.log
    (comment,) = base.forge.comments
    assert comment.issue == 7
    assert ended.outputs["status"] == "commented"
    assert ended.outputs["url"].endswith("/pull/7#issuecomment-1001")
    body = render(comment.body)
    heading = body.all("h2")[0].text()
    assert heading.startswith("From mallory/models: ❌")
    first = body.all("p")[0].text()
    assert "The figures and the verdict are the fork's own, and nobody checked them." in first
    assert "which can write anything into its report" in first
    assert "That run ended as failure." in first
    assert "```mermaid" in comment.body
    links = {one.attributes["href"] for one in body.all("a")}
    assert links == {f"{PAGE}/commit/{COMMIT}", base.run_page}
    assert "💬 Commented" in ended.summary
    assert heading in render(ended.summary).text()


def test_the_comment_is_kept_up_to_date(base: Base) -> None:
    for name in ("stopped", "identical"):
        base.on()
        base.leave(DECISIONS[name])
        assert base.post().code == 0
    (body,) = base.forge.bodies()
    assert "Trade-for-trade identical" in body


def test_several_reports_are_several_comments(base: Base) -> None:
    for name in ("gain", "loss"):
        base.leave(RUNS[name], f"report/{name}.json")
    base.post()
    assert len(base.forge.comments) == 2


def titles(base: Base) -> list[str]:
    """Return the headings of the comments, in the order in which they were created."""
    return [render(body).all("h2")[0].text() for body in base.forge.bodies()]


def leave(base: Base, *names: str) -> None:
    """Let a run have left exactly these reports."""
    for path in base.runner.workspace.glob("report/*.json"):
        path.unlink()
    base.leave(None)
    for name in names:
        base.leave(RUNS["gain"], f"report/{name}.json")


def test_reports_say_which_of_how_many_they_are(base: Base) -> None:
    """Their names are the fork's, so comments have only positions, which another file moves."""
    leave(base, "b", "c")
    base.post()
    base.on()
    leave(base, "a", "b", "c")
    ended = base.post()
    heads = [f"Report {number} of 3 from mallory/models:" for number in (1, 2, 3)]
    for head, name, body in zip(heads, "abc", base.forge.bodies(), strict=True):
        text = render(body).text()
        assert head in text
        assert f"This is {name}.json" in text
        assert head in render(ended.summary).text()
    base.leave(b"{}", "report/b.json")
    base.on()
    base.post()
    assert titles(base)[1] == "❌ Report 2 of 3 from mallory/models cannot be used"


@pytest.mark.parametrize("comment", ["true", "on-problem"])
@pytest.mark.parametrize(
    ("left", "conclusion", "mark", "words"),
    [
        (("a",), "failure", "❌ ", "left only 1 report"),
        (("a",), "success", "", "left only 1 report"),
        ((), "failure", "❌ ", "left no report"),
        ((), "success", "", "left no report"),
    ],
)
def test_comments_of_reports_that_are_no_longer_there_say_so(
    base: Base, left: tuple[str, ...], conclusion: str, mark: str, words: str, comment: str
) -> None:
    """Else they would go on telling how an earlier commit did, as if it were this one."""
    leave(base, "a", "b", "c")
    base.post()
    base.forge.pulls = [Pull(7, BRANCH, NEWER)]
    base.on(conclusion=conclusion, head_sha=NEWER)
    leave(base, *left)
    ended = base.post(comment=comment)
    assert (ended.code, ended.outputs["status"]) == (0, "commented"), ended.log
    assert len(base.forge.bodies()) == 3
    for number, body in enumerate(base.forge.bodies()[1:], 2):
        shown = render(body)
        assert shown.all("h2")[0].text() == f"{mark}No report {number} from mallory/models"
        assert f"{words} of a backtest" in shown.text()
        assert f"ended as {conclusion}" in shown.text()
        assert NEWER[:12] in shown.text()
        assert COMMIT[:12] not in body
    base.on(head_sha=NEWER)
    leave(base, "a", "b", "c")
    base.post()
    assert [one.partition(":")[0] for one in titles(base)] == [
        f"Report {number} of 3 from mallory/models" for number in (1, 2, 3)
    ]


def test_only_comments_of_the_same_workflow_and_key_are_said_to_have_no_report(base: Base) -> None:
    leave(base, "a", "b")
    base.post(comment_key="BTC")
    base.post()
    mine, others = base.forge.bodies()[2:], base.forge.bodies()[:2]
    forged = base.forge.add(Account("mallory", 66, "User"), mine[1])
    base.on()
    leave(base, "a")
    base.post()
    assert base.forge.bodies()[:2] == others
    assert base.forge.bodies()[3] != mine[1]
    assert next(one.body for one in base.forge.comments if one.number == forged) == mine[1]


def test_a_comment_that_a_newer_run_wrote_is_left(base: Base) -> None:
    leave(base, "a", "b")
    base.post()
    before = base.forge.bodies()
    base.on(id=base.run_id - 1)
    leave(base, "a")
    base.post()
    assert base.forge.bodies() == before


@pytest.mark.parametrize(
    ("after", "method", "words"),
    [
        ("/comments/1001", "PATCH", "was not written"),
        ("/user", "GET", "may still tell of an earlier run"),
    ],
)
def test_comments_that_cannot_be_brought_up_to_date_fail_the_job(
    base: Base, after: str, method: str, words: str
) -> None:
    leave(base, "a", "b")
    base.post()
    base.on(conclusion="failure")
    leave(base, "a")
    faults = [Reply(403, {"message": "Resource not accessible by integration"})]

    def refuse_next(seen: Seen) -> None:
        if seen.path.endswith(after) and faults:
            base.forge.faults[method] = [faults.pop()]

    base.forge.before = refuse_next
    ended = base.post()
    assert (ended.code, ended.outputs["status"]) == (1, "failed")
    assert "❌ Not all comments were written" in ended.summary
    assert words in ended.log
    assert "pull-requests: write" in ended.log
    assert "ended as `failure`" in base.forge.bodies()[0]


def test_a_run_without_a_report_that_failed_is_told(base: Base) -> None:
    base.on(conclusion="failure")
    ended = base.post()
    assert (ended.code, ended.outputs["status"]) == (0, "commented")
    assert ended.outputs["url"].endswith("/pull/7#issuecomment-1001")
    (body,) = base.forge.bodies()
    assert "## ❌ No report from `mallory/models`" in body
    assert "ended as `failure`" in body


def test_a_run_without_a_report_that_did_well_writes_no_first_comment(base: Base) -> None:
    """It had nothing to backtest. A comment of an earlier run would be wrong, though."""
    ended = base.post()
    assert (ended.code, ended.outputs["status"], base.forge.bodies()) == (0, "unchanged", [])
    base.on()
    base.leave(DECISIONS["stopped"])
    base.post()
    (base.runner.workspace / "report" / "b1.json").unlink()
    base.on()
    base.post()
    (body,) = base.forge.bodies()
    assert "## No report from" in body


def test_on_problem_a_report_without_one_is_not_posted(base: Base) -> None:
    base.leave(DECISIONS["identical"])
    ended = base.post(comment="on-problem")
    assert (ended.code, base.forge.bodies()) == (0, [])
    base.on(conclusion="failure")
    base.post(comment="on-problem")
    assert len(base.forge.bodies()) == 1


# --------------------------------------------------------------------------- where it is posted


def said(base: Base, ended: Ended) -> str:
    """Return the notice of a run that posted nothing, and had no error."""
    assert (ended.code, ended.outputs["status"]) == (0, "unchanged"), ended.log
    assert base.forge.comments == []
    (notice,) = ended.annotations
    assert notice.startswith("::notice")
    return notice


def test_a_newer_commit_is_left_to_its_own_run(base: Base) -> None:
    base.forge.pulls = [Pull(7, BRANCH, NEWER)]
    base.leave(DECISIONS["identical"])
    assert "pull request #7 has a newer commit" in said(base, base.post())


@pytest.mark.parametrize(
    ("pulls", "words"),
    [
        ([], "it was closed or merged"),
        ([Pull(7, "other", COMMIT)], "it was closed or merged"),
        ([Pull(7, BRANCH, COMMIT, repository=78)], "it was closed or merged"),
        ([Pull(7, BRANCH, COMMIT, repository=None)], "it was closed or merged"),
        ([Pull(7, BRANCH, COMMIT), Pull(9, BRANCH, COMMIT)], "there are 2 open pull requests"),
    ],
)
def test_without_exactly_one_pull_request_nothing_is_posted(
    base: Base, pulls: list[Pull], words: str
) -> None:
    base.forge.pulls = pulls
    base.leave(DECISIONS["identical"])
    assert words in said(base, base.post())


def test_the_pull_request_is_found_on_a_later_page(base: Base) -> None:
    """Gitea has no filter for the branch."""
    base.forge.is_gitea = True
    base.forge.pulls = [Pull(number, f"b{number}", COMMIT) for number in range(100, 240)]
    base.forge.pulls.append(Pull(7, BRANCH, COMMIT))
    base.leave(DECISIONS["identical"])
    assert base.post().outputs["status"] == "commented"
    assert [one.issue for one in base.forge.comments] == [7]


def test_a_report_does_not_say_where_it_is_posted(base: Base) -> None:
    report = json.loads("".join(build_report(DECISIONS["identical"])))
    report |= {"pull_request": 8, "number": 8, "commit": NEWER}
    base.leave(json.dumps(report).encode())
    base.post()
    (comment,) = base.forge.comments
    assert comment.issue == 7
    assert NEWER[:12] not in comment.body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"event": "push"}, "was started by `push`"),
        ({"event": "pull_request_target"}, "was started by `pull_request_target`"),
        ({"conclusion": "action_required"}, "ended as `action_required`"),
        ({"conclusion": "skipped"}, "ended as `skipped`"),
    ],
)
def test_a_run_that_has_nothing_to_tell_posts_nothing(
    base: Base, changes: dict[str, object], words: str
) -> None:
    base.on(**changes)
    assert words in said(base, base.post())
    assert base.forge.seen == []


def test_an_event_without_its_repository_is_an_error(base: Base) -> None:
    base.on(head_repository=None)
    ended = base.post()
    assert ended.code == 1
    assert "may have been deleted" in ended.log


def test_another_event_is_an_error(base: Base) -> None:
    base.runner.on("pull_request", {"pull_request": {"number": 7}})
    ended = base.post()
    assert ended.code == 2
    assert "posts for the run of a `workflow_run` event" in ended.log
    assert "as `examples/workflows/fork-comment.yml` does" in ended.log


def test_missing_inputs_are_errors(base: Base) -> None:
    ended = base.post(report_path="", github_token="")
    assert ended.code == 2
    for name in ("report-path", "github-token"):
        assert f"Input `{name}` is missing" in ended.log


def test_a_dry_run_lists_comments_that_have_no_report_any_more(base: Base) -> None:
    leave(base, "a", "b", "c")
    base.post()
    before = base.forge.bodies()
    base.on()
    leave(base, "a")
    ended = base.post(dry_run="true")
    assert (ended.code, base.forge.bodies()) == (0, before)
    for number in (2, 3):
        said = f"comment {number} of an earlier run on pull request `#7` that it has no report"
        assert said in ended.summary
    assert "comment 1 of" not in ended.summary
    leave(base)
    base.on(conclusion="failure")
    ended = base.post(dry_run="true")
    assert "say on pull request `#7` that it left no report" in ended.summary
    assert "comment 3 of" in ended.summary
    assert "comment 1 of" not in ended.summary
    assert base.forge.bodies() == before


def test_a_dry_run_posts_nothing(base: Base) -> None:
    base.leave(DECISIONS["identical"])
    ended = base.post(dry_run="true")
    assert (ended.code, ended.outputs["status"]) == (0, "dry-run")
    assert "post b1.json on pull request `#7`" in ended.summary
    assert base.forge.comments == []
    assert base.post(dry_run="true", github_token="").code == 0


# --------------------------------------------------------------------------- a forge that fails


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (
            [Reply(403, {"message": "Resource not accessible by integration"})],
            "pull-requests: write",
        ),
        ([Reply(404, {"message": "Not Found"})], "hides it from the token"),
        ([Reply(200, {"message": "welcome"})], "does not answer like a forge's API"),
        ([rate_limited(3_000)], "asks to wait"),
    ],
)
def test_a_forge_that_refuses_fails_the_job(base: Base, faults: list[Reply], words: str) -> None:
    """Posting is all that this job is for."""
    base.forge.faults["GET"] = [*faults]
    base.leave(DECISIONS["identical"])
    ended = base.post()
    assert (ended.code, ended.outputs["status"]) == (1, "failed")
    assert words in ended.log
    assert "❌ No comment was written" in ended.summary


def test_a_forge_that_fails_for_a_while_gets_the_comment(base: Base) -> None:
    base.forge.faults["GET"] = [Reply(502), rate_limited(0, 429)]
    base.leave(DECISIONS["identical"])
    assert base.post().outputs["status"] == "commented"


def test_a_token_that_may_not_write_fails_the_job(base: Base) -> None:
    reader = Account(WORKFLOW.login, WORKFLOW.number, WORKFLOW.kind, may_write=False)
    base.forge.accounts[base.token] = reader
    base.leave(DECISIONS["identical"])
    ended = base.post()
    assert ended.code == 1
    assert "pull-requests: write" in ended.log
    assert "From `mallory/models`" in ended.summary


# --------------------------------------------------------------------------- a hostile artifact


NASTY = (
    "<img src=x> ![a](http://e.example/i.png) [b](http://e.example) @octocat #1 GH-1 "
    "http://e.example www.e.example <!-- --> </details> ```\n::error::x | `b` **c** 5f2c9e81b7a04d"
)
KEPT = ("format", "version", "status", "state", "direction", "text", "severity", "sha256")


def with_nasty_texts(value: Any, key: str = "") -> Any:
    """Put hostile text everywhere a report has one."""
    if isinstance(value, dict):
        return {name: with_nasty_texts(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [with_nasty_texts(one, key) for one in value]
    is_text = isinstance(value, str) and not key.endswith(KEPT)
    return f"{value} {NASTY}" if is_text else value


SWEPT = swept(
    {"use_price": ["open", "close", "low"], "quote_account_value_metrics": ["a", "b"]},
    lambda price, _other: None if price == "low" else 3.0 * len(price),
    windows=[Window("bull", 0.0, 86_400.0)],
    current=0,
)
OF_SWEEP = with_parts(
    DECISIONS["stopped"],
    backtests={"sweep": SWEPT, "windows": SWEPT.combinations[0].windows, "parts": 3},
)


@pytest.mark.parametrize(
    "outcome",
    [DECISIONS["stopped"], DECISIONS["deployed after gates"], OF_SWEEP],
    ids=["stopped", "deployed", "sweep"],
)
def test_no_text_of_a_report_becomes_markup(base: Base, outcome: RunOutcome) -> None:
    report = with_nasty_texts(json.loads("".join(build_report(outcome))))
    report["problems"] += [
        {"severity": one, "message": NASTY, "hint": NASTY, "path": NASTY, "line": 1, "column": 1}
        for one in ("error", "warning", "notice")
    ]
    base.leave(json.dumps(report).encode(), f"report/::error::x {'x' * 50}@octocat #1.json")
    ended = base.post()
    assert ended.code == 0, ended.log
    for markdown in (*base.forge.bodies(), ended.summary):
        body = render(markdown)
        allowed = {f"{PAGE}/commit/{COMMIT}", base.run_page, ended.outputs["url"]}
        assert {one.attributes["href"] for one in body.all("a")} <= allowed
        assert not body.all("img")
        for block in body.all("pre", "code"):
            block.children.clear()
        for word in ("octocat", "#1", "GH-1", "e.example", "5f2c9e81"):
            assert word not in body.text()
        assert "Deployed" not in body.all("h2")[-1].text()
        assert "cannot be used" not in body.text()
    assert "\n::error::" not in ended.log


def test_a_report_chooses_no_comment(base: Base) -> None:
    """Neither that of another model, nor ever new ones."""
    report = json.loads("".join(build_report(DECISIONS["identical"])))
    for number in range(3):
        base.on()
        report["model"] = {"name": f"m{number}", "path": f"m{number}", "type": "strategy"}
        base.leave(json.dumps(report).encode(), f"report/{number}.json")
        (base.runner.workspace / f"report/{number - 1}.json").unlink(missing_ok=True)
        base.post()
    (body,) = base.forge.bodies()
    assert "`m2`" in body


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read"),
        (b"{}", "is no report of a backtest"),
        (b'{"format": "blankly-deploy/backtest-report", "version": 9}', "of version 9"),
        (b"[" * 100_000, "nested too deep"),
        (b"\0" * 1000, "cannot be read"),
    ],
)
def test_a_file_that_is_no_report_is_said(base: Base, data: bytes, words: str) -> None:
    base.leave(data)
    ended = base.post()
    assert ended.code == 0, ended.log
    (body,) = base.forge.bodies()
    assert "## ❌ The report of `mallory/models` cannot be used" in body
    assert words in body


def test_links_out_of_the_artifact_are_not_followed(base: Base, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes("".join(build_report(DECISIONS["identical"])).encode())
    base.leave(None)
    directory = base.runner.workspace / "report"
    (directory / "a.json").symlink_to(secret)
    (directory / "b").symlink_to(tmp_path)
    base.on(conclusion="failure")
    base.post()
    (body,) = base.forge.bodies()
    assert "## ❌ No report from" in body


def test_a_file_that_is_too_large_is_not_read(base: Base) -> None:
    base.leave(None)
    with (base.runner.workspace / "report" / "a.json").open("wb") as file:
        file.truncate(1 << 40)
    base.post()
    (body,) = base.forge.bodies()
    assert "it is larger than 64 MiB" in body


def test_of_very_many_reports_ten_are_posted(base: Base) -> None:
    for number in range(12):
        base.leave(b"{}", f"report/{number:02}.json")
    ended = base.post()
    assert len(base.forge.comments) == 10
    assert "2 of 12 reports were left out" in ended.log
