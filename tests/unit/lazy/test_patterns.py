"""Regular expressions that are compiled late: what they find, and when they are compiled."""

from __future__ import annotations

import re

import pytest

from deploy_action.lazy.patterns import lazy_regex


def test_it_finds_what_a_compiled_pattern_finds() -> None:
    text = "one = 1\nTwo = 22\n"
    form = (r"^(?P<name>[a-z]+) = (\d+)$", re.IGNORECASE | re.MULTILINE)
    lazy, compiled = lazy_regex(*form), re.compile(*form)
    assert [found.groupdict() for found in lazy.finditer(text)] == [
        {"name": "one"},
        {"name": "Two"},
    ]
    assert lazy.findall(text, 8) == compiled.findall(text, 8) == [("Two", "22")]
    assert lazy.sub(r"\2", text) == compiled.sub(r"\2", text) == "1\n22\n"
    assert (lazy.pattern, lazy.flags, lazy.groups) == (form[0], compiled.flags, 2)
    assert lazy.fullmatch(text) is None


def test_bytes_are_searched_with_a_pattern_of_bytes() -> None:
    found = lazy_regex(rb"[0-9a-f]{4}").search(b"id beef")
    assert found is not None
    assert found[0] == b"beef"


def test_a_pattern_is_compiled_once_when_it_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_pattern, compiled = re.compile, list[object]()

    def note_and_compile(pattern: str, flags: int) -> re.Pattern[str]:
        compiled.append(pattern)
        return compile_pattern(pattern, flags)

    monkeypatch.setattr(re, "compile", note_and_compile)
    lazy = lazy_regex("a+")
    assert lazy.pattern == "a+"
    assert compiled == []
    assert lazy.match("aab")
    assert lazy.match("b") is None
    assert compiled == ["a+"]


def test_a_wrong_pattern_fails_when_it_is_used() -> None:
    wrong = lazy_regex("(")
    with pytest.raises(re.error, match="missing"):
        wrong.search("any")
