"""Files of the workspace that a bundle gets beside those of the model's directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest

from deploy_action.bundle.bundle import write_bundle
from deploy_action.bundle.including import Include
from deploy_action.bundle.selection import Selection, select_files
from deploy_action.errors import InvalidInputError, Problem, Severity

COMMON = Include("libs/common", "common")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a monorepo with the model `bots/a`, shared code, and requirements at its root."""
    root = tmp_path / "workspace"
    for name in (
        "bots/a/blankly.json",
        "bots/a/bot.py",
        "libs/common/util.py",
        "libs/common/data/prices.csv",
        "libs/common/__pycache__/util.pyc",
        "libs/common/.git",
        "requirements.txt",
        ".git/config",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"of {name}")
    return root


def select(
    workspace: Path, *include: Include, patterns: tuple[str, ...] = (), excluded: str = ""
) -> Selection:
    return select_files(
        workspace / "bots/a",
        patterns,
        excluded=[workspace / excluded] if excluded else [],
        workspace=workspace,
        include=include,
    )


def names_of(selection: Selection) -> list[str]:
    assert selection.problems == ()
    return [entry.name for entry in selection.entries]


def only(selection: Selection) -> Problem:
    (problem,) = selection.problems
    assert problem.hint
    return problem


def test_what_is_included_gets_its_name(workspace: Path) -> None:
    deep = Include("libs/common/data", "data/shared")
    file = Include("requirements.txt", "requirements.txt")
    assert names_of(select(workspace, COMMON, deep, file)) == [
        "blankly.json",
        "bot.py",
        "common/data/prices.csv",
        "common/util.py",
        "data/shared/prices.csv",
        "requirements.txt",
    ]


def test_the_bytes_depend_on_names_and_contents_alone(workspace: Path, tmp_path: Path) -> None:
    first = write_bundle(select(workspace, COMMON), tmp_path / "a.zip")
    with ZipFile(first.path) as archive:
        assert archive.read("model/common/util.py") == b"of libs/common/util.py"
    model = shutil.copytree(workspace / "bots/a", tmp_path / "flat")
    shutil.copytree(workspace / "libs/common", model / "common")
    flat = write_bundle(select_files(model, []), tmp_path / "b.zip")
    assert flat.sha256 == first.sha256


def test_ignore_patterns_are_about_names_in_the_bundle(workspace: Path) -> None:
    assert names_of(select(workspace, COMMON, patterns=("/common/data", "!*.pyc"))) == [
        "blankly.json",
        "bot.py",
        "common/util.py",
    ]


@pytest.mark.parametrize("pattern", ["common", "common/", "*"])
def test_a_pattern_against_an_include_is_an_error(workspace: Path, pattern: str) -> None:
    """The two inputs contradict each other, and the model would lack the code."""
    problem = select(workspace, COMMON, patterns=(pattern, "!/b*")).problems[0]
    assert f"{pattern!r} leaves out common" in problem.message
    assert "!/common" in problem.hint


def test_files_of_secrets_are_included_only_where_somebody_means_it(workspace: Path) -> None:
    """Under a name of their own, or with a pattern that takes them back."""
    (workspace / "libs/common/.env").write_text("A=1")
    selection = select(workspace, COMMON)
    assert selection.left_out == ("common/.env",)
    assert "common/.env" not in names_of(selection)
    env = Include("libs/common/.env", ".env")
    problem = only(select(workspace, env))
    assert "cannot be .env in the bundle: files of that name hold secrets" in problem.message
    assert "!/.env" in problem.hint
    assert ".env" in names_of(select(workspace, env, patterns=("!/.env",)))
    renamed = Include("libs/common/.env", "variables")
    assert "!/variables" in only(select(workspace, renamed)).hint
    assert "variables" in names_of(select(workspace, renamed, patterns=("!/variables",)))


@pytest.mark.parametrize(
    ("name", "taken"), [("common", "common/own.py"), ("bot.py", "bot.py"), ("bot.py/x", "bot.py")]
)
def test_a_name_that_the_model_has_is_an_error(workspace: Path, name: str, taken: str) -> None:
    (workspace / "bots/a/common").mkdir()
    (workspace / "bots/a/common/own.py").touch()
    message = only(select(workspace, Include("libs/common", name))).message
    assert message == (
        f"Input `include`: `libs/common` cannot be {name} in the bundle: {taken} is there already."
    )


def test_two_includes_do_not_mix(workspace: Path) -> None:
    inner = Include("libs/common/data", "common/data")
    assert "common/data/prices.csv is there" in only(select(workspace, COMMON, inner)).message


def test_what_the_model_leaves_out_is_not_in_the_way(workspace: Path) -> None:
    (workspace / "bots/a/old").mkdir()
    (workspace / "bots/a/old/util.py").touch()
    taken = Include("libs/common", "old/common")
    assert "old/common/util.py" in names_of(select(workspace, taken, patterns=("/old/*.py",)))


def test_names_that_differ_in_case_are_a_warning(workspace: Path) -> None:
    (workspace / "bots/a/Common").mkdir()
    (workspace / "bots/a/Common/own.py").touch()
    problem = only(select(workspace, COMMON))
    assert (problem.severity, problem.path) == (Severity.WARNING, "common")


