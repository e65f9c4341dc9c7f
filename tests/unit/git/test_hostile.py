"""Repositories that somebody made to be read: what they say is bounded, and runs nothing."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from dulwich.index import write_index
from dulwich.objects import ObjectID
from dulwich.pack import write_pack_index_v2

from deploy_action.errors import InvalidInputError
from deploy_action.git import changes, checkout
from deploy_action.git.branches import find_ignored, read_habits
from deploy_action.git.changes import find_changes
from deploy_action.git.checkout import UnusablePastError, extract_model
from deploy_action.git.index import open_index, read_entries
from deploy_action.git.repository import open_repository
from deploy_action.git.revision import find_commit
from deploy_action.records import replace
from tests.conftest import write_model
from tests.support.repositories import blob, commit_all, git, make_repository

BLOB, OFS_DELTA, REF_DELTA = 3, 6, 7
FIRST, SECOND = bytes([1]) * 20, bytes([2]) * 20


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = make_repository(tmp_path / "repository")
    write_model(root)
    (root / "data").mkdir()
    (root / "data" / "prices.csv").write_text("1\n2\n")
    commit_all(root)
    return root


# ------------------------------------------------------------------ objects


def number(value: int, first_bits: int = 7, first: int = 0) -> bytes:
    """Write a number as packs do: seven bits a byte, `first_bits` in the first one."""
    data, rest = [first | value & (1 << first_bits) - 1], value >> first_bits
    while rest:
        data[-1] |= 0x80
        data.append(rest & 0x7F)
        rest >>= 7
    return bytes(data)


def packed(kind: int, size: int, content: bytes, base: bytes = b"") -> bytes:
    """Return an object of a pack that says that it has `size` bytes once unpacked."""
    return number(size, 4, kind << 4) + base + zlib.compress(content)


def delta(content: bytes, base: bytes, kind: int = REF_DELTA) -> bytes:
    """Return an object of a pack that changes another one."""
    return packed(kind, len(content), content, base)


def grown(times: int) -> bytes:
    """Return the content of a delta that says that it makes so many bytes, as a power of 2."""
    return number(4) + number(1 << times) + b"\x90\x04"


def plant_pack(root: Path, *objects: tuple[bytes, bytes]) -> None:
    """Write a pack of objects, each with the id that it is listed under."""
    data, entries = b"PACK" + struct.pack(">II", 2, len(objects)), []
    for sha, raw in objects:
        entries.append((sha, len(data), zlib.crc32(raw)))
        data += raw
    digest = hashlib.sha1(data, usedforsecurity=False).digest()
    place = root / ".git" / "objects" / "pack"
    (place / f"pack-{digest.hex()}.pack").write_bytes(data + digest)
    index = io.BytesIO()
    write_pack_index_v2(index, sorted(entries), digest)
    (place / f"pack-{digest.hex()}.idx").write_bytes(index.getvalue())


ENDLESS = b"\x80" * 1_000_000 + b"\x00"


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([packed(BLOB, 1 << 40, b"abc")], "larger than 1 GiB"),
        ([packed(BLOB, (1 << 30) + 1, b"abc")], "larger than 1 GiB"),
        ([b"\xb0" + ENDLESS + zlib.compress(b"")], "too many bytes"),
        (
            [delta(grown(45), SECOND), packed(BLOB, 4, b"abcd")],
            "larger than 1 GiB",
        ),
        ([delta(number(4) + ENDLESS, SECOND), packed(BLOB, 4, b"abcd")], "too many"),
        ([delta(ENDLESS, SECOND), packed(BLOB, 4, b"abcd")], "too many bytes"),
        ([delta(grown(3), ENDLESS, OFS_DELTA)], "too many bytes"),
        ([delta(grown(3), b"\0", OFS_DELTA)], "offset of 0"),
        ([delta(grown(3), FIRST)], "UnresolvedDeltas"),
        (
            [delta(grown(3), SECOND), delta(grown(3), FIRST)],
            "DeltaCycle",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_object_that_would_never_end_is_refused(
    repository: Path, objects: list[bytes], reason: str
) -> None:
    plant_pack(repository, *zip((FIRST, SECOND), objects, strict=False))
    with open_repository(repository) as opened, pytest.raises(InvalidInputError) as raised:
        opened.read(ObjectID(FIRST.hex().encode()))
    # A declared size that is wrong is noticed by the library when all of it was unpacked.
    assert reason in str(raised.value)


def test_repositories_that_borrow_from_each_other_are_asked_once(
    repository: Path, tmp_path: Path
) -> None:
    """Each of 60 names the next two, twice, and the first: two to the power of 120 ways."""
    stores = [repository / ".git" / "objects"]
    stores += [tmp_path / f"store{count}" for count in range(60)]
    for count, store in enumerate(stores):
        (store / "info").mkdir(parents=True, exist_ok=True)
        others = [*stores[count + 1 : count + 3] * 2, stores[0], store]
        text = "".join(f"{other}\n" for other in others)
        (store / "info" / "alternates").write_text(text)
    borrowed = stores[-1] / "c0" / ("ff" * 19)
    borrowed.parent.mkdir()
    sha = hashlib.sha1(b"blob 3\0abc", usedforsecurity=False).hexdigest()
    place = stores[-1] / sha[:2] / sha[2:]
    place.parent.mkdir()
    place.write_bytes(zlib.compress(b"blob 3\0abc"))
    with open_repository(repository) as opened:
        assert opened.read(ObjectID(b"c0" * 20)) is None
        found = opened.read(ObjectID(sha.encode()))
        assert found is not None
        assert found.as_raw_string() == b"abc"


def test_too_many_repositories_to_borrow_from_are_refused(repository: Path) -> None:
    text = "".join(f"/nowhere/{count}\n" for count in range(101))
    (repository / ".git" / "objects" / "info" / "alternates").write_text(text)
    with (
        open_repository(repository) as opened,
        pytest.raises(InvalidInputError, match="more than 100"),
    ):
        opened.read(ObjectID(b"c0" * 20))


def test_trees_that_hold_each_other_many_times_are_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eleven objects that are ten thousand million files."""
    monkeypatch.setattr(checkout, "_MOST_ENTRIES", 1_000)
    monkeypatch.setattr(changes, "_MOST_FILES", 1_000)
    file = blob(repository, b"x")
    listing = "".join(f"100644 blob {file}\tf{count}\n" for count in range(10))
    for _ in range(9):
        tree = git(repository, "mktree", message=listing.encode())
        listing = "".join(f"040000 tree {tree}\td{count}\n" for count in range(10))
    manifest = blob(repository, b"{}")
    listing += f"100644 blob {manifest}\tblankly.json\n"
    tree = git(repository, "mktree", message=listing.encode())
    bomb = git(repository, "commit-tree", tree, "-m", "Bomb")
    with pytest.raises(UnusablePastError, match="more than 1,000 files"):
        extract_model(repository, bomb, tmp_path / "base", manifest="blankly.json")
    with pytest.raises(InvalidInputError, match="more than 1,000 files"):
        find_changes(repository, bomb, "changed-since")


