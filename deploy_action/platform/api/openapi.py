"""The OpenAPI document of the API, made from its routes and from the types of their documents."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any

import msgspec

from deploy_action import __version__
from deploy_action.platform.api.fields import (
    ARGUMENTS,
    CREATE_NEW,
    KEY_HEADER,
    KEY_ID_HEADER,
    LARGEST_TESTED,
    LONGEST_DEPLOYER,
    LONGEST_RUN_URL,
    MAX_ID_LENGTH,
    MODEL,
    MODEL_HEADER,
    NOW_HEADER,
    NUMBER_PATTERN,
    PASS_HEADER,
    PYTHON_PATTERN,
    REFRESH_TOKEN,
    RUN_URL_PATTERN,
    TESTED_VERSION,
    TIME_HEADER,
    Field,
    Kind,
    Needed,
)
from deploy_action.platform.api.operations.documents import (
    BacktestAnswerDocument,
    Details,
    ModelDocument,
    Pending,
    Text,
)
from deploy_action.platform.api.operations.logs import LogText
from deploy_action.platform.api.request import FILE_FIELD
from deploy_action.platform.api.route import Route
from deploy_action.platform.storage.records import SCREENER, STRATEGY

# Whether `/PROJECT/MODEL/overview` and the like are pages of this server.
PAGES = "x-pages"
_FORMS = ("application/x-www-form-urlencoded", "application/json")
_MULTIPART = "multipart/form-data"
_HTML = {"text/html": {"schema": {"type": "string"}}}
_PLAIN = {"text/plain": {"schema": {"type": "string"}}}
_REFUSED = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
    "required": ["error"],
}
_DESCRIPTION = """The Deployment API of Blankly, as the embedded platform serves it.

