"""Dependencies in `pyproject.toml` only: read, or refused with the command that exports them."""

from __future__ import annotations

import io
import re
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import uv

from tests.conftest import Ended, Runner
from tests.support.repositories import commit_all, make_repository
from tests.support.scripted_server import ScriptedServer

PROJECT = '[project]\nname = "a"\nversion = "0"\nrequires-python = ">=3.9"\n'


@pytest.fixture
def model(runner: Runner) -> Path:
    """Return a model without requirements, in a workspace that it does not fill."""
    directory = runner.workspace / "bots" / "a"
    directory.mkdir(parents=True)
    for path in runner.workspace.glob("*.*"):
        path.rename(directory / path.name)
    (directory / "requirements.txt").unlink()
    return directory


def validate(runner: Runner, **inputs: str) -> Ended:
    return runner.run(mode="validate", model_path="bots/a", **inputs)


def refused(runner: Runner) -> str:
    ended = validate(runner)
    errors = [line for line in ended.annotations if line.startswith("::error")]
    assert (ended.code, len(errors)) == (2, 1), ended.log
    assert "file=bots/a/pyproject.toml" in errors[0]
    return errors[0]


def test_dependencies_become_the_requirements_of_the_bundle(
    runner: Runner, model: Path, scripted: Callable[..., ScriptedServer]
) -> None:
    """The original server installs nothing but that file."""
    (model / "pyproject.toml").write_text(
        PROJECT + 'dependencies = ["blankly", "Pandas >=1.5,<2.2; python_version > \'3.6\'",\n'
        '  "own @ https://${TOKEN}@forge.example/own.zip"]\n'
    )
    server = scripted()
    ended = runner.run(model_path="bots/a", api_url=server.url, token="refresh", model_id="m")
    assert ended.code == 0, ended.log
    (request,) = server.requests_to("POST /model/deploy")
    archive = ZipFile(io.BytesIO(request.file))
    assert archive.read("model/requirements.txt").decode().splitlines() == [
        "blankly",
        'Pandas<2.2,>=1.5; python_version > "3.6"',
        "own @ https://${TOKEN}@forge.example/own.zip",
    ]
    assert "the bundle gets one" in ended.log
    assert "name the variable `TOKEN`" in ended.log
    assert not (model / "requirements.txt").exists()


def test_they_are_checked_like_a_file(runner: Runner, model: Path) -> None:
    (model / "pyproject.toml").write_text(PROJECT + 'dependencies = ["numpy"]\n')
    ended = validate(runner)
    (warning,) = (line for line in ended.annotations if line.startswith("::warning"))
    assert "does not name blankly" in warning
    assert "file=bots/a/pyproject.toml" in warning


