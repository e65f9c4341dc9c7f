from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy_action.text.harmless import cut, defused, one_line, plain, tidy
from tests.support.nasty import nasty_text
from tests.support.runner_protocol import commands_in

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    "text",
    [
        "::error::x",
        " \t\u3000::add-mask::x",
        "\u2003::set-output name=a::b",
        "hello ##[error]x",
        "#\x1b[0m#[error]x",
        "a\r::error::x",
        "a\r\n\r\n::error::x",
        "\x1b[1m::error::x",
        "\x85::error::x",
        "\u2028::stop-commands::x",
        "\x0b\x0c::error::x",
        ":\x1b]0;t\x07:error::x",
    ],
)
def test_no_line_is_a_command(text: str) -> None:
    """Each input is a command, or becomes one without its escape sequences."""
    assert commands_in(text) or commands_in(re.sub("\x1b(\\[\\d*m|\\]0;t\x07)", "", text))
    assert commands_in(defused(text)) == []


@given(nasty_text)
def test_no_text_of_others_issues_a_command(text: str) -> None:
    assert commands_in(defused(text)) == []
    assert commands_in(defused(defused(text))) == []


@given(nasty_text)
def test_defusing_changes_nothing_but_the_marks(text: str) -> None:
    """Text stays readable: a former command has one more space."""
    assert defused(text).replace(" ", "") == plain(text).replace(" ", "")


@given(nasty_text)
@example("\x1b]")
@example("\udfff")
def test_plain_text_has_no_character_that_hides_or_moves_others(text: str) -> None:
    left = {char for char in plain(text) if unicodedata.category(char) in INVISIBLE}
    assert left <= set("\n\t\u200c\u200d")
    assert plain(text).encode("utf-8").decode("utf-8") == plain(text)


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_text_in_any_script_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb\rc\n\td", "a\nb\nc\n\td"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://e.vil\x07link\x1b]8;;\x1b\\", "link"),
        ("\x1b]no end\nof this", "no end\nof this"),
        ("\x1b(Btext\x1b", "text"),
        ("a\0b\x9b", "a\\u0000b\\u009b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d💻 नमस्\u200dते \U0001fae8", "👩\u200d💻 नमस्\u200dते \U0001fae8"),
    ],
)
def test_plain_shows_what_was_written(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_one_line_marks_the_line_breaks() -> None:
    assert one_line("\n one\r\n\ttwo \n") == "one ⏎  two"


@given(nasty_text)
def test_one_line_has_no_line_break(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


@given(nasty_text)
def test_a_tidy_description_can_be_sent(text: str) -> None:
    controls = {char for char in tidy(text) if unicodedata.category(char) in {"Cc", "Cs"}}
    assert controls <= {"\n", "\t"}
    assert len(tidy(text * 100)) <= 2_000
    assert tidy(text) == tidy(text).strip()


def test_cutting_keeps_to_the_length() -> None:
    assert cut("abcd", 4) == "abcd"
    assert cut("abcde", 4) == "abc…"
    assert cut("ab cde", 4) == "ab…"
