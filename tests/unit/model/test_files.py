from __future__ import annotations

import codecs
import json
import os
import secrets
import sys
from encodings.aliases import aliases
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from deploy_action.errors import Severity
from deploy_action.model.requirements import Installer
from tests.support.model_checks import check, only, place, sound_model

NEWER_PYTHON = f"3.{sys.version_info.minor + 1}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return sound_model(tmp_path / "model")


def test_a_sound_model_has_no_problems(model: Path) -> None:
    assert check(model) == ()


# The main script


def test_a_missing_main_script_is_placed_and_the_likeliest_other_suggested(model: Path) -> None:
    """A script that mentions blankly ranks above one with a more similar name."""
    (model / "bot.py").unlink()
    (model / "bots.py").write_text("print()\n")
    (model / "kellybot.py").write_text("from blankly import Strategy\n")
    (model / "trader.py").write_text("import blankly\n")
    problem = only(check(model))
    assert problem.message == "The main script bot.py does not exist."
    assert place(problem) == ("blankly.json", 2, 17)
    assert problem.hint == 'Did you mean "./kellybot.py"? Other Python files: trader.py, bots.py.'


def test_a_main_script_by_default_is_placed_at_the_object(model: Path) -> None:
    """There is no value to point at if the package's default applies."""
    (model / "bot.py").rename(model / "Bot.py")
    problem = only(check(model, plan="nano"))
    assert place(problem) == ("blankly.json", 1, 1)
    assert problem.hint == 'Did you mean "./Bot.py"?'


def test_without_any_script_there_is_nothing_to_suggest(model: Path) -> None:
    (model / "bot.py").unlink()
    (model / "empty.py").mkdir()
    assert "no other Python file" in only(check(model)).hint


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("./lib", "The main script lib is a directory."),
        ("pipe.py", "The main script pipe.py is of the wrong kind."),
        ("away.py", "The main script away.py leads out of the model through a link."),
        ("loop.py", "The main script loop.py cannot be read: "),
        ("bot.py/x.py", "The main script bot.py/x.py does not exist."),
        ("n" * 300, "cannot be read: File name too long."),
    ],
)
def test_a_main_script_is_a_file_inside_the_model(model: Path, script: str, words: str) -> None:
    """Not a directory, a pipe (it would block) or a link out of the model."""
    (model / "lib").mkdir()
    (model / "lib" / "x.py").write_text("")
    os.mkfifo(model / "pipe.py")
    (model.parent / "outside.py").write_text("import blankly\n")
    (model / "away.py").symlink_to("../outside.py")
    (model / "loop.py").symlink_to("loop.py")
    problem = only(check(model, main_script=script))
    assert words in problem.message
    assert place(problem) == ("blankly.json", 2, 17)


def test_a_link_inside_the_model_is_a_main_script(model: Path) -> None:
    (model / "start.py").symlink_to("bot.py")
    assert check(model, main_script="start.py") == ()
    (model / "bot.py").write_text("(")
    assert only(check(model, main_script="start.py")).path == "start.py"


def test_an_ignored_main_script_is_not_in_the_bundle(model: Path) -> None:
    problem = only(check(model, main_script="bot.py", ignore_files=["*.py"]))
    assert problem.message == "The main script bot.py is ignored, so it is not in the bundle."
    assert "ignore_files" in problem.hint
    assert "ignore input" in problem.hint
    assert only(check(model, main_script="bot.py", ignore=("bot.*",))) == problem


@pytest.mark.parametrize(
    ("source", "words", "line", "column"),
    [
        (b"import blankly\nprint 'x'\n", "Missing parentheses", 2, 1),
        (b"x = 1\ndef f(:\n", "invalid syntax", 2, 7),
        ("é = 'é' +\n".encode(), "invalid syntax", 1, 10),
        (b"return 1\n", "'return' outside function", 1, 1),
        (b"x = '\0'\n", "null bytes", None, None),
        (b"# coding: nonsense\n", "nonsense", None, None),
        (b"# coding: hex\n", "it declares an encoding that is not for text", None, None),
        (b"# coding: punycode\n-", "it declares an encoding that is not for text", None, None),
        (b"x = 1\ny = 2\nx = '\xe9'\n", "utf-8", None, None),
        (b"#\n# coding: ascii\n\nx = '\xe9'\n", "ascii", 4, None),
        (b"(" * 5000, "too many nested parentheses", 1, None),
        (b"-" * 100_000 + b"1", "", None, None),
    ],
    ids=range(12),
)
def test_a_main_script_is_python(
    model: Path, source: bytes, words: str, line: int | None, column: int | None
) -> None:
    (model / "bot.py").write_bytes(source)
    problem = only(check(model))
    assert problem.message.startswith("bot.py is not valid Python: ")
    assert words in problem.message
    assert problem.path == "bot.py"
    if line:
        assert problem.line == line
    if column:
        assert problem.column == column


