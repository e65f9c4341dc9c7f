"""What a run was asked to do."""

from __future__ import annotations

from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The inputs that a report names, as they were given: some of them may be wrong.

    `server` is the URL of the server or `local`, and blank for a run that sends nothing.
    """

    mode: str = ""
    model_path: str = ""
    project_id: str = ""
    model_id: str = ""
    server: str = ""
    is_local: bool = False