def test_a_file_of_requirements_wins(runner: Runner, model: Path) -> None:
    (model / "pyproject.toml").write_text(PROJECT + 'dynamic = ["dependencies"]\n')
    (model / "requirements.txt").write_text("blankly\n")
    assert validate(runner).annotations == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"uv.lock": ""}, "uv export --frozen --no-dev --no-emit-workspace -o requirements.txt"),
        ({"poetry.lock": ""}, "poetry export -o requirements.txt"),
        ({"pdm.lock": ""}, "pdm export --prod -o requirements.txt"),
        ({"../../uv.lock": "", "../../pyproject.toml": "[tool.uv.workspace]\n"}, "uv export"),
    ],
)
def test_locked_versions_are_not_replaced_by_others(
    runner: Runner, model: Path, files: dict[str, str], words: str
) -> None:
    (model / "pyproject.toml").write_text(PROJECT + 'dependencies = ["blankly"]\n')
    for name, text in files.items():
        (model / name).write_text(text)
    assert words in refused(runner)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[tool.poetry.dependencies]\npython = "^3.9"\nblankly = "^1"\n', "poetry export"),
        (PROJECT + 'dynamic = ["dependencies"]\n', "uv pip compile pyproject.toml"),
        (
            PROJECT + 'dependencies = ["own"]\n[tool.uv.sources]\nown = {workspace = true}\n',
            "uv export",
        ),
        (
            PROJECT + 'dependencies = ["own"]\n[[tool.uv.index]]\nurl = "https://p.example"\n',
            "uv export",
        ),
        (
            PROJECT + 'dependencies = ["own"]\n[[tool.poetry.source]]\nurl = "https://p.example"\n',
            "poetry export",
        ),
        (
            PROJECT + 'dependencies = ["own"]\n[[tool.pdm.source]]\nurl = "https://p.example"\n',
            "pdm export",
        ),
        (PROJECT + 'dependencies = ["blankly", "-r more.txt"]\n', "Dependency 2"),
        (PROJECT + 'dependencies = ["blankly\\n-i https://p.example"]\n', "Dependency 1"),
        (PROJECT + "dependencies = [1]\n", "Dependency 1"),
        (PROJECT + 'dependencies = "blankly"\n', "no list"),
        ("[project\n", "not valid TOML"),
        ('a = "\udcff"', "not valid TOML"),
    ],
)
def test_what_the_file_alone_does_not_tell_is_refused(
    runner: Runner, model: Path, text: str, words: str
) -> None:
    (model / "pyproject.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert words in refused(runner)


@pytest.mark.parametrize(
    "text", ["", "[tool.ruff]\n", PROJECT, '[tool.poetry.dependencies]\npython = "^3.9"\n']
)
def test_a_project_without_dependencies_does_not_stand_for_the_file(
    runner: Runner, model: Path, text: str
) -> None:
    (model / "pyproject.toml").write_text(text)
    (error,) = validate(runner).annotations
    assert "The requirements file requirements.txt does not exist" in error
    assert "file=bots/a/blankly.json" in error


def test_a_lock_file_above_that_is_not_of_a_workspace_is_of_another_project(
    runner: Runner, model: Path
) -> None:
    (model / "pyproject.toml").write_text(PROJECT + 'dependencies = ["blankly"]\n')
    (runner.workspace / "uv.lock").touch()
    (runner.workspace / "poetry.lock").touch()
    (runner.workspace / "pyproject.toml").write_text(PROJECT)
    assert validate(runner).code == 0


def test_the_file_itself_is_no_list_of_requirements(runner: Runner, model: Path) -> None:
    (model / "pyproject.toml").write_text(PROJECT + 'dependencies = ["blankly"]\n')
    manifest = model / "blankly.json"
    manifest.write_text(manifest.read_text().replace("requirements.txt", "pyproject.toml"))
    (error,) = validate(runner).annotations
    assert "is no list that pip can install" in error


def test_nothing_of_a_broken_file_is_quoted(runner: Runner, model: Path) -> None:
    secret = secrets.token_hex(8)
    (model / "pyproject.toml").write_text(f"{PROJECT}dependencies = ['a @ https://u:{secret}@h h']")
    # It looks like a password, and is masked.
    assert secret not in validate(runner).log.replace(f"::add-mask::{secret}\n", "")
    (model / "pyproject.toml").write_text(f"{PROJECT}x = {secret}")
    assert secret not in validate(runner).log


def test_the_base_has_its_own(runner: Runner, model: Path) -> None:
    make_repository(runner.workspace)
    (model / "pyproject.toml").write_text(PROJECT + 'dependencies = ["blankly", "numpy<2"]\n')
    commit_all(runner.workspace)
    (model / "pyproject.toml").write_text(PROJECT + 'dependencies = ["blankly", "numpy<3"]\n')
    ended = validate(runner, compare_with="HEAD")
    assert ended.code == 0, ended.log
    assert re.search("^a at [0-9a-f]{40}: 6 files, ", ended.log, re.MULTILINE)


def test_the_command_that_is_named_exports_the_file(runner: Runner, model: Path) -> None:
    (model / "pyproject.toml").write_text(PROJECT + "dependencies = []\n")
    lock = 'version = 1\nrequires-python = ">=3.9"\n\n[[package]]\nname = "a"\nversion = "0"\n'
    (model / "uv.lock").write_text(lock + 'source = { virtual = "." }\n')
    command = refused(runner).partition("`uv ")[2].partition("`")[0]
    offline = {"UV_OFFLINE": "1", "UV_PYTHON_DOWNLOADS": "never", "PATH": ""}
    subprocess.run(
        [uv.find_uv_bin(), *command.split()], cwd=model, env=offline, check=True, timeout=30
    )
    assert (model / "requirements.txt").is_file()
