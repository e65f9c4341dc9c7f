from __future__ import annotations

import os
import resource
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond this size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_of_an_entry(tmp_path: Path) -> None:
    """The runner would fail the step, whatever it has done."""
    path = tmp_path / "output"
    commands.write_outputs(path, {"before": "1"})
    with files_of_at_most(1_000), pytest.raises(OSError, match="File too large"):
        commands.write_outputs(path, {"status": "deployed", "description": "a\n" * 1_000})
    assert read_entries(path) == {"before": "1"}


def test_a_summary_may_go_to_a_pipe(tmp_path: Path) -> None:
    """On a terminal, people name `/dev/stdout`."""
    path, read = tmp_path / "pipe", list[str]()
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    commands.write_summary(path, "text" * 100_000)
    reader.join()
    assert read == ["text" * 100_000]
