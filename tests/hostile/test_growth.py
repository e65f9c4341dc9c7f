"""No text takes a time that grows with its square."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from deploy_action.bundle.selection import select_files
from deploy_action.model.links import without_needless_links
from tests.hostile.readers import READERS
from tests.support.hostile import Attack, an_attack
from tests.support.model_checks import sound_model
from tests.support.torture import Rounds

# A text of 16 times the length may take 100 times as long, and a square takes 256 times.
_SMALL, _LARGE, _MOST = 8_000, 128_000, 100
_LEAST_SECONDS: Final = 2e-3
_FOR_ALL: Final = (
    *(Attack("a", " ", "b"), Attack("", "\n", "x")),
    *(Attack("", "(", ")"), Attack("", "`", " a")),
)
# Texts that took hours, and some that would take others as long.
_SLOW_SCRIPT: Final = Attack("# coding: punycode\nx-", "a", "b")
_KNOWN: Final[dict[str, tuple[Attack, ...]]] = {
    "defused": (
        *(Attack("", "::", ""), Attack("", "##[", ""), Attack("", "\x1b]a", "")),
        *(Attack("", "\x1b[0 ", ""), Attack("", "\r", "")),
    ),
    "told": (Attack("", "*** ", "zz"),),
    "requirements": (_SLOW_SCRIPT, Attack("x[", " ", "y")),
    "requirements of an environment": (_SLOW_SCRIPT, Attack("--index-url", "=", "x")),
    "script": (
        *(_SLOW_SCRIPT, Attack("x = ", "-", "1"), Attack("x", ".a", "")),
        *(Attack("x = 1", " + 1", ""), Attack("x", "()", ""), Attack("x = ", "[", "")),
    ),
    "repository": (Attack("path = a", " ", "b"),),
    "YAML": (Attack("", "{a:", ""), Attack("", "- ", ""), Attack("", "a: ", "b")),
    "JSON": (Attack("", '{"a":', ""), Attack('"', "\\u0", "")),
}


def seconds_of(name: str, attack: Attack, length: int) -> float:
    """Return the processor time of reading a text of about that length."""
    text = attack.text(length // len(attack.unit))
    started = time.thread_time()
    READERS[name](text)
    return time.thread_time() - started


def judge(name: str, attack: Attack) -> None:
    """Fail if a reader takes far longer for a longer text, each time."""
    taken = 0.0
    for _ in range(3):
        most = _MOST * max(_LEAST_SECONDS, seconds_of(name, attack, _SMALL))
        taken = seconds_of(name, attack, _LARGE)
        if taken < most:
            return
    raise AssertionError(f"{name} takes {taken:.1f} s for {attack}")


@pytest.mark.parametrize("name", READERS)
def test_known_attacks_take_no_square_of_their_length(name: str) -> None:
    for attack in (*_FOR_ALL, *_KNOWN.get(name, ())):
        judge(name, attack)


def links_seconds(folder: Path, number: int) -> float:
    """Return the processor time of telling which of so many dead links a model needs."""
    model = sound_model(folder)
    for each in range(number):
        (model / f"link{each}").symlink_to("nowhere")
    (model / "names.txt").write_text("link " * number * 40)
    selection = select_files(model, ())
    started = time.thread_time()
    found = [*without_needless_links(selection)]
    taken = time.thread_time() - started
    assert len(found) == number
    return taken


def test_many_dead_links_take_no_square_of_their_number(tmp_path: Path) -> None:
    small, large = (links_seconds(tmp_path / str(one), one) for one in (250, 4_000))
    assert large < _MOST * max(_LEAST_SECONDS, small)


@pytest.mark.torture(quick=0, weight=3)
def test_no_text_takes_the_square_of_its_length(rounds: Rounds) -> None:
    for chance in rounds:
        judge(chance.choice([*READERS]), an_attack(chance))
        rounds.count("texts")
