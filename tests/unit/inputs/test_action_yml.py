from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy_action.inputs.definitions import INPUTS
from deploy_action.outcome.backtests import Backtests
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.outcome.target import Target
from deploy_action.report.outputs import outputs_of

ROOT = Path(__file__).parents[3]
OUTPUTS = [
    "status",
    "state",
    "models",
    "project-id",
    "model-id",
    "version-id",
    "backtest-id",
    "url",
    "description",
    "bundle-sha256",
    "bundle-bytes",
    "bundle-files",
    "metrics",
    "gates",
    "trades-sha256",
    "windows",
    "sweep",
    "report",
    "report-html",
]
ALLOWED_RUNS = {"using", "image", "entrypoint", "args", "env"}
ALLOWED_RUNS |= {"pre-entrypoint", "pre-if", "post-entrypoint", "post-if"}


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return parsed


def test_the_inputs_are_those_that_are_parsed(action: dict[str, Any]) -> None:
    assert list(action["inputs"]) == [one.name for one in INPUTS]


def test_the_defaults_are_those_that_are_parsed(action: dict[str, Any]) -> None:
    """The runner passes the defaults of `action.yml`; the command line uses ours."""
    defaults = {name: one.get("default", "") for name, one in action["inputs"].items()}
    assert defaults.pop("github-token") == "${{ github.token }}"
    assert defaults == {one.name: one.default for one in INPUTS if one.name != "github-token"}


def test_the_help_of_a_terminal_says_what_the_action_says(action: dict[str, Any]) -> None:
    descriptions = {name: one["description"] for name, one in action["inputs"].items()}
    assert descriptions == {one.name: one.description for one in INPUTS}


def test_every_default_is_quoted() -> None:
    """YAML turns unquoted `30` and `false` into other types."""
    document = yaml.compose((ROOT / "action.yml").read_text())
    assert document is not None
    (inputs,) = (value for key, value in document.value if key.value == "inputs")
    defaults = [
        value for _, one in inputs.value for key, value in one.value if key.value == "default"
    ]
    assert len(defaults) == 11
    assert [node.style for node in defaults] == ['"'] * len(defaults)


def test_every_input_has_a_description_and_a_default_only(action: dict[str, Any]) -> None:
    """No runner enforces `required`, so it is not used."""
    for name, one in action["inputs"].items():
        assert set(one) <= {"description", "default"}, name
        assert one["description"].endswith("."), name


def test_the_outputs_are_the_contract(action: dict[str, Any]) -> None:
    assert list(action["outputs"]) == OUTPUTS
    assert all(list(one) == ["description"] for one in action["outputs"].values())


def test_every_output_that_is_written_is_declared() -> None:
    outcome = RunOutcome(
        model=DescribedModel(description="d"),
        target=Target(project_id="p", model_id="m", version_id="v", url="u"),
        backtests=Backtests(backtest_id="b"),
    )
    assert set(outputs_of(outcome)) <= set(OUTPUTS)
    assert len(outputs_of(outcome)) == 7


def test_it_runs_as_a_container_with_allowed_keys(action: dict[str, Any]) -> None:
    """Any other key makes the runner refuse the whole action."""
    assert action["runs"]["using"] == "docker"
    assert set(action["runs"]) <= ALLOWED_RUNS
    assert set(action) <= {"name", "description", "author", "branding", "inputs", "outputs", "runs"}
    image = action["runs"]["image"]
    assert image.startswith("docker://") or (ROOT / image).is_file()
