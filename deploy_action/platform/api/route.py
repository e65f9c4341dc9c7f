"""A route of the API, as it is declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deploy_action.platform.api.fields import Field
from deploy_action.platform.api.request import Request
from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method and a lower-case path.

    `operation` gets a request that has the needed `fields`. Its docstring and the type of what it
    returns are in the API's description. `takes_file` says that a bundle comes with the request,
    `is_open` that no token is asked for, `is_once` that it heeds an idempotency key. One that
    `is_event` takes the key of a project instead of the token, and files as fields.
    """

    method: str
    path: str
    operation: Callable[[Request], object]
    fields: Sequence[Field] = ()
    takes_file: bool = False
    is_open: bool = False
    is_once: bool = False
    is_event: bool = False

    def run(self, request: Request) -> object:
        """Return the document for a request; raises `ApiError` to refuse it."""
        if not self.is_event:  # an event is refused in other words, by who reads it
            request.require(self.fields)
        return self.operation(request)