@pytest.mark.parametrize("line", ["!pip install blankly", "  !pip install x", "%matplotlib inline"])
def test_a_line_of_a_notebook_is_told_apart(model: Path, line: str) -> None:
    (model / "bot.py").write_text(f"import blankly\nif True:\n{line}\n")
    problem = only(check(model))
    assert problem.line == 3
    assert "work in notebooks only" in problem.hint


def test_warnings_of_the_compiler_are_not_reported(model: Path) -> None:
    """Python warns about a bad escape; the test run turns warnings into errors."""
    (model / "bot.py").write_bytes(b"x = '\\d'\nif 1 is 1: pass\n")
    assert check(model) == ()


def test_a_script_for_a_newer_python_may_be_right(model: Path) -> None:
    """This Python may not know a newer one's syntax, so it is only a warning."""
    (model / "bot.py").write_text("x = (\n")
    problem = only(check(model, python_version=NEWER_PYTHON), Severity.WARNING)
    assert f"It was checked as Python 3.{sys.version_info.minor}." in problem.message
    assert NEWER_PYTHON in problem.hint
    same = f"3.{sys.version_info.minor}"
    assert only(check(model, python_version=same)).severity is Severity.ERROR
    endless = "3." + "9" * 5_000
    assert only(check(model, python_version=endless)).severity is Severity.ERROR


def test_a_script_of_many_megabytes_is_not_compiled(model: Path) -> None:
    (model / "bot.py").write_bytes(b"(" + b" " * 9 * 1024 * 1024)
    assert "1 file" in only(check(model), Severity.NOTICE).message


@pytest.mark.parametrize("encoding", sorted({*aliases.values(), "idna", "undefined", "punycode"}))
def test_no_encoding_makes_a_check_raise(model: Path, encoding: str) -> None:
    """Python has encodings that are not for text."""
    text = f"# coding: {encoding}\n".encode() + b"# \xff\\U\n"
    (model / "bot.py").write_bytes(text)
    (model / "requirements.txt").write_bytes(text)
    assert all(item.hint for item in check(model))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bot.ipynb", '{"cells": [], "nbformat": 4}', "is a notebook"),
        ("bot.IPYNB", "{}", "is a notebook"),
        ("bot.py", ' {"nbformat": 4, "cells": []}', "is a notebook"),
        ("run.sh", "echo 1", "is no Python script: its name ends in .sh"),
        ("prices.csv", "1,2", "is no Python script: its name ends in .csv"),
        ("settings.json", "{}", "is no Python script: its name ends in .json"),
        ("start", "#!/bin/sh\nx = 1\n", "is for /bin/sh, by its first line"),
        ("start", "#! /usr/bin/env -S node --x\nx\n", "is for /usr/bin/env -S node --x, by"),
    ],
)
def test_what_is_no_python_is_refused(model: Path, name: str, content: str, words: str) -> None:
    """Much of that is valid Python by chance: a CSV file, or a JSON object."""
    (model / name).write_text(content)
    problem = only(check(model, main_script=f"./{name}"))
    assert f"The main script {name} {words}" in problem.message
    assert place(problem) == ("blankly.json", 2, 17)
    if "notebook" in words:
        assert f"`jupyter nbconvert --to script {name}`" in problem.hint
        assert 'main_script to "./bot.py"' in problem.hint
    else:
        assert 'Did you mean "./bot.py"?' in problem.hint


@pytest.mark.parametrize("content", ["#!/usr/bin/env python3\nx = 1\n", "import blankly\n"])
def test_a_script_may_have_no_ending(model: Path, content: str) -> None:
    (model / "start").write_text(content)
    assert check(model, main_script="start") == ()


def test_a_notebook_is_named_where_there_is_no_script(model: Path) -> None:
    (model / "bot.py").rename(model / "trade.ipynb")
    assert "nbconvert --to script trade.ipynb" in only(check(model)).hint


