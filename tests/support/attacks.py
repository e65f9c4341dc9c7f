"""What came of the attacks of `hostile_model.py`, as it printed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOSTILE = Path(__file__).with_name("hostile_model.py").read_text("utf-8")
_NUMBER = HOSTILE.count("\n@attack\n")


def told(text: str) -> dict[str, dict[str, Any]]:
    """Return what came of each attack, by its name; make sure that none is missing."""
    lines = [line.partition("ATTACK ")[2] for line in text.splitlines() if "ATTACK {" in line]
    found = {one["attack"]: one for one in map(json.loads, lines)}
    assert len(found) == _NUMBER
    return found


def successes(text: str) -> dict[str, object]:
    """Return what attacks got, of those that got anything."""
    return {name: one["got"] for name, one in told(text).items() if one["got"]}


def words_after(text: str, word: str) -> list[str]:
    """Return what follows a word at the end of lines."""
    return [line.split()[-1] for line in text.splitlines() if line.split()[-2:-1] == [word]]
