"""What the checkout lacks of a model is an error, which says how to get it; real repositories."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.git.lacking import Checkout
from deploy_action.github.event import read_event
from deploy_action.inputs.settings import parse_settings
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.stages.preparation import Places, Preparation
from tests.conftest import write_model
from tests.support.repositories import commit_all, git, make_repository

_LOCAL = ("-c", "protocol.file.allow=always")
OR_IGNORE = "Or add what the model does not need to ignore_files."


def pointer_of(content: bytes) -> bytes:
    """Return what git has in the place of a file in Git LFS."""
    oid = sha256(content).hexdigest()
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    ).encode()


def prepare(
    workspace: Path, model_path: str = "bots/a", *, for_runner: bool = True, **inputs: str
) -> list[Problem]:
    """Prepare a model as a run does, and return its problems, notices left out."""
    scratch = workspace.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    described: list[DescribedModel] = []
    raised: tuple[Problem, ...] = ()
    given = {"mode": "validate", "model-path": model_path} | inputs
    preparation = Preparation(
        settings=parse_settings(given, for_runner=for_runner),
        event=read_event({}),
        places=Places(workspace=workspace, scratch=scratch, excluded=(scratch,)),
        on_described=described.append,
        on_secrets=lambda _: None,
        redact=str,
        on_packing=lambda _done, _total: None,
    )
    try:
        preparation.run()
    except InvalidInputError as error:
        raised = error.problems
    found = (*raised, *(described[-1].problems if described else ()))
    return [one for one in found if one.severity is not Severity.NOTICE]


def error(*arguments: str, **options: str | bool) -> Problem:
    """Return the only error of a workspace that is given as the first argument."""
    workspace, *rest = arguments
    problems = prepare(Path(workspace), *rest, **options)  # type: ignore[arg-type]
    (found,) = (one for one in problems if one.severity is Severity.ERROR)
    return found


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the monorepo `origin`, and two clones of it.

    `modules` has submodules that were not fetched: one in the model, one beside it. `sparse` is a
    sparse checkout of the model alone, as `actions/checkout` makes it.
    """
    top = tmp_path_factory.mktemp("repositories")
    origin = make_repository(top / "origin")
    for model in ("bots/a", "bots/b"):
        write_model(origin / model, python_version="3.10")
    (origin / "libs/common").mkdir(parents=True)
    (origin / "libs/common/util.py").write_text("FAST = 10\n")
    (origin / "README.md").write_text("Bots\n")
    (origin / "bots/a/notes.md").write_text("Why\n")
    commit_all(origin)
    git(top, "clone", "--quiet", "--no-checkout", str(origin), "sparse")
    git(top / "sparse", "sparse-checkout", "set", "bots/a")
    git(top / "sparse", "checkout", "--quiet", "main")
    shared = make_repository(top / "shared")
    (shared / "util.py").write_text("FAST = 10\n")
    commit_all(shared)
    git(top, "clone", "--quiet", str(origin), "with")
    for place in ("bots/a/shared", "modules/shared"):
        git(top / "with", *_LOCAL, "submodule", "--quiet", "add", str(shared), place)
    commit_all(top / "with")
    git(top, "clone", "--quiet", str(top / "with"), "modules")
    return top


@pytest.fixture
def origin(templates: Path, tmp_path: Path) -> Path:
    return shutil.copytree(templates / "origin", tmp_path / "workspace")


@pytest.fixture
def with_module(templates: Path, tmp_path: Path) -> Path:
    return shutil.copytree(templates / "modules", tmp_path / "workspace")


@pytest.fixture
def sparse(templates: Path, tmp_path: Path) -> Path:
    copied = shutil.copytree(templates / "sparse", tmp_path / "workspace")
    git(copied, "status")  # which notes that the copies are the files of the index
    return copied


# Git LFS


@pytest.mark.parametrize(
    "name", ["weights.bin", "bot.py", "settings.json", "requirements.txt", "data/prices.csv"]
)
def test_a_pointer_of_git_lfs_is_an_error(origin: Path, name: str) -> None:
    """As script or settings it is this error alone, and not what its text is no valid form of."""
    path = origin / "bots/a" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pointer_of(b"large"))
    found = error(str(origin))
    assert found.message == f"{name} is a pointer of Git LFS: the checkout lacks the contents."
    assert (found.path, found.hint) == (
        name,
        f"Set `lfs: true` of `actions/checkout`. {OR_IGNORE}",
    )
    terminal = error(str(origin), for_runner=False)
    assert terminal.hint == f"Run `git lfs pull`. {OR_IGNORE}"


def test_many_pointers_are_one_error(origin: Path) -> None:
    for number in range(40):
        (origin / f"bots/a/{number:02}.bin").write_bytes(pointer_of(b"%d" % number))
    message = error(str(origin)).message
    assert message.startswith("00.bin, 01.bin, 02.bin and 37 more are pointers of Git LFS")


