"""The home page: every model, and first what needs attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deploy_action.pages.addresses import model_path
from deploy_action.platform.live.reports.accounts import read_lines
from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import Model, Progress, Version
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.paging import asked_part
from deploy_action.platform.web.site import Site, Visit
from deploy_action.platform.web.views.account_words import (
    AccountWords,
    account_in_words,
    no_value_since,
)
from deploy_action.platform.web.views.left_words import left_by
from deploy_action.platform.web.views.model_states import (
    StateWords,
    doubted,
    errors_in_words,
    in_words,
    is_up,
)
from deploy_action.platform.web.views.order_words import OrderWords, order_in_words
from deploy_action.records import dataclass

_MODELS_A_PAGE: Final = 100
_FEW: Final = 10  # models that are found without a filter
_ATTENTION, _NOT_DEPLOYED = "attention", "not deployed"


@dataclass(frozen=True, slots=True)
class HomeModel:
    """A model on the home page.

    `attention` are the reasons to look at it, empty if nobody has to; `left` is what it may
    hold though nothing of it runs, and `errors` are what went wrong with the version that runs.
    `accounts` are those that it trades with.
    """

    model: Model
    project: str
    base: str
    status: LiveStatus | None
    state: StateWords
    attention: tuple[str, ...]
    left: str
    errors: tuple[str, ...]
    accounts: tuple[AccountWords, ...]
    order: OrderWords | None

    @property
    def version(self) -> Version | None:
        """What its state is about."""
        return None if self.status is None else self.status.version


def show_models(site: Site, visit: Visit) -> Answer:
    """Show every model, or those that are asked for by a part of their name and by their state."""
    with site.store.snapshot() as snapshot:
        models = _read(site, snapshot)
    name, state = visit.query.get("name", "").strip(), visit.query.get("state", "")
    is_filtered = bool(name or state)
    urgent = sorted((one for one in models if one.attention), key=_urgency)
    listed = [one for one in models if not one.attention]
    if is_filtered:
        listed = [one for one in models if _matches(one, name, state)]
    part = asked_part(visit.query, len(listed), _MODELS_A_PAGE)
    return Page(
        "home.html",
        {
            "total": len(models),
            "deployed": sum(one.status is not None for one in models),
            "urgent": urgent[:_MODELS_A_PAGE],
            "urgent_count": len(urgent),
            "listed": listed[part.items],
            "listed_count": len(listed),
            "part": part,
            "name": name,
            "state": state,
            "states": _states(models),
            "is_filtered": is_filtered,
            "has_filter": is_filtered or len(models) > _FEW,
            "server_problems": [each for each in (site.live.fault(), site.store.fault()) if each],
            "has_accounts": any(one.accounts for one in models),
            "origin": visit.origin,
        },
    )


def _read(site: Site, snapshot: Transaction) -> list[HomeModel]:
    """Return all models: those of a project together, the oldest first."""
    projects = {each.id: (place, each.name) for place, each in enumerate(snapshot.projects())}
    accounts = read_lines(snapshot)
    statuses, newest = site.live.statuses(snapshot), snapshot.live.newest_versions()
    orders = snapshot.reports.latest_of_each("order")
    said = snapshot.reports.latest_of_each("lifecycle")
    left = left_by(site, snapshot, statuses, orders)
    keyless = snapshot.reports.models_that_named("exchange", "keyless")
    found = []
    for model in sorted(snapshot.all_models(), key=lambda one: projects[one.project_id][0]):
        key = model.project_id, model.id
        status, order = statuses.get(key), orders.get(key)
        words = tuple(
            account_in_words(each, status, snapshot.now) for each in accounts.get(key, ())
        )
        state = doubted(
            in_words(model, status, said[key].document if key in said else None),
            status,
            is_watched=site.live.watches(*key),
            is_keyless=not model.is_screener and key in keyless,
            no_value_since=no_value_since(words),
        )
        found.append(
            HomeModel(
                model=model,
                project=projects[model.project_id][1],
                base=model_path(*key),
                status=status,
                state=state,
                attention=tuple(
                    filter(
                        None,
                        (
                            _left(left.get(key, "")),
                            state.attention,
                            _failed_newer(status, newest.get(key)),
                        ),
                    )
                ),
                left=left.get(key, ""),
                errors=() if status is None else errors_in_words(status),
                accounts=words,
                order=None if order is None else order_in_words(order),
            )
        )
    return found


def _left(left: str) -> str:
    """Say what a model of which nothing runs may hold: nobody looks after that."""
    if not left:
        return ""
    return (
        f"Nothing of it runs, and by its reported orders it may hold a position: {left}, if all"
        " were filled."
    )


def _failed_newer(status: LiveStatus | None, newest: Version | None) -> str:
    """Say that what was deployed last could not run, and whether something older does."""
    shown = None if status is None else status.version
    if shown is None or newest is None or newest.progress != Progress.FAILED:
        return ""
    if newest.id == shown.id or newest.created_at < shown.created_at:
        return ""
    problem = (newest.problem or "Its log says why.").strip()
    older = ", so an older version does" if is_up(status) else ""
    return f"What was deployed last could not run{older}. {problem}"


def _urgency(one: HomeModel) -> int:
    """Return a number that is smaller for what is down than for what may be in trouble."""
    if one.left:
        return 0
    return ("bad", "warn").index(one.state.tone) if one.state.tone in {"bad", "warn"} else 2


def _matches(one: HomeModel, name: str, state: str) -> bool:
    if name.casefold() not in f"{one.model.name}\n{one.project}".casefold():
        return False
    if state == _ATTENTION:
        return bool(one.attention)
    return not state or state == _state_of(one)


def _state_of(one: HomeModel) -> str:
    return _NOT_DEPLOYED if one.status is None else str(one.status.state)


def _states(models: Sequence[HomeModel]) -> Mapping[str, int]:
    """Return the states to choose from, with the number of models in each."""
    found = {_ATTENTION: sum(bool(one.attention) for one in models)}
    for one in models:
        found[_state_of(one)] = found.get(_state_of(one), 0) + 1
    return {state: count for state, count in found.items() if count}
