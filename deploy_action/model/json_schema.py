"""Tells whether a value fits a JSON schema, in less time than it takes to load a library for that.

It knows the keywords of our schema. What is wrong with a value that does not fit, the library
`jsonschema` says, so both have to agree: tests compare them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

_Schema: TypeAlias = Mapping[str, Any]

# These say nothing about a value (`errorMessage` is for people), or are read with another keyword.
_SILENT: Final = frozenset(
    "$schema $id $defs title description default examples errorMessage then else".split()  # noqa: SIM905  # on one line
)
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def fits(value: Any, schema: _Schema, root: _Schema | None = None) -> bool:
    """Tell whether a value fits a schema, as JSON Schema 2020-12 says.

    `root` is the document in which each `$ref` is looked up, by default the schema.

    Raises:
        NotImplementedError: the schema has a keyword that is not known here.
    """
    root = schema if root is None else root
    for keyword in schema:
        if keyword in _SILENT:
            continue
        if keyword not in _KEYWORDS:
            raise NotImplementedError(keyword)
        if not _KEYWORDS[keyword](value, schema, root):
            return False
    return True


def _type(value: Any, schema: _Schema, _root: _Schema) -> bool:
    names = schema["type"]
    return any(_is(value, name) for name in ([names] if isinstance(names, str) else names))


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):  # for Python a number, too
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _const(value: Any, schema: _Schema, _root: _Schema) -> bool:
    return _is_same(value, schema["const"])


def _enum(value: Any, schema: _Schema, _root: _Schema) -> bool:
    return any(_is_same(value, one) for one in schema["enum"])


def _is_same(value: Any, asked: Any) -> bool:
    """Compare as JSON does: 1 is 1.0, and not true."""
    if isinstance(asked, dict | list):
        raise NotImplementedError("a constant with parts")
    return isinstance(value, bool) == isinstance(asked, bool) and bool(value == asked)


def _pattern(value: Any, schema: _Schema, _root: _Schema) -> bool:
    return not isinstance(value, str) or re.search(schema["pattern"], value) is not None


def _min_length(value: Any, schema: _Schema, _root: _Schema) -> bool:
    return not isinstance(value, str) or len(value) >= schema["minLength"]


def _exclusive_minimum(value: Any, schema: _Schema, _root: _Schema) -> bool:
    return not _is(value, "number") or not value <= schema["exclusiveMinimum"]


def _required(value: Any, schema: _Schema, _root: _Schema) -> bool:
    return not isinstance(value, dict) or all(key in value for key in schema["required"])


def _properties(value: Any, schema: _Schema, root: _Schema) -> bool:
    known: _Schema = schema["properties"]
    return not isinstance(value, dict) or all(
        fits(value[key], known[key], root) for key in known if key in value
    )


def _additional(value: Any, schema: _Schema, root: _Schema) -> bool:
    others: _Schema | bool = schema["additionalProperties"]
    if isinstance(others, bool):
        raise NotImplementedError("a schema without keywords")
    known = schema.get("properties", {})
    return not isinstance(value, dict) or all(
        fits(value[key], others, root) for key in value if key not in known
    )


def _items(value: Any, schema: _Schema, root: _Schema) -> bool:
    return not isinstance(value, list) or all(fits(one, schema["items"], root) for one in value)


def _not(value: Any, schema: _Schema, root: _Schema) -> bool:
    return not fits(value, schema["not"], root)


def _all_of(value: Any, schema: _Schema, root: _Schema) -> bool:
    return all(fits(value, one, root) for one in schema["allOf"])


def _if(value: Any, schema: _Schema, root: _Schema) -> bool:
    follows = "then" if fits(value, schema["if"], root) else "else"
    return fits(value, schema.get(follows, {}), root)


def _reference(value: Any, schema: _Schema, root: _Schema) -> bool:
    found: Any = root
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return fits(value, found, root)


_KEYWORDS: Final[Mapping[str, Callable[[Any, _Schema, _Schema], bool]]] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "pattern": _pattern,
    "minLength": _min_length,
    "exclusiveMinimum": _exclusive_minimum,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "not": _not,
    "allOf": _all_of,
    "if": _if,
    "$ref": _reference,
}
