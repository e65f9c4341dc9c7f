from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.text.strict_json import LONGEST_TOKEN, JsonText, strict_loads, strict_text

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


@given(VALUES)
def test_json_that_stays_text_keeps_its_values(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        try:
            data = text.encode()
        except UnicodeEncodeError:
            continue
        (line,) = "".join(JsonText(strict_text(data)).blocks()).splitlines()
        assert line.isascii()
        assert json.loads(line) == value


def test_texts_are_rewritten_wherever_they_are() -> None:
    text = json.dumps({"secret": ["a secret", r"\"secret\" \\ é", {"b": "x"}]}).encode()
    written = JsonText(strict_text(text.replace(b"x", rb"\u0073ecret")))
    shown = written.rewritten(lambda one: one.replace("secret", "***")).rewritten(str.upper)
    assert json.loads("".join(shown.blocks())) == {"***": ["A ***", r"\"***\" \\ É", {"B": "***"}]}


@pytest.mark.parametrize("filler", ["", '"', "\\", "1", "\\\\", "é", "true", " "])
def test_text_is_cut_into_blocks_between_tokens(filler: str) -> None:
    """At the end of the first MiB there is a text, an escape or a number."""
    items = [filler * n for n in range(40)] + [10**n for n in range(40)] + [[], {}, None, True]
    start = LONGEST_TOKEN - len(json.dumps(items)) // 2
    value = ["-" * (start - 5), items, items, "secret"]
    data = json.dumps(value, ensure_ascii=False).encode()
    blocks = list(JsonText(strict_text(data)).rewritten(lambda one: one + "+").blocks())
    assert len(blocks) > 1

    def undone(one: object) -> object:
        if isinstance(one, list):
            return [undone(inner) for inner in one]
        return one.removesuffix("+") if isinstance(one, str) else one

    assert undone(json.loads("".join(blocks))) == value


@pytest.mark.parametrize(
    "item", ["1e999", "9" * 301, "1" + "0" * 250 + "e99", '"\xff"', '"' + "x" * LONGEST_TOKEN + '"',
             "1" * LONGEST_TOKEN, "0." + "1" * LONGEST_TOKEN]
)  # fmt: skip
def test_invalid_parts_are_found_anywhere(item: str) -> None:
    data = b'["' + b"x" * (LONGEST_TOKEN - 10) + b'", 1e9, ' + item.encode("latin-1") + b"]"
    with pytest.raises(ValueError):  # noqa: PT011  # each says it in other words
        strict_text(data)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "10.25E+0400", "-0.5e1000"])
@pytest.mark.parametrize("before", ["[", "[1,", "[ ", "[1,\n", "[1,\t", "[1,\r", '[{"12e456":'])
def test_numbers_that_are_too_large_are_found_behind_anything(before: str, number: str) -> None:
    after = "}]" if "{" in before else "]"
    with pytest.raises(ValueError, match="too large"):
        strict_loads(f"{before}{number}{after}".encode())


@pytest.mark.parametrize(
    "text",
    [", 1e999", "9" * 400, "1E+999 9", "\\1e999", "12e45678-0e123-1e999-9e999-12e456789012"],
)
def test_a_text_that_looks_like_a_number_is_no_number(text: str) -> None:
    assert strict_loads(json.dumps([text, "8e123456"]).encode()) == [text, "8e123456"]


@pytest.mark.parametrize("text", ["1e308", "1E-999", "1.7976931348623157e+308", "9" * 300])
def test_large_and_small_numbers_are_read(text: str) -> None:
    value = strict_loads(text.encode())
    assert isinstance(value, int | float)
    assert math.isfinite(value)
