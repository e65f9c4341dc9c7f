"""The OpenAPI document of the API, put into words for a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from shlex import quote
from typing import Any, Final, NamedTuple

from deploy_action.records import dataclass

_MULTIPART: Final = "multipart/form-data"
_JSON: Final = "application/json"
_TOKEN: Final = "refreshToken"  # noqa: S105  the name of a field
_NEEDED: Final = "needed"
_OPTIONAL: Final = "optional"

Schema = Mapping[str, Any]


class Part(NamedTuple):
    """A part of a type in words, and the name of the document that it leads to, or blank."""

    text: str
    document: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A field, a header, or a part of an answer: when it is needed, or there, and what it is."""

    name: str
    needed: str
    type: Sequence[Part]
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A route: who may ask (`access`), with what, and what comes back."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    access: str
    headers: Sequence[Value]
    fields: Sequence[Value]
    media_types: Sequence[str]
    answer: Sequence[Part]
    errors: Sequence[tuple[str, str]]
    example: str

    @property
    def topic(self) -> str:
        """The first part of its path, with which all routes of a kind begin, such as `/model`."""
        return "/" + self.path.split("/")[1]


@dataclass(frozen=True, slots=True)
class Document:
    """What an answer, or a part of one, consists of."""

    name: str
    description: str
    values: Sequence[Value]


class ApiReference:
    """Reads an OpenAPI document that this server made."""

    def __init__(self, document: Schema, origin: str) -> None:
        """`origin` is where examples send requests, such as `https://bots.example.com`."""
        self._document = document
        self._origin = origin

    def operations(self) -> list[Operation]:
        """Return all routes, in the order of the document."""
        return [
            self._operation(path, method, operation)
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
        ]

    def documents(self) -> list[Document]:
        """Return what answers consist of, by name."""
        schemas = self._document["components"]["schemas"]
        return [
            Document(
                name,
                cleandoc(schema.get("description", "")),
                _values(schema, "", "not always there"),
            )
            for name, schema in sorted(schemas.items())
        ]

    def _operation(self, path: str, method: str, operation: Schema) -> Operation:
        content = operation.get("requestBody", {}).get("content", {})
        schema: Schema = next((each["schema"] for each in content.values()), {})
        answer = operation["responses"]["200"]["content"]
        headers = [_header(each) for each in operation.get("parameters", ())]
        fields = _fields(schema)
        security = operation.get("security", self._document["security"])
        keys = [name for each in security for name in each]
        return Operation(
            name=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=operation["summary"],
            description=operation["description"],
            access=self._access(keys),
            headers=headers,
            fields=fields,
            media_types=list(content),
            answer=_answer(answer),
            errors=[self._error(*each) for each in list(operation["responses"].items())[1:]],
            example=self._example(
                method, path, keys, headers, schema, is_form=_MULTIPART in content
            ),
        )

    def _access(self, keys: Sequence[str]) -> str:
        schemes = self._document["components"]["securitySchemes"]
        told = [f"{schemes[key]['name']}: {schemes[key]['description']}" for key in keys]
        return " ".join(told) or "Anybody may ask."

    def _error(self, status: str, response: Schema) -> tuple[str, str]:
        name = response["$ref"].rpartition("/")[2]
        return status, self._document["components"]["responses"][name]["description"]

    def _example(
        self,
        method: str,
        path: str,
        keys: Sequence[str],
        headers: Sequence[Value],
        schema: Schema,
        *,
        is_form: bool,
    ) -> str:
        schemes = self._document["components"]["securitySchemes"]
        named = [schemes[key]["name"] for key in keys]
        named += [header.name for header in headers if header.needed == _NEEDED]
        options = [f"--header {_placed(name, ': ')}" for name in named]
        for name in _sent(schema):
            value = schema["properties"][name]
            if value.get("format") == "binary":
                options.append(f"--form {name}=@bundle.zip")
                continue
            option = "--form-string" if is_form else "--data-urlencode"
            given = value.get("enum", [""])[0]
            options.append(f"{option} {quote(f'{name}={given}') if given else _placed(name, '=')}")
        if method == "post" and not _sent(schema):
            options.append("--request POST")
        lines = ["curl --fail-with-body", *options, quote(f"{self._origin}{path}")]
        return " \\\n    ".join(lines)


def _placed(name: str, between: str) -> str:
    """Return a name with a variable of the shell for its value."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
    variable = {"TOKEN": "ID_TOKEN", "REFRESH_TOKEN": "BLANKLY_TOKEN"}.get(words, words)
    return f'"{name}{between}${variable}"'


def _header(parameter: Schema) -> Value:
    needed = _NEEDED if parameter.get("required") else _OPTIONAL
    return Value(parameter["name"], needed, _type(parameter["schema"]), parameter["description"])


def _fields(schema: Schema) -> list[Value]:
    needed = _when_needed(schema)
    return [
        Value(name, needed.get(name, _OPTIONAL), _type(value), value.get("description", ""))
        for name, value in schema.get("properties", {}).items()
    ]


def _when_needed(schema: Schema) -> dict[str, str]:
    """Return in words when a field has to be given, of those that sometimes have to be."""
    # Without a refresh token the answer is an error, of a kind that the document calls a failure.
    found = dict.fromkeys([*schema.get("required", ()), _TOKEN], _NEEDED)
    for group in schema.get("allOf", ()):
        ways = [each["required"] for each in group.get("anyOf") or group["oneOf"]]
        if any("createNew" in way for way in ways):
            found |= dict.fromkeys(ways[0], "needed unless createNew is true")
        else:
            names = [name for way in ways for name in way]
            found |= dict.fromkeys(names, "needed is one of " + ", ".join(names))
    return found


def _sent(schema: Schema) -> list[str]:
    """Return the fields of an example: all that are needed, and of several ways the first."""
    sent = [*schema.get("required", ()), _TOKEN]
    for group in schema.get("allOf", ()):
        first = (group.get("anyOf") or group["oneOf"])[0]["required"]
        sent += [name for name in first if name not in sent]
    return [name for name in schema.get("properties", {}) if name in sent]


def _values(schema: Schema, always: str, sometimes: str) -> list[Value]:
    required = schema.get("required", ())
    return [
        Value(
            name,
            always if name in required else sometimes,
            _type(value),
            value.get("description", ""),
        )
        for name, value in schema.get("properties", {}).items()
    ]


def _answer(content: Schema) -> list[Part]:
    media_type, answer = next(iter(content.items()))
    if media_type != _JSON:
        return [Part(f"text ({media_type})")]
    return _type(answer["schema"])


def _type(schema: Schema) -> list[Part]:
    """Return a type in words."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return [Part(name, name)]
    if ways := schema.get("anyOf"):
        parts = [*_type(ways[0])]
        for way in ways[1:]:
            parts += [Part(" or "), *_type(way)]
        return parts
    if schema.get("type") == "array":
        return [Part("list of "), *_type(schema.get("items") or {})]
    if isinstance(values := schema.get("additionalProperties"), dict):
        return [Part("object of "), *_type(values)]
    return [Part(_simple_type(schema))]


def _simple_type(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(_written(each) for each in schema["enum"])
    if schema.get("contentMediaType") == _JSON:
        return "JSON as text"
    formats = {"date-time": "time (ISO 8601)", "binary": "file"}
    words = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    kind: str = schema.get("type", "anything")
    return formats.get(schema.get("format", ""), words.get(kind, kind))


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