def test_the_script_that_makes_a_strategy_is_proposed(model: Path) -> None:
    """Not the nearest spelling, and not one in a folder."""
    (model / "bot.py").unlink()
    (model / "old").mkdir()
    for name in ("old/bott.py", "momentum.py"):
        (model / name).write_text("import blankly\ns = blankly.Strategy (blankly.Alpaca())\n")
    (model / "bots.py").write_text("import blankly\n")
    problem = only(check(model))
    assert problem.hint == (
        'Did you mean "./momentum.py"? Other Python files: old/bott.py, bots.py.'
    )


@pytest.mark.parametrize(("here", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_in_another_unicode_form_is_named_as_such(
    model: Path, here: Any, written: Any
) -> None:
    (model / "bot.py").rename(model / normalize(here, "münchen.py"))
    problem = only(check(model, main_script=normalize(written, "münchen.py")))
    assert "in another Unicode form" in problem.message
    assert "plain letters" in problem.hint
    assert "Did you mean" not in problem.hint


SYNTAX = [
    ("match 1:\n    case 1:\n        x = (y := 2)\n", "3.9", "pattern matching", 1, "3.10"),
    ("if 1:\n    try:\n        pass\n    except* OSError:\n        pass\n", "3.10", "", 2, "3.11"),
    ("with (open('a') as a, open('b')):\n    pass\n", "3.8", "context managers", 1, "3.9"),
    ("def f(a, /): ...\n", "3.7", "positional-only", 1, "3.8"),
    ("(x := 1)\n", "3.7", "assignment expressions", 1, "3.8"),
    ("f'{1=}'\n", "3.7", "f-string", 1, "3.8"),
    ("@x[0]\ndef f(): ...\n", "3.8", "decorator", 1, "3.9"),
    ("import typing\nx[1, *y]\n", "3.10", "a `*` in an index", 2, "3.11"),
    ("x = 1\ndef f(a: list[int]): ...\n", "3.8", "the type `list[…]`", 2, "3.9"),
    ("class A:\n    def f(self) -> str | None: ...\n", "3.9", "a type with `|`", 2, "3.10"),
]


@pytest.mark.parametrize(("source", "python", "what", "line", "since"), SYNTAX)
def test_what_is_newer_than_the_models_python_is_refused(
    model: Path, source: str, python: str, what: str, line: int, since: str
) -> None:
    (model / "bot.py").write_text(source)
    problem = only(check(model, main_script="bot.py", python_version=python))
    assert problem.message.startswith("bot.py has ")
    assert what in problem.message
    assert f"new in Python {since}, and the model asks for Python {python}" in problem.message
    assert (problem.path, problem.line) == ("bot.py", line)
    assert f'"python_version": "{since}"' in problem.hint
    assert check(model, main_script="bot.py", python_version=since) == ()


@pytest.mark.parametrize(
    "source",
    [
        "with (open('a')):\n    pass\n",
        "with (open('a')) as a, (open('b')):\n    pass\n",
        "from __future__ import annotations\ndef f(a: list[int]) -> int | None: ...\n",
        "import pandas as pd\ndef f(a: 'list[int]', b: pd.DataFrame[int]): ...\n",
        "def f():\n    x: list[int] = []\n",
        "if False:\n    def f(x: int | None): ...\n",
        "@a.b(1)\n@c\ndef f(): ...\n",
        "x = 1 | 2\ny = [1][0]\n",
    ],
)
def test_what_old_pythons_know_is_taken(model: Path, source: str) -> None:
    (model / "bot.py").write_text(source)
    assert check(model, main_script="bot.py", python_version="3.7") == ()


def test_what_the_script_imports_of_the_model_is_checked_too(model: Path) -> None:
    """What may not be imported is a warning, and what nothing imports is nothing."""
    (model / "lib").mkdir()
    (model / "lib" / "__init__.py").write_text("from lib.signals import f\n")
    for name in ("signals", "other", "unused"):
        (model / "lib" / f"{name}.py").write_text("match 1:\n    case 1: pass\n")
    (model / "broken.py").write_text("def f(:\n")
    (model / "bot.py").write_text(
        "import blankly, lib, broken\ntry:\n    pass\nexcept OSError:\n    import lib.other\n"
    )
    found = check(model, main_script="bot.py", python_version="3.9")
    assert {(one.path, one.severity) for one in found} == {
        ("lib/signals.py", Severity.ERROR),
        ("broken.py", Severity.ERROR),
        ("lib/other.py", Severity.WARNING),
    }


# Files that hide packages


@pytest.mark.parametrize("file", ["blankly.py", "blankly/__init__.py", "src/blankly.py"])
def test_a_file_that_hides_the_package_is_refused(model: Path, file: str) -> None:
    (model / file).parent.mkdir(exist_ok=True)
    (model / file).write_text("")
    (model / "src").mkdir(exist_ok=True)
    (model / "bot.py").rename(model / "src" / "bot.py")
    problem = only(check(model, main_script="src/bot.py"))
    assert problem.message.startswith(f"{file} hides the package blankly")
    assert problem.path == file


def test_a_main_script_named_blankly_imports_itself(model: Path) -> None:
    (model / "bot.py").rename(model / "blankly.py")
    problem = only(check(model, main_script="blankly.py"))
    assert "main_script" in problem.hint


def test_a_copy_of_the_package_is_a_warning(model: Path) -> None:
    (model / "blankly" / "exchanges").mkdir(parents=True)
    for name in ("__init__.py", "exchanges/__init__.py"):
        (model / "blankly" / name).write_text("")
    assert "a copy of the package" in only(check(model), Severity.WARNING).message


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("pandas.py", "the package `pandas`"),
        ("requests/__init__.py", "the package `requests`"),
        ("my_indicators.py", "the package `my_indicators`"),
        ("signal.py", "the module of Python `signal`"),
        ("types.py", "the module of Python `types`"),
    ],
)
def test_a_file_that_hides_another_package_is_a_warning(model: Path, file: str, what: str) -> None:
    (model / "requirements.txt").write_text("blankly\nMy-Indicators>=1\n")
    (model / file).parent.mkdir(exist_ok=True)
    (model / file).write_text("")
    problem = only(check(model), Severity.WARNING)
    assert problem.message.startswith(f"{file} hides {what}")


