"""An exception of a model becomes words, a place in its files, and a way out."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import requests

from deploy_action.platform.model_process.blankly_run.faults import (
    Fault,
    ModelFiles,
    in_words,
    without_own_frames,
)
from deploy_action.platform.model_process.blankly_run.strict_json import write_json


class Unreadable(dict[str, object]):
    def items(self) -> NoReturn:
        raise KeyError("items")


def raised(root: Path, name: str, source: str) -> BaseException:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    try:
        exec(compile(source, str(path), "exec"), {"__name__": "model", "__file__": str(path)})  # noqa: S102  # the test's own
    except BaseException as error:  # noqa: BLE001  # it is what is asked for
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture
def fault(tmp_path: Path) -> Callable[..., Fault]:
    def describe(source: str, name: str = "bot.py") -> Fault:
        return ModelFiles(str(tmp_path)).fault(raised(tmp_path, name, source))

    return describe


def test_the_place_is_the_deepest_line_of_the_model(fault: Callable[..., Fault]) -> None:
    found = fault("import json\n\njson.loads('{')\n", "strategies/mean.py")
    assert (found.path, found.line) == ("strategies/mean.py", 3)
    assert found.words.startswith("json.decoder.JSONDecodeError: Expecting property name")


@pytest.mark.parametrize("name", ["venv/lib/site-packages/library.py", "../outside.py"])
def test_a_library_is_not_the_model(fault: Callable[..., Fault], name: str) -> None:
    found = fault("1 / 0", name)
    assert (found.path, found.line) == (None, None)
    assert found.words == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    "compiled",
    [
        "compile('1 / 0', 'x.py', 'exec')",  # no such file
        "compile('1 / 0', 'pandas/_libs/tslibs/parsing.pyx', 'exec')",
        "compile('\\n' * 9 + '1 / 0', __file__, 'exec')",  # the file has no tenth line
        "compile('1 / 0', 'queue', 'exec')",  # not a regular file
        "compile('1 / 0', '.', 'exec')",
        "'1 / 0'",
    ],
)
def test_the_place_is_a_line_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: str
) -> None:
    """Compiled modules name their sources, relative to where they were built."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("queue")
    source = f"__file__ = {str(tmp_path / 'bot.py')!r}\n\nexec({compiled})\n"
    error = raised(tmp_path, "bot.py", source)
    assert ModelFiles(str(tmp_path)).place(error) == ("bot.py", 3)


OWN = "class Own(Exception):\n    "
OWN_META = "class Own(Exception, metaclass=Meta): pass\nraise Own('x')"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (OWN + "def __str__(self): raise SystemExit(3)\nraise Own", "Own: Own"),
        (OWN + "def __str__(self): raise KeyboardInterrupt\nraise Own", "Own: Own"),
        ("raise ValueError(16**6_000)", "ValueError: ValueError"),
        ("error = SyntaxError('x')\nerror.filename = 5\nraise error", "SyntaxError: x"),
        ("error = SyntaxError('x')\nerror.filename = '\\0'\nraise error", "SyntaxError: x"),
        ("raise ModuleNotFoundError('x', name=16**6_000)", "ModuleNotFoundError: x"),
        (OWN + "__cause__ = property(lambda self: 1 / 0)\nraise Own('x')", "Own: x"),
        (OWN + "__traceback__ = property(lambda self: 1 / 0)\nraise Own('x')", "Own: x"),
        (OWN + "pass\nOwn.__module__ = 5\nraise Own('x')", "5.Own: x"),
        (
            "class Meta(type): __module__ = property(lambda self: 1 / 0)\n" + OWN_META,
            "an exception that cannot be shown",
        ),
    ],
)
def test_no_exception_of_a_model_makes_its_description_fail(
    tmp_path: Path, source: str, words: str
) -> None:
    found = ModelFiles(str(tmp_path)).fault(raised(tmp_path, "bot.py", source))
    assert found.words.removeprefix("model.") == words
    assert found.path in {None, "bot.py"}


def test_a_cause_may_have_the_place_in_the_model(tmp_path: Path) -> None:
    cause = raised(tmp_path, "bot.py", "\n\n1 / 0")
    error = RuntimeError("a callback failed")
    error.__cause__ = cause
    assert ModelFiles(str(tmp_path)).place(error) == ("bot.py", 3)


