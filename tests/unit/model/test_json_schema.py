"""Whether a value fits is the same as for the library; `test_schema.py` shows it for our schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from deploy_action.model.json_schema import fits

TEXTS = st.text("ab1.\n", max_size=4)
NUMBERS = st.integers(-2, 2) | st.sampled_from([-1.5, 0.0, 1.0, 1e300, float("inf"), float("nan")])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["string", "number", "boolean", "object", "array", "null"])


def keywords(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return schemas of any known keywords, with these schemas in them."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(SCALARS, min_size=1, max_size=3),
            "const": SCALARS,
            "pattern": st.sampled_from(["^a$", "[0-9]", "^$", "b|1"]),
            "minLength": st.integers(0, 3),
            "exclusiveMinimum": st.integers(-1, 1),
            "required": st.lists(TEXTS, max_size=2, unique=True),
            "items": schemas,
            "properties": st.dictionaries(TEXTS, schemas, max_size=2),
            "additionalProperties": schemas,
            "not": schemas,
            "allOf": st.lists(schemas, min_size=1, max_size=2),
            "if": schemas,
            "then": schemas,
            "else": schemas,
            "$ref": st.just("#/$defs/one"),
            "title": TEXTS,
        },
    )


SCHEMAS = st.recursive(keywords(st.just({})), keywords, max_leaves=4)


@given(schema=SCHEMAS, value=VALUES)
def test_a_value_fits_if_the_library_says_so(schema: dict[str, Any], value: Any) -> None:
    schema = {**schema, "$defs": {"one": {"type": ["string", "number"], "minLength": 2}}}
    assert fits(value, schema) == Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"maxLength": 3},
        {"properties": {"a": {"format": "date"}}},
        {"additionalProperties": False},
        {"const": []},
        {"enum": [{}]},
    ],
)
def test_what_is_not_known_is_not_guessed(schema: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError):
        fits({"a": "b"}, schema)