@pytest.mark.parametrize(
    "file", ["lib/pandas.py", "blankly/notes.py", "time.py", "sys.py", "strategy.py", "test.py"]
)
def test_files_that_python_does_not_import_in_place_of_others_are_fine(
    model: Path, file: str
) -> None:
    """A folder without `__init__.py` comes after packages; some modules are there at the start."""
    (model / file).parent.mkdir(exist_ok=True)
    (model / file).write_text("")
    assert check(model) == ()


# The requirements file


def test_a_missing_requirements_file_is_placed(model: Path) -> None:
    (model / "requirements.txt").unlink()
    problem = only(check(model, requirements="requirements.txt"))
    assert problem.message == "The requirements file requirements.txt does not exist."
    assert place(problem) == ("blankly.json", 2, 18)
    assert "blankly" in problem.hint
    problem = only(check(model, requirements="bot.py/r.txt"))
    assert "bot.py/r.txt does not exist" in problem.message


def test_an_ignored_requirements_file_is_an_error(model: Path) -> None:
    problem = only(check(model, requirements="./requirements.txt", ignore_files=["*.txt"]))
    assert "requirements.txt is ignored" in problem.message
    assert "pattern" in problem.hint


GOOD_LINES = [
    "blankly",
    "Blankly==1.18.25b0 ; python_version > '3.6'",
    "blankly[extra]>=1,<2  # the package",
    "blankly @ https://files.example/blankly.zip",
    "https://files.example/blankly-1.whl",
    "./vendor\nblankly",
    "vendor/wheel.whl[all]",
    "wheel.whl",
    "/opt/wheels/blankly.whl",
    "-e .",
    "--editable=./vendor",
    "-r more.txt",
    "--requirement=more.txt",
    "-rmore.txt",
    "-c more.txt\nblankly",
    "-r https://files.example/requirements.txt",
    "-r ${LIST}",
    "${PACKAGE}==1",
    "--index-url https://files.example/simple\n--pre\n-i x\nblankly",
    "blankly \\\n  --hash=sha256:00 \\\n  --hash=sha256:11",
    "# only a comment\n\n  blankly\\\n",
    "blankly-tools",
]


