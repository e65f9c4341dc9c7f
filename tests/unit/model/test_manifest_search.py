"""Without a `blankly.json`, the message names the one that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_action.model.manifest import load_manifest
from deploy_action.model.manifest_search import MANIFEST_NAME


def test_a_missing_file_names_the_directory_and_one_further_down(tmp_path: Path) -> None:
    for name in (".git/x", "node_modules/x", "models/spy", "a/b/c/d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / MANIFEST_NAME).write_text("{}")
    manifest, problems = load_manifest(tmp_path)
    assert manifest is None
    assert len(problems) == 1
    assert str(tmp_path) in problems[0].message
    assert problems[0].hint == "There is one further down: set model-path: models/spy"


def test_several_models_below_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models/a", "models/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / MANIFEST_NAME).write_text("{}")
    monkeypatch.chdir(tmp_path)
    _, problems = load_manifest(tmp_path / "models")
    assert problems[0].hint == "Set model-path to one of these: models/a, models/b"
    _, problems = load_manifest(tmp_path / "models", for_runner=False)
    assert problems[0].hint == "Name one of these: models/a, models/b"


def test_a_misnamed_file_is_suggested(tmp_path: Path) -> None:
    """On Linux, names that differ only in case are different files."""
    (tmp_path / "Blankly.json").write_text("{}")
    _, problems = load_manifest(tmp_path)
    assert problems[0].hint == "Rename Blankly.json to blankly.json."


def test_without_any_model_the_checkout_is_suggested(tmp_path: Path) -> None:
    """As without actions/checkout."""
    assert "check out the repository" in load_manifest(tmp_path)[1][0].hint
    on_terminal = load_manifest(tmp_path, for_runner=False)[1][0].hint
    assert on_terminal.startswith("Name the directory of the model; `blankly-deploy init`")
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "absent", tmp_path / "file"):
        _, problems = load_manifest(directory)
        assert f"The model's directory {directory} does not exist" in problems[0].message
