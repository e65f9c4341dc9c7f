"""Runs in checkouts that are damaged or hostile: each ends with a clear error, and none waits.

A deadline of half a minute ends a run that would read from a pipe for ever.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Ended, Runner
from tests.support.repositories import commit_all, git, make_repository

Odd = Callable[[Path], object]


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # in the current directory: such names must be short


def an_endless_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:  # only root may make one
        path.symlink_to("/dev/zero")


ODD = [os.mkfifo, an_endless_device, a_socket, Path.mkdir]


def checked(runner: Runner, **inputs: str) -> Ended:
    """Run, and make sure that it did not end with what is a bug, or at the deadline."""
    ended = runner.run(**{"mode": "validate", "timeout_minutes": "0.5", **inputs})
    assert "Traceback" not in ended.log
    assert "bug in the action" not in ended.log
    assert "deadline" not in ended.log
    return ended


@pytest.fixture
def repository(runner: Runner) -> Runner:
    """Return a runner with a repository of two commits in its workspace."""
    make_repository(runner.workspace)
    commit_all(runner.workspace, "First")
    (runner.workspace / "notes.txt").write_text("more")
    commit_all(runner.workspace, "Second")
    git(runner.workspace, "pack-refs", "--all")
    return runner


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "name",
    ["blankly.json", "bot.py", "requirements.txt", "settings.json", "keys.json", ".gitignore"],
)
def test_something_else_in_place_of_a_file_of_the_model(
    runner: Runner, name: str, odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runner.workspace)
    path = runner.workspace / name
    path.unlink(missing_ok=True)
    odd(path)
    ended = checked(runner)
    if odd is Path.mkdir and name in {"keys.json", ".gitignore"}:
        assert ended.code == 0  # an empty directory, which is packed as such
    else:
        assert ended.code == (0 if odd is Path.mkdir and name == "settings.json" else 2)
        assert name in ended.log


@pytest.mark.parametrize("name", ["blankly.json", "bot.py", "requirements.txt", "keys.json"])
def test_a_link_out_of_the_model_is_refused_unread(runner: Runner, name: str) -> None:
    outside = runner.root / "outside"
    outside.write_text('{"main_script": "./bot.py", "plan": "quite-private", "quite-private"\n')
    (runner.workspace / name).unlink(missing_ok=True)
    (runner.workspace / name).symlink_to(outside)
    ended = checked(runner)
    assert ended.code == 2
    assert "out of the model" in ended.log or "outside the model" in ended.log
    assert "quite-private" not in ended.log + ended.summary


@pytest.mark.parametrize(
    "arguments",
    [
        "{to: 0x" + "f" * 5_000 + "}",
        "{to: 1y, initial_values: {USD: 0x" + "f" * 5_000 + "}}",
        "{to: 1y, initial_values: {USD: 0o" + "7" * 9_000 + "}}",
        "{to: 1y, initial_values: {USD: " + "9" * 4_200 + "}}",
        '{"to": "1y", "initial_values": {"USD": ' + "9" * 4_200 + "}}",
        '{to: !!int "0x' + "f" * 5_000 + '"}',
        "{to: 1e" + "9" * 5_000 + "}",
    ],
    ids=lambda text: text[:35],
)
def test_a_number_with_more_digits_than_python_prints(runner: Runner, arguments: str) -> None:
    ended = checked(
        runner, mode="backtest", dry_run="true", api_url="local", backtest_args=arguments
    )
    assert ended.code == 2
    assert "Input `backtest-args` is" in ended.log
    assert len(ended.annotations[0]) < 1_000


OBJECTS = "objects/info/alternates", "objects/info/commit-graph", "objects/pack/multi-pack-index"


@pytest.mark.parametrize("odd", ODD[:3])
@pytest.mark.parametrize(
    "name",
    ["HEAD", "config", "index", "packed-refs", "commondir", "shallow", "refs/heads/main", *OBJECTS],
)
def test_something_else_in_place_of_a_file_of_git(
    repository: Runner, name: str, odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository.workspace / ".git" / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True, parents=True)
    monkeypatch.chdir(path.parent)
    odd(path)
    (repository.workspace / "keys.json").write_text("{}")  # whether it is tracked is in the index
    ended = checked(repository, compare_with="HEAD^")
    if name in {"index", "objects/info/alternates", "objects/info/commit-graph"}:
        assert ended.code == 0  # nothing that the comparison needs is in there
    else:
        assert ended.code == 2
        assert f"{name} of the git repository cannot be read: it is not a regular file" in ended.log
    # Without a comparison, git only adds to the description.
    assert checked(repository).code == 0


@pytest.mark.parametrize("odd", ODD[:3])
@pytest.mark.parametrize("what", ["object", "pack", ".idx"])
def test_something_else_in_place_of_objects(
    repository: Runner, what: str, odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = repository.workspace / ".git" / "objects"
    sha = git(repository.workspace, "rev-parse", "HEAD^")
    path = objects / sha[:2] / sha[2:]
    if what != "object":
        git(repository.workspace, "gc", "--quiet", "--aggressive")
        (path,) = objects.glob(f"pack/*{what}")
    path.unlink()
    monkeypatch.chdir(path.parent)
    odd(path)
    ended = checked(repository, compare_with="main^")
    assert ended.code == 2
    assert "cannot be read" in ended.log


@pytest.mark.parametrize("target", ["/dev", "/proc/self/fd", "a-pipe"])
def test_a_git_file_that_points_elsewhere(runner: Runner, target: str) -> None:
    os.mkfifo(runner.workspace / "a-pipe")
    (runner.workspace / ".git").write_text(f"gitdir: {target}\n")
    ended = checked(runner, compare_with="main", ignore="a-pipe")
    assert ended.code == 2
    assert "a-pipe" in target or "there is no repository there" in ended.log
    (runner.workspace / ".git").unlink()
    os.mkfifo(runner.workspace / ".git")
    assert checked(runner, compare_with="main", ignore="a-pipe").code == 2


@pytest.mark.parametrize("odd", ODD)
def test_something_else_in_place_of_the_event(
    runner: Runner, odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payload that cannot be read counts as empty."""
    monkeypatch.chdir(runner.root)
    odd(runner.root / "event.json")
    runner.environ |= {
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_EVENT_PATH": str(runner.root / "event.json"),
    }
    assert checked(runner).code == 0
