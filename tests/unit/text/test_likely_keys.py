"""Searching for keys takes time in proportion to the text, whoever wrote it."""

from __future__ import annotations

import pytest

from deploy_action.text.likely_keys import likely_keys

_MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    "piece", [b"xoxb-", b"sk-", b"-", b"a", b"-----BEGIN AAAA ", b"://a:", b"api_key =", b"ghp_"]
)
def test_a_hostile_text_is_searched_to_its_end(piece: bytes) -> None:
    """With a search that goes back over all of it, this would take an hour."""
    text = piece * (_MEGABYTE // len(piece)) + b"T3BlbkFJ PRIVATE KEY-"
    assert likely_keys(text, is_code=False) == []


def test_the_lines_of_many_keys_are_counted_once() -> None:
    line = b'api_key = "%s"\n' % (b"Zx81kqLm" + b"93Pq0aYt")
    assert [key.line for key in likely_keys(line * 20_000)] == list(range(1, 20_001))
