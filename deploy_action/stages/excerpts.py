"""Reads the lines of the model that problems point at."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from functools import cache
from importlib.util import decode_source
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.git.committed import CommittedFile, find_committed
from deploy_action.outcome.excerpt import Excerpt, excerpt_of
from deploy_action.regular_files import SourceTree
from deploy_action.text.likely_keys import without_keys

_MOST_EXCERPTS: Final = 10
_LARGEST_SOURCE: Final = 1 << 20


def read_excerpts(
    files: SourceTree,
    packed: Container[str] | None,
    problems: Iterable[Problem],
    line_url: Callable[[CommittedFile, int], str],
    redact: Callable[[str], str],
) -> tuple[Excerpt, ...]:
    """Return the lines around the first ten places in Python files of the model.

    Lines that look as if they held a key are hidden. Other files may hold keys, and so may files
    that were not `packed`, once a server or the model itself names the places; None while nothing
    was. `line_url` returns the page of a line in a commit. `redact` hides the secrets in a source
    and keeps its lines: of a secret that goes over several, an excerpt may have a part. What cannot
    be read, or has no such line, is left out.
    """
    places = dict.fromkeys(
        (one.path, one.line)
        for one in problems
        if one.severity is not Severity.NOTICE
        and one.path
        and one.path.endswith(".py")
        and (packed is None or one.path in packed)
    )
    read = cache(lambda path: _read(files, path, redact))
    excerpts = []
    for path, line in list(places)[:_MOST_EXCERPTS]:
        source, committed = read(path)
        url = line_url(committed, line) if committed and line else ""
        excerpts.append(excerpt_of(source, path, line or 0, url))
    return tuple(one for one in excerpts if one is not None)


def _read(
    files: SourceTree, path: str, redact: Callable[[str], str]
) -> tuple[str, CommittedFile | None]:
    """Return a source, and where the checked-out commit has it; blank if it cannot be read."""
    try:
        data = files.read(path, _LARGEST_SOURCE)
        source = without_keys(redact(decode_source(data)))
        return source, find_committed(files.path(path), data)
    except (OSError, ValueError, LookupError, SyntaxError):
        return "", None
