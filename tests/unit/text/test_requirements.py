"""Requirements files are split as pip splits them, and includes are followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_action.errors import Problem
from deploy_action.regular_files import SourceTree
from deploy_action.text.requirements import Line, Walk, is_file_inside


def walk(root: Path, files: dict[str, str]) -> tuple[list[Line], list[Problem]]:
    """Write files, and return the lines of the first and of all that it includes."""
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    problems: list[Problem] = []
    lines: list[Line] = []
    steps = Walk(SourceTree.at(root), next(iter(files)), on_unreadable=problems.append)
    for file in steps:
        lines += file.lines
        for line in file.lines:
            if line.is_include and not line.is_remote:
                steps.follow(line)
    return lines, problems


@pytest.mark.parametrize(
    ("text", "option", "value"),
    [
        ("blankly>=1 --hash=sha256:00  # why", "", "blankly>=1"),
        ("-e ./own --config-settings x", "-e", "./own"),
        ("--index-url=https://h/simple", "--index-url", "https://h/simple"),
        ("-rmore.txt", "-r", "more.txt"),
        ("- blankly", "", ""),
    ],
)
def test_lines_have_option_and_value(tmp_path: Path, text: str, option: str, value: str) -> None:
    ((line,), _) = walk(tmp_path, {"a.txt": f"# comment\n\n{text}\n"})
    assert (line.file, line.number, line.option, line.value) == ("a.txt", 3, option, value)


def test_files_are_followed_once_and_constraints_install_nothing(tmp_path: Path) -> None:
    lines, problems = walk(
        tmp_path,
        {
            "a.txt": "-r sub/b.txt\n-c c.txt\n-r 'a.txt'\n",
            "sub/b.txt": "numpy\n-r ../a.txt\n",
            "c.txt": "pandas<2\n-r d.txt\n",
            "d.txt": "scipy<2\n",
        },
    )
    found = [(line.file, line.value, line.installs) for line in lines if line.is_requirement]
    expected = [("sub/b.txt", "numpy", True), ("c.txt", "pandas<2", False)]
    assert found == [*expected, ("d.txt", "scipy<2", False)]
    assert problems == []


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    lines, problems = walk(tmp_path, {"a.txt": "-r missing.txt\n-r b.txt\n", "b.txt": "numpy\n"})
    assert [problem.path for problem in problems] == ["missing.txt"]
    assert lines[-1].value == "numpy"


def test_what_is_remote_is_not_a_path(tmp_path: Path) -> None:
    lines, _ = walk(tmp_path, {"a.txt": "-r https://h/list.txt\n-c ${LIST}\n"})
    assert [(line.is_remote, line.is_constraint) for line in lines] == [(True, False), (True, True)]


def test_a_file_inside_is_not_reached_through_links_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "model"
    root.mkdir()
    (root / "own.txt").touch()
    (tmp_path / "secret.txt").touch()
    for name, target in (("in", "own.txt"), ("out", "../secret.txt"), ("circle", "circle")):
        (root / name).symlink_to(target)
    files = SourceTree.at(root)
    assert is_file_inside(files, "own.txt")
    assert is_file_inside(files, "in")
    for name in ("out", "circle", "../secret.txt", "../model/own.txt", str(root / "own.txt"), "."):
        assert not is_file_inside(files, name), name


@pytest.mark.parametrize(
    ("line", "archive"),
    [
        (
            "own @ git+https://github.com/me/own.git@v1.2",
            "own @ https://github.com/me/own/archive/v1.2.zip",
        ),
        (
            "own[x]@git+https://github.com/me/own@a/b#subdirectory=py&egg=other",
            "own[x] @ https://github.com/me/own/archive/a/b.zip#subdirectory=py",
        ),
        (
            "git+https://${TOKEN}@github.com/me/own/",
            "https://${TOKEN}@github.com/me/own/archive/HEAD.zip",
        ),
        (
            "-e git+ssh://git@gitlab.com:22/team/sub/own.git@f/x#egg=own",
            "own @ https://gitlab.com/team/sub/own/-/archive/f/x/own-f-x.zip",
        ),
        (
            "own @ git+https://bitbucket.org/me/own@abc123 ; os_name == 'posix'",
            "own @ https://bitbucket.org/me/own/get/abc123.zip",
        ),
        (
            "own @ git+https://${USER_1}:${PASS}@git.me.example:8443/me/own@v1",
            "own @ https://${USER_1}:${PASS}@git.me.example:8443/me/own/archive/v1.zip",
        ),
        (
            "own @ git+https://trader:word@github.com/me/own",
            "own @ https://github.com/me/own/archive/HEAD.zip",
        ),
        ("own @ git+https://trader:w/rd@github.com/me/own", ""),
        ("own @ git+ssh://git@github.com:me/own", ""),
        ("own @ https://github.com/me/own/archive/v1.zip", ""),
    ],
)
def test_a_repository_has_an_archive_that_needs_no_git(
    tmp_path: Path, line: str, archive: str
) -> None:
    ((found,), _) = walk(tmp_path, {"a.txt": f"{line}\n"})
    assert found.from_archive == archive
    assert bool(found.from_git) is ("git+" in line)
