from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.text.strict_json import split_member, strict_loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(VALUES)
def test_the_output_of_json_is_read(value: object) -> None:
    assert strict_loads(json.dumps(value, ensure_ascii=True).encode()) == value


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1e400", "[1E+309]", "9" * 301, "9" * 400 + ".0",
     "1" + "0" * 250 + "e99", "-" + "9" * 5_000, "\ufeff1", "[" * 100_000, "", "{a: 1}", "[1,]"],
)  # fmt: skip
def test_invalid_json_and_invalid_numbers_are_refused(text: str) -> None:
    """Python's `json` accepts some of these."""
    with pytest.raises(ValueError):  # noqa: PT011  # each says it in other words
        strict_loads(text.encode())


@pytest.mark.parametrize("data", [b"\xff", '"x"'.encode("utf-16"), '"x"'.encode("utf-32-le")])
def test_only_utf_8_is_read(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each says it in other words
        strict_loads(data)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'["\ud800\ud83d\ude00\\\ud83d", "\n\udfff"]', ["\ufffd😀\\\ufffd", "\n\ufffd"]),
        (r'{"\ude00\ud83d\u0041": "\uD83D\uDE00\\ud800"}', {"\ufffd\ufffdA": "😀\\ud800"}),
    ],
)
def test_a_lone_surrogate_is_replaced(text: str, value: object) -> None:
    assert strict_loads(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "rest", "member"),
    [
        (' {"a": [1, "é"] , "b": {"r": 1}}', {"a": [1, "é"]}, b'{"r": 1}'),
        ('{"b":1e999,"a": 9}', {"a": 9}, b"1e999"),
        (r'{"b": "\ud800"}', {}, rb'"\ufffd"'),
        ('{"a": null}', {"a": None}, None),
    ],
)
def test_a_member_is_split_off_as_it_is(text: str, rest: object, member: bytes | None) -> None:
    others, found = split_member(text.encode(), "b")
    assert (strict_loads(others), found) == (rest, member)


@pytest.mark.parametrize("text", ['[{"b": 1}]', "<html>", "", '{"b": 1', "[" * 100_000])
def test_what_is_not_an_object_stays_whole(text: str) -> None:
    assert split_member(text.encode(), "b") == (text.encode(), None)


@pytest.mark.parametrize("text", ["1e308", "1E-999", "1.7976931348623157e+308", "9" * 300])
def test_large_and_small_numbers_are_read(text: str) -> None:
    value = strict_loads(text.encode())
    assert isinstance(value, int | float)
    assert math.isfinite(value)
