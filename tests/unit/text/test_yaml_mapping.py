from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.text.yaml_mapping import NotAMappingError, parse_mapping


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("0.10", 0.1),
        ("0x1f", 31),
        ("0o17", 15),
        ("017", 17),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("~", None),
        ("", None),
        ("Null", None),
        ("TRUE", True),
        ("'1'", "1"),
        ("[1, {b: c}]", [1, {"b": "c"}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """A date stays text, as the package expects `start_date: 2024-01-01`."""
    assert parse_mapping(f"key: {text}") == {"key": value}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "mapping"),
        ("just text", "mapping"),
        ("a: 1\na: 2", "twice"),
        ("1: 2", "not text"),
        ("? [a]\n: b", "not text"),
        ("{to:2y}", "'to:2y' is a key without a value. Write 'to: 2y', with a blank after"),
        ("to: 1y\ninitial_values: {USD:5}", "Write 'USD: 5', with a blank"),
        ("a: &x 1\nb: *x", "aliases"),
        ("a: .inf", "number that JSON cannot hold"),
        ("a: .NaN", "number that JSON cannot hold"),
        ("a: 1e999", "number that JSON cannot hold"),
        ("a: 1e" + "9" * 5000, "1e9999"),
        ("a: " + "9" * 5000, "99… is too large a number .line 1, column 4"),
        ("a: -" + "9" * 400, "is too large a number .line 1, column 4"),
        ("a: 0x" + "f" * 5000, "ff… is too large a number .line 1, column 4"),
        ("a: 0o" + "7" * 5000, "is too large a number .line 1, column 4"),
        ('a: !!int "0x' + "f" * 5000 + '"', "is too large a number"),
        ("a: 1\n" + "k" * 500 + ": 1\n" + "k" * 500 + ": 1", "kk…' is there twice"),
        ("a: !!bool maybe", "does not fit its tag, !!bool .line 1, column 4"),
        ("a: !!int [1]", "does not fit"),
        ("a: !!float {}", "does not fit"),
        ("a: !!map ''", "does not fit"),
        ("a: !!map [[b, c]]", "does not fit"),
        ("a: !!binary aGk=", "constructor"),
        ("a: !!python/object:os.x {}", "constructor"),
        ("a: [", "line 1, column 5"),
        ("a: 1\n---\nb: 2", "another document"),
        ("\x00", "not valid"),
        ("a: " + "[" * 5_000, "not valid"),
        ("a: " + "9" * 5_000, "not valid"),
    ],
)
def test_values_that_json_lacks_are_refused(text: str, reason: str) -> None:
    with pytest.raises(NotAMappingError, match=reason):
        parse_mapping(text)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(
            exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="\u2028\u2029\x85\ufeff"
        )
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdef_", min_size=1), JSON_VALUES, max_size=4))
def test_json_is_read_as_json(document: dict[str, object]) -> None:
    for indent in (None, 2, "\t"):
        assert parse_mapping(json.dumps(document, indent=indent)) == document


_TAGS = [f"!!{name}" for name in ("bool", "int", "float", "null", "str", "seq", "map", "set")]
_NODES = st.recursive(
    st.sampled_from(["", "maybe", "true", "1", "-", ".inf", "0o8", "0x", "''", '"1"', "~", "="]),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
        | st.tuples(inner, inner).map(lambda pair: f"{{{pair[0]} : {pair[1]} }}")
        | st.tuples(st.sampled_from([*_TAGS, "!", "!!", "!x"]), inner).map(" ".join)
    ),
    max_leaves=5,
)


@given(_NODES)
def test_any_tag_on_any_node_is_read_or_refused(node: str) -> None:
    """PyYAML's constructors would fail on them."""
    assert_mapping_or_refused(f"a: {node}")


@given(st.text(max_size=80))
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    assert_mapping_or_refused(text)


def assert_mapping_or_refused(text: str) -> None:
    try:
        mapping = parse_mapping(text)
    except NotAMappingError:
        return
    assert json.loads(json.dumps(mapping, allow_nan=False)) == mapping