# ------------------------------------------------------------------ the index


def write_paths(root: Path, *paths: bytes) -> None:
    """Write an index with these paths."""
    with open_repository(root) as opened:
        entry = next(iter(read_entries(opened.repo)))
    data = io.BytesIO()
    write_index(data, [replace(entry, name=path) for path in paths])
    _write_index(root, data.getvalue())


def _write_index(root: Path, data: bytes) -> None:
    digest = hashlib.sha1(data, usedforsecurity=False).digest()
    (root / ".git" / "index").write_bytes(data + digest)


@pytest.mark.parametrize(
    "path",
    [
        *(b"../outside", b"/etc/passwd", b"a/../../b", b"..", b"a/..", b"./a", b"a//b"),
        *(b".git/config", b"a/.GIT/hooks/x", b".git", b"a\0b"),
    ],
)
def test_an_index_with_a_path_that_leads_out_is_refused(repository: Path, path: bytes) -> None:
    write_paths(repository, b"bot.py", path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        find_changes(repository, "HEAD", "changed-since")


def test_names_with_dots_are_in_many_an_index(repository: Path) -> None:
    names = (b"...", b".gitignore", b"a.git/b", b"a/..b/c", b"b..", b".github/x")
    write_paths(repository, *sorted(names))
    with open_repository(repository) as opened:
        assert set(open_index(opened.repo)) == set(names)


@pytest.mark.parametrize("count", [1, 3_000])
def test_paths_of_an_index_are_bounded(repository: Path, count: int) -> None:
    """One of 3 MB, which the library reads byte by byte, or many that repeat the one before."""
    suffix = b"a" * (3_000_000 // count) + b"\0"
    entries = (struct.pack(">10I20sH", *[0] * 6, 0o100644, 0, 0, 1, b"x" * 20, 0), b"\0", suffix)
    _write_index(repository, b"DIRC" + struct.pack(">II", 4, count) + b"".join(entries) * count)
    with pytest.raises(InvalidInputError, match=r"4,096 bytes|its index has the path"):
        find_changes(repository, "HEAD", "changed-since")


def test_a_bitmap_of_an_index_is_bounded(repository: Path) -> None:
    """A few bytes say that 4,000 million entries are gone."""
    git(repository, "update-index", "--split-index")
    (shared,) = (repository / ".git").glob("sharedindex.*")
    sha = bytes.fromhex(shared.suffix[1:])
    run = struct.pack(">Q", 1 | ((1 << 26) - 1) << 1)
    link = sha + struct.pack(">II", (1 << 32) - 1, 1) + run + struct.pack(">I", 0)
    data = b"DIRC" + struct.pack(">II", 2, 0) + b"link" + struct.pack(">I", len(link)) + link
    _write_index(repository, data)
    with pytest.raises(InvalidInputError, match="longer than the index"):
        find_changes(repository, "HEAD", "changed-since")


def test_an_index_whose_checksum_is_wrong_is_refused(repository: Path) -> None:
    path = repository / ".git" / "index"
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match="checksum"):
        find_changes(repository, "HEAD", "changed-since")
    path.write_bytes(data[:-20] + bytes(20))  # as `index.skipHash` has it
    assert find_changes(repository, "HEAD", "changed-since").past


# ------------------------------------------------------------------ what is checked out


def _a_socket(path: Path) -> None:
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def _a_huge_hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 42)


