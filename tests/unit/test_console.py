from __future__ import annotations

import contextlib
import io
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given

from deploy_action.console import Console
from deploy_action.errors import Problem, Severity
from deploy_action.inputs.secrets import secrets_of
from deploy_action.text.terminal import Terminal
from tests.support.nasty import nasty_text
from tests.support.runner_protocol import Command, commands_in

TERMINAL = Terminal(width=40, is_terminal=True, can_redraw=True)


@dataclass(slots=True)
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def on_runner(*, verbose: bool = False) -> tuple[Console, Callable[[], str]]:
    stream = io.StringIO()
    return Console(stream=stream, for_runner=True, verbose=verbose), stream.getvalue


def for_people(*, verbose: bool = False) -> tuple[Console, Callable[[], str]]:
    stream = io.StringIO()
    return Console(stream=stream, for_runner=False, verbose=verbose), stream.getvalue


@pytest.mark.parametrize(
    ("start", "names"),
    [(on_runner, ["debug", "group", "error", "endgroup"]), (for_people, [])],
    ids=["on a runner", "on a terminal"],
)
@given(text=nasty_text)
def test_no_text_issues_a_command(
    start: Callable[..., tuple[Console, Callable[[], str]]], names: list[str], text: str
) -> None:
    console, printed = start(verbose=True)
    console.info(text)
    console.debug(text)
    with console.group(text):
        console.problem(Problem(message=text, hint=text, path=text or None))
    assert [command.name for command in commands_in(printed())] == names


def test_secrets_are_masked_before_they_could_be_printed() -> None:
    secret, other = secrets.token_hex(12), secrets.token_hex(12)
    console, printed = on_runner(verbose=True)

    console.mask([secret])
    console.info(f"token {secret}")
    console.mask([secret, other])
    with console.group(f"with {other}"):
        console.debug(secret)
        console.problem(
            Problem(message=f"wrong: {secret}", hint=f"not {other}", path=f"dir/{other}.json")
        )

    lines = printed().splitlines()
    masks = [line for line in lines if line.startswith("::add-mask::")]
    assert lines[0] == f"::add-mask::{secret}"
    assert masks == [f"::add-mask::{secret}", f"::add-mask::{other}"]
    rest = "\n".join(line for line in lines if line not in masks)
    assert secret not in rest
    assert other not in rest
    assert rest.count("***") == 6


def test_a_terminal_gets_no_masks_and_no_secrets() -> None:
    """Nothing masks a terminal's output, so the secret is not printed at all."""
    secret = secrets.token_hex(12)
    console, printed = for_people()
    console.mask([secret])
    console.info(f"token {secret}")
    with console.group(f"title {secret}"):
        console.problem(Problem(message=secret, hint=secret))
    assert printed() == "token ***\ntitle ***\nerror: ***\n  → ***\n"


def test_each_line_of_a_secret_is_hidden() -> None:
    """A server may echo a private key in one line, or line by line."""
    first, second = secrets.token_hex(12), secrets.token_hex(12)
    console, printed = for_people()
    console.mask([f"{first}\n  {second}\n"])
    console.info(f"{second} {first}")
    assert printed() == "*** ***\n"


def test_an_escape_sequence_inside_does_not_save_a_secret() -> None:
    """Removing the sequence joins the halves of the secret."""
    secret = secrets.token_hex(12)
    console, printed = on_runner()
    console.mask([secret])
    console.info(f"{secret[:5]}\x1b[0m{secret[5:]}")
    assert printed().splitlines()[1] == "***"


def test_a_secret_is_hidden_as_json_writes_it() -> None:
    """A server that echoes the keys escapes their line breaks."""
    lines = [secrets.token_hex(12), secrets.token_hex(12)]
    keys = json.dumps({"exchange": {"main": {"key": "\n".join(lines), "umlaut": f"ä{lines[0]}"}}})
    console, printed = on_runner()
    console.mask(secrets_of({"keys-json": keys}))
    masked = len(printed())
    console.info(f"refused: {keys}")
    console.problem(Problem(message=f"refused: {json.dumps(keys)}"))
    assert not [line for line in lines if line in printed()[masked:]]


def test_debug_lines_are_printed_on_request() -> None:
    results = []
    for build in (on_runner, for_people):
        for verbose in (False, True):
            console, printed = build(verbose=verbose)
            console.debug("50%\nof it")
            results.append(printed())
    assert results == ["", "::debug::50%25%0Aof it\n", "", "50%\nof it\n"]


def test_a_group_is_closed_when_something_fails_inside() -> None:
    """Otherwise the following lines would be folded away."""
    console, printed = on_runner()
    with pytest.raises(OSError, match="no"), console.group("Pack"):
        raise OSError("no")
    assert commands_in(printed()) == [Command("group", "Pack"), Command("endgroup")]


