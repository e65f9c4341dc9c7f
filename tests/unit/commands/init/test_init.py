"""`blankly-deploy init` in real repositories: what it writes, and what it says."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from deploy_action.commands.init.changes import template
from deploy_action.commands.init.command import init, init_server
from deploy_action.console import Console
from deploy_action.errors import InvalidInputError
from deploy_action.git.branches import Habits, read_habits
from tests.conftest import write_model
from tests.support.pseudo_terminal import run_on_terminal
from tests.support.repositories import commit_all, git, make_repository

ROOT = Path(__file__).parents[4]
WORKFLOW = ".github/workflows/blankly.yml"


def run(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, dry_run: bool = False, below: str = "."
) -> str:
    """Run `init` in a directory, and return what it printed."""
    monkeypatch.chdir(directory)
    stream = io.StringIO()
    init(Path(below), Console(stream, for_runner=False), {}, dry_run=dry_run)
    return stream.getvalue()


def steps(printed: str) -> str:
    return printed.partition("\nNext:\n")[2]


def state(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one model at its root, committed."""
    root = write_model(make_repository(tmp_path / "bot"))
    commit_all(root)
    return root


def test_a_model_gets_a_workflow_and_all_that_it_lacks(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("settings.json", "backtest.json"):
        (repository / name).unlink()
    manifest = (repository / "blankly.json").read_text()

    printed = run(repository, monkeypatch)

    written = state(repository)
    assert yaml.safe_load(written[WORKFLOW])["jobs"].keys() == {"backtest", "deploy"}
    assert written["settings.json"].decode() == template("settings.json")
    assert written["backtest.json"].decode() == template("backtest.json")
    lines = written["blankly.json"].decode().splitlines()
    assert lines.pop(1).startswith('  "$schema": "https://')
    assert lines == manifest.splitlines()
    # All of it was shown.
    assert all(
        f"  + {line}".rstrip() in printed for line in written[WORKFLOW].decode().splitlines()
    )
    assert '  +   "$schema": "https://' in printed
    assert "error:" not in printed
    assert printed.partition("\nWrote 4 files:\n")[2].splitlines()[:4] == [
        f"  {WORKFLOW}",
        "  blankly.json (one line added)",
        "  settings.json",
        "  backtest.json",
    ]
    assert "blankly-deploy backtest .\n" in steps(printed)


def test_a_dry_run_shows_the_same_and_writes_nothing(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "settings.json").unlink()
    before = state(repository)
    tried = run(repository, monkeypatch, dry_run=True)
    assert state(repository) == before
    assert "settings.json does not exist" not in tried, "it would be written"
    assert "Would write 3 files:" in tried
    did = run(repository, monkeypatch)
    assert tried.partition("\nWould write")[0] == did.partition("\nWrote")[0]


def test_a_second_run_changes_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(repository, monkeypatch)
    before = state(repository)
    printed = run(repository, monkeypatch)
    assert state(repository) == before
    assert f"{WORKFLOW} is there already, and is left alone." in printed
    assert "Nothing was missing, so nothing was written." in printed


def test_a_workflow_that_deploys_already_gets_no_second_one(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each push would deploy twice."""
    theirs = repository / ".github" / "workflows" / "ci.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("steps: [{uses: blankly-community/deploy-action@v1}]")
    printed = run(repository, monkeypatch)
    assert not (repository / WORKFLOW).exists()
    assert ".github/workflows/ci.yaml uses this action already" in printed
    assert "comment shows" not in printed


def test_what_stops_the_first_run_is_said_at_once(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "bot.py").unlink()
    (repository / ".gitignore").write_text("settings.json\n")
    git(repository, "rm", "--quiet", "--cached", "settings.json")
    printed = run(repository, monkeypatch)
    assert "What `blankly-deploy validate .` says:\nerror: blankly.json:" in printed
    assert "The main script bot.py does not exist." in printed
    assert "settings.json is ignored by git, so a workflow's checkout lacks it." in printed
    assert "  1. Mend the error above: the first run fails on it.\n" in steps(printed)


def test_ids_of_the_service_that_is_gone_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path, model_id="159bc09d", project_id="f00")
    printed = run(tmp_path, monkeypatch)
    assert "Only the server that gave project_id and model_id knows it." in printed


def test_several_models_are_found_by_the_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that git ignores is a copy that somebody built."""
    root = make_repository(tmp_path / "desk")
    for name in ("a", "b", "build/a"):
        model = write_model(root / "bots" / name)
        (model / "settings.json").unlink()
    (root / ".gitignore").write_text("build\n")
    printed = run(root / "bots", monkeypatch)
    workflow = yaml.safe_load((root / WORKFLOW).read_text())
    assert workflow["jobs"].keys() == {"models", "backtest", "deploy"}
    assert workflow["jobs"]["models"]["steps"][-1]["with"]["model-path"] == "bots"
    assert printed.startswith("Found 2 models: a, b\n")
    assert f"Left out, because git ignores it: {Path('build', 'a')}\n" in printed
    assert "b/settings.json: new\n  the same as a/settings.json\n" in printed
    assert (root / "bots" / "b" / "settings.json").is_file()
    assert not (root / "bots" / "build" / "a" / "settings.json").exists()


def test_a_broken_manifest_is_reported_and_left_alone(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = repository / "blankly.json"
    broken.write_text('{"main_script": "./bot.py" "python_version": "3.10"}')
    before = broken.read_bytes()
    printed = run(repository, monkeypatch)
    assert broken.read_bytes() == before
    assert "error: blankly.json:1:28: Not valid JSON: missing comma" in printed
    assert (repository / WORKFLOW).is_file()


def test_a_directory_without_a_model_is_told_how_one_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "macd.py").write_text("import blankly\n")
    monkeypatch.chdir(tmp_path)
    stream = io.StringIO()
    with pytest.raises(InvalidInputError, match="There is no model in"):
        init(Path(), Console(stream, for_runner=False), {}, dry_run=False)
    assert '{"main_script": "./macd.py", "python_version": "3.11"}' in stream.getvalue()
    assert not (tmp_path / ".github").exists()


@pytest.mark.parametrize(
    ("has_commits", "has_origin", "expected"),
    [
        (True, True, ["git switch --create backtests", "git push --set-upstream origin backtests"]),
        (True, False, ["gh repo create --private --source . --push"]),
        (False, True, ["git push --set-upstream origin main"]),
    ],
)
def test_the_next_steps_are_those_of_this_repository(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_commits: bool,
    has_origin: bool,
    expected: list[str],
) -> None:
    root = write_model(make_repository(tmp_path / "bot"))
    if has_commits:
        commit_all(root)
    if has_origin:
        git(root, "remote", "add", "origin", "https://forge.example/bot.git")
    printed = steps(run(root, monkeypatch))
    commands = [line.strip() for line in printed.splitlines() if line.startswith("     g")]
    assert [line for line in commands if line in expected] == expected
    assert ("git switch --create backtests" in commands) == (has_commits and has_origin)


def test_a_first_commit_has_the_model_and_not_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_repository(tmp_path / "desk")
    model = write_model(root / "bot")
    hidden = ["keys.json", ".env.local", "keys.live.json", "sub/[x].key"]
    (model / "sub").mkdir()
    for name in hidden:
        (model / name).write_text("{}")
    (root / ".gitignore").write_text("*.log")  # without a line feed
    printed = steps(run(tmp_path, monkeypatch, below="desk/bot"))
    commands = [line.strip() for line in printed.splitlines() if line.startswith("     ")]
    first = next(index for index, one in enumerate(commands) if one.startswith("cd "))
    assert commands[first] == f"cd {root}"
    for command in commands[first + 1 : first + 3]:
        subprocess.run(["bash", "-c", command], cwd=root, check=True)
    staged = git(root, "diff", "--cached", "--name-only").splitlines()
    assert {"bot/bot.py", "bot/blankly.json", WORKFLOW, ".gitignore"} <= set(staged)
    assert not [name for name in hidden if f"bot/{name}" in staged]
    assert "*.log" in (root / ".gitignore").read_text().splitlines()
    assert "printf" not in steps(run(root, monkeypatch)), "they are hidden"


def test_a_directory_that_a_workflow_cannot_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "a\udcff")
    with pytest.raises(InvalidInputError, match="a workflow cannot name it"):
        run(tmp_path, monkeypatch)
    assert not (tmp_path / ".github").exists()


def test_what_git_lacks_of_a_model_is_in_the_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file that is new, and of a model beside what was committed; a key is never named."""
    git(repository, "remote", "add", "origin", "https://forge.example/bot.git")
    (repository / "prices").mkdir()
    for name in ("prices/a.csv", "prices/b.csv", "extra.py", "keys.json"):
        (repository / name).write_text("{}")
    write_model(repository / "second")
    printed = steps(run(repository, monkeypatch))
    (added,) = re.findall("git add (.*)", printed)
    assert set(added.split()) == {"extra.py", "prices", "second", WORKFLOW, "blankly.json"}
    assert "Commit it on a branch, with what git lacks of the models:" in printed


def test_what_the_checkout_and_the_bundle_need_is_in_the_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are there on this computer, and would be missing on the runner."""
    root = make_repository(tmp_path / "desk")
    model = write_model(root / "bots" / "a")
    (root / "libs" / "common").mkdir(parents=True)
    (root / "libs" / "common" / "__init__.py").touch()
    (root / "libs" / "common" / "util.py").touch()
    (model / "bot.py").write_text("import blankly\nfrom common.util import x\n")
    (root / ".gitattributes").write_text("*.csv filter=lfs diff=lfs merge=lfs -text\n")
    (root / ".gitmodules").write_text('[submodule "x"]\n\tpath = bots/a/x\n\turl = ../x\n')
    printed = run(root, monkeypatch)
    workflow = yaml.safe_load((root / WORKFLOW).read_text())
    for job in ("backtest", "deploy"):
        checkout, *_, action = workflow["jobs"][job]["steps"]
        assert checkout["with"]["lfs"] is checkout["with"]["submodules"] is True
        assert action["with"]["include"] == "libs/common\n"
    assert "blankly-deploy backtest bots/a --include libs/common\n" in steps(printed)
    assert "git add bots libs " in steps(printed)
    assert "outside the model" not in printed, "the workflow includes it"


def test_a_model_that_is_the_whole_repository_is_told_what_is_packed(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "so `.github`, READMEs and tests are in its bundle" in run(repository, monkeypatch)


def test_the_default_branch_is_the_one_of_origin(tmp_path: Path) -> None:
    origin = make_repository(tmp_path / "origin")
    commit_all(origin)
    git(origin, "branch", "--move", "main", "trunk")
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    clone = tmp_path / "clone"
    git(clone, "switch", "--quiet", "--create", "feature")
    assert read_habits(clone) == Habits(
        branch="trunk",
        known_by="the default branch of origin",
        has_commits=True,
        has_origin=True,
    )


@pytest.mark.parametrize(
    ("branches", "current", "expected"),
    [
        ([], "work", ("work", "the current branch")),
        (["main"], "work", ("main", "there is a branch of that name")),
        (["master"], "master", ("master", "the current branch")),
    ],
)
def test_without_an_origin_the_likeliest_branch_is_taken(
    tmp_path: Path, branches: list[str], current: str, expected: tuple[str, str]
) -> None:
    root = make_repository(tmp_path)
    git(root, "symbolic-ref", "HEAD", "refs/heads/work")
    for branch in branches:
        git(root, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
        commit_all(root)
    git(root, "symbolic-ref", "HEAD", f"refs/heads/{current}")
    found = read_habits(root)
    assert (found.branch, found.known_by) == expected
    assert (found.has_commits, found.has_origin) == (bool(branches), False)


def test_the_compose_file_of_a_server_is_never_overwritten(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(stream, for_runner=False)
    init_server(tmp_path, console, dry_run=True)
    assert not (tmp_path / "compose.yml").exists()
    init_server(tmp_path, console, dry_run=False)
    assert (tmp_path / "compose.yml").read_text() == template("compose.yml")
    assert f"cd {tmp_path}\n" in stream.getvalue()
    (tmp_path / "compose.yml").write_text("mine")
    with pytest.raises(InvalidInputError, match="is there already, and was left alone"):
        init_server(tmp_path, console, dry_run=False)
    assert (tmp_path / "compose.yml").read_text() == "mine"


def test_an_installed_program_has_its_files(tmp_path: Path, repository: Path) -> None:
    """As a wheel has them, without this checkout; and a person sees it in colours."""
    build = [sys.executable, "-m", "flit_core.wheel", "--outdir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (repository / "settings.json").unlink()
    shown = run_on_terminal(
        [sys.executable, "-P", "-m", "deploy_action", "init"],
        cwd=repository,
        environ={"PATH": "", "PYTHONPATH": str(tmp_path / "installed"), "TERM": "xterm"},
    )
    assert shown.code == 0
    assert json.loads((repository / "settings.json").read_text())["settings"]
    assert "\x1b[1msettings.json: new\x1b[0m\n\x1b[32m  + {\x1b[0m\n" in shown.text
    assert "\x1b[36m     blankly-deploy backtest .\x1b[0m\n" in shown.text
    code = "import deploy_action; print(deploy_action.__file__)"
    used = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert used.stdout.startswith(str(tmp_path))