@pytest.mark.parametrize("content", GOOD_LINES)
def test_everything_that_pip_reads_is_accepted(model: Path, content: str) -> None:
    (model / "more.txt").write_text("-r requirements.txt\nblankly\n")
    (model / "vendor").mkdir()
    for wheel in ("wheel.whl", "vendor/wheel.whl"):
        (model / wheel).write_bytes(b"PK")
    (model / "requirements.txt").write_text(content)
    assert check(model) == ()


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + b"blankly\r\n",
        "\ufeffblankly\n".encode("utf-16-le"),
        "\ufeffblankly\n".encode("utf-16-be"),
        "\ufeffblankly\n".encode("utf-32-le"),
        "# -*- coding: latin-1 -*-\nblankly # déjà\n".encode("latin-1"),
    ],
)
def test_the_encodings_of_pip_are_read(model: Path, data: bytes) -> None:
    (model / "requirements.txt").write_bytes(data)
    assert check(model) == ()


@pytest.mark.parametrize(
    ("data", "words", "line"),
    [
        (b"blankly\n# d\xe9j\xe0\n", "requirements.txt is not valid UTF-8.", 2),
        ("blankly\n".encode("utf-16-le"), "may be UTF-16 without a byte-order mark", 1),
        (codecs.BOM_UTF16_LE + b"b", "requirements.txt is not valid UTF-16-LE.", 1),
        (b"# coding: nonsense\nblankly\n", "an encoding that Python does not know", 1),
        (b"# coding: punycode\nblankly-\n", "or that is not for texts", 1),
        (b"# coding: utf-7\nblankly\n# +2AA-\n", "requirements.txt is not valid UTF-7.", 3),
        (b"# coding: raw_unicode_escape\nblankly\n# \\ud800\n", "is not valid RAW_UNICODE", 3),
        (b"#" * (1024 * 1024 + 1), "is larger than 1 MiB", 1),
    ],
)
def test_undecodable_text_is_an_error(model: Path, data: bytes, words: str, line: int) -> None:
    (model / "requirements.txt").write_bytes(data)
    problem = only(tuple(item for item in check(model) if item.severity is Severity.ERROR))
    assert words in problem.message
    assert (problem.path, problem.line) == ("requirements.txt", line)


@pytest.mark.parametrize(
    ("line", "severity", "hint"),
    [
        ("This model needs the following packages", Severity.ERROR, "one package a line"),
        ("pip install blankly", Severity.ERROR, "without the command"),
        ("pandas = 1.5", Severity.ERROR, "two equals signs"),
        ("- pandas", Severity.ERROR, "without a bullet"),
        ("* pandas", Severity.ERROR, "one package a line"),
        ("see docs/setup.md", Severity.ERROR, "one package a line"),
        ("docs/setup.md", Severity.ERROR, "one package a line"),
        ("missing.whl", Severity.ERROR, "one package a line"),
        ("p" * 5000 + "/x", Severity.ERROR, "one package a line"),
        ("pandas ;" + "(" * 5000, Severity.ERROR, "one package a line"),
        ("-r absent.txt", Severity.ERROR, "relative to this file"),
        ("-r", Severity.ERROR, "relative to this file"),
        ("-r ../more.txt", Severity.ERROR, "to the input `include`"),
        ("-c /etc/more.txt", Severity.ERROR, "relative to this file"),
        ("-c notes.md", Severity.ERROR, "relative to this file"),
        ("-x", Severity.ERROR, "without a bullet"),
        ("--no-such-option", Severity.WARNING, "spelling"),
        ("pandas>=1.*", Severity.WARNING, "==1.2.3"),
        ("pandas==1.0-final-2", Severity.WARNING, "==1.2.3"),
    ],
)
def test_a_line_that_pip_cannot_read_is_reported(
    model: Path, line: str, severity: Severity, hint: str
) -> None:
    """The message never quotes the line, because it may hold a password."""
    (model.parent / "more.txt").write_text("blankly\n")
    (model / "notes.md").write_text("blankly\n")
    (model / "requirements.txt").write_text(f"blankly\n\n# why\n{line}\n")
    problem = only(check(model, ignore_files=["*.md"]), severity)
    assert (problem.path, problem.line) == ("requirements.txt", 4)
    assert hint in problem.hint
    assert len(problem.message) < 200


