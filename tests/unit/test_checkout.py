"""The checked-out commit is read from real repositories, made by git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploy_action.checkout import Commit, read_checked_out_commit


def git(directory: Path, *arguments: str, message: bytes | None = None) -> str:
    """Run git without the settings of this machine."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_NAME": "Trader" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "trader@example.com" for role in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env=environ,
        input=message,
        capture_output=True,
        check=True,
        timeout=20,
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one commit."""
    directory = tmp_path / "repository"
    (directory / "models" / "a").mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    commit(directory, "Grüße 株式\n\nThe body".encode())
    return directory


def commit(directory: Path, message: bytes, *options: str) -> str:
    """Commit and return the id."""
    git(directory, *options, "commit", "--quiet", "--allow-empty", "--file=-", message=message)
    return git(directory, "rev-parse", "HEAD")


def test_the_message_is_read_whole_from_any_directory_below(repository: Path) -> None:
    """The model may lie deep in the repository."""
    sha = git(repository, "rev-parse", "HEAD")
    expected = Commit(sha, "Grüße 株式\n\nThe body\n")
    assert read_checked_out_commit(repository) == expected
    assert read_checked_out_commit(repository / "models" / "a") == expected


def test_a_detached_head_and_packed_objects_are_read(repository: Path) -> None:
    """As `actions/checkout` leaves them."""
    sha = commit(repository, b"Second")
    git(repository, "checkout", "--quiet", "--detach")
    git(repository, "gc", "--quiet", "--prune=now")
    git(repository, "pack-refs", "--all")
    assert read_checked_out_commit(repository) == Commit(sha, "Second\n")


def test_an_annotated_tag_that_is_checked_out_is_its_commit(repository: Path) -> None:
    """The tag's own message is another."""
    sha = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "--annotate", "--message=About the tag", "v1")
    git(repository, "checkout", "--quiet", "v1")
    found = read_checked_out_commit(repository)
    assert found is not None
    assert found.sha == sha


def test_a_shallow_clone_and_a_work_tree_are_read(repository: Path, tmp_path: Path) -> None:
    """Checkout fetches one commit; a work tree's `.git` is a file."""
    sha = commit(repository, b"Tip")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    assert read_checked_out_commit(tmp_path / "shallow") == Commit(sha, "Tip\n")
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "tree"))
    assert read_checked_out_commit(tmp_path / "tree") == Commit(sha, "Tip\n")


def test_a_message_in_another_encoding_is_decoded(repository: Path) -> None:
    """The commit says which."""
    commit(repository, "Öl".encode("iso-8859-1"), "-c", "i18n.commitEncoding=ISO-8859-1")
    found = read_checked_out_commit(repository)
    assert found is not None
    assert found.message == "Öl\n"


@pytest.mark.parametrize("encoding", ["klingon", "hex", "undefined", "idna", "punycode"])
def test_an_unusable_encoding_is_read_as_utf_8(repository: Path, encoding: str) -> None:
    """With what does not decode replaced."""
    commit(repository, b"x\xffy", "-c", f"i18n.commitEncoding={encoding}")
    found = read_checked_out_commit(repository)
    assert found is not None
    assert found.message == "x\ufffdy\n"


def test_without_a_repository_or_a_commit_there_is_none(tmp_path: Path) -> None:
    """A model needs no repository."""
    assert read_checked_out_commit(tmp_path) is None
    git(tmp_path, "init", "--quiet", "fresh")
    assert read_checked_out_commit(tmp_path / "fresh") is None


@pytest.mark.parametrize("damage", ["HEAD", "objects", "config"])
def test_a_broken_repository_is_no_reason_to_fail(repository: Path, damage: str) -> None:
    """The description then comes from elsewhere."""
    target = repository / ".git" / damage
    if target.is_dir():
        for path in target.rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"garbage")
    else:
        target.write_bytes(b"\xff\x00garbage")
    assert read_checked_out_commit(repository) is None


def test_head_that_is_no_commit_is_none(repository: Path) -> None:
    """HEAD could be detached at anything."""
    blob = git(repository, "hash-object", "-w", "--stdin", message=b"text")
    (repository / ".git" / "HEAD").write_text(blob + "\n")
    assert read_checked_out_commit(repository) is None
