"""Reads a mapping in YAML 1.2 (core schema) or JSON, restricted to values that JSON has."""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any, cast

import yaml

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.text.harmless import cut
from deploy_action.text.located_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy_action.text.located_json import JsonValue


_LONGEST_SHOWN = 60


class NotAMappingError(ValueError):
    """The text is not a mapping with JSON values; the message says why, and where."""


def parse_mapping(text: str) -> Mapping[str, JsonValue]:
    """Return the mapping in `text`.

    PyYAML reads YAML 1.1, where `yes` is true and `2024-01-01` is a date. Here both stay text, as
    in the core schema of YAML 1.2. Keys must be text and unique. Aliases are refused, because a few
    of them can expand to gigabytes.

    Raises:
        NotAMappingError: the text is anything else.
    """
    # JSON first: YAML accepts neither tabs for indentation nor escaped surrogate pairs.
    as_json = parse_json(text.encode("utf-8", "replace"))
    if isinstance(as_json.value, dict) and not as_json.problems:
        return as_json.value
    try:
        document = yaml.load(text, Loader=_CoreLoader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise NotAMappingError(f"it is not valid YAML or JSON: {error.problem}{where}.") from error
    except NotAMappingError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotAMappingError(f"it is not valid YAML or JSON: {_first_line(error)}.") from error
    if not isinstance(document, dict):
        raise NotAMappingError("it must be a mapping of argument names to values.")
    return cast("Mapping[str, JsonValue]", document)


def _without_blank(key: str) -> str:
    """Say what YAML makes of `{to:2y}`: a key without a value."""
    meant = ": ".join(key.split(":", 1))
    return (
        f"{cut(key, _LONGEST_SHOWN)!r} is a key without a value. Write "
        f"{cut(meant, _LONGEST_SHOWN)!r}, with a blank after the colon."
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class _CoreLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # PyYAML's signature
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types here
            raise yaml.MarkedYAMLError(
                problem="aliases are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: Any = False) -> Any:  # noqa: FBT002  PyYAML's signature
        """Refuse a tag that does not fit its value, such as `!!int [1]`.

        PyYAML's constructors would fail on it. Tags that PyYAML chooses itself always fit.
        """
        name = node.tag.removeprefix(_TAG_PREFIX)
        wanted = {"map": yaml.MappingNode, "seq": yaml.SequenceNode}.get(name, yaml.ScalarNode)
        pattern = _PATTERNS.get(name, _ANYTHING)
        fits = isinstance(node, wanted) and (
            not isinstance(node, yaml.ScalarNode) or pattern.fullmatch(node.value)
        )
        if not fits and node.tag in self.yaml_constructors:
            raise yaml.MarkedYAMLError(
                problem=f"the value does not fit its tag, !!{name}", problem_mark=node.start_mark
            )
        return super().construct_object(node, deep=deep)

    def construct_core_mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem="a key is not text", problem_mark=key_node.start_mark
                )
            if ":" in key and value_node.start_mark.index == value_node.end_mark.index:
                raise NotAMappingError(_without_blank(key))
            if key in mapping:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {cut(key, _LONGEST_SHOWN)!r} is there twice",
                    problem_mark=key_node.start_mark,
                )
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping

    def construct_core_float(self, node: yaml.ScalarNode) -> float:
        value = float(re.sub(r"\.(?=[in])", "", node.value.lower()))
        if not math.isfinite(value):
            raise yaml.MarkedYAMLError(
                problem=f"{cut(node.value, _LONGEST_SHOWN)} is a number that JSON cannot hold",
                problem_mark=node.start_mark,
            )
        return value

    def construct_core_int(self, node: yaml.ScalarNode) -> int:
        base = {"0x": 16, "0o": 8}.get(node.value[:2])
        # Neither refuses a text for its length, as `int` does with decimal digits.
        size = float(node.value) if base is None else int(node.value, base)
        if abs(size) > sys.float_info.max:
            raise yaml.MarkedYAMLError(
                problem=f"{cut(node.value, _LONGEST_SHOWN)} is too large a number",
                problem_mark=node.start_mark,
            )
        return int(node.value) if base is None else int(size)


# The core schema of YAML 1.2.2, section 10.3.2.
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
_TAG_PREFIX = "tag:yaml.org,2002:"
_ANYTHING = lazy_regex(r"(?s:.*)")
_PATTERNS = {name: lazy_regex(pattern) for name, pattern, _ in _RESOLVERS}
# Without the constructors of binary data, sets and dates: JSON cannot hold them.
_CoreLoader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in {"null", "bool", "seq", "str"}
}
_CoreLoader.yaml_implicit_resolvers = {}
for _name, _pattern, _starts in _RESOLVERS:
    _CoreLoader.add_implicit_resolver(
        f"{_TAG_PREFIX}{_name}",
        lazy_regex(rf"^(?:{_pattern})$"),
        [start if start != "\0" else "" for start in _starts],
    )
_CoreLoader.add_constructor(f"{_TAG_PREFIX}map", _CoreLoader.construct_core_mapping)
_CoreLoader.add_constructor(f"{_TAG_PREFIX}float", _CoreLoader.construct_core_float)
_CoreLoader.add_constructor(f"{_TAG_PREFIX}int", _CoreLoader.construct_core_int)
