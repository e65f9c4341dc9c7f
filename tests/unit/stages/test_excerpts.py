"""The lines of a model at which problems are: read from the checkout, linked in its commit."""

from __future__ import annotations

import os
import secrets
from functools import partial
from pathlib import Path

import pytest

from deploy_action.errors import Problem, Severity
from deploy_action.git.committed import CommittedFile
from deploy_action.outcome.excerpt import Excerpt, excerpt_of
from deploy_action.regular_files import SourceTree
from deploy_action.stages.excerpts import read_excerpts
from deploy_action.text.redaction import redacted
from tests.support.repositories import commit_all, make_repository

SOURCE = "import blankly\n\nprices = {}\nprices['BTC']\nprint()\nprint()\n"


def url_of(file: CommittedFile, line: int) -> str:
    return f"{file.commit}/{file.path}#{line}"


def crash(path: str = "bot.py", line: int | None = 4, **changes: object) -> Problem:
    return Problem(message="KeyError: 'BTC'", path=path, line=line, **changes)  # type: ignore[arg-type]  # by name


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = make_repository(tmp_path) / "models" / "bot"
    directory.mkdir(parents=True)
    (directory / "bot.py").write_text(SOURCE)
    return directory


def test_a_problem_has_its_line_and_two_on_each_side(model: Path) -> None:
    commit = commit_all(model)
    (found,) = read_excerpts(SourceTree.at(model), None, [crash(), crash()], url_of, str)
    assert found == Excerpt(
        path="bot.py",
        line=4,
        first=2,
        lines=("", "prices = {}", "prices['BTC']", "print()", "print()"),
        url=f"{commit}/models/bot/bot.py#4",
    )
    assert found.text() == ("  2\n  3  prices = {}\n> 4  prices['BTC']\n  5  print()\n  6  print()")


def test_a_line_is_linked_only_where_the_commit_has_that_file(model: Path) -> None:
    """A step before may have changed it, and its lines would be others."""
    commit_all(model)
    (model / "bot.py").write_text(f"# made by a step\n{SOURCE}")
    (model / "new.py").write_text(SOURCE)
    found = read_excerpts(SourceTree.at(model), None, [crash(), crash("new.py")], url_of, str)
    assert [one.url for one in found] == ["", ""]
    assert found[0].lines[2] == "prices = {}"


def test_without_a_repository_there_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text(SOURCE)
    (found,) = read_excerpts(SourceTree.at(tmp_path), None, [crash()], url_of, str)
    assert found.url == ""


@pytest.mark.parametrize(
    "problem",
    [
        crash(line=7),
        crash(line=None),
        crash("keys.json"),
        crash("absent.py"),
        crash("../outside.py"),
        crash("link.py"),
        crash("pipe.py"),
        crash("package.py"),
        crash("binary.py"),
        crash("nul\0.py"),
        crash(severity=Severity.NOTICE),
    ],
    ids=str,
)
def test_what_is_no_line_of_a_python_file_of_the_model_is_not_shown(
    model: Path, problem: Problem
) -> None:
    (model / "keys.json").write_text(SOURCE)
    (model.parent / "outside.py").write_text(SOURCE)
    (model / "link.py").symlink_to("../outside.py")
    (model / "package.py").mkdir()
    (model / "binary.py").write_bytes(b"\xff\n" * 9)
    os.mkfifo(model / "pipe.py")
    assert read_excerpts(SourceTree.at(model), None, [problem], url_of, str) == ()


def test_only_the_first_ten_are_read(model: Path) -> None:
    (model / "bot.py").write_text("x\n" * 40)
    places = [crash(line=line) for line in range(1, 40)]
    assert len(read_excerpts(SourceTree.at(model), None, places, url_of, str)) == 10


def test_long_and_odd_lines_stay_lines() -> None:
    source = f"x = '{'y' * 5_000}'\r\n\tz = '\x1b[31m\x0c{'a' * 200}'\n"
    found = excerpt_of(source, "bot.py", 2)
    assert found is not None
    first, second = found.text().split("\n")
    assert first == "  1  …"
    assert second.startswith("> 2      z = '\\u000caaaa")
    assert len(second) < 140


def test_only_files_that_were_packed_are_shown(model: Path) -> None:
    """A server names the places: what is kept out of the bundle may hold keys."""
    for packed, shown in (("other.py", 0), ("bot.py", 1)):
        found = read_excerpts(SourceTree.at(model), {packed}, [crash()], url_of, str)
        assert len(found) == shown


def test_lines_of_likely_keys_are_hidden(tmp_path: Path) -> None:
    """Of a private key all of them, and those beside the place of another problem, too."""
    token, body = "AA" + "xY3" * 11, "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    kind = "PRIVATE" + " KEY"
    (tmp_path / "bot.py").write_text(
        f'a = 1\nT = "987612340:{token}"\nPEM = """-----BEGIN {kind}-----\n{body}\n{body}\n'
        f'-----END {kind}-----"""\nb = 2\n'
    )
    places = [crash(line=3), crash(line=6)]
    first, second = read_excerpts(SourceTree.at(tmp_path), None, places, url_of, str)
    assert first.lines == ("a = 1", "***", "***", "***", "***")
    assert second.lines == ("***", "***", "***", "b = 2")


def test_a_secret_that_goes_over_two_lines_hides_all_of_them() -> None:
    """Between the lines there will be numbers, so that nobody would find it later."""
    shown = Excerpt("bot.py", 2, 1, ("a = 1", "b = 'secret'", "c = 'first", "second'"))
    one = shown.rewritten(lambda text: text.replace("secret", "***"))
    assert one.lines == ("a = 1", "b = '***'", "c = 'first", "second'")
    two = shown.rewritten(lambda text: text.replace("first\nsecond", "***"))
    assert two.lines == ("***",) * 4


def test_half_a_secret_is_not_shown(model: Path) -> None:
    """An excerpt may end within it."""
    secret = secrets.token_hex(40)
    source = f'crash()\nkey = """\n{secret[:60]}\n{secret[60:]}"""\nrun()\n'
    (model / "bot.py").write_text(source)
    hide = partial(redacted, secrets=[secret], keep_lines=True)
    problems = [crash(line=1), crash(line=5)]
    found = read_excerpts(SourceTree.at(model), None, problems, url_of, hide)
    assert [one.lines for one in found] == [
        ("crash()", 'key = """', "***"),
        ("***", '***"""', "run()"),
    ]