def test_a_mistake_in_an_included_file_is_reported_there(model: Path) -> None:
    (model / "deps").mkdir()
    (model / "deps" / "base.txt").write_text("-r extra.txt\nblankly\n")
    (model / "deps" / "extra.txt").write_text("-r base.txt\n\nno requirement\n")
    (model / "requirements.txt").write_text("-r deps/base.txt\n")
    assert place(only(check(model))) == ("deps/extra.txt", 3, 1)


def test_a_long_chain_of_files_is_followed_to_its_end(model: Path) -> None:
    last = 1500
    (model / "requirements.txt").write_text("-r 1.txt\n")
    for number in range(1, last):
        (model / f"{number}.txt").write_text(f"-r {number + 1}.txt\n")
    (model / f"{last}.txt").write_text("no requirement\n")
    assert only(check(model)).path == f"{last}.txt"


def test_the_number_of_problems_in_requirements_is_limited(model: Path) -> None:
    (model / "requirements.txt").write_text("no requirement\n" * 1000)
    problems = check(model)
    assert [item.line for item in problems] == [1, 2, 3, 4, 5, 5]
    assert problems[-1].severity is Severity.NOTICE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "names no package"),
        ("# nothing\n\n", "names no package"),
        ("--pre\n", "names no package"),
        ("numpy\npandas<2.2\n", "does not name blankly"),
        ("-r more.txt\n", "does not name blankly"),
        ("numpy\n-c bound.txt\n", "does not name blankly"),
    ],
)
def test_requirements_without_blankly_are_a_warning(model: Path, content: str, words: str) -> None:
    """The server needs the package to start the model; a constraint does not install it."""
    (model / "requirements.txt").write_text(content)
    (model / "more.txt").write_text("numpy\n")
    (model / "bound.txt").write_text("blankly<2\n")
    problem = only(check(model), Severity.WARNING)
    assert words in problem.message
    assert problem.path == "requirements.txt"
    assert "blankly" in problem.hint
    installer = Installer(adds_blankly=True)
    assert (
        "install it all the same"
        in only(check(model, installer=installer), Severity.NOTICE).message
    )


@pytest.mark.parametrize(
    "line",
    [
        "own @ git+https://forge.example/me/own@v1 ; python_version > '3.6'",
        "git+https://forge.example/me/own@v1#egg=own",
        "-e git+ssh://git@forge.example/me/own.git@v1#egg=own",
    ],
)
def test_a_repository_is_refused_where_no_git_can_fetch_it(model: Path, line: str) -> None:
    """Before anything runs. A server elsewhere may have git."""
    (model / "requirements.txt").write_text("blankly\n-r more.txt\n")
    (model / "more.txt").write_text(f"# why\n{line}\n")
    problem = only(check(model, installer=Installer(lacks_git=True)))
    assert problem.message == "This comes from a git repository, and there is no git here."
    assert "`own @ https://forge.example/me/own/archive/v1.zip`" in problem.hint
    assert place(problem) == ("more.txt", 2, 1)
    assert "the image of this action" in only(check(model), Severity.NOTICE).message


def test_the_archive_has_no_credentials(model: Path) -> None:
    word = secrets.token_hex(8)
    for user in (f"trader:{word}", word, f"trader:{word}/x", f"{word}:1/2"):
        (model / "requirements.txt").write_text(f"blankly @ git+https://{user}@h.example/me/own\n")
        problem = only(check(model), Severity.NOTICE)
        assert word not in problem.text(), user
        assert "git" in problem.message


# The working directory


def test_another_working_directory_is_a_warning(model: Path) -> None:
    """The documentation and the server disagree about the other paths then."""
    (model / "run").mkdir()
    for name in ("settings.json", "backtest.json"):
        (model / name).rename(model / "run" / name)
    problem = only(check(model, working_directory="./run/"), Severity.WARNING)
    assert "the server takes them from the model's root" in problem.message
    assert place(problem) == ("blankly.json", 2, 23)


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("absent", "The working directory absent does not exist."),
        ("bot.py", "The working directory bot.py is of the wrong kind."),
        ("away", "The working directory away leads out of the model through a link."),
        ("data", "The working directory data is ignored, so it is not in the bundle."),
    ],
)
def test_a_working_directory_is_in_the_model(model: Path, directory: str, words: str) -> None:
    """It is the only error; files missing inside are a consequence."""
    (model / "away").symlink_to("..")
    (model / "data").mkdir()
    (model / "data" / "prices.csv").write_text("")
    problem = only(check(model, working_directory=directory, ignore_files=["data"]))
    assert problem.message == words
    assert place(problem) == ("blankly.json", 2, 23)


