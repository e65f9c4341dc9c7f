"""The pointer that git has in the place of a file in Git LFS.

Its form is fixed: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import re
from typing import Final

from deploy_action.lazy.patterns import lazy_regex

SMALLEST: Final = 120  # bytes: the three lines with an id and one digit of a size
LARGEST: Final = 1_023  # bytes
_POINTER: Final = lazy_regex(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"(?P<extensions>(?:ext-.+\n)*)"
    rb"oid sha256:(?P<oid>[0-9a-f]{64})\n"
    rb"size (?P<size>[0-9]{1,18})\n?"
)


def parse_pointer(data: bytes) -> re.Match[bytes] | None:
    """Return the parts `oid`, `size` and `extensions` of a pointer; None for any other data."""
    return _POINTER.fullmatch(data) if len(data) <= LARGEST else None
