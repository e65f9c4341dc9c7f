"""The strict JSON reader: it agrees with the standard library, and says where everything is."""

from __future__ import annotations

import json
import math
import time
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.text.located_json import MAX_DEPTH, MAX_PROBLEMS, JsonValue, parse_json

CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    SCALARS | CHARACTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CHARACTERS, inner, max_size=4),
    max_leaves=20,
)
# Pieces that make documents which are nearly JSON far more often than random characters do.
PIECES = st.sampled_from(
    [*'{}[]:,"\\ \n\t-+.0123', *"ex'#/\u00a0\x01", '"a"', "true", "nul", "null", "1e5", "\\u00e9"]
)


def stdlib_reads(text: str) -> tuple[bool, JsonValue]:
    """Whether the standard library reads a document; NaN, infinity and duplicates are refused."""

    def refuse(_: str) -> NoReturn:
        raise ValueError

    def finite(literal: str) -> float:
        if math.isinf(float(literal)):
            raise ValueError
        return float(literal)

    def unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        return True, json.loads(
            text, parse_constant=refuse, parse_float=finite, object_pairs_hook=unique
        )
    except ValueError:
        return False, None


def only_problem(text: str | bytes) -> tuple[str, int | None, int | None]:
    document = parse_json(text if isinstance(text, bytes) else text.encode())
    assert len(document.problems) == 1, document.problems
    problem = document.problems[0]
    assert problem.hint
    return problem.message, problem.line, problem.column


