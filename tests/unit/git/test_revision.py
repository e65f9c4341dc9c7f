"""Refs in real repositories are looked up as git does, or refused with a hint."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy_action.errors import InvalidInputError
from deploy_action.git.repository import open_repository
from deploy_action.git.revision import find_commit, read_checked_out_commit
from deploy_action.text.harmless import one_line
from tests.support.repositories import blob, commit, git, make_repository


def find(directory: Path, ref: str, *, for_runner: bool = True) -> str:
    with open_repository(directory, for_runner=for_runner) as repository:
        return find_commit(repository, ref).sha


def refusal(directory: Path, ref: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        find(directory, ref)
    (problem,) = caught.value.problems
    return problem.text()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a merge, branches, tags of both kinds and refs of a remote."""
    directory = make_repository(tmp_path_factory.mktemp("history") / "repository")
    first = commit(directory, b"First")
    git(directory, "tag", "light")
    git(directory, "tag", "--annotate", "--message=Noted", "v1.0")
    git(directory, "tag", "--annotate", "--message=Of a tag", "nested", "v1.0")
    commit(directory, b"Second")
    git(directory, "branch", "feature/moving-average")
    git(directory, "checkout", "--quiet", "-b", "side", first)
    commit(directory, b"Aside")
    git(directory, "checkout", "--quiet", "main")
    git(directory, "merge", "--quiet", "--no-ff", "--message=Merge", "side")
    git(directory, "update-ref", "refs/remotes/origin/main", "main~1")
    git(directory, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(directory, "update-ref", "refs/remotes/pull/7/merge", "main^2")
    git(directory, "update-ref", "refs/pull/7/head", "side")
    git(directory, "update-ref", "refs/remotes/origin/only-there", "light")
    git(directory, "branch", "Größe")
    # Two meanings: git takes the tag.
    git(directory, "tag", "both", "side")
    git(directory, "branch", "both", "main")
    return directory


@pytest.mark.parametrize(
    "ref",
    [
        *("HEAD", "@", "main", "side", "feature/moving-average", "heads/main", "Größe", "both"),
        *("light", "v1.0", "nested", "tags/v1.0", "v1.0^{}", "nested^{commit}", "v1.0^0"),
        *("refs/heads/main", "refs/tags/v1.0", "refs/pull/7/head", "pull/7/merge"),
        *("origin/main", "origin", "origin/HEAD", "remotes/origin/main"),
        *("HEAD^", "HEAD^1", "HEAD^2", "HEAD~", "HEAD~2", "HEAD^^", "HEAD^2^", "HEAD^2~1", "@~1"),
        *("HEAD^0", "HEAD~0", "main^{commit}~1", "v1.0^{}^0~0", "origin/main^", "HEAD~1^0^"),
    ],
)
def test_a_ref_names_what_git_says_it_names(history: Path, ref: str) -> None:
    assert find(history, ref) == git(history, "rev-parse", f"{ref}^{{commit}}")


def test_full_and_short_ids_name_a_commit(history: Path) -> None:
    for name in ("main", "v1.0", "main~2"):
        sha = git(history, "rev-parse", name)
        expected = git(history, "rev-parse", f"{name}^{{commit}}")
        assert {find(history, one) for one in (sha, sha[:7], sha[:12], sha.upper())} == {expected}
        assert find(history, f"{sha[:9]}^0") == expected


def test_the_output_of_git_describe_names_its_commit(history: Path) -> None:
    described = git(history, "describe", "--long", "--match=v1.0", "main")
    assert described.startswith("v1.0-")
    assert find(history, described) == git(history, "rev-parse", "main")
    assert find(history, f"{described}^2") == git(history, "rev-parse", "main^2")


def test_objects_are_found_however_git_keeps_them(history: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", f"file://{history}", "clone")
    clone = tmp_path / "clone"
    commit(clone, b"Local")
    for command in ("repack -d", "multi-pack-index write", "commit-graph write", "prune-packed"):
        git(clone, *command.split(), *(["--quiet"] if command == "prune-packed" else []))
    git(tmp_path, "clone", "--quiet", "--shared", str(clone), "shared")
    for directory in (clone, tmp_path / "shared"):
        assert find(directory, "HEAD~1^2") == git(history, "rev-parse", "main^2")
        assert find(directory, "v1.0") == git(history, "rev-parse", "v1.0^{}")
    (tmp_path / "shared" / ".git" / "objects" / "info" / "alternates").write_text("/nowhere\n")
    assert "the clone does not have" in refusal(tmp_path / "shared", "HEAD")


def test_packed_refs_and_objects_are_found(history: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--mirror", f"file://{history}", "clone/.git")
    git(tmp_path / "clone", "pack-refs", "--all")
    for ref in ("v1.0", "feature/moving-average", "nested", git(history, "rev-parse", "main")[:8]):
        assert find(tmp_path / "clone", ref) == git(history, "rev-parse", f"{ref}^{{commit}}")


@pytest.mark.parametrize("ref", ["only-there", "heads/only-there", "refs/heads/only-there"])
def test_a_branch_is_found_among_those_of_origin(history: Path, ref: str) -> None:
    """A checkout of a pull request has only these, and events give full names."""
    assert find(history, ref) == git(history, "rev-parse", "light")


def test_a_branch_whose_name_is_like_an_id_is_a_branch(history: Path, tmp_path: Path) -> None:
    """Git looks for refs first."""
    git(tmp_path, "clone", "--quiet", str(history), "clone")
    name = git(history, "rev-parse", "main")[:6]
    git(tmp_path / "clone", "update-ref", f"refs/heads/{name}", "HEAD^2")
    assert find(tmp_path / "clone", name) == git(history, "rev-parse", "main^2")


def test_an_ambiguous_short_id_is_refused(tmp_path: Path) -> None:
    directory = make_repository(tmp_path / "repository")
    tree = git(directory, "write-tree")
    found: dict[str, list[str]] = {}
    # Of 65,536 beginnings, two of a thousand commits share one all but surely.
    stream = b"".join(
        b"commit refs/heads/main\ncommitter T <t@example.com> %d +0000\ndata 1\nx\n" % one
        for one in range(1_000)
    )
    git(directory, "fast-import", "--quiet", message=stream)
    listed = git(directory, "rev-list", "main").split()
    for sha in listed:
        found.setdefault(sha[:4], []).append(sha)
    prefix, several = next(item for item in found.items() if len(item[1]) > 1)
    shown = refusal(directory, prefix)
    assert "more digits" in shown
    assert all(sha in shown for sha in several)
    # What else starts so is no commit, and does not count.
    only = next(shas[0] for start, shas in found.items() if len(shas) == 1 and start != tree[:4])
    assert find(directory, only[:4]) == only


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("HEAD@{1}", "reflog"),
        ("@{u}", "reflog"),
        ("main@{yesterday}", "reflog"),
        ("HEAD:bot.py", "a file"),
        (":/fix", "a file"),
        (":0:bot.py", "a file"),
        ("main..side", "range"),
        ("main...side", "range"),
        ("^main", "not a name of a commit"),
        ("main^{tree}", "not a name of a commit"),
        ("main^{/First}", "not a name of a commit"),
        ("main^@", "not a name of a commit"),
        ("main^!", "not a name of a commit"),
        ("main^-", "not a name of a commit"),
        ("~1", "not a name of a commit"),
        ("main^1234567890", "not a name of a commit"),
        ("HEAD^3", "no parent of number 3"),
        ("light~1", "It is the first commit"),
        ("main~99", "It is the first commit"),
        ("0" * 40, "HEAD^"),
    ],
)
def test_a_ref_that_names_no_single_commit_is_refused(history: Path, ref: str, reason: str) -> None:
    shown = refusal(history, ref)
    assert f"`compare-with` is `{ref}`" in shown
    assert reason in shown


@pytest.mark.parametrize(
    "ref",
    [
        *("--upload-pack=x", "-x", "refs/", "origin/", "origin//main", "heads/.hidden", "a.lock/b"),
        *(
            "config",
            "index",
            "HEAD/x",
            "refs/heads/../../config",
            "x y",
            "*",
            "[",
            "\\",
            "🚀",
            "a\tb",
        ),
        *(
            "FETCH_HEAD",
            "c0ffee" * 6 + "c0ff",
            "fff",
            "g" * 7,
            "packed-refs",
            "CHERRY_PICK_HEAD^",
            "refs",
        ),
    ],
)
def test_an_unknown_name_is_missing(history: Path, ref: str) -> None:
    shown = refusal(history, ref)
    assert "fetch-depth: 0" in shown or "range" in shown
    assert "actions/checkout" in shown or "range" in shown


def test_a_similar_name_is_suggested(history: Path) -> None:
    assert "Did you mean `feature/moving-average`?" in refusal(history, "feature/moving-averages")
    assert "Did you mean" not in refusal(history, "something-else")
    assert "Check the name" in refusal(history, "something-else")


@pytest.mark.parametrize("kind", ["tree", "blob"])
def test_an_object_that_is_no_commit_is_refused(history: Path, kind: str) -> None:
    sha = git(history, "rev-parse", "HEAD^{tree}") if kind == "tree" else blob(history, b"text")
    git(history, "tag", "--force", f"a-{kind}", sha)
    for ref in (sha, f"a-{kind}"):
        assert f"names a {kind}" in refusal(history, ref)
    # A short id asks for a commit alone.
    assert "fetch-depth: 0" in refusal(history, sha[:12])


def test_fetch_head_and_similar_files_are_refs(history: Path, tmp_path: Path) -> None:
    clone = make_repository(tmp_path / "clone")
    git(clone, "fetch", "--quiet", str(history), "side")
    assert find(clone, "FETCH_HEAD") == git(history, "rev-parse", "side")


def test_a_shallow_clone_is_named_as_the_reason(history: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{history}", "clone")
    clone = tmp_path / "clone"
    assert find(clone, "HEAD") == git(history, "rev-parse", "main")
    for ref, depth in (("HEAD^", 2), ("HEAD^2", 2), ("@~2", 3), ("HEAD^2~3", 5)):
        shown = refusal(clone, ref)
        assert f"fetch-depth: {depth}" in shown
        assert "shallow" in shown
    for ref in ("main^", "v1.0", "origin/side", git(history, "rev-parse", "side"), "origin/main~1"):
        shown = refusal(clone, ref)
        assert "Check the name" not in shown
        assert "fetch-depth: 0" in shown
        assert "shallow" in shown


def test_on_a_terminal_hints_are_commands_of_git(history: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{history}", "clone")
    for directory, ref, command in (
        (tmp_path / "clone", "HEAD^", "`git fetch --unshallow --tags`"),
        (history, "something-else", "`git fetch --tags`"),
        (tmp_path, "HEAD", "`git clone`"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            find(directory, ref, for_runner=False)
        (problem,) = caught.value.problems
        assert command in problem.hint
        assert "actions/checkout" not in problem.text()
    git(tmp_path / "clone", "fetch", "--quiet", "--unshallow", "--tags")
    assert find(tmp_path / "clone", "HEAD^") == git(history, "rev-parse", "main^")


def test_the_depth_that_is_named_is_enough(history: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{history}", "clone")
    for ref in ("HEAD^", "HEAD^2"):
        assert find(tmp_path / "clone", ref) == git(history, "rev-parse", f"main{ref[4:]}")


def test_an_empty_repository_has_no_commit(tmp_path: Path) -> None:
    directory = make_repository(tmp_path / "fresh")
    assert "no commit yet" in refusal(directory, "HEAD")
    assert "fetch-depth: 0" in refusal(directory, "main")


def test_without_a_repository_the_checkout_is_named(tmp_path: Path) -> None:
    """As after a checkout without git, which downloads an archive."""
    (tmp_path / "model" / ".git").mkdir(parents=True)
    shown = refusal(tmp_path / "model", "HEAD^")
    assert "actions/checkout" in shown
    assert str(tmp_path / "model") in shown


def test_a_linked_work_tree_and_a_submodule_are_repositories(tmp_path: Path, history: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(history), "clone")
    clone = tmp_path / "clone"
    git(clone, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "HEAD^")
    assert find(tmp_path / "tree", "HEAD") == git(history, "rev-parse", "main^")
    assert find(tmp_path / "tree", "main") == git(history, "rev-parse", "main")
    allowed = ("-c", "protocol.file.allow=always")
    git(clone, *allowed, "submodule", "--quiet", "add", f"file://{history}", "deep/sub")
    (clone / "deep" / "sub" / "model").mkdir()
    with open_repository(clone / "deep" / "sub" / "model") as repository:
        assert repository.root == clone / "deep" / "sub"
        assert find_commit(repository, "HEAD^").sha == git(history, "rev-parse", "main^")


def test_a_git_file_without_a_target_is_reported(tmp_path: Path) -> None:
    """A container lacks the repository of a linked work tree."""
    (tmp_path / ".git").write_text("gitdir: /nowhere/to/be/found\n")
    shown = refusal(tmp_path, "HEAD")
    assert "/nowhere/to/be/found" in shown
    assert "actions/checkout" in shown


@pytest.mark.parametrize("name", ["HEAD", "main"])
def test_refs_that_lead_in_circles_are_no_commit(tmp_path: Path, name: str) -> None:
    directory = make_repository(tmp_path / "repository")
    heads = directory / ".git" / "refs" / "heads"
    (heads / "main").write_text("ref: refs/heads/other\n")
    (heads / "other").write_text("ref: refs/heads/main\n")
    assert "fetch-depth: 0" in refusal(directory, name)


@pytest.mark.parametrize("damage", ["object", "config", "gitfile"])
def test_a_damaged_repository_is_reported(tmp_path: Path, damage: str) -> None:
    directory = make_repository(tmp_path / "repository")
    sha = commit(directory, b"First")
    if damage == "gitfile":
        directory = tmp_path / "other"
        directory.mkdir()
        (directory / ".git").write_bytes(b"\xff\x1b[31mgarbage")
    else:
        place = "config" if damage == "config" else f"objects/{sha[:2]}/{sha[2:]}"
        path = directory / ".git" / place
        path.chmod(0o644)
        path.write_bytes(b"[\x1b[31m\xffgarbage")
    shown = refusal(directory, "HEAD")
    assert "cannot be read" in shown
    assert "\x1b" not in shown


def test_a_ref_to_a_missing_object_is_reported(tmp_path: Path) -> None:
    directory = make_repository(tmp_path / "repository")
    commit(directory, b"First")
    (directory / ".git" / "refs" / "heads" / "gone").write_text("c0ffee" * 6 + "c0ff\n")
    assert "c0ffee" in refusal(directory, "gone")


def test_a_repository_with_longer_ids_is_read(tmp_path: Path) -> None:
    """Forges other than GitHub have them (SHA-256)."""
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "repository")
    sha = commit(tmp_path / "repository", b"First")
    for ref in ("HEAD", sha, sha[:10]):
        assert find(tmp_path / "repository", ref) == sha


def test_missing_settings_are_ignored(history: Path, tmp_path: Path) -> None:
    """The checkout keeps credentials in a file of the runner, which a container may lack."""
    git(tmp_path, "clone", "--quiet", str(history), "clone")
    clone = tmp_path / "clone"
    git(clone, "config", "include.path", "/nowhere/credentials")
    git(clone, "config", f"includeIf.gitdir:{clone}/.git.path", "/nowhere/credentials")
    assert find(clone, "HEAD") == git(history, "rev-parse", "main")


def _says_git(directory: Path, ref: str) -> str | None:
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"]
    done = subprocess.run(command, cwd=directory, capture_output=True, check=False, timeout=20)
    return done.stdout.decode().strip() if done.returncode == 0 else None


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(["HEAD", "@", "main", "side", "v1.0", "nested", "origin/main", "both"]),
    steps=st.lists(st.sampled_from(["^", "~", "^2", "~2", "^0", "~0", "^{}", "^{commit}"])),
)
def test_suffixes_of_refs_work_as_in_git(history: Path, name: str, steps: list[str]) -> None:
    ref = name + "".join(steps)
    try:
        found = find(history, ref)
    except InvalidInputError:
        assert _says_git(history, ref) is None
    else:
        assert found == _says_git(history, ref)


@settings(max_examples=200)
@given(ref=st.text(max_size=50) | st.text(alphabet="HEAD@{}^~:./-main0f", max_size=20))
def test_no_text_breaks_the_look_up(history: Path, ref: str) -> None:
    try:
        find(history, ref)
    except InvalidInputError as error:
        (problem,) = error.problems
        assert one_line(problem.text()) == problem.text()
        assert problem.hint


# The checked-out commit


def checked_out(directory: Path) -> tuple[str, str]:
    found = read_checked_out_commit(directory)
    assert found is not None
    return found.sha, found.message


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = make_repository(tmp_path / "repository")
    (directory / "models" / "a").mkdir(parents=True)
    commit(directory, "Grüße 株式\n\nThe body".encode())
    return directory


def test_the_message_is_read_whole_from_any_directory_below(repository: Path) -> None:
    sha = git(repository, "rev-parse", "HEAD")
    expected = (sha, "Grüße 株式\n\nThe body\n")
    assert checked_out(repository) == expected
    assert checked_out(repository / "models" / "a") == expected


def test_a_detached_head_and_packed_objects_are_read(repository: Path) -> None:
    """As `actions/checkout` leaves them."""
    sha = commit(repository, b"Second")
    git(repository, "checkout", "--quiet", "--detach")
    git(repository, "gc", "--quiet", "--prune=now")
    git(repository, "pack-refs", "--all")
    assert checked_out(repository) == (sha, "Second\n")


def test_an_annotated_tag_that_is_checked_out_is_its_commit(repository: Path) -> None:
    sha = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "--annotate", "--message=About the tag", "v1")
    git(repository, "checkout", "--quiet", "v1")
    assert checked_out(repository)[0] == sha


def test_a_shallow_clone_and_a_work_tree_are_read(repository: Path, tmp_path: Path) -> None:
    """Checkout fetches one commit; a work tree's `.git` is a file."""
    sha = commit(repository, b"Tip")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    assert checked_out(tmp_path / "shallow") == (sha, "Tip\n")
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "tree"))
    assert checked_out(tmp_path / "tree") == (sha, "Tip\n")


def test_a_message_in_another_encoding_is_decoded(repository: Path) -> None:
    commit(repository, "Öl".encode("iso-8859-1"), "-c", "i18n.commitEncoding=ISO-8859-1")
    assert checked_out(repository)[1] == "Öl\n"


@pytest.mark.parametrize("encoding", ["klingon", "hex", "undefined", "idna", "punycode"])
def test_an_unusable_encoding_is_read_as_utf_8(repository: Path, encoding: str) -> None:
    commit(repository, b"x\xffy", "-c", f"i18n.commitEncoding={encoding}")
    assert checked_out(repository)[1] == "x\ufffdy\n"


def test_without_a_repository_or_a_commit_there_is_no_message(tmp_path: Path) -> None:
    assert read_checked_out_commit(tmp_path) is None
    git(tmp_path, "init", "--quiet", "fresh")
    assert read_checked_out_commit(tmp_path / "fresh") is None


def test_a_remotes_head_is_not_the_checkout(repository: Path) -> None:
    """Before the first commit, a remote's HEAD may be there already."""
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(repository, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(repository, "symbolic-ref", "HEAD", "refs/heads/fresh")
    assert read_checked_out_commit(repository) is None


@pytest.mark.parametrize("damage", ["HEAD", "objects", "config"])
def test_a_broken_repository_has_no_message(repository: Path, damage: str) -> None:
    target = repository / ".git" / damage
    if target.is_dir():
        for path in target.rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(b"garbage")
    else:
        target.write_bytes(b"\xff\x00garbage")
    assert read_checked_out_commit(repository) is None


def test_a_head_that_is_no_commit_has_no_message(repository: Path) -> None:
    blob = git(repository, "hash-object", "-w", "--stdin", message=b"text")
    (repository / ".git" / "HEAD").write_text(blob + "\n")
    assert read_checked_out_commit(repository) is None