@pytest.mark.parametrize("odd", [os.mkfifo, _a_socket, _a_huge_hole])
def test_what_is_not_read_has_changed(
    repository: Path, odd: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    assert find_changes(repository, "HEAD", "changed-since").changed == frozenset()
    (repository / "data" / "prices.csv").unlink()
    odd(repository / "data" / "prices.csv")
    found = find_changes(repository, "HEAD", "changed-since")
    assert found.changed == {"data/prices.csv"}


def test_a_file_in_place_of_a_directory_has_changed_what_was_in_there(repository: Path) -> None:
    (repository / "data" / "prices.csv").unlink()
    (repository / "data").rmdir()
    (repository / "data").write_text("a file")
    found = find_changes(repository, "HEAD", "changed-since")
    assert found.changed == {"data/prices.csv"}


def test_no_file_behind_a_link_to_a_directory_is_tracked(repository: Path, tmp_path: Path) -> None:
    """It has the same content, and may be outside."""
    (repository / "data").rename(tmp_path / "outside")
    (repository / "data").symlink_to(tmp_path / "outside")
    found = find_changes(repository, "HEAD", "changed-since")
    assert found.changed == {"data/prices.csv"}


@pytest.mark.parametrize("place", [".gitignore", ".git/info/exclude", "data/.gitignore", "pipe"])
def test_no_pipe_is_waited_for_to_learn_what_is_ignored(repository: Path, place: str) -> None:
    (repository / place).unlink(missing_ok=True)
    os.mkfifo(repository / place)
    git(repository, "config", "core.excludesFile", str(repository / "pipe"))
    assert find_ignored(repository, [repository / "data" / "new.csv"]) == frozenset()


# ------------------------------------------------------------------ settings


def test_settings_run_nothing_and_move_nothing(repository: Path, tmp_path: Path) -> None:
    """Git itself runs some of these for a `git status`, and some for a checkout."""
    mark, program = tmp_path / "mark", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=mine diff=mine merge=mine\n")
    commit_all(repository, "Attributes")
    (repository / "data" / "prices.csv").write_text("3\n")
    for name in (
        *("core.fsmonitor", "core.editor", "core.pager", "core.sshCommand", "core.askPass"),
        *("filter.mine.clean", "filter.mine.smudge", "filter.mine.process", "diff.mine.textconv"),
        *("diff.external", "gpg.program", "credential.helper", "uploadpack.packObjectsHook"),
        *("core.alternateRefsCommand", "merge.mine.driver", "init.templateDir"),
    ):
        git(repository, "config", name, str(program))
    git(repository, "config", "remote.origin.promisor", "true")
    git(repository, "config", "remote.origin.url", f"ext::{program}")
    hooks = repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "reference-transaction", "fsmonitor"):
        (hooks / name).write_bytes(program.read_bytes())
        (hooks / name).chmod(0o755)
    git(repository, "config", "core.hooksPath", str(hooks))
    git(repository, "config", "core.worktree", "/etc")
    mark.unlink(missing_ok=True)

    assert find_changes(repository, "HEAD", "changed-since").changed == {"data/prices.csv"}
    assert find_ignored(repository, [repository / "bot.py"]) == frozenset()
    assert read_habits(repository).branch == "main"
    past = extract_model(repository, "HEAD", tmp_path / "base", manifest="blankly.json")
    assert past.directory is not None
    assert (past.directory / "data" / "prices.csv").read_text() == "1\n2\n"
    with open_repository(repository) as opened:
        assert opened.read(ObjectID(b"c0" * 20)) is None  # which git would fetch
    assert not mark.exists()


def test_what_settings_include_is_not_read(repository: Path, tmp_path: Path) -> None:
    """It may be any file, and the lines of one with other contents would be in an error."""
    (tmp_path / "elsewhere").write_text("quite-private = 1\n[quite-private\n")
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "config", "include.path", str(tmp_path / "elsewhere"))
    with (repository / ".git" / "config").open("a") as config:
        config.write('[includeIf "gitdir:/**"]\n\tpath = /dev/zero\n')
    with open_repository(repository) as opened:
        assert find_commit(opened, "HEAD").sha == head
    assert read_habits(repository).branch == "main"
