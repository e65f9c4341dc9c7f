"""Keeps what was measured, section by section, and writes the document and the pictures of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tools.benchmarks.rows import Section
from tools.benchmarks.written.document import document
from tools.benchmarks.written.picture import THEMES, draw

_DATA = "results.json"
_DOCUMENT = "RESULTS.md"
_DIGITS = 5


def read(folder: Path) -> dict[str, Section]:
    """Return the sections that were measured so far, by name."""
    path = folder / _DATA
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Section])


def replace(folder: Path, name: str, section: Section, titles: Mapping[str, str]) -> None:
    """Put a section in the place of the one before it; the others stay as they are."""
    found = {**read(folder), name: section}
    ordered = {one: found[one] for one in titles if one in found}
    folder.mkdir(exist_ok=True)
    rounded = _rounded(msgspec.to_builtins(ordered))
    text = msgspec.json.format(msgspec.json.encode(rounded), indent=1)
    (folder / _DATA).write_bytes(text + b"\n")
    write(folder, titles)


def write(folder: Path, titles: Mapping[str, str]) -> None:
    """Write the document and the pictures of what is kept."""
    for name, text in written(read(folder), titles).items():
        (folder / name).write_text(text, encoding="utf-8")


def written(sections: Mapping[str, Section], titles: Mapping[str, str]) -> dict[str, str]:
    """Return the document and the pictures, by the names of their files."""
    pictures = {f"results-{theme}.svg": draw(sections, theme) for theme in THEMES}
    return {_DOCUMENT: document(sections, titles), **pictures}


def _rounded(value: object) -> object:
    """Round all numbers to digits that may mean something."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
