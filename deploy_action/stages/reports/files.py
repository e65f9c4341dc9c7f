"""Finds and reads the reports that earlier jobs left, for the modes that are given `report-path`.

An artifact may come from anybody: no link is followed, and sizes and numbers are bounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from deploy_action.outcome.forwarding import EarlierReport
from deploy_action.regular_files import read_regular

MOST_BYTES: Final = 64 << 20
"""Of all reports together that are shown; one of a million account values has 50 MB."""

MOST_ENTRIES: Final = 10_000
"""Of files and directories that are looked at."""

_DEEPEST: Final = 4  # an artifact may have folders, and be in one


def report_directory(text: str, environ: Mapping[str, str]) -> Path:
    """Return the path that `report-path` names: in the workspace, else below `RUNNER_TEMP`.

    The output `report` is relative to the latter.
    """
    path = Path(environ.get("GITHUB_WORKSPACE") or ".") / text
    temporary = environ.get("RUNNER_TEMP")
    if temporary and not path.exists() and (below := Path(temporary) / text).exists():
        return below
    return path


def find_reports(path: Path) -> list[str]:
    """Return the names of all `.json` files below a directory, sorted; of a file, its own name."""
    return find_all_reports(path)[0]


def find_all_reports(path: Path) -> tuple[list[str], bool]:
    """Return the names as `find_reports` does, and whether there was nothing more to look at."""
    if path.is_file():
        return [path.name], True
    entries = list(islice(_entries(path), MOST_ENTRIES + 1))
    names = (
        name
        for name, entry in entries[:MOST_ENTRIES]
        if name.endswith(".json") and entry.is_file(follow_symlinks=False)
    )
    return sorted(names), len(entries) <= MOST_ENTRIES


def _entries(
    path: Path, folder: str = "", depth: int = 0
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what is in a directory and in those below it; nothing if it cannot be read."""
    try:
        with os.scandir(path / folder) as entries:
            for entry in entries:
                name = f"{folder}{entry.name}"
                yield name, entry
                if depth < _DEEPEST and entry.is_dir(follow_symlinks=False):
                    yield from _entries(path, f"{name}/", depth + 1)
    except OSError:
        return


def read_reports(
    path: Path, names: list[str], redact: Callable[[str], str]
) -> Iterator[EarlierReport]:
    """Yield the reports with these names; one that cannot be used says why, without secrets."""
    from deploy_action.report.reading import WrongReportError, read_report

    directory = path.parent if path.is_file() else path
    left = MOST_BYTES
    for name in names:
        try:
            data = read_regular(directory / name, left, follow=False)
            left -= len(data)
            yield EarlierReport(name=name, run=read_report(data))
        except OSError as error:
            yield EarlierReport(name=name, problem=f"cannot be read: {error.strerror}")
        except WrongReportError as error:
            yield EarlierReport(name=name, problem=error.in_words(redact))
