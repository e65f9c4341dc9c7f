"""Which user a model gets, and what is said where it gets none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy_action.errors import Severity
from deploy_action.platform.processes.unprivileged import NotIsolatedError
from deploy_action.platform.runs.isolation import AsRoot, Isolation
from tests.support.isolated import as_root, ordinary


@pytest.fixture
def private(tmp_path: Path) -> Path:
    directory = tmp_path / "private"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """Return a file in a directory that only root may enter."""
    directory = tmp_path / "hidden"
    directory.mkdir(mode=0o700)
    (directory / "python").touch(mode=0o755)
    return directory / "python"


@as_root
def test_a_model_of_root_gets_a_user_of_its_own(private: Path) -> None:
    user, problems = Isolation().choose_user(private, [Path("/bin/sh")])
    assert user is not None
    assert private.stat().st_uid == private.stat().st_gid == user
    assert problems == ()


@as_root
def test_root_refuses_what_it_cannot_isolate(private: Path, hidden: Path) -> None:
    with pytest.raises(NotIsolatedError) as raised:
        Isolation().choose_user(private, [hidden])
    assert f"may not enter {hidden.parent}" in raised.value.reason
    assert f"chmod o+x {hidden.parent}" in raised.value.hint
    assert "BLANKLY_DEPLOY_ISOLATION=off" in raised.value.hint


@as_root
def test_a_file_that_the_user_may_not_read_is_named(private: Path) -> None:
    path = private.parent / "constraints.txt"
    path.touch(mode=0o600)
    with pytest.raises(NotIsolatedError) as raised:
        Isolation().give(private, [path])
    assert f"may not read {path}" in raised.value.reason
    assert f"`chmod o+r {path}`" in raised.value.hint


@as_root
def test_what_cannot_be_isolated_is_refused_before_an_environment_is_made(
    private: Path, hidden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Isolation().check(private.parent, [Path("/bin/sh")])
    with pytest.raises(NotIsolatedError, match=f"may not enter {hidden.parent}"):
        Isolation().check(private.parent, [hidden])
    # Where root may not change owners, the program chown fails.
    program = private.parent / "chown"
    program.write_text("#!/bin/sh\necho 'chown: x: Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{private.parent}:{os.environ['PATH']}")
    with pytest.raises(NotIsolatedError) as raised:
        Isolation().check(private.parent, [])
    assert "files of its own here (Operation not permitted)" in raised.value.reason
    assert "BLANKLY_DEPLOY_ISOLATION=off" in raised.value.hint


@as_root
@pytest.mark.parametrize(
    ("as_root", "severity"),
    [(AsRoot.RUN_WITH_WARNING, Severity.WARNING), (AsRoot.ALLOWED, Severity.NOTICE)],
)
def test_a_model_that_runs_as_root_is_never_silent(
    private: Path, hidden: Path, as_root: AsRoot, severity: Severity
) -> None:
    user, (problem,) = Isolation(as_root).choose_user(private, [hidden])
    assert user is None
    assert problem.severity is severity
    assert "ran as root" in problem.message
    assert f"may not enter {hidden.parent}" in problem.message
    assert f"chmod o+x {hidden.parent}" in problem.hint


def test_an_ordinary_user_is_told_that_nothing_is_isolated(tmp_path: Path) -> None:
    """It is no warning: such a user cannot mend it."""
    code = (
        "from pathlib import Path\n"
        "from deploy_action.platform.runs.isolation import Isolation\n"
        "user, (problem,) = Isolation().choose_user(Path(), [])\n"
        "print(user, problem.severity, problem.message)"
    )
    done = ordinary(code, tmp_path)
    assert done.stdout.startswith("None notice The model has the rights of the user"), done


@as_root
def test_nobody_else_may_write_to_what_the_runner_reads(private: Path, tmp_path: Path) -> None:
    """Some runners let every user write to the files of outputs and variables."""
    output, link = tmp_path / "output", tmp_path / "link"
    output.touch()
    output.chmod(0o666)
    _, problems = Isolation(guarded=(output, tmp_path / "missing")).choose_user(private, [])
    assert problems == ()
    assert output.stat().st_mode & 0o777 == 0o644

    output.chmod(0o666)
    link.symlink_to(output)
    open_to_all = tmp_path / "work space"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    _, problems = Isolation(guarded=(open_to_all, link)).choose_user(private, [])
    assert [problem.severity for problem in problems] == [Severity.WARNING] * 2
    assert f"`chmod o-w '{open_to_all}'`" in problems[0].hint
    assert open_to_all.stat().st_mode & 0o777 == 0o777