@given(VALUES, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_it_reads_every_document_as_the_standard_library_does(
    value: JsonValue,
    indent: int | str | None,
    escape: bool,  # noqa: FBT001 - hypothesis draws it
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escape)
    document = parse_json(text.encode())
    assert document.problems == ()
    assert document.readable
    assert document.value == json.loads(text)
    assert json.dumps(document.value) == json.dumps(json.loads(text))  # 1, 1.0 and True differ


@given(st.lists(PIECES, max_size=12).map("".join))
def test_it_refuses_what_the_standard_library_refuses_and_nothing_else(text: str) -> None:
    """Both agree which of many near-JSON documents are valid."""
    valid, value = stdlib_reads(text)
    document = parse_json(text.encode())
    assert (not document.problems) == valid
    if valid:
        assert document.value == value


@given(st.binary(max_size=40))
def test_no_bytes_raise_an_exception(data: bytes) -> None:
    document = parse_json(data)
    assert document.readable or document.problems
    assert all(problem.line and problem.column for problem in document.problems)


@given(VALUES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_the_place_of_every_value_is_where_its_text_starts(value: JsonValue, newline: str) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False).replace("\n", newline)
    lines = text.split(newline)
    document = parse_json(text.encode())

    def check(value: JsonValue, path: tuple[str | int, ...]) -> None:
        place = document.locate(*path)
        assert place is not None
        rest = newline.join([lines[place[0] - 1][place[1] - 1 :], *lines[place[0] :]])
        found, _ = json.JSONDecoder().raw_decode(rest)
        assert found == value
        if isinstance(value, dict):
            for key, item in value.items():
                key_place = document.locate_key(*path, key)
                assert key_place is not None
                key_text = lines[key_place[0] - 1][key_place[1] - 1 :]
                assert json.JSONDecoder().raw_decode(key_text)[0] == key
                check(item, (*path, key))
        if isinstance(value, list):
            for index, item in enumerate(value):
                check(item, (*path, index))

    check(value, ())


def test_columns_count_code_points_and_neither_the_byte_order_mark_nor_bytes() -> None:
    document = parse_json('\ufeff{\r\n\t"é": "🙂",\t"b": [1, {"c": 2}]\r\n}'.encode())
    assert document.problems == ()
    assert document.locate() == (1, 1)
    assert document.locate_key("é") == (2, 2)
    assert document.locate("é") == (2, 7)
    assert document.locate("b", 1, "c") == (2, 27)


def test_absent_values_and_keys_have_no_place() -> None:
    document = parse_json(b'{"a": [1], "b": {}}')
    for path in [("c",), ("a", 1), ("a", -1), ("a", "x"), ("b", 0), ("a", 0, "x"), ("c", "d")]:
        assert document.locate(*path) is None
        assert document.locate_key(*path) is None
    assert document.locate_key() is None
    assert document.locate_key("a", 0) is None


@pytest.mark.parametrize(
    ("text", "words", "line", "column"),
    [
        ('{\n "a": 1,\n}', 'a trailing comma before "}"', 2, 8),
        ("[1, 2,]", 'a trailing comma before "]"', 1, 6),
        ("[1,,2]", "a comma too many", 1, 4),
        ("[,1]", "a comma too many", 1, 2),
        ("[,]", "a comma too many", 1, 2),
        ('{"a": 1}\n// why', "a comment: JSON has none", 2, 1),
        ('{ # why\n"a": 1}', "a comment: JSON has none", 1, 3),
        ('{"a": /* why\n */ 1}', "a comment: JSON has none", 1, 7),
        ('{"a": 1}/* open', "a comment: JSON has none", 1, 9),
        ('{"a": 1\n "b": 2}', 'missing comma before "b"', 2, 2),
        ("[1 {}]", "missing comma before the next value", 1, 4),
        ('{"a": 1 {}}', '"{" where a comma or "}" is expected', 1, 9),
        ('["a" "b"]', "missing comma before the next value", 1, 6),
        ("[1 2]", "missing comma before the next value", 1, 4),
        ('{"a": 1, "b": 2, "a": 3}', 'the key "a" appears twice, first in line 1, column 2', 1, 18),
        ('{"a": NaN}', "NaN: JSON has no such number", 1, 7),
        ("[Infinity]", "Infinity: JSON has no such number", 1, 2),
        ("[-Infinity]", "-Infinity: JSON has no such number", 1, 2),
        ("{'a': 1}", "single quotes", 1, 2),
        ("['a']", "single quotes", 1, 2),
        ("['a]", "single quotes", 1, 2),
        ('{"a": True}', "True: JSON spells it true", 1, 7),
        ('{"a": maybe}', "text without double quotes", 1, 7),
        ("{a: 1}", "a key without double quotes", 1, 2),
        ("{1: 1}", '"1" where a key in double quotes is expected', 1, 2),
        ('{"a" 1}', "missing colon after a key", 1, 6),
        ('{"a"', "missing colon after a key", 1, 5),
        ('{"a": 007}', "a number with a leading zero", 1, 7),
        ("[-01]", "a number with a leading zero", 1, 2),
        ("[+1]", "a number with a plus sign", 1, 2),
        ("[1.]", "a number with no digit before or after its point", 1, 2),
        ("[.5]", "a number with no digit before or after its point", 1, 2),
        ("[1_000]", "something that starts like a number but is not one", 1, 2),
        ("[1e999]", "a number too large to be read", 1, 2),
        ("[" + "9" * 5000 + "]", "a number too large to be read", 1, 2),
        ("[-" + "9" * 310 + "]", "a number too large to be read", 1, 2),
        ('["a\tb"]', "a tab inside a string", 1, 4),
        ('["a\x01b"]', "the control character U+0001 inside a string", 1, 4),
        ('["a\n"]', "a string without a closing quote", 1, 2),
        ('["a', "a string without a closing quote", 1, 2),
        (r'["C:\Users"]', "a backslash that starts no escape JSON knows", 1, 5),
        (r'["\u12"]', "a backslash that starts no escape JSON knows", 1, 3),
        (r'["\ud83d"]', "half a character", 1, 2),
        ("", "the file is empty", 1, 1),
        ("\ufeff \r\n\t", "the file is empty", 1, 1),
        ("{} {}", "something follows the end of the document", 1, 4),
        ('{"a": }', '"}" where a value is expected', 1, 7),
        ('{"a":', "the file ends where a value is expected", 1, 6),
        ("[\u201ca\u201d]", "a curly quote", 1, 2),
        ("[1;2]", '";" where a comma or "]" is expected', 1, 3),
        ("[\u200b1]", "U+200B where a value is expected", 1, 2),
        (
            '{\n"a": [1',
            "the file ends, but the list that starts in line 2, column 6, is not closed",
            2,
            8,
        ),
        (
            '{"a": 1',
            "the file ends, but the object that starts in line 1, column 1, is not closed",
            1,
            8,
        ),
        ("[1}", '"}" where "]" has to close the list that starts in line 1, column 1', 1, 3),
        (b'{"a":\n "\xe9"}', "byte 0xE9 is not UTF-8", 2, 3),
        ('{"a": 1}'.encode("utf-16"), "it is encoded as UTF-16", 1, 1),
    ],
)
def test_each_mistake_is_reported_at_its_place(
    text: str | bytes, words: str, line: int, column: int
) -> None:
    message, found_line, found_column = only_problem(text)
    assert message.startswith(f"Not valid JSON: {words}")
    assert (found_line, found_column) == (line, column)


def test_recoverable_mistakes_are_reported_together() -> None:
    document = parse_json(
        b'{\n  "a": 01, // one\n  \'b\': True\n  "c": [1, NaN,],\n  "c": None,\n}\n'
    )

    assert [(problem.line, problem.column) for problem in document.problems] == [
        (2, 8),
        (2, 12),
        (3, 3),
        (3, 8),
        (4, 3),
        (4, 12),
        (4, 15),
        (5, 3),
        (5, 8),
        (5, 12),
    ]
    assert document.readable
    assert document.value == {"a": 0, "b": True, "c": None}


def test_nesting_is_bounded() -> None:
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).problems == ()
    for depth in (MAX_DEPTH + 1, 1_000_000):
        message, line, column = only_problem(b"[" * depth)
        assert f"nested more than {MAX_DEPTH} deep" in message
        assert (line, column) == (1, MAX_DEPTH + 1)


