"""What all pages of a model have in common: its name, its state, and the tabs."""

from __future__ import annotations

from typing import Final

from deploy_action.pages.addresses import model_path
from deploy_action.platform.live.reports.accounts import read_latest
from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.storage.records import Model
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.site import Site
from deploy_action.platform.web.views.account_words import account_in_words, no_value_since
from deploy_action.platform.web.views.model_states import StateWords, doubted, in_words

_TABS: Final = ("overview", "log", "versions", "backtests")


def frame(site: Site, snapshot: Transaction, model: Model, tab: str) -> dict[str, object]:
    """Return the values that `model.html` needs, for the page of a tab (`overview`, `log`, …).

    `model` and `project` are records, `base` is the path that the model's pages begin with
    (`{{ base }}/versions`), `status` is what it does (None if nothing was ever to run), and `state`
    says that in words (`label`, `tone`, `reason`).
    """
    key = model.project_id, model.id
    status = site.live.status(snapshot, *key)
    return {
        "project": snapshot.project(model.project_id),
        "model": model,
        "base": model_path(*key),
        "status": status,
        "state": state_of(site, snapshot, model, status),
        "tab": tab,
        "tabs": _TABS,
    }


def state_of(
    site: Site, snapshot: Transaction, model: Model, status: LiveStatus | None
) -> StateWords:
    """Return the state of a model in words, with what speaks against it."""
    key = model.project_id, model.id
    accounts = (
        account_in_words(each, status, snapshot.now) for each in read_latest(snapshot, *key)
    )
    return doubted(
        in_words(model, status),
        status,
        is_watched=site.live.watches(*key),
        is_keyless=not model.is_screener
        and snapshot.reports.named(*key, "exchange", "keyless") is not None,
        no_value_since=no_value_since(accounts),
    )
