"""Git's index, also where it is split, as git itself lists it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy_action.git.index import open_index, read_entries
from deploy_action.git.repository import open_repository
from tests.support.repositories import commit_all, git, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return one with 300 files, so that bitmaps have runs of words, and words written out."""
    root = make_repository(tmp_path / "repository")
    for number in range(300):
        (root / f"{number:03}.py").write_text(f"A = {number}\n")
    commit_all(root)
    return root


def listed(root: Path) -> dict[str, str]:
    lines = git(root, "ls-files", "--stage").splitlines()
    return {name: meta.split()[1] for meta, name in (line.split("\t") for line in lines)}


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_split_index_is_read_whole(repository: Path, version: str) -> None:
    git(repository, "update-index", "--index-version", version)
    git(repository, "config", "splitIndex.maxPercentChange", "100")
    git(repository, "update-index", "--split-index")
    for number in (0, 1, 130, 299):
        (repository / f"{number:03}.py").write_text("A = 'another'\n")
    git(repository, "add", ".")
    git(repository, "rm", "-q", "--", *(f"{number:03}.py" for number in (2, *range(140, 290))))
    (repository / "new.py").write_text("B = 1\n")
    git(repository, "add", "new.py")
    assert list((repository / ".git").glob("sharedindex.*"))
    with open_repository(repository) as opened:
        entries = {os.fsdecode(one.name): one.sha.decode() for one in read_entries(opened.repo)}
        index = open_index(opened.repo)
    expected = listed(repository)
    assert entries == expected
    assert len(expected) == 150
    assert {os.fsdecode(path) for path in index} == set(expected)


def test_one_that_was_joined_again_is_read_too(repository: Path) -> None:
    git(repository, "update-index", "--split-index")
    git(repository, "update-index", "--no-split-index")
    with open_repository(repository) as opened:
        assert len(list(read_entries(opened.repo))) == len(open_index(opened.repo)) == 300
