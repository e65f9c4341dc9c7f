"""Real git repositories, made by the git binary without the settings of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.waiting import PATIENCE


def git(directory: Path, *arguments: str, message: bytes | None = None) -> str:
    """Run git there, with `message` as its input, and return what it prints."""
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
        timeout=PATIENCE,
    )
    return done.stdout.decode().strip()


def make_repository(directory: Path) -> Path:
    """Make an empty repository with the branch `main`, in a directory that may have files."""
    directory.mkdir(parents=True, exist_ok=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    return directory


def commit(directory: Path, message: bytes, *options: str) -> str:
    """Commit what is staged, if anything, and return the id."""
    git(directory, *options, "commit", "--quiet", "--allow-empty", "--file=-", message=message)
    return git(directory, "rev-parse", "HEAD")


def commit_all(directory: Path, message: str = "Change") -> str:
    """Commit everything that is in the work tree, and return the id."""
    git(directory, "add", "--all", "--force")
    return commit(directory, message.encode())


def plant_tree(directory: Path, *entries: tuple[str, bytes, str]) -> str:
    """Commit on `main` a root tree that git would refuse: (mode, name, id) each; return the id."""
    tree = b"".join(
        mode.encode() + b" " + name + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries
    )
    arguments = ("hash-object", "-t", "tree", "-w", "--stdin", "--literally")
    sha = git(directory, *arguments, message=tree)
    planted = git(directory, "commit-tree", sha, "-m", "Planted")
    git(directory, "update-ref", "refs/heads/main", planted)
    return planted


def blob(directory: Path, content: bytes) -> str:
    """Store content as an object of its own, and return the id."""
    return git(directory, "hash-object", "-w", "--stdin", message=content)


def snapshot(directory: Path) -> dict[str, bytes]:
    """Return every file of a directory, `.git` and all, with its content."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
