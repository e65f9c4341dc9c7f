"""A request for a page as views see it, and what all views work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deploy_action.pages.addresses import in_path
from deploy_action.platform.api.credentials import Credentials
from deploy_action.platform.api.operations.logs import Logs
from deploy_action.platform.api.operations.models import Models
from deploy_action.platform.api.operations.targets import find_model
from deploy_action.platform.api.request import ApiError
from deploy_action.platform.api.route import Route
from deploy_action.platform.live.models import LiveModels
from deploy_action.platform.runs.backtests import Backtests
from deploy_action.platform.storage.records import Model
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.answers import Answer
from deploy_action.platform.web.sessions import Session, Sessions
from deploy_action.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What views work with; `name` is the server's, `api` are the routes of its API.

    `left` keeps what models that are down may hold, by project and model, with what that was
    computed from.
    """

    store: Store
    credentials: Credentials
    sessions: Sessions
    live: LiveModels
    backtests: Backtests
    models: Models
    logs: Logs
    api: tuple[Route, ...]
    name: str
    left: dict[tuple[str, str], tuple[object, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request for a page.

    `path` has the parts of the path by their names in the route, `query` and `form` one text a
    name. `session` is None only where a route is open to all. `address` is the client's, `origin`
    the server's as the client named it, such as `https://bots.example.com`.
    `is_secure` says that it came by TLS, `is_local` that it came from this computer.
    """

    url: str
    origin: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    session: Session | None
    authorization: str
    address: str
    is_secure: bool
    is_local: bool


View = Callable[[Site, Visit], Answer]


@dataclass(frozen=True, slots=True)
class PageRoute:
    """What answers a method and a path; `is_open` says that nobody has to be signed in."""

    method: str
    path: str
    view: View
    is_open: bool = False


def asked_model(snapshot: Transaction, visit: Visit) -> Model:
    """Return the model that a path names. Raises `ApiError` if there is none."""
    project_id, model_id = in_path(visit.path["project"]), in_path(visit.path["model"])
    try:
        return find_model(snapshot, project_id, model_id)
    except ApiError as error:
        raise ApiError("There is no such model here.", 404) from error
