"""Where a model went: ids, pages, and what was made there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The project and the model on the server; a blank id is not known, or still to be created.

    `url` is the page of the model, or of its backtest; `project_url` and `version_url` are the
    project's and the version's. They are blank where the server has no such pages.
    `created` names what the run created, `is_deployed` says that the server took the bundle as a
    new version, `is_unchanged` that it left the one that runs alone, and `is_in_doubt` that nobody
    knows what it did. `upload_creates` says that only the upload may create the model. `problems`
    are notices.
    """

    project_id: str = ""
    model_id: str = ""
    version_id: str = ""
    project_url: str = ""
    url: str = ""
    version_url: str = ""
    created: tuple[str, ...] = ()
    is_deployed: bool = False
    is_unchanged: bool = False
    is_in_doubt: bool = False
    upload_creates: bool = False
    problems: tuple[Problem, ...] = ()
