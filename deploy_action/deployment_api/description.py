"""What a server says of itself at `/openapi.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from deploy_action.http.exchange import Answer
from deploy_action.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Description:
    """The OpenAPI document of a server, empty if it has none; anything may be in it."""

    document: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Read the answer of a server, which need not know such a document."""
        document = answer.json if answer.is_good else None
        return cls(document if isinstance(document, dict) else {})

    def fields_of(self, path: str) -> frozenset[str]:
        """Return the fields that a POST to `path` takes; references are not followed."""
        found: object = self.document
        for name in ("paths", path, "post", "requestBody", "content"):
            found = found.get(name) if isinstance(found, dict) else None
        kinds = found.values() if isinstance(found, dict) else ()
        schemas = [kind.get("schema") for kind in kinds if isinstance(kind, dict)]
        listed = [schema.get("properties") for schema in schemas if isinstance(schema, dict)]
        return frozenset(name for one in listed if isinstance(one, dict) for name in one)

    @property
    def has_pages(self) -> bool:
        """Whether the server has the pages of `blankly-deploy serve`."""
        info = self.document.get("info")
        return isinstance(info, dict) and info.get("x-pages") is True
