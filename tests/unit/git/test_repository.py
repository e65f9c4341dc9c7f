from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

import pytest

from deploy_action.errors import InterruptedRunError
from deploy_action.git.repository import may_be_tracked
from tests.support.repositories import git, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = make_repository(tmp_path / "repository")
    (directory / "model").mkdir()
    for name in ("keys.json", "bot.py"):
        (directory / "model" / name).write_text("{}")
    git(directory, "add", "model/bot.py")
    return directory


def test_a_file_in_the_index_is_tracked(repository: Path) -> None:
    assert may_be_tracked(repository / "model" / "bot.py")
    assert not may_be_tracked(repository / "model" / "keys.json")


def test_without_a_repository_a_file_may_be_tracked(tmp_path: Path) -> None:
    """A checkout without .git has the repository's files."""
    assert may_be_tracked(tmp_path / "keys.json")
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert may_be_tracked(tmp_path / "keys.json")


def test_on_a_terminal_a_file_outside_a_repository_is_not_tracked(
    tmp_path: Path, repository: Path
) -> None:
    assert not may_be_tracked(tmp_path / "keys.json", for_runner=False)
    assert may_be_tracked(repository / "model" / "bot.py", for_runner=False)


def test_in_a_damaged_repository_a_file_may_be_tracked(repository: Path) -> None:
    (repository / ".git" / "index").write_bytes(b"DIRC broken")
    assert may_be_tracked(repository / "model" / "keys.json")


def test_a_signal_while_git_is_read_ends_the_run(repository: Path) -> None:
    def interrupt(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "open_index":
            sys.setprofile(None)
            raise InterruptedRunError(signal.SIGINT)

    sys.setprofile(interrupt)
    try:
        with pytest.raises(InterruptedRunError):
            may_be_tracked(repository / "model" / "keys.json")
    finally:
        sys.setprofile(None)