# Settings


def test_missing_settings_are_a_warning(model: Path) -> None:
    """The message of the package is quoted, so that a search finds this one."""
    (model / "settings.json").unlink()
    problem = only(check(model), Severity.WARNING)
    assert "settings.json does not exist" in problem.message
    assert "Make sure a settings.json file is placed" in problem.message
    assert problem.path is None


def test_settings_are_looked_for_in_the_working_directory(model: Path) -> None:
    """The package opens ./settings.json where the script runs."""
    (model / "run").mkdir()
    (model / "run" / "prices.csv").write_text("")
    problems = check(model, working_directory="run")
    messages = [item.message for item in problems]
    assert any(message.startswith("run/settings.json does not exist") for message in messages)
    assert any(message.startswith("run/backtest.json does not exist") for message in messages)


def test_ignored_settings_are_missing_settings(model: Path) -> None:
    problem = only(check(model, ignore_files=["settings.json"]), Severity.WARNING)
    assert problem.message.startswith("settings.json is ignored")
    assert "pattern" in problem.hint


def test_missing_backtest_settings_are_mentioned_to_those_who_may_need_them(model: Path) -> None:
    """A screener is never backtested, and settings_path names another file."""
    (model / "backtest.json").unlink()
    assert "backtest.json does not exist" in only(check(model), Severity.NOTICE).message
    assert check(model, type="screener", screener={"schedule": "* * * * *"}) == ()
    assert check(model, backtest_args={"settings_path": "./other.json"}) == ()


@pytest.mark.parametrize("name", ["settings.json", "backtest.json"])
def test_malformed_settings_are_an_error_at_the_mistake(model: Path, name: str) -> None:
    (model / name).write_text('{"settings": {\n  "ftx": {"cash": "USD"\n "tld": "us"}}}')
    problem = only(check(model))
    assert problem.message == 'Not valid JSON: missing comma before "tld".'
    assert place(problem) == (name, 3, 2)


@pytest.mark.parametrize(
    ("content", "words", "severity"),
    [
        (b'{"a": 1, "a": 2}', "appears twice", Severity.WARNING),
        (b'{"a": NaN}', "NaN", Severity.WARNING),
        (b"[]", "does not hold an object", Severity.ERROR),
        (codecs.BOM_UTF8 + b"{}", "byte-order mark", Severity.ERROR),
        (b"", "the file is empty", Severity.ERROR),
        (b"[" * 200_000, "nested", Severity.ERROR),
        (b"{}" + b" " * 1024 * 1024, "larger than 1 MiB", Severity.ERROR),
    ],
)
def test_settings_are_judged_as_the_package_reads_them(
    model: Path, content: bytes, words: str, severity: Severity
) -> None:
    """The package accepts duplicate keys and NaN, but no byte-order mark."""
    (model / "settings.json").write_bytes(content)
    problem = only(check(model), severity)
    assert words in problem.message
    assert problem.path == "settings.json"


def test_secrets_of_the_caller_are_redacted_before_the_cut(model: Path) -> None:
    secret = "x" + secrets.token_hex(120)
    (model / "bot.py").write_text(f"f({secret}=1, {secret}=1)\n")
    (model / "requirements.txt").write_text(f"blankly\n-r {secret}\n")
    (model / "settings.json").write_text(f'{{"a": 1 "{secret}": 2}}')

    problems = check(model, redact=lambda text: text.replace(secret, "***"))

    assert secret[:8] not in repr(problems)
    shown = [problem.path for problem in problems if "***" in problem.message]
    assert shown == ["bot.py", "requirements.txt", "settings.json"]


def test_every_problem_is_reported_at_once(model: Path) -> None:
    (model / "bot.py").unlink()
    (model / "requirements.txt").write_text("no requirement\n")
    (model / "settings.json").write_text("{,}")
    (model / "backtest.json").write_text("")
    (model / "keys.json").write_text(json.dumps({"a": {"b": {"API_KEY": secrets.token_hex(16)}}}))
    assert [item.path for item in check(model)] == [
        "blankly.json",
        "requirements.txt",
        "settings.json",
        "backtest.json",
        "keys.json",
    ]
