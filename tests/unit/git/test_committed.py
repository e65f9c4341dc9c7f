"""Whether the files of a model are those of the commit that is checked out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy_action.git.changes import is_committed
from deploy_action.platform.processes.directory_trees import remove_tree
from tests.support.repositories import commit_all, git, make_repository

FILES = {"models/a/bot.py": "1", "models/a/deep/er/x.txt": "2", "models/b/bot.py": "3", "é": "4"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = make_repository(tmp_path.resolve() / "repository")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    commit_all(root)
    return root


def is_as_committed(root: Path, *names: str) -> bool:
    return is_committed(root / "models" / "a", [str(root / name) for name in names])


def stage_and_restore(root: Path) -> None:
    (root / "models/a/bot.py").write_text("5")
    git(root, "add", "--all")
    (root / "models/a/bot.py").write_text("1")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "models/a/bot.py").write_text("another"),
        lambda root: git(root, "update-index", "--chmod=+x", "models/a/deep/er/x.txt"),
        lambda root: (root / "models/a/bot.py").chmod(0o755),
        lambda root: git(root, "rm", "--cached", "--quiet", "models/a/bot.py"),
        lambda root: git(root, "mv", "models/a/bot.py", "models/a/other.py"),
        stage_and_restore,
    ],
    ids=[
        "edited",
        "executable",
        "executable, not staged",
        "no longer tracked",
        "renamed",
        "staged only",
    ],
)
def test_a_change_of_one_of_them_counts_and_no_other_does(
    change: Callable[[Path], object], repository: Path
) -> None:
    own = ("models/a/bot.py", "models/a/deep/er/x.txt")
    assert is_as_committed(repository, *own)
    assert is_as_committed(repository, *FILES)
    change(repository)
    assert not is_as_committed(repository, *own)
    assert not is_as_committed(repository, *FILES)
    assert is_as_committed(repository, "models/b/bot.py", "é")


def test_permissions_do_not_count_where_git_is_told_so(repository: Path) -> None:
    """As on file systems that have none: all files are executable there."""
    git(repository, "config", "core.fileMode", "false")
    (repository / "models/a/bot.py").chmod(0o755)
    assert is_as_committed(repository, "models/a/bot.py")


def test_a_file_that_is_no_longer_executable_differs(repository: Path) -> None:
    (repository / "models/a/bot.py").chmod(0o755)
    commit_all(repository)
    assert is_as_committed(repository, "models/a/bot.py")
    (repository / "models/a/bot.py").chmod(0o600)
    assert not is_as_committed(repository, "models/a/bot.py")


def test_a_file_in_many_directories_is_looked_at(repository: Path) -> None:
    """As many as a path may have are more than Python calls functions within each other."""
    for depth in range(1, 1_201):
        (repository / ("d/" * depth)).mkdir()
    name = "d/" * 1_200 + "bot.py"
    try:
        (repository / name).write_text("1")
        commit_all(repository)
        assert is_as_committed(repository, name)
        (repository / name).write_text("another")
        assert not is_as_committed(repository, name)
    finally:
        remove_tree(repository / "d")  # Python's own function fails


def test_files_that_git_does_not_have_are_in_no_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "models/a/new.py").touch()
    (tmp_path / "outside").touch()
    assert not is_as_committed(repository, "models/a/bot.py", "models/a/new.py")
    assert not is_as_committed(repository, "models/a/bot.py", "../outside")


def test_without_a_repository_it_is_not_known(tmp_path: Path) -> None:
    assert is_committed(tmp_path, [str(tmp_path / "bot.py")])
    damaged = make_repository(tmp_path / "damaged")
    (damaged / "bot.py").touch()
    commit_all(damaged)
    (damaged / ".git" / "index").write_bytes(b"DIRC" + os.urandom(100))
    assert is_committed(damaged, [str(damaged / "bot.py")])
