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


KEY = "Zx81kqLm" + "93Pq0aYt"


@pytest.mark.parametrize(
    "line",
    [
        *(f"t = 'gh{kind}_{KEY * 3}'" for kind in "pousr"),
        f'token = "{"qwertzui" * 2}"',  # letters alone
        f"API_KEY =    '{KEY}'",
        f'api_key: str =\t"{KEY}"',
        f'config["secret"]:"{KEY}"',
        f'text = "{{\\"api_key\\": \\"{KEY}\\"}}"',
        f"private_key = \\'{KEY}",
        f'names["{"a" * 8}"]=token="{KEY}"',
        f'("{KEY * 4}","x")',
        f'("x-{"a" * 8}"+"{KEY * 4}")',
        f'{"A" * 100} token="{KEY}"',
    ],
)
def test_shortcuts_miss_no_key(line: str) -> None:
    """Most values are not looked at one by one."""
    if line.endswith(KEY):
        line += "\\'"
    found = likely_keys(f"import blankly\n{line}\n".encode())
    assert [key.line for key in found] == [2]
    assert found[0].value in line


@pytest.mark.parametrize(
    "line",
    [
        f'name = "{KEY}"',
        f'print("{KEY}", token)',
        f'token("{KEY}")',
        f'token = {"x" * 90} = "{KEY}"',
        f"ghx_{KEY * 3}",
        'token = "successful-words"',
        f'token = "a {KEY}"',
        f'["token"="{KEY}',
    ],
)
def test_what_is_no_key_or_has_no_such_name_is_not_found(line: str) -> None:
    assert likely_keys(f"{line}\n".encode()) == []