def test_problems_have_their_place_on_a_terminal() -> None:
    console, printed = for_people()
    console.path_in_workspace = "bots/a/{}".format

    console.problem(
        Problem(
            message="Wrong.",
            hint="Mend it.",
            path="blankly.json",
            line=3,
            column=7,
            severity=Severity.WARNING,
        )
    )
    console.problem(Problem(message="No place."))

    assert printed() == (
        "warning: bots/a/blankly.json:3:7: Wrong.\n  → Mend it.\nerror: No place.\n"
    )


def test_problems_have_their_place_on_the_runner() -> None:
    """The path of an annotation starts at the repository's root."""
    console, printed = on_runner()
    console.path_in_workspace = "bots/a/{}".format
    console.problem(Problem(message="Wrong.", hint="Mend it.", path="blankly.json", line=3))
    properties = {"title": "Blankly deploy failed", "file": "bots/a/blankly.json", "line": "3"}
    assert commands_in(printed()) == [Command("error", "Wrong. Mend it.", properties)]


def on_terminal(terminal: Terminal = TERMINAL) -> tuple[Console, Clock, Callable[[], str]]:
    stream, clock = io.StringIO(), Clock()
    console = Console(stream=stream, for_runner=False, terminal=terminal, clock=clock)
    return console, clock, stream.getvalue


def test_a_terminal_has_a_bar() -> None:
    console, clock, printed = on_terminal()
    report = console.progress("Uploading")

    for step in range(101):
        report(step * 10_000, 1_000_000)
        clock.now += 0.01
    console.info("done")

    frames = printed().split("\r")[1:]
    assert 10 <= len(frames) <= 13
    assert all(frame.startswith("Uploading ") for frame in frames)
    assert frames[0].startswith("Uploading ░")
    last, *after = frames[-1].split("\n")
    assert last == f"Uploading {'█' * 24} 100% of 1.0 MB, 1.0 MB/s\x1b[K"
    assert after == ["done", ""]


def test_a_bar_ends_at_100_per_cent_even_below_a_line() -> None:
    """Its last step may come at once after a line, which removed the bar."""
    console, _, printed = on_terminal()
    show = console.share_progress("Backtesting")
    for share in (0.7, 0.72, 1.0, 1.0):
        show(share, "")
        if share == 0.72:
            console.info("a line of the model")
    console.info("done")
    assert printed().split("\n")[1:] == [f"\rBacktesting {'█' * 24} 100%\x1b[K", "done", ""]


def test_a_small_bundle_is_measured_in_what_it_has() -> None:
    """It took no time that could be measured, either."""
    console, _, printed = on_terminal()
    console.progress("Packing")(29_400, 29_400)
    assert printed() == f"\rPacking {'█' * 24} 100% of 29.4 kB\x1b[K"


def test_a_bar_is_ended_when_the_group_fails() -> None:
    """It stays where it was."""
    console, _, printed = on_terminal()
    with contextlib.suppress(OSError), console.group("Send"):
        console.progress("Uploading")(1, 2)
        raise OSError
    assert printed().endswith(" 50% of 2 bytes\x1b[K\n")


@pytest.mark.parametrize("terminal", [Terminal(), Terminal(is_terminal=True)], ids=["file", "dumb"])
def test_where_no_line_can_be_drawn_again_there_is_no_bar(terminal: Terminal) -> None:
    console, clock, printed = on_terminal(terminal)
    report = console.progress("Packing")
    clock.now += 11
    report(1, 2)
    assert printed() == "Packing: 50% of 2 bytes, 0.0 MB/s\n"


def test_a_terminal_with_colours_has_severities_and_titles_in_them() -> None:
    console, _, printed = on_terminal(Terminal(has_colours=True))
    with console.group("\x1b[31mCheck"):
        for severity in Severity:
            console.problem(Problem(message="\x1b[7mOdd", severity=severity))
    assert printed().splitlines() == [
        "\x1b[1mCheck\x1b[0m",
        "\x1b[1;31merror:\x1b[0m Odd",
        "\x1b[1;33mwarning:\x1b[0m Odd",
        "\x1b[1;36mnotice:\x1b[0m Odd",
    ]


def test_a_problem_is_wrapped_for_a_terminal() -> None:
    console, _, printed = on_terminal()
    console.problem(Problem(message="a " * 20 + "b", hint="Mend " * 9 + "https://host.example/x"))
    assert printed() == (
        "error: a a a a a a a a a a a a a a a a a\n"
        "    a a a b\n"
        "  → Mend Mend Mend Mend Mend Mend Mend\n"
        "    Mend Mend https://host.example/x\n"
    )


@pytest.mark.parametrize("build", [on_runner, for_people])
def test_a_log_gets_a_line_every_ten_seconds(
    build: Callable[[], tuple[Console, Callable[[], str]]],
) -> None:
    console, printed = build()
    console.clock = clock = Clock()
    report = console.progress("Uploading")
    for step in range(201):
        report(step * 1_250_000, 250_000_000)
        clock.now += 0.125
    assert printed() == (
        "Uploading: 40% of 250.0 MB, 10.0 MB/s\nUploading: 80% of 250.0 MB, 10.0 MB/s\n"
    )