def test_a_chain_of_causes_may_be_a_circle(tmp_path: Path) -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert ModelFiles(str(tmp_path)).fault(first).words == "ValueError: first"
    without_own_frames(first)


def test_our_own_frames_are_taken_out_wherever_they_are(tmp_path: Path) -> None:
    try:
        write_json(str(tmp_path), Unreadable())
    except KeyError as error:
        without_own_frames(error)
        frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    else:
        raise AssertionError
    assert [code.co_name for code in frames[:2]] == [
        "test_our_own_frames_are_taken_out_wherever_they_are",
        "items",
    ]
    assert not any("blankly_run" in code.co_filename for code in frames)


def test_the_line_that_led_to_a_call_is_the_innermost_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "bot.py"
    path.write_text("\n\nlibrary()")
    files = ModelFiles(str(tmp_path))
    found: list[object] = []

    def library() -> None:
        found.append(files.caller(sys._getframe()))  # noqa: SLF001  # the documented way in

    exec(compile("\n\nlibrary()", str(path), "exec"), {"library": library})  # noqa: S102  # as above
    found.append(files.caller(sys._getframe()))  # noqa: SLF001  # as above

    assert found == [("bot.py", 3), (None, None)]


def test_messages_are_one_short_line() -> None:
    """They become an annotation."""
    assert in_words(ValueError("a\n  b")) == "ValueError: a b"
    assert in_words(KeyError("BTC")) == "KeyError: 'BTC'"
    assert in_words(RuntimeError()) == "RuntimeError"
    assert len(in_words(ValueError("x" * 10_000))) < 600


@pytest.mark.parametrize("before", range(470, 505, 7))
def test_no_half_of_a_secret_is_left_where_a_message_is_cut(before: int) -> None:
    """The platform hides what is there whole."""
    secret = "s" * 40
    words = in_words(ValueError(f"{'x' * before} {secret} and more"))
    assert words.count("s") in {0, 40}


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("import no_such_package", "`no_such_package` to the requirements"),
        ("from json import no_such_name", "versions that the model was written for"),
        ("raise ValueError('numpy.dtype size changed, may')", "numpy<2"),
        ("open('prices.csv')", "ignore_files"),
        ("open(__file__ + '.csv')", "ignore_files"),
        ("open('/nowhere/prices.csv')", "removed after it"),
        ("open('C:\\\\prices.csv')", "removed after it"),
        ("raise PermissionError(13, 'Permission denied', '/root/x')", "removed after it"),
        ("raise type('E', (Exception,), {'code': 451})('x')", "refuses requests from where"),
        ("raise type('E', (Exception,), {'code': 404})('x')", ""),
        ("open('./settings.json')", "Put settings.json into"),
        ("raise FileNotFoundError('Make sure a Keys.json file is placed')", "`keys-json`"),
        ("raise KeyError(\"Cannot find exchange 'alpaca' the keys file.\")", "`keys-json`"),
        ("class AuthError(Exception): pass\nraise AuthError", "`keys-json`"),
        ("raise RuntimeError('401 Unauthorized')", "`keys-json`"),
        ("raise ConnectionRefusedError", "over the network"),
        ("raise ValueError('No data given. Try')", "start_date"),
        ("raise ValueError('negative size')", ""),
    ],
)
def test_known_problems_have_a_hint(fault: Callable[..., Fault], source: str, hint: str) -> None:
    found = fault(source).hint
    assert hint in found
    assert bool(found) is bool(hint)


@pytest.mark.parametrize(
    "error",
    [requests.ConnectTimeout(), requests.exceptions.SSLError(), socket.gaierror(-2, "unknown")],
    ids=lambda error: type(error).__name__,
)
def test_an_unreachable_exchange_is_recognised(tmp_path: Path, error: Exception) -> None:
    """They are recognised without importing those libraries."""
    wrapped = RuntimeError("no bars")
    wrapped.__cause__ = error
    assert "over the network" in ModelFiles(str(tmp_path)).fault(wrapped).hint