Paths match in any case, and with a slash at the end. Fields may come as a form or as a JSON object,
in which a null is an absent field; unknown fields are ignored."""
_RESPONSES = {
    "Refused": {
        "description": "The request was refused; `error` says why. `code` is `older` where a commit"
        " is older than that of the current version.",
        "content": {"application/json": {"schema": _REFUSED}, **_PLAIN},
    },
    "Unauthorized": {"description": "No valid token was given.", "content": _HTML},
    "NotAuthenticated": {
        "description": "A header is missing, or this is no key of the model's project.",
        "content": {"application/json": {"schema": _REFUSED}},
    },
    "TooMany": {
        "description": "The model reports too much; the report was not kept.",
        "content": {"application/json": {"schema": _REFUSED}},
    },
    "TooManyTokens": {
        "description": "Too many wrong tokens came from the client's address; this one was not"
        " looked at.",
        "headers": {
            "Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}},
        },
        "content": {"application/json": {"schema": _REFUSED}},
    },
    "TooLarge": {
        "description": "The request is too large; `error` says what is allowed.",
        "content": {"application/json": {"schema": _REFUSED}, **_PLAIN},
    },
    "TooSlow": {"description": "The request did not come in time, and the connection is closed."},
    "Busy": {
        "description": "Too many clients are connected; the connection is closed. From `/healthz`: "
        "the platform does not work; `error` says why.",
        "headers": {
            "Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}},
        },
    },
    "Failed": {
        "description": "The server failed; its log says why. In JSON: its database is damaged, as"
        " `error` says.",
        "content": {"application/json": {"schema": _REFUSED}, **_HTML},
    },
    "Full": {
        "description": "The server's disk is full; nothing was stored.",
        "content": {"application/json": {"schema": _REFUSED}},
    },
}
_SCHEMAS: Mapping[Kind, Mapping[str, object]] = {
    Kind.TEXT: {"type": "string"},
    Kind.IDENTIFIER: {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
    Kind.MODEL_TYPE: {"type": "string", "enum": [STRATEGY, SCREENER]},
    Kind.ARGUMENTS: {
        "anyOf": [{"type": "object"}, {"type": "string", "contentMediaType": "application/json"}]
    },
    Kind.ENVIRONMENT: {
        "anyOf": [
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "string", "contentMediaType": "application/json"},
        ],
        "writeOnly": True,
    },
    Kind.TESTED: {
        "anyOf": [
            {"type": "object"},
            {
                "type": "string",
                "contentMediaType": "application/json",
                "maxLength": LARGEST_TESTED,
            },
        ],
    },
    Kind.PYTHON: {"type": "string", "pattern": f"^{PYTHON_PATTERN}$"},
    Kind.MOMENT: {"type": "string", "format": "date-time"},
    Kind.DEPLOYER: {"type": "string", "maxLength": LONGEST_DEPLOYER},
    Kind.RUN_URL: {
        "type": "string",
        "maxLength": LONGEST_RUN_URL,
        "pattern": f"^{RUN_URL_PATTERN}$",
    },
    Kind.NUMBER: {"type": "string", "pattern": f"^{NUMBER_PATTERN}$"},
    Kind.ANY: {},
}
_ERRORS = {
    "400": "Refused",
    "401": "Unauthorized",
    "408": "TooSlow",
    "413": "TooLarge",
    "500": "Failed",
    "503": "Busy",
    "507": "Full",
}
_KEY = {
    "name": KEY_HEADER,
    "in": "header",
    "description": "Of the uploads with the same key, one is stored, and all are answered with it.",
    "schema": {"type": "string", "maxLength": MAX_ID_LENGTH},
}
_NOW = {
    "name": NOW_HEADER,
    "in": "header",
    "description": "The time from which arguments such as `to` count back, instead of 00:00 UTC of "
    "the day: backtests with the same one have the same period.",
    "schema": {"type": "string", "format": "date-time"},
}
_EVENT_HEADERS = [
    {
        "name": MODEL_HEADER,
        "in": "header",
        "required": True,
        "description": "The id of the model that reports, which is one of the key's project.",
        "schema": {"type": "string", "maxLength": MAX_ID_LENGTH},
    },
    {
        "name": TIME_HEADER,
        "in": "header",
        "description": "The time of what is reported, in seconds since 1970, instead of now.",
        "schema": {"type": "string"},
    },
]
_PROJECT_KEY = {
    "projectKey": {
        "type": "apiKey",
        "in": "header",
        "name": KEY_ID_HEADER,
        "description": "The `apiKey` of `POST /project/generate-project-token`: the project's id.",
    },
    "projectPass": {
        "type": "apiKey",
        "in": "header",
        "name": PASS_HEADER,
        "description": "The `apiPass` that was given out with it.",
    },
}
_CREATED = {
    "required": [CREATE_NEW.name],
    "properties": {CREATE_NEW.name: {"enum": ["true"]}, MODEL.name: False},  # has no model
}


def describe(routes: Sequence[Route], *, has_pages: bool = False) -> dict[str, object]:
    """Return the OpenAPI 3.1 document of these routes.

    `has_pages` says that the server has pages for people beside them; the document tells programs.
    """
    types = {route.path: _document_type(route) for route in routes}
    schemas, components = msgspec.json.schema_components(
        [each for each in types.values() if each is not str],
        ref_template="#/components/schemas/{name}",
    )
    of_path = dict(zip((path for path in types if types[path] is not str), schemas, strict=True))
    paths = {
        route.path: {route.method.lower(): _operation(route, of_path.get(route.path))}
        for route in routes
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Deployment API",
            "version": __version__,
            "description": _DESCRIPTION,
            **({PAGES: True} if has_pages else {}),
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _RESPONSES,
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "token",
                    "description": "The `idToken` of `POST /auth/token`.",
                },
                **_PROJECT_KEY,
            },
        },
        "security": [{"token": []}],
    }


def _document_type(route: Route) -> Any:
    """Return the type of what the route answers with: `str` for text."""
    returned = typing.get_type_hints(route.operation)["return"]
    if Text in typing.get_args(returned):
        return next(each for each in typing.get_args(returned) if each is not Text)
    documents = {Text: str, LogText: str, Pending: BacktestAnswerDocument, Details: ModelDocument}
    return documents.get(returned, returned)


def _content(route: Route, schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema:
        return {"application/json": {"schema": schema}}
    return _PLAIN if typing.get_type_hints(route.operation)["return"] is LogText else _HTML


def _operation(route: Route, schema: dict[str, Any] | None) -> dict[str, object]:
    name = typing.cast("Any", route.operation).__name__
    summary, _, description = cleandoc(route.operation.__doc__ or "").partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": f"{name}_{route.path.rpartition('/')[2]}".replace("-", "_"),
        "summary": summary.removesuffix("."),
        "description": description,
        "responses": {
            "200": {
                "description": "It was done.",
                "content": _content(route, schema),
            },
            **{
                status: {"$ref": f"#/components/responses/{response}"}
                for status, response in _ERRORS.items()
            },
        },
    }
    if route.is_once:
        operation["parameters"] = [_KEY]
    if ARGUMENTS in route.fields:
        operation["parameters"] = [_NOW]
    if route.is_event:
        operation["parameters"] = _EVENT_HEADERS
        operation["security"] = [{name: [] for name in _PROJECT_KEY}]
        operation["responses"]["429"] = {"$ref": "#/components/responses/TooMany"}
        operation["responses"]["401"] = {"$ref": "#/components/responses/NotAuthenticated"}
    if REFRESH_TOKEN.name in {field.name for field in route.fields}:
        operation["responses"]["429"] = {"$ref": "#/components/responses/TooManyTokens"}
    if route.fields:
        operation["requestBody"] = {"required": True, "content": _request_content(route)}
    return operation | ({"security": []} if route.is_open else {})


def _request_content(route: Route) -> dict[str, object]:
    schema = _schema_of_fields(route.fields)
    kinds = {form: {"schema": schema} for form in _FORMS}
    if not route.takes_file:
        return kinds | ({_MULTIPART: {"schema": schema}} if route.is_event else {})
    bundle = {"type": "string", "format": "binary", "description": "The model, as a zip."}
    with_file = {**schema, "properties": {**schema["properties"], FILE_FIELD: bundle}}
    content = {
        "schema": with_file,
        "encoding": {FILE_FIELD: {"contentType": "application/zip"}},
    }
    if TESTED_VERSION not in route.fields:
        with_file["required"] = [*schema["required"], FILE_FIELD]
        return {_MULTIPART: content}
    names = (FILE_FIELD, TESTED_VERSION.name)
    one = {"oneOf": [{"required": [each]} for each in names]}
    with_file["allOf"] = [*schema.get("allOf", ()), one]
    of_model = [field.name for field in route.fields if field.needed is Needed.UNLESS_CREATED]
    schema["required"] = [*schema["required"], *of_model, TESTED_VERSION.name]
    return {_MULTIPART: content, **kinds}


def _schema_of_fields(fields: Sequence[Field]) -> dict[str, Any]:
    """Return the schema of a request's fields."""
    names = {field.name for field in fields}
    arguments = [each for each in ("backtestArgs", "backtestingArgs") if each in names]
    created = [field.name for field in fields if field.needed is Needed.UNLESS_CREATED]
    either: list[object] = []
    if arguments:
        either.append({"anyOf": [{"required": [each]} for each in arguments]})
    if created:
        either.append({"anyOf": [{"required": created}, _CREATED]})
    return {
        "type": "object",
        "properties": {
            field.name: {**_SCHEMAS[field.kind], "description": field.description}
            for field in fields
        },
        "required": [field.name for field in fields if field.needed is Needed.ALWAYS],
        **({"allOf": either} if either else {}),
    }
