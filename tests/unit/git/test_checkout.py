"""Models are restored from real repositories, made by git."""

from __future__ import annotations

import os
import stat
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from deploy_action.errors import InvalidInputError
from deploy_action.git.checkout import PastModel, UnusablePastError, extract_model
from deploy_action.model.manifest_search import MANIFEST_NAME
from tests.conftest import write_model
from tests.support.repositories import (
    blob,
    commit,
    commit_all,
    git,
    make_repository,
    plant_tree,
    snapshot,
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    directory = make_repository(tmp_path / "models")
    write_model(directory / "a")
    write_model(directory / "models" / "b", plan="medium")
    commit_all(directory)
    return directory


def extract(model: Path, ref: str, destination: Path) -> Path:
    past = extract_model(model, ref, destination, manifest=MANIFEST_NAME)
    assert past.directory == destination
    return destination


def unusable(model: Path, ref: str, destination: Path) -> str:
    with pytest.raises(UnusablePastError) as caught:
        extract_model(model, ref, destination, manifest=MANIFEST_NAME)
    assert caught.value.commit == git(model, "rev-parse", f"{ref}^{{commit}}")
    return caught.value.reason


def lacking(model: Path, ref: str, destination: Path, *, for_runner: bool = True) -> dict[str, str]:
    """Return what the clone lacks of a model, by name, and why."""
    past = extract_model(model, ref, destination, manifest=MANIFEST_NAME, for_runner=for_runner)
    assert past.directory == destination
    return {str(path): reason for path, reason in past.lacking.items()}


def plant(directory: Path, *entries: tuple[str, bytes, str]) -> None:
    """Commit a root tree that git would refuse, with the manifest of a model in it."""
    plant_tree(directory, ("100644", b"blankly.json", blob(directory, b"{}")), *entries)


def test_a_model_is_written_as_it_was(models: Path, tmp_path: Path) -> None:
    before = snapshot(models / "models" / "b")
    (models / "models" / "b" / "bot.py").write_text("import blankly\n")
    (models / "models" / "b" / "requirements.txt").unlink()
    commit_all(models)
    (models / "models" / "b" / "untracked.csv").write_text("1\n")
    written = extract(models / "models" / "b", "HEAD^", tmp_path / "base")
    assert snapshot(written) == before
    now = extract(models / "models" / "b", "HEAD", tmp_path / "now")
    assert (now / "bot.py").read_text() == "import blankly\n"
    assert not (now / "requirements.txt").exists()
    assert not (now / "untracked.csv").exists()


def test_a_model_may_be_the_whole_repository(tmp_path: Path) -> None:
    directory = write_model(make_repository(tmp_path / "repository"))
    sha = commit_all(directory)
    past = extract_model(directory, "HEAD", tmp_path / "base", manifest=MANIFEST_NAME)
    assert past == PastModel(sha, tmp_path / "base")
    assert not (tmp_path / "base" / ".git").exists()


def test_the_repository_stays_as_it_is(models: Path, tmp_path: Path) -> None:
    commit(models, b"Second")
    before = snapshot(models)
    extract(models / "a", "HEAD^", tmp_path / "base")
    assert snapshot(models) == before


def test_a_repository_of_another_user_is_read(models: Path, tmp_path: Path) -> None:
    """As in a container, where git itself refuses; also if it is read-only."""
    places = [models, models / ".git", *(models / ".git").rglob("*")]
    for path in places[1:]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        if os.geteuid() == 0:
            for path in places:
                os.chown(path, 4_321, 4_321)
            with pytest.raises(subprocess.CalledProcessError):
                git(models, "rev-parse", "HEAD")
        written = extract(models / "a", "HEAD", tmp_path / "base")
        assert snapshot(written) == snapshot(models / "a")
    finally:
        for path in places:
            path.chmod(0o755)


def test_a_model_in_a_linked_work_tree_is_read(models: Path, tmp_path: Path) -> None:
    git(models, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    written = extract(tmp_path / "tree" / "a", "main", tmp_path / "base")
    assert snapshot(written) == snapshot(models / "a")


def test_a_ref_without_the_model_has_none(models: Path, tmp_path: Path) -> None:
    (models / "a" / "blankly.json").unlink()
    (models / "c").write_text("a file")
    sha = commit_all(models)
    (models / "c").unlink()
    for name in ("a", "c", "new/model"):
        write_model(models / name)
        assert extract_model(
            models / name, "HEAD", tmp_path / "base", manifest=MANIFEST_NAME
        ) == PastModel(sha, None)
    assert not (tmp_path / "base").exists()


def test_a_directory_is_no_manifest(tmp_path: Path) -> None:
    directory = make_repository(tmp_path / "repository")
    (directory / "blankly.json").mkdir()
    (directory / "blankly.json" / "file").touch()
    sha = commit_all(directory)
    assert extract_model(directory, "HEAD", tmp_path / "base", manifest=MANIFEST_NAME) == PastModel(
        sha, None
    )


def test_executable_bits_links_and_odd_names_are_kept(models: Path, tmp_path: Path) -> None:
    model = models / "a"
    (model / "run.sh").write_text("#!/bin/sh\n")
    (model / "run.sh").chmod(0o755)
    (model / "deep" / "er").mkdir(parents=True)
    (model / "deep" / "er" / "Größe 株.csv").write_bytes(b"\r\n\0\xff")
    (model / "link").symlink_to("deep/er")
    (model / "away").symlink_to("/etc/hostname")
    (model / os.fsdecode(b"not-utf-8-\xff")).write_text("x")
    commit_all(models)
    written = extract(model, "HEAD", tmp_path / "base")
    assert snapshot(written) == snapshot(model)
    assert stat.S_IMODE((written / "run.sh").stat().st_mode) == 0o700
    assert stat.S_IMODE((written / "bot.py").stat().st_mode) == 0o600
    assert (written / "link").readlink() == Path("deep/er")
    assert (written / "away").readlink() == Path("/etc/hostname")


def test_an_empty_directory_of_git_is_made(tmp_path: Path) -> None:
    """Git never writes such names, but other programs may."""
    directory = make_repository(tmp_path / "repository")
    empty = git(directory, "hash-object", "-t", "tree", "-w", "--stdin", message=b"")
    plant(directory, ("40000", b"data", empty))
    assert list((extract(directory, "main", tmp_path / "base") / "data").iterdir()) == []


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A tree may have a name twice: a link, and a directory with files for the link's target."""
    directory = make_repository(tmp_path / "repository")
    outside = tmp_path / "outside"
    outside.mkdir()
    file = blob(directory, b"planted")
    inner = git(directory, "mktree", message=f"100644 blob {file}\tfile\n".encode())
    link = blob(directory, str(outside).encode())
    for entries in (
        (("120000", b"dir", link), ("40000", b"dir", inner)),
        (("40000", b"dir", inner), ("120000", b"dir", link)),
        (("120000", b"dir", link), ("100644", b"dir", file)),
    ):
        plant(directory, *entries)
        assert "twice" in unusable(directory, "main", tmp_path / "base")
    plant(directory, ("120000", b"dir", link), ("100644", b"dir/file", file))
    assert "dir/file" in unusable(directory, "main", tmp_path / "base")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "name", [b"..", b".", b"", b".git", b".GIT", b"a/b", b"/etc/x", b"../x", b".git/config"]
)
@pytest.mark.parametrize("mode", ["100644", "120000", "40000"])
def test_a_name_outside_the_model_is_refused(tmp_path: Path, name: bytes, mode: str) -> None:
    directory = make_repository(tmp_path / "repository")
    file = blob(directory, b"planted")
    tree = git(directory, "mktree", message=f"100644 blob {file}\tfile\n".encode())
    plant(directory, (mode, name, tree if mode == "40000" else file))
    assert "damaged in git" in unusable(directory, "main", tmp_path / "new" / "base")
    assert not (tmp_path / "new").exists()


def test_a_name_outside_the_model_is_refused_in_a_folder(tmp_path: Path) -> None:
    directory = make_repository(tmp_path / "repository")
    file = blob(directory, b"planted")
    raw = b"100644 ..\0" + bytes.fromhex(file)
    arguments = ("hash-object", "-t", "tree", "-w", "--stdin", "--literally")
    plant(directory, ("40000", b"deep", git(directory, *arguments, message=raw)))
    assert "`deep`" in unusable(directory, "main", tmp_path / "base")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("mode", ["100000", "60000", "777", "+100644"])
def test_a_mode_that_git_does_not_have_is_refused(tmp_path: Path, mode: str) -> None:
    """Such as a device's; modes that old versions of git wrote are fine."""
    directory = make_repository(tmp_path / "repository")
    plant(directory, (mode, b"odd", blob(directory, b"text")))
    if mode == "100000":
        assert (extract(directory, "main", tmp_path / "base") / "odd").read_text() == "text"
    else:
        assert "damaged in git" in unusable(directory, "main", tmp_path / "base")


@pytest.mark.parametrize(
    ("mode", "sha"), [("100644", "c0ffee"), ("abc", "c0ffee" * 7), ("3" * 40, "c0ffee" * 7)]
)
def test_a_tree_that_cannot_be_parsed_is_refused(tmp_path: Path, mode: str, sha: str) -> None:
    """The library checks loose objects, but not those in packs."""
    directory = make_repository(tmp_path / "repository")
    plant(directory, (mode, b"broken", sha[:40]))
    assert "cannot be read" in fails(directory, "main", tmp_path / "base")
    objects = [path for path in (directory / ".git" / "objects").glob("??/*") if path.is_file()]
    listed = "\n".join(path.parent.name + path.name for path in objects)
    git(directory, "pack-objects", "-q", ".git/objects/pack/pack", message=listed.encode())
    git(directory, "prune-packed", "--quiet")
    assert "damaged in git" in unusable(directory, "main", tmp_path / "base")


def test_a_name_that_is_too_long_here_is_refused(tmp_path: Path) -> None:
    directory = make_repository(tmp_path / "repository")
    plant(directory, ("100644", b"x" * 300, blob(directory, b"text")))
    assert "too long" in unusable(directory, "main", tmp_path / "base")


@pytest.mark.parametrize("target", [b"", b"a\0b"])
def test_a_link_to_nothing_is_refused(tmp_path: Path, target: bytes) -> None:
    directory = make_repository(tmp_path / "repository")
    plant(directory, ("120000", b"link", blob(directory, target)))
    assert "link to nothing" in unusable(directory, "main", tmp_path / "base")


def test_a_submodule_is_restored_from_its_own_repository(models: Path, tmp_path: Path) -> None:
    module = make_repository(tmp_path / "module")
    (module / "deep").mkdir()
    (module / "deep/util.py").write_text("FAST = 10\n")
    commit_all(module)
    (models / "a").mkdir(exist_ok=True)
    allowed = ("-c", "protocol.file.allow=always")
    git(models, *allowed, "submodule", "--quiet", "add", str(module), "a/shared")
    before = commit_all(models)
    (module / "deep/util.py").write_text("FAST = 20\n")
    commit_all(module)
    git(models, *allowed, "submodule", "--quiet", "update", "--remote")
    commit_all(models)
    assert lacking(models / "a", before, tmp_path / "base") == {}
    assert (tmp_path / "base/shared/deep/util.py").read_text() == "FAST = 10\n"
    assert not (tmp_path / "base/shared/.git").exists()


def test_a_submodule_that_is_not_all_there_is_an_empty_directory(
    models: Path, tmp_path: Path
) -> None:
    allowed = ("-c", "protocol.file.allow=always")
    git(models, *allowed, "submodule", "--quiet", "add", f"file://{models}", "a/shared")
    commit_all(models)
    git(models, "update-index", "--cacheinfo", f"160000,{'c0ffee' * 6}c0ff,a/shared")
    unknown = commit(models, b"A commit that nobody has")
    git(models, "submodule", "--quiet", "deinit", "--force", "a/shared")
    for number, ref in enumerate((unknown, f"{unknown}^")):
        base = tmp_path / f"base{number}"
        (reason,) = lacking(models / "a", ref, base).values()
        assert reason.startswith("`shared` is a submodule, and the checkout lacks the commit")
        assert "`submodules: true` and `fetch-depth: 0`" in reason
        assert list((base / "shared").iterdir()) == []
    (reason,) = lacking(models / "a", "HEAD", tmp_path / "c", for_runner=False).values()
    assert reason.endswith(": run `git submodule update --init`, and `git fetch` in it.")
    # Of another model it is no matter.
    assert lacking(models / "models" / "b", "HEAD", tmp_path / "other") == {}


def test_a_model_that_was_a_submodule_or_link_is_refused(models: Path, tmp_path: Path) -> None:
    allowed = ("-c", "protocol.file.allow=always")
    git(models, *allowed, "submodule", "--quiet", "add", f"file://{models}", "sub")
    (models / "link").symlink_to("a")
    commit_all(models)
    git(models, "rm", "--quiet", "--force", "sub", "link")
    for name, reason in (("sub/a", "was a submodule"), ("link", "was a link")):
        assert reason in unusable(write_model(models / name), "HEAD", tmp_path / "base")


# Git LFS: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md


def pointer(content: bytes, extension: str = "") -> bytes:
    return (
        f"version https://git-lfs.github.com/spec/v1\n{extension}"
        f"oid sha256:{sha256(content).hexdigest()}\nsize {len(content)}\n"
    ).encode()


def keep(directory: Path, content: bytes, found: bytes | None = None) -> Path:
    """Store a file as Git LFS does; `found` replaces its content."""
    oid = sha256(content).hexdigest()
    path = directory / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    path.parent.mkdir(parents=True)
    path.write_bytes(content if found is None else found)
    return path


PRICES = b"time,close\n" * 200_000


def test_a_file_in_git_lfs_has_its_contents(models: Path, tmp_path: Path) -> None:
    (models / "a" / "prices.csv").write_bytes(pointer(PRICES))
    (models / "a" / "prices.csv").chmod(0o755)
    commit_all(models)
    keep(models, PRICES)
    git(models, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    for number, place in enumerate((models, tmp_path / "tree")):
        written = extract(place / "a", "HEAD", tmp_path / f"base{number}")
        assert (written / "prices.csv").read_bytes() == PRICES
        assert (written / "prices.csv").stat().st_mode & stat.S_IXUSR


def test_a_file_in_git_lfs_needs_its_contents(models: Path, tmp_path: Path) -> None:
    """A backtest of the pointer would be wrong."""
    (models / "a" / "prices.csv").write_bytes(pointer(PRICES))
    sha = commit_all(models)
    (reason,) = lacking(models / "a", "HEAD", tmp_path / "base").values()
    assert "`prices.csv` is in Git LFS" in reason
    assert "`lfs: true`" in reason
    assert f"git lfs fetch origin {sha}" in reason
    assert (tmp_path / "base/prices.csv").read_bytes() == pointer(PRICES)
    terminal = lacking(models / "a", "HEAD", tmp_path / "c", for_runner=False)
    assert terminal["prices.csv"].endswith(f"had then: run `git lfs fetch origin {sha}`.")


@pytest.mark.parametrize("found", [PRICES[:-1], PRICES[:-1] + b"x", PRICES + b"x", b""])
def test_damaged_contents_in_lfs_are_not_used(models: Path, tmp_path: Path, found: bytes) -> None:
    (models / "a" / "prices.csv").write_bytes(pointer(PRICES))
    commit_all(models)
    keep(models, PRICES, found)
    assert "damaged" in lacking(models / "a", "HEAD", tmp_path / "base")["prices.csv"]


def test_an_extension_of_git_lfs_is_not_guessed(models: Path, tmp_path: Path) -> None:
    """The stored contents are not the file's then."""
    extension = f"ext-0-case sha256:{sha256(b'x').hexdigest()}\n"
    (models / "a" / "prices.csv").write_bytes(pointer(PRICES, extension))
    commit_all(models)
    keep(models, PRICES)
    assert "extension" in lacking(models / "a", "HEAD", tmp_path / "base")["prices.csv"]


@pytest.mark.parametrize(
    "content",
    [
        pointer(b"x") + b"more\n",
        pointer(b"x").replace(b"sha256", b"sha512"),
        b"version https://git-lfs.github.com/spec/v1\n",
        pointer(b"x").replace(b"size 1", b"size -1"),
        b" " + pointer(b"x"),
    ],
)
def test_a_file_similar_to_a_pointer_is_written_unchanged(
    models: Path, tmp_path: Path, content: bytes
) -> None:
    (models / "a" / "notes.txt").write_bytes(content)
    commit_all(models)
    assert (extract(models / "a", "HEAD", tmp_path / "base") / "notes.txt").read_bytes() == content


# Clones that do not have everything


def fails(model: Path, ref: str, destination: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        extract_model(model, ref, destination, manifest=MANIFEST_NAME)
    (problem,) = caught.value.problems
    return problem.text()


@pytest.mark.parametrize("left_out", ["blob:none", "tree:0"])
def test_a_partial_clone_names_the_filter(models: Path, tmp_path: Path, left_out: str) -> None:
    for change in ("one", "another"):
        (models / "a" / "bot.py").write_text(f"import blankly  # {change}\n")
        commit_all(models)
    git(models, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", f"--filter={left_out}", f"file://{models}", "clone")
    shown = fails(tmp_path / "clone" / "a", "HEAD^", tmp_path / "base")
    assert "`filter`" in shown
    assert "sparse" in shown
    # What is the same now as then is there.
    extract(tmp_path / "clone" / "a", "HEAD", tmp_path / "now")


def test_a_missing_object_without_a_reason_is_damage(models: Path, tmp_path: Path) -> None:
    sha = git(models, "rev-parse", "HEAD:a/bot.py")
    (models / ".git" / "objects" / sha[:2] / sha[2:]).unlink()
    shown = fails(models / "a", "HEAD", tmp_path / "base")
    assert "`bot.py`" in shown
    assert "damaged" in shown


def test_a_shallow_clone_has_its_own_commit_whole(models: Path, tmp_path: Path) -> None:
    commit(models, b"Second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{models}", "clone")
    extract(tmp_path / "clone" / "a", "HEAD", tmp_path / "base")
    assert "`fetch-depth: 2`" in fails(tmp_path / "clone" / "a", "HEAD^", tmp_path / "other")


def test_names_from_the_repository_are_shown_safely(tmp_path: Path) -> None:
    """They may have control sequences, workflow commands, and invalid UTF-8."""
    directory = make_repository(tmp_path / "repository")
    plant(directory, ("160000", b"\x1b[31m\n::error::\xff" + b"x" * 300, "c0ffee" * 6 + "c0ff"))
    reason = unusable(directory, "main", tmp_path / "base")
    assert reason.isprintable()
    assert "\n" not in reason
    assert len(reason) < 300


def test_an_existing_destination_is_not_touched(models: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(FileExistsError):
        extract_model(models / "a", "HEAD", tmp_path / "base", manifest=MANIFEST_NAME)