def test_links_to_what_is_included_are_followed(workspace: Path) -> None:
    """Also out of what is included, and where the link has the name of the include."""
    model = workspace / "bots/a"
    (model / "common").symlink_to("../../libs/common")
    (model / "csv").symlink_to("../../libs/common/data/prices.csv")
    (workspace / "libs/common/settings").symlink_to("../../bots/a/blankly.json")
    names = ["blankly.json", "bot.py", "common/data/prices.csv", "common/settings"]
    assert names_of(select(workspace, COMMON)) == [*names, "common/util.py", "csv"]


def test_links_to_other_places_are_not_followed(workspace: Path) -> None:
    (workspace / "bots/a/list").symlink_to("../../requirements.txt")
    (workspace / "libs/common/list").symlink_to("../../requirements.txt")
    first, second = select(workspace, COMMON).problems
    assert (first.path, second.path) == ("common/list", "list")
    assert "outside the model" in first.message
    way = "to the input `include`, or add the link to ignore_files."
    assert first.hint == f"Add `requirements.txt => common/list` {way}"
    assert second.hint == f"Add `requirements.txt => list` {way}"


def test_a_link_that_leads_to_what_cannot_be_included_says_another_way(workspace: Path) -> None:
    for name, target in (("all", "../.."), ("host", "/etc"), ("up", "..")):
        (workspace / "bots/a" / name).symlink_to(target)
    assert {one.hint for one in select(workspace).problems} == {
        "Copy what it points to into the model, or add the link to ignore_files."
    }


def test_the_line_for_a_link_has_it_followed_and_packed_once(workspace: Path) -> None:
    (workspace / "bots/a/lib").symlink_to("../../libs/common")
    assert "`libs/common => lib`" in only(select(workspace)).hint
    included = select(workspace, Include("libs/common", "lib"))
    assert names_of(included) == [
        "blankly.json",
        "bot.py",
        "lib/data/prices.csv",
        "lib/util.py",
    ]


def test_a_circle_of_included_links_ends(workspace: Path) -> None:
    (workspace / "libs/common/all").symlink_to("../../bots/a")
    (workspace / "bots/a/common").symlink_to("../../libs/common")
    assert "never end" in select(workspace, COMMON).problems[0].message


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("libs/comon", "does not exist in the workspace"),
        ("way/out", "leads out of the workspace through a link"),
        (".git", "is never packed"),
        (".git/config", "is never packed"),
        ("way/git", "is never packed"),
        ("venv/lib", "is never packed"),
        ("temp/platform", "is never packed"),
        ("temp", "is never packed"),
        (".", "holds the model itself"),
        ("bots", "holds the model itself"),
        ("bots/a", "holds the model itself"),
        ("way/bots", "holds the model itself"),
    ],
)
def test_what_may_not_be_included(workspace: Path, tmp_path: Path, source: str, why: str) -> None:
    (tmp_path / "secret").mkdir()
    for place in ("way", "venv/lib", "temp/platform"):
        (workspace / place).mkdir(parents=True)
    (workspace / "venv/pyvenv.cfg").touch()
    for name, target in (("out", "../../secret"), ("git", "../.git"), ("bots", "../bots")):
        (workspace / "way" / name).symlink_to(target)
    problem = only(select(workspace, Include(source, "it"), excluded="temp"))
    assert problem.message.startswith(f"Input `include`: `{source}` {why}")


def test_a_misspelt_path_has_a_suggestion(workspace: Path) -> None:
    assert only(select(workspace, Include("libs/comon", "c"))).hint == (
        "Did you mean `libs/common`?"
    )
    assert "Correct the path" in only(select(workspace, Include("nowhere/at/all", "c"))).hint


def test_what_is_excluded_is_left_out_of_what_is_included(workspace: Path) -> None:
    names = names_of(select(workspace, COMMON, excluded="libs/common/data"))
    assert names == ["blankly.json", "bot.py", "common/util.py"]


@pytest.mark.parametrize("swapped", ["libs", "libs/common", "libs/common/data", "bots/a"])
def test_a_directory_that_becomes_a_link_after_selection_is_a_problem(
    workspace: Path, tmp_path: Path, swapped: str
) -> None:
    """Nothing from outside gets into the bundle."""
    selection = select(workspace, COMMON)
    (workspace / swapped).rename(tmp_path / "aside")
    (workspace / swapped).symlink_to(tmp_path / "aside")
    with pytest.raises(InvalidInputError, match="cannot be packed: not a directory"):
        write_bundle(selection, tmp_path / "x.zip")


def test_files_are_read_by_their_names_in_the_bundle(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    (workspace / "libs/common/way").symlink_to(tmp_path)
    files = select(workspace, COMMON).files
    assert files.read("common/util.py", 99) == b"of libs/common/util.py"
    assert files.read("./bot.py", 99) == b"of bots/a/bot.py"
    assert files.has_file("common/data/prices.csv")
    for name in ("common/way/secret", "common/../../../secret", "../../requirements.txt", "common"):
        assert not files.has_file(name), name
        with pytest.raises(OSError, match=r"leads out|directory|No such"):
            files.read(name, 99)


def test_an_unreadable_include_is_a_problem(workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")
    assert "named pipe" in only(select(workspace, Include("pipe", "pipe"))).message
    # Also by a name of secrets: no pattern makes it a file.
    os.mkfifo(workspace / ".env")
    assert "named pipe" in only(select(workspace, Include(".env", ".env"))).message