def test_included_pointers_count_and_ignored_ones_do_not(origin: Path) -> None:
    (origin / "libs/common/weights.bin").write_bytes(pointer_of(b"large"))
    assert prepare(origin) == []
    assert error(str(origin), include="libs/common").path == "common/weights.bin"
    assert prepare(origin, include="libs/common", ignore="*.bin") == []


@pytest.mark.parametrize(
    "content",
    [
        pointer_of(b"x") + b"\n",
        pointer_of(b"x").replace(b"sha256:", b"sha512:"),
        pointer_of(b"x").replace(b"git-lfs", b"example"),
        b"# " + pointer_of(b"x"),
        pointer_of(b"x").replace(b"oid", b"ext-0-x " + b"y" * 1000 + b"\noid"),
    ],
)
def test_what_only_looks_like_a_pointer_is_a_file(origin: Path, content: bytes) -> None:
    (origin / "bots/a/notes.txt").write_bytes(content)
    assert prepare(origin) == []


def test_a_manifest_that_is_a_pointer_is_named(origin: Path) -> None:
    (origin / "bots/a/blankly.json").write_bytes(pointer_of(b"{}"))
    assert "blankly.json is a pointer of Git LFS" in error(str(origin)).message


# Submodules


def test_a_submodule_that_was_not_fetched_is_an_error(with_module: Path) -> None:
    found = error(str(with_module))
    assert found.message == (
        "The submodule `bots/a/shared` was not fetched: its directory is empty."
    )
    assert found.hint == (
        "Set `submodules: true` of `actions/checkout`, and a `token` that may read it if it is "
        f"private. {OR_IGNORE}"
    )
    terminal = error(str(with_module), for_runner=False)
    assert terminal.hint == f"Run `git submodule update --init`. {OR_IGNORE}"


def test_a_submodule_that_was_fetched_or_is_ignored_is_none(with_module: Path) -> None:
    assert prepare(with_module, ignore="shared") == []
    git(with_module, *_LOCAL, "submodule", "--quiet", "update", "--init")
    assert prepare(with_module, include="modules/shared => common") == []


@pytest.mark.parametrize("include", ["modules/shared => common", "modules/shared/util.py"])
def test_an_included_submodule_has_to_be_fetched(with_module: Path, include: str) -> None:
    found = error(str(with_module), include=include, ignore="shared")
    assert "The submodule `modules/shared` was not fetched" in found.message


def test_a_model_in_a_submodule_has_to_be_fetched(with_module: Path) -> None:
    for path in ("modules/shared", "modules/shared/bot"):
        found = error(str(with_module), path)
        assert "The submodule `modules/shared` was not fetched" in found.message, path


def test_a_submodule_of_a_submodule_takes_another_value(
    templates: Path, with_module: Path, tmp_path: Path
) -> None:
    inner = make_repository(tmp_path / "inner")
    commit_all(inner)
    shared = shutil.copytree(templates / "shared", tmp_path / "shared")
    git(with_module, "config", "--file=.gitmodules", "submodule.bots/a/shared.url", str(shared))
    git(shared, *_LOCAL, "submodule", "--quiet", "add", str(inner), "inner")
    commit_all(shared)
    git(
        with_module,
        *_LOCAL,
        "submodule",
        "--quiet",
        "update",
        "--init",
        "--remote",
        "bots/a/shared",
    )
    found = error(str(with_module))
    assert "The submodule `inner` was not fetched" in found.message
    assert "`submodules: recursive`" in found.hint


def test_an_empty_directory_is_no_submodule(with_module: Path) -> None:
    (with_module / "bots/a/logs").mkdir()
    assert prepare(with_module, ignore="shared") == []


# Sparse checkouts


@pytest.mark.parametrize("is_split", ["false", "true"])
def test_files_outside_a_sparse_checkout_are_an_error(sparse: Path, is_split: str) -> None:
    git(sparse, "config", "core.splitIndex", is_split)
    git(sparse, "update-index", "--force-write-index")
    assert prepare(sparse) == []
    git(sparse, "sparse-checkout", "set", "--no-cone", "/bots/a/*", "!/bots/a/requirements.txt")
    found = error(str(sparse))
    assert found.message == "requirements.txt is not in the checkout, which is a sparse one."
    assert found.hint == (
        "Add `bots/a` to `sparse-checkout` of `actions/checkout`, or remove that input. "
        f"{OR_IGNORE}"
    )
    terminal = error(str(sparse), for_runner=False)
    assert terminal.hint.startswith("Run `git sparse-checkout add bots/a`, or `git sparse")


def test_names_in_the_index_are_told_whole(sparse: Path) -> None:
    """A secret that was cut in two would not be recognised where others are hidden."""
    name = f"{'x' * 110}{'d1fe' * 5}.py"
    (sparse / "bots/a" / name).write_text("")
    commit_all(sparse)
    git(sparse, "sparse-checkout", "set", "--no-cone", "/bots/a/*", f"!/bots/a/{name}")
    assert name in error(str(sparse)).message


