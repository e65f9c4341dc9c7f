"""Gates, comparison and gated deploys, for real: git repositories, and the `blankly` package.

On the worker of the other backtests, with which they share an environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy_action.report.reading import read_report
from tests.conftest import Ended, Runner
from tests.end_to_end.test_backtest import Trader, platform_data  # noqa: F401  # a fixture
from tests.support.isolated import allowed_by_this_machine
from tests.support.live_server import described
from tests.support.repositories import commit_all, git, make_repository
from tests.support.scripted_server import DEPLOYED, Reply, ScriptedServer
from tools.picture import AVERAGES

Scripted = Callable[..., ScriptedServer]

pytestmark = pytest.mark.xdist_group("backtest")

# Averages so short that the example trades on noise, and falls deeper.
WORSE = (AVERAGES.format(10, 40), AVERAGES.format(2, 5))
NOTHING: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
PLANS = Reply(body={"nano": {}, "huge": {}})


class Repository(Trader):
    """A trader whose workspace is a git repository with the model on `main`."""

    def __init__(self, runner: Runner, data: Path) -> None:
        super().__init__(runner, data)
        make_repository(runner.workspace)
        self.commit("The model")
        self.git("switch", "--quiet", "--create", "change")

    def git(self, *arguments: str) -> str:
        return git(self.runner.workspace, *arguments)

    def commit(self, message: str) -> str:
        return commit_all(self.runner.workspace, message)


@pytest.fixture
def repository(runner: Runner, platform_data: Path) -> Repository:  # noqa: F811  # the fixture
    return Repository(runner, platform_data)


def errors(ended: Ended) -> list[str]:
    return [line for line in ended.annotations if line.startswith("::error")]


def deploys(server: ScriptedServer) -> list[bytes]:
    """Return the bundles that were deployed."""
    return [one.file for one in server.requests if one.route == "POST /model/deploy"]


def test_a_change_that_worsens_the_drawdown_is_stopped_by_a_gate(repository: Repository) -> None:
    repository.replace(*WORSE)
    commit = repository.commit("Trade more")

    ended = repository.run(
        compare_with="main", gates="trades >= 10\nmax_drawdown <= base  # no deeper\nsharpe > -5\n"
    )

    assert ended.code == 1, ended.log
    assert (ended.outputs["status"], ended.outputs["gates"]) == ("failed", "failed")
    (error,) = errors(ended)
    assert "max_drawdown <= base" in error
    metrics = json.loads(ended.outputs["metrics"])
    assert f"{metrics['max_drawdown']:.2f}%" in error
    assert metrics["max_drawdown"] > 16
    report = json.loads((repository.runner.root / "temp" / ended.outputs["report"]).read_bytes())
    assert [one["state"] for one in report["gates"]] == ["passed", "failed", "passed"]
    base = report["comparison"]["base"]
    read = read_report(json.dumps(report).encode()).backtests
    assert read.base is not None
    assert read.base.result is not None
    assert read.base.result.trades_sha256 == base["trades_sha256"]
    assert base["commit"] == repository.git("rev-parse", "main") != commit
    assert base["metrics"]["max_drawdown"] == pytest.approx(16.48, abs=0.01)
    assert report["comparison"]["identical"] is False
    assert "worse" in ended.summary
    assert ended.summary.count("```mermaid") == 2


def test_renamed_variables_are_trade_for_trade_identical(repository: Repository) -> None:
    repository.replace("closes", "past_closes")
    repository.commit("Rename")
    ended = repository.run(compare_with="HEAD^", gates="sharpe == base\ntrades == base")
    assert ended.code == 0, ended.log
    assert ended.outputs["gates"] == "passed"
    assert "trade-for-trade identical" in ended.summary.lower()
    assert "bot.py" in ended.summary
    report = json.loads((repository.runner.root / "temp" / ended.outputs["report"]).read_bytes())
    assert report["comparison"]["identical"] is True
    assert report["comparison"]["base"]["trades_sha256"] == ended.outputs["trades-sha256"]
    assert report["comparison"]["base"]["bundle_sha256"] != ended.outputs["bundle-sha256"]
    assert report["comparison"]["changes"]["files"]["changed"] == ["bot.py"]


def test_the_same_bytes_are_backtested_once(repository: Repository) -> None:
    (repository.runner.workspace / "README.md").write_text("Models")
    repository.commit("Say what this is")
    ended = repository.run(compare_with="main")
    assert ended.code == 0, ended.log
    assert ended.log.count("Output of ") == 1
    assert "trade-for-trade identical" in ended.summary.lower()


def test_both_get_the_same_arguments(repository: Repository) -> None:
    """An empty list in `blankly.json` leaves the arguments to each script."""
    manifest = repository.model / "blankly.json"
    document = json.loads(manifest.read_bytes())
    document["backtest_args"] = {}
    manifest.write_text(json.dumps(document))
    period = 'start_date="2023-03-01", end_date="2024-08-23", initial_values={"USD": 1000}'
    by_hand = f"strategy.backtest({period})"
    repository.replace("strategy.start()", by_hand)
    repository.commit("Backtest it by hand")
    repository.replace("2023-03-01", "2023-09-01")
    repository.commit("Less")

    ended = repository.run(compare_with="HEAD^")

    assert ended.code == 0, ended.log
    assert "trade-for-trade identical" in ended.summary.lower()
    assert not [line for line in ended.annotations if "same arguments" in line]


def test_a_model_that_is_new_has_no_base(repository: Repository) -> None:
    aside = repository.runner.root / "models"
    (repository.runner.workspace / "README.md").write_text("Models")
    repository.model.parent.rename(aside)
    repository.commit("Before the model")
    aside.rename(repository.model.parent)
    repository.commit("The model")

    ended = repository.run(compare_with="HEAD^", gates="trades >= 10\nsharpe >= base")

    assert ended.code == 1, ended.log
    (error,) = errors(ended)
    assert "sharpe >= base" in error
    assert "did not exist" in error
    report = json.loads((repository.runner.root / "temp" / ended.outputs["report"]).read_bytes())
    assert [one["state"] for one in report["gates"]] == ["passed", "no base"]
    assert report["comparison"]["base"]["state"] == "absent"
    assert repository.run(compare_with="HEAD^", gates="trades >= 10").code == 0


def test_a_failed_base_does_not_fail_the_candidate(repository: Repository) -> None:
    """Otherwise nobody could repair a broken model."""
    repository.put_first("raise SystemExit('broken')")
    repository.commit("Break it")
    repository.replace("raise SystemExit('broken')", "")
    repository.commit("Mend it")
    ended = repository.run(compare_with="HEAD^", gates="trades >= 10")
    assert ended.code == 0, ended.log
    assert ended.outputs["gates"] == "passed"
    (warning,) = [line for line in ended.annotations if "nothing to compare" in line]
    assert warning.startswith("::warning")
    assert "bot.py" in warning
    assert ended.log.count("Base: Output of ") == 1


@pytest.mark.parametrize("mode", ["backtest", "deploy", "validate"])
def test_a_ref_missing_in_a_shallow_clone_is_an_input_error(
    repository: Repository, tmp_path: Path, mode: str
) -> None:
    repository.replace(*WORSE)
    repository.commit("Trade more")
    clone = tmp_path / "clone"
    origin = f"file://{repository.runner.workspace}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", origin, str(clone)], check=True)
    repository.runner.environ["GITHUB_WORKSPACE"] = str(clone)
    ended = repository.run(mode=mode, compare_with="HEAD^", gates="trades >= 1")
    assert ended.code == 2
    (error,) = errors(ended)
    assert "HEAD^" in error
    assert "fetch-depth: 2" in error
    assert "Output of" not in ended.log


def test_all_wrong_gates_are_reported_at_once(repository: Repository) -> None:
    ended = repository.run(gates="sharp >= 1\ntrades => 3\nsharpe >= 1\ncagr >=\n")
    assert ended.code == 2
    assert len(errors(ended)) == 3
    assert "`sharpe`" in errors(ended)[0]
    assert "gates" not in ended.outputs


def test_only_the_bytes_that_pass_are_deployed(repository: Repository, scripted: Scripted) -> None:
    server = scripted({"POST /model/deploy": DEPLOYED, "POST /project/plans": PLANS})

    ended = repository.run(
        mode="deploy",
        api_url=server.url,
        token="refresh",
        model_id="model-1",
        plan="huge",
        compare_with="main",
        gates="max_drawdown <= 20%\nsharpe >= base",
    )

    assert ended.code == 0, ended.log
    assert (ended.outputs["status"], ended.outputs["gates"]) == ("deployed", "passed")
    (bundle,) = deploys(server)
    digest = hashlib.sha256(bundle).hexdigest()
    assert digest == ended.outputs["bundle-sha256"]
    assert ended.summary.count(digest) >= 2
    assert ended.outputs["model-id"] == "model-1"
    assert ended.outputs["project-id"] == "user-1"
    assert json.loads(ended.outputs["metrics"])["trades"] == 17
    assert "POST /model/backtest" not in [one.route for one in server.requests]
    sent = [one for one in server.requests if one.route == "POST /model/deploy"]
    assert sent[0].fields["plan"] == "huge"
    report = json.loads((repository.runner.root / "temp" / ended.outputs["report"]).read_bytes())
    assert report["run"]["ids"]["backtest"] == ended.outputs["backtest-id"] != ""
    assert report["comparison"]["changes"] == {"facts": [], "requirements": [], "files": NOTHING}


@pytest.mark.parametrize(
    ("gates", "first", "code"),
    [
        ("max_drawdown <= 10%", "", 1),
        ("trades >= 1", "raise ValueError('no')", 1),
        ("sortino >= 99", "", 1),
    ],
)
def test_a_model_that_does_not_pass_is_not_deployed(
    repository: Repository, scripted: Scripted, gates: str, first: str, code: int
) -> None:
    server = scripted({"POST /model/deploy": DEPLOYED})
    repository.put_first(first)
    ended = repository.run(
        mode="deploy", api_url=server.url, token="refresh", create_new="true", gates=gates
    )
    assert ended.code == code, ended.log
    assert (ended.outputs["status"], ended.outputs["gates"]) == ("failed", "failed")
    assert deploys(server) == []
    assert not [one.route for one in server.requests if "create" in one.route]
    assert "No new version was made." in ended.summary


def test_the_server_is_told_what_the_backtest_before_a_deploy_found(
    repository: Repository, scripted: Scripted
) -> None:
    listed = {"POST /model/deploy": DEPLOYED, "GET /openapi.json": described("tested")}
    inputs = {"mode": "deploy", "token": "refresh", "model_id": "m-1", "gates": "trades >= 1 # all"}
    telling, silent = scripted(listed), scripted({"POST /model/deploy": DEPLOYED})

    ended = repository.run(api_url=telling.url, **inputs)
    other = repository.run(api_url=silent.url, **inputs)

    assert (ended.code, other.code) == (0, 0), ended.log
    told = json.loads(telling.requests_to("POST /model/deploy")[0].fields["tested"])
    assert told["metrics"] == json.loads(ended.outputs["metrics"])
    assert told["tradesSha256"] == ended.outputs["trades-sha256"]
    assert told["gates"] == ["trades >= 1"]
    assert told["symbols"] == ["OAK-USD"]
    assert told["arguments"]["start_date"] == "2023-03-01"
    assert "tested" not in silent.requests_to("POST /model/deploy")[0].fields


def test_a_model_that_changes_its_own_bundle_is_not_deployed(
    repository: Repository, scripted: Scripted
) -> None:
    server = scripted({"POST /model/deploy": DEPLOYED})
    temporary = repository.runner.root / "temp"
    repository.put_first(
        "import pathlib\n"
        f"for one in pathlib.Path({str(temporary)!r}).rglob('model.zip'):\n"
        "    one.write_bytes(one.read_bytes() + b'more')\n"
    )

    ended = repository.run(
        mode="deploy", api_url=server.url, token="refresh", model_id="model-1", gates="trades >= 1"
    )

    assert ended.outputs["gates"] == "passed"
    if os.geteuid() == 0 and not allowed_by_this_machine():  # it could not change it
        (sent,) = deploys(server)
        assert hashlib.sha256(sent).hexdigest() == ended.outputs["bundle-sha256"]
        return
    assert ended.code == 1, ended.log
    assert "was changed since it was packed" in errors(ended)[0]
    assert deploys(server) == []
    assert "No new version was made." in ended.summary


def test_a_gated_deploy_to_the_embedded_platform_makes_one_model(repository: Repository) -> None:
    data = repository.runner.root / "elsewhere"
    (repository.data / "environments").mkdir(parents=True, exist_ok=True)
    data.mkdir(mode=0o711)
    (data / "environments").symlink_to(repository.data / "environments")
    ended = repository.run(mode="deploy", gates="trades >= 10", platform_data=str(data))
    assert ended.code == 0, ended.log
    assert ended.outputs["status"] == "deployed"
    again = repository.run(mode="deploy", gates="trades >= 10", platform_data=str(data))
    assert again.outputs["model-id"] == ended.outputs["model-id"]


def test_a_dry_run_says_what_would_be_tested(repository: Repository) -> None:
    ended = repository.run(
        mode="deploy", dry_run="true", compare_with="main", gates="trades >= 1\nsharpe >= base"
    )
    assert ended.code == 0, ended.log
    assert "Output of" not in ended.log
    steps = [line for line in ended.log.splitlines() if line.startswith("Would ")]
    assert [step.split()[1] for step in steps] == ["backtest", "backtest", "check", "deploy"]


def test_the_logs_of_both_do_not_mix(repository: Repository) -> None:
    repository.put_first("print('I am the base')")
    repository.commit("Talk")
    repository.replace("I am the base", "I am the candidate")
    repository.commit("Talk differently")
    ended = repository.run(compare_with="HEAD^")
    assert ended.code == 0, ended.log
    candidate, base = ended.log.index("I am the candidate"), ended.log.index("I am the base")
    section = ended.log.index("::group::Base: Output of")
    assert candidate < section < base


def test_candidate_base_and_windows_get_the_variables_and_nothing_shows_them(
    repository: Repository,
) -> None:
    """Whatever a model does with a secret: prints it, reports it, or fails with it."""
    key, short = secrets.token_hex(16), "paper"
    digest = hashlib.sha256(key.encode()).hexdigest()
    repository.put_first(
        "import hashlib, os, sys\nKEY, MODE = os.environ['KEY'], os.environ['MODE']\n"
        "print('GOT', hashlib.sha256(KEY.encode()).hexdigest(), MODE)\n"
        "print('key', KEY, repr(KEY), flush=True)\nprint(KEY, file=sys.stderr)\n"
    )
    repository.commit("Read variables")
    repository.git("branch", "--force", "main")
    script = repository.model / "bot.py"
    script.write_text(f"{script.read_text()}\nstrategy.backtest()\nraise ValueError(KEY)\n")
    repository.commit("Fail with a secret")

    ended = repository.run(
        compare_with="main",
        windows="2",
        gates=f"trades >= 1 # {key}",
        model_env=f"# for both\nKEY='{key}'\nMODE={short}\n",
    )

    assert ended.code == 1
    assert ended.outputs["metrics"]
    assert "ValueError: ***" in ended.log
    assert set(re.findall("GOT (.*)", ended.log)) == {f"{digest} {short}"}
    report = repository.runner.root / "temp" / ended.outputs["report"]
    assert f"::add-mask::{key}" in ended.log
    shown = ended.log.replace(f"::add-mask::{key}", "") + ended.summary + json.dumps(ended.outputs)
    assert key not in shown + report.read_text()
    assert "fewer than 8 characters, not masked: `MODE`" in ended.log
    files = [path for path in repository.data.rglob("*") if path.is_file()]
    assert [path for path in files if key.encode() in path.read_bytes()] == []


def test_the_variables_of_the_candidate_are_those_of_the_base(repository: Repository) -> None:
    repository.put_first("import os\nassert 'KEY' in os.environ")
    repository.commit("Read a variable")
    repository.git("branch", "--force", "main")
    repository.put_first("# another")
    repository.commit("Say more")
    ended = repository.run(compare_with="main", gates="identical", model_env="KEY=")
    assert ended.code == 0, ended.log
