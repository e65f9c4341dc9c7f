"""Each promise of SECURITY.md names the tests that hold it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SECTION = (ROOT / "SECURITY.md").read_text().partition("## What we promise\n")[2]
_SECTION = _SECTION.partition("### What is no promise\n")[0]
PROMISES = re.findall(r"^- .*(?:\n  .*)*", _SECTION, re.MULTILINE)
_TEST = re.compile(r"\[`(test_\w+)`\]\((tests/[\w/]+\.py)\)")


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_names_tests_that_are_there(promise: str) -> None:
    tests = promise.partition("*Held by*")[2]
    named = _TEST.findall(tests)
    assert named
    assert len(named) == tests.count("[")
    for test, path in named:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_there_are_promises_about_each_part() -> None:
    assert len(re.findall(r"^### ", _SECTION, re.MULTILINE)) >= 7
    assert len(PROMISES) > 25
