"""What a terminal can show, and what its user wants."""

from __future__ import annotations

import io

import pytest

from deploy_action.report.document import (
    Block,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Quote,
    Table,
    to_text,
)
from deploy_action.text.terminal import Style, Terminal


class OnTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "in_file", "on_terminal"),
    [
        ({}, False, True),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, False, True),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, False, True),
        ({"CLICOLOR_FORCE": "1", "CLICOLOR": "0"}, True, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_the_user_says_whether_there_are_colours(
    environ: dict[str, str], *, in_file: bool, on_terminal: bool
) -> None:
    assert Terminal.of(io.StringIO(), environ).has_colours is in_file
    assert Terminal.of(OnTerminal(), environ).has_colours is on_terminal


def test_a_dumb_terminal_draws_no_line_again() -> None:
    seen = [Terminal.of(OnTerminal(), {"TERM": term}).can_redraw for term in ("xterm", "dumb")]
    assert seen == [True, False]
    assert not Terminal.of(io.StringIO(), {"FORCE_COLOR": "1"}).can_redraw


def test_a_document_has_colours_of_ours_only() -> None:
    document: list[Block] = [
        Heading(["❌ Failed: ", Code("\x1b[2Jbot")]),
        Paragraph(["**Warnings**"]),
        Paragraph(["**Bold** at the start"]),
        Bullets([[Code("\x1b]0;title\x07a")]]),
        Table([["Metric"], ["Value"]], [[["Sharpe"], ["\x1b[31m1.2"]]]),
        Quote("\x1b[1mtheirs"),
    ]
    coloured = to_text(document, paint=Terminal(has_colours=True).painted)
    assert coloured == (
        "\x1b[1;31m❌ Failed: bot\x1b[0m\n"
        "\x1b[2m──────────────\x1b[0m\n\n"
        "\x1b[1mWarnings\x1b[0m\n\n"
        "Bold at the start\n\n"
        "  • a\n\n"
        "\x1b[1m  Metric  Value\x1b[0m\n"
        "  Sharpe  1.2\n\n"
        "  │ theirs\n"
    )


def test_nothing_is_painted_without_colours() -> None:
    assert Terminal().painted("text", Style.BAD) == "text"
    assert Terminal(has_colours=True).painted("", Style.BAD) == ""