def test_the_number_of_problems_is_bounded() -> None:
    document = parse_json(b"[" + b"," * 1000 + b"]")
    assert len(document.problems) == MAX_PROBLEMS
    assert not document.readable


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"0,\n" * 80_000 + b"0]",
        b'"' + b"a" * 1_000_000,
        b'"' + b"\\n" * 500_000 + b'"',
        b'"' + b"\\n" * 500_000,
        b"[" + b"1" * 1_000_000 + b"]",
        b"[0." + b"1" * 1_000_000 + b"]",
        b"[" + b"/*" * 500_000,
        b" " * 1_000_000,
        b"\r" * 1_000_000,
        b'{"' + b'a":{"' * 99 + b"a" * 900_000 + b'"',
        b'{"' + b"k" * 500_000 + b'":1 "' + b"k" * 500_000 + b'":1}',
    ],
    ids=lambda data: repr(data[:8]),
)
def test_a_megabyte_of_anything_is_read_in_moments(data: bytes) -> None:
    """A quadratic reader would take minutes here."""
    started = time.process_time()
    document = parse_json(data)
    document.locate(0)
    assert time.process_time() - started < 30
    assert all(len(problem.message) < 300 for problem in document.problems)


def test_values_do_not_show_in_its_repr() -> None:
    """Reprs end up in logs."""
    assert "hidden" not in repr(parse_json(b'{"api_key": "hidden"}'))


def test_mistakes_beside_a_value_do_not_show_it() -> None:
    for text in ['{"k": hidden}', '["a" "hidden"]', '{"k" "hidden"}', '{"k": 0hidden}', "['hidden"]:
        document = parse_json(text.encode())
        assert document.problems
        assert "hidden" not in "".join(f"{item.message} {item.hint}" for item in document.problems)


def test_every_scalar_is_given_with_the_keys_above_it() -> None:
    document = parse_json(
        b'{"a": "\\u0041", "b": [1.50, {"c": "d"}], "a": true, "e": -2, "f": oops}'
    )
    assert document.scalars == ((("a",), "A"), (("b",), "1.50"), (("b", "c"), "d"), (("e",), "-2"))
    assert not document.readable


def test_keys_are_redacted_before_they_are_cut() -> None:
    """A part of a secret would not be recognised."""
    key = "k" * 100
    document = parse_json(f'{{"{key}": 1 "{key}": 2}}'.encode(), redact=lambda _: "***")
    assert [item.message for item in document.problems] == [
        'Not valid JSON: missing comma before "***".',
        'Not valid JSON: the key "***" appears twice, first in line 1, column 2.',
    ]


def test_a_number_is_given_as_it_was_written() -> None:
    document = parse_json(b'{"a": 3.10, "b": "3.10"}')
    assert document.written("a") == "3.10"
    assert document.written("b") == ""
    assert document.written("c") == ""