@pytest.mark.parametrize("form", [(), ("--sparse-index",)])
def test_a_model_outside_a_sparse_checkout_is_named(sparse: Path, form: tuple[str, ...]) -> None:
    git(sparse, "sparse-checkout", "set", *form, "bots/a")
    for path in ("bots/b", "bots/b/"):
        found = error(str(sparse), path)
        assert " bots/b is not in the checkout, which is a sparse one" in found.message
        assert "Add `bots/b`" in found.hint
    git(sparse, "sparse-checkout", "set", *form, "libs")
    assert "Add `bots/a`" in error(str(sparse)).hint


def test_a_directory_that_never_was_is_missing_in_a_sparse_checkout_too(sparse: Path) -> None:
    assert "no such directory" in error(str(sparse), "bots/zebra").message
    assert "sparse" not in error(str(sparse), "bots/zebra").message


def test_included_paths_outside_a_sparse_checkout_are_an_error(sparse: Path) -> None:
    found = error(str(sparse), include="libs/common")
    assert "libs/common is not in the checkout, which is a sparse one" in found.message
    assert "Add `libs/common`" in found.hint
    git(sparse, "sparse-checkout", "add", "libs")
    assert prepare(sparse, include="libs/common") == []


def test_what_is_ignored_may_be_outside_a_sparse_checkout(sparse: Path) -> None:
    git(sparse, "sparse-checkout", "set", "--no-cone", "/bots/a/*", "!/bots/a/notes.md")
    assert "notes.md is not in the checkout" in error(str(sparse)).message
    assert prepare(sparse, ignore="*.md") == []


def test_a_file_that_a_step_brought_back_is_there(sparse: Path) -> None:
    git(sparse, "sparse-checkout", "set", "--no-cone", "/bots/a/*", "!/bots/a/requirements.txt")
    (sparse / "bots/a/requirements.txt").write_text("blankly\n")
    assert prepare(sparse) == []


def test_a_sparse_checkout_of_a_model_at_the_root_names_what_to_add(sparse: Path) -> None:
    write_model(sparse, python_version="3.10")
    found = error(str(sparse), ".")
    assert found.message.startswith("bots/b/backtest.json, bots/b/blankly.json")
    assert "Add `bots`" in found.hint


def test_a_plain_checkout_does_not_read_the_index(
    origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a fifth of a second for 20,000 files."""
    monkeypatch.setattr(Checkout, "_index", lambda _self, root: pytest.fail(str(root)))
    assert prepare(origin, include="libs/common") == []


def test_without_a_repository_nothing_is_lacking(tmp_path: Path) -> None:
    write_model(tmp_path / "plain/bots/a", python_version="3.10")
    (tmp_path / "plain/bots/a/logs").mkdir()
    assert prepare(tmp_path / "plain") == []


# Links


@pytest.mark.parametrize("target", ["../../modules/shared/util.py", "/nowhere", "../../README.md"])
def test_a_dead_link_that_nothing_needs_is_a_warning(with_module: Path, target: str) -> None:
    (with_module / "bots/a/latest").symlink_to(target)
    (found,) = prepare(with_module, ignore="shared")
    assert (found.severity, found.path) == (Severity.WARNING, "latest")
    assert found.message.endswith("It is not packed: no file of the model names it.")


@pytest.mark.parametrize(
    ("link", "script"),
    [
        ("util.py", "from util import FAST"),
        ("data.csv", "open('data.csv')"),
        ("data.csv", "NAME = 'data'"),
        ("data.csv", "glob('*.csv')"),
        ("my-data.bin", "open('my-data')"),
        ("\u6f22\u5b57.bin", "NAME = '\u6f22\u5b57'"),
        ("prices/data.csv", "Path('prices').iterdir()"),
        ("keys.json", ""),
    ],
)
def test_a_dead_link_that_may_be_needed_is_an_error(origin: Path, link: str, script: str) -> None:
    (origin / "bots/a/bot.py").write_text(f"{script}\n")
    (origin / "bots/a" / link).parent.mkdir(exist_ok=True)
    (origin / "bots/a" / link).symlink_to("../../nowhere")
    found = error(str(origin))
    assert found.path == link
    assert found.message == f"The link {link} points to ../../nowhere, which does not exist."


def test_a_link_into_a_submodule_that_was_not_fetched_says_so(with_module: Path) -> None:
    (with_module / "bots/a/bot.py").write_text("import helpers\n")
    (with_module / "bots/a/helpers").symlink_to("../../modules/shared/helpers")
    found = error(str(with_module), ignore="shared")
    assert found.path == "helpers"
    assert "The submodule `modules/shared` was not fetched" in found.message
    assert "`submodules: true`" in found.hint
    assert os.path.lexists(with_module / "bots/a/helpers")
