from __future__ import annotations

import secrets
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy_action.errors import Severity
from deploy_action.github import commands
from tests.support.nasty import nasty_text
from tests.support.runner_protocol import Command, commands_in, read_entries

TITLE = {"title": "Blankly deploy failed"}


@given(nasty_text, nasty_text)
def test_a_command_carries_any_text_to_the_runner(message: str, value: str) -> None:
    line = commands.command("notice", message, title=value)
    assert commands_in(line) == [Command("notice", message, {"title": value})]


def test_properties_without_a_value_are_left_out() -> None:
    assert commands.command("error", "m", file=None, line=0, title="") == "::error line=0,title=::m"
    assert commands.command("endgroup") == "::endgroup::"


def test_an_annotation_points_to_its_place() -> None:
    line = commands.annotation(
        Severity.ERROR, "100% wrong\nindeed", file="a,b:c.json", line=3, column=7
    )
    properties = {**TITLE, "file": "a,b:c.json", "line": "3", "col": "7"}
    assert commands_in(line) == [Command("error", "100% wrong\nindeed", properties)]
    assert "\n" not in line


@pytest.mark.parametrize("severity", Severity)
def test_an_annotation_needs_no_place(severity: Severity) -> None:
    (command,) = commands_in(commands.annotation(severity, "m"))
    assert command.name == severity.value
    assert set(command.properties) == {"title"}


def test_each_line_of_a_secret_is_masked() -> None:
    """A log shows a key of several lines line by line."""
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    lines = commands.mask_commands(f" {first}\r\n\n  {second}\n{first}\n")
    assert [one for line in lines for one in commands_in(line)] == [
        Command("add-mask", first),
        Command("add-mask", second),
    ]


def test_a_lone_brace_is_not_masked() -> None:
    """Otherwise every brace of the log would be masked."""
    secret = secrets.token_hex(8)
    lines = commands.mask_commands(f'{{\n  "key": "{secret}%"\n}}\n,\n')
    assert lines == [f'::add-mask::"key": "{secret}%25"']
    assert commands.mask_commands(" \n") == []


names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)


@given(st.dictionaries(names, nasty_text, max_size=4))
@example({"a": "x\nEOF\nb=c", "b": "1=2<<3", "c": "<<EOF", "d": "", "e": "\n", "f": "a\r\nb\r"})
@example({"a": "ghadelimiter_0\n=\n<<\n"})
def test_outputs_are_read_back_unchanged(outputs: dict[str, str]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "output"
        path.write_bytes("earlier=漢字\n".encode())
        commands.write_outputs(path, outputs)
        valid = {name: value.encode("utf-8", "replace").decode() for name, value in outputs.items()}
        assert read_entries(path) == {"earlier": "漢字", **valid}


def test_a_value_cannot_guess_its_delimiter(tmp_path: Path) -> None:
    for name in ("one", "two"):
        commands.write_outputs(tmp_path / name, {"a": "1\n2"})
    delimiters = {(tmp_path / name).read_text().splitlines()[0] for name in ("one", "two")}
    assert len(delimiters) == 2
    assert all(len(line.partition("<<")[2]) >= 32 for line in delimiters)


def test_a_summary_is_appended_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    commands.write_summary(path, "漢字\r\n\ud800\n")
    assert path.read_bytes() == "before\n漢字\r\n?\n".encode()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        commands.write_outputs(tmp_path, {"a": "b"})
