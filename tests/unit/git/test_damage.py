"""Damaged repositories: a model is restored as it was, or the damage is reported."""

from __future__ import annotations

import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy_action.errors import InvalidInputError
from deploy_action.git.checkout import UnusablePastError, extract_model
from deploy_action.model.manifest_search import MANIFEST_NAME
from tests.conftest import write_model
from tests.support.repositories import commit_all, git, make_repository, snapshot

Damage = Callable[[bytes], bytes]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a repository with several versions of a large file, none of them packed."""
    directory = make_repository(tmp_path / "repository")
    write_model(directory)
    for version in range(4):
        lines = (f"{number},{number * version}\n" for number in range(2_000))
        (directory / "prices.csv").write_text("".join(lines))
        commit_all(directory)
    return directory


def restored(directory: Path, destination: Path) -> dict[str, bytes] | None:
    """Return the files at `HEAD~2`, None if it was said that they cannot be read."""
    try:
        past = extract_model(directory, "HEAD~2", destination, manifest=MANIFEST_NAME)
    except (InvalidInputError, UnusablePastError):
        return None
    return None if past.directory is None else snapshot(past.directory)


def change(path: Path, damage: Damage) -> None:
    path.chmod(0o600)
    path.write_bytes(damage(path.read_bytes()))


@pytest.mark.parametrize("kind", ["pack", "idx"])
def test_a_damaged_pack_is_reported(directory: Path, tmp_path: Path, kind: str) -> None:
    git(directory, "gc", "--quiet", "--aggressive", "--prune=now")
    sound = restored(directory, tmp_path / "sound")
    assert sound
    dice = random.Random(7)  # noqa: S311  # no secret
    refused = 0
    for number in range(80):
        copy = tmp_path / str(number)
        shutil.copytree(directory / ".git", copy / ".git")
        (path,) = copy.glob(f".git/objects/pack/*.{kind}")
        data = bytearray(path.read_bytes())
        at = dice.randrange(len(data))
        if number < 10:
            del data[at:]
        else:
            data[at : at + 4] = dice.randbytes(4)
        path.chmod(0o600)
        path.write_bytes(data)
        found = restored(copy, tmp_path / f"base{number}")
        assert found in (None, sound)
        refused += found is None
    assert refused >= 10


def loose(directory: Path, name: str) -> Path:
    sha = git(directory, "rev-parse", f"HEAD~2{name}")
    return directory / ".git" / "objects" / sha[:2] / sha[2:]


def packed(content: bytes) -> Damage:
    return lambda _: zlib.compress(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"junk",
        lambda data: data[: len(data) // 2],
        packed(b"blob 3\0abc"),
        packed(b"tree 0\0"),
        packed(b"tag 3\0abc"),
        packed(b"nonsense 3\0abc"),
        packed(b"blob 3\0abcdef"),
        packed(b"tree 99999999999999999999\0abc"),
        packed(b"commit " + b"9" * 5_000 + b"\0abc"),
        packed(b"blob -3\0abc"),
        packed(b"blob"),
        lambda data: zlib.compress(zlib.decompress(data) + b"more"),
    ],
)
@pytest.mark.parametrize("name", ["^{commit}", "^{tree}", ":prices.csv"])
def test_an_object_that_is_not_what_its_id_says_is_reported(
    directory: Path, tmp_path: Path, name: str, damage: Damage
) -> None:
    """Of another kind or size, cut short, or with other content."""
    change(loose(directory, name), damage)
    assert restored(directory, tmp_path / "base") is None


def test_an_object_in_the_place_of_another_is_reported(directory: Path, tmp_path: Path) -> None:
    other = loose(directory, "^:prices.csv").read_bytes()
    change(loose(directory, ":prices.csv"), lambda _: other)
    with pytest.raises(InvalidInputError, match="Checksum"):
        extract_model(directory, "HEAD~2", tmp_path / "base", manifest=MANIFEST_NAME)
