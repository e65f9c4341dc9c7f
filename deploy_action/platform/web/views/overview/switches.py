"""The switches of a model: start, stop, run now; what each one does, and that it does it once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal
from urllib.parse import urlencode

from deploy_action.pages.addresses import model_path
from deploy_action.platform.api.operations.models import BY_PAGE
from deploy_action.platform.api.request import Request
from deploy_action.platform.live.status import LiveStatus
from deploy_action.platform.live.wishes import ChangedMeanwhileError, standing
from deploy_action.platform.storage.records import Life, Model, Progress, State, Version, Wanted
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.web.answers import Answer, SeeOther
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.left_words import DOWN
from deploy_action.platform.web.views.model_states import is_coming
from deploy_action.records import dataclass

Action = Literal["stop", "start", "run"]

_EXCHANGE: Final = (
    "Look at the exchange for open orders and positions: nothing closes them by itself."
)
_STAYS: Final = (
    "It then stays stopped until somebody starts it: over pushes, which only store a version, and"
    " over restarts of this server and its machine."
)
_REFUSALS: Final = {
    "changed": (
        "Nothing was done: since your page was loaded, this model was started, stopped or deployed"
        " to. Look at what it does now, and decide again."
    ),
    "ran": "Nothing was done: since your page was loaded, it has run, or was stopped.",
}


@dataclass(frozen=True, slots=True)
class Switch:
    """A button: its label, and the `effects` that it has, in sentences.

    `version_id` is the version that it starts or runs, "" for a stop.
    """

    action: Action
    label: str
    effects: tuple[str, ...]
    version_id: str = ""


def switch_values(
    site: Site, snapshot: Transaction, model: Model, query: Mapping[str, str], left: str
) -> dict[str, object]:
    """Return the switches that make sense now, and what their forms repeat.

    `query` is that of the page, which tells what became of a form, and `left` says what the model
    may hold.
    """
    key = model.project_id, model.id
    status, life = site.live.status(snapshot, *key), snapshot.live.life(*key)
    start = None
    if status is not None and status.start_id is not None:
        start = snapshot.live.version(*key, status.start_id)
    has_bundle = start is not None and site.store.bundle_path(start.id).exists()
    switches = []
    if status is not None and life is not None:
        bundled = start if has_bundle else None
        switches = list(_switches(model, status, life, bundled, left, site.live.stop_seconds))
    return {
        "switches": switches,
        "seen": standing(life),
        "since": "" if status is None else repr(status.since),
        "refusal": _REFUSALS.get(query.get("refused", ""), ""),
        "is_asked": (
            status is not None
            and status.state is State.SCHEDULED
            and query.get("asked") == repr(status.since)
        ),
        "cannot_start": _cannot_start(status, start, has_bundle=has_bundle),
    }


def _switches(
    model: Model,
    status: LiveStatus,
    life: Life,
    start: Version | None,
    left: str,
    stop_seconds: float,
) -> Iterator[Switch]:
    if status.wanted == Wanted.RUNNING:
        label = "Keep stopped" if status.state in DOWN else "Stop"
        effects = (
            *_risks_of_stop(status, left),
            *_effects_of_stop(model, status, life, stop_seconds),
            _STAYS,
        )
        yield Switch("stop", label, effects)
    if model.is_screener and status.state is State.SCHEDULED and status.version is not None:
        effects = (
            "Runs it once, now, beside its schedule.",
            "What it orders then is real if its exchange is.",
        )
        yield Switch("run", "Run now", effects, status.version.id)
    is_waiting = status.state is State.RESTARTING
    if start is not None and (status.state in DOWN or is_waiting):
        label = "Start now" if is_waiting else "Start"
        yield Switch("start", label, tuple(_effects_of_start(model, start)), start.id)


def _risks_of_stop(status: LiveStatus, left: str) -> Iterator[str]:
    """Yield what one should know of a model that is not down before it is stopped."""
    if status.state in DOWN:
        return  # the page says it, whether it is kept stopped or not
    if left:
        yield (
            f"By its reported orders it may hold a position now: {left}, if all of them were"
            " filled. Look at the exchange."
        )
    if status.callbacks_fail:
        yield (
            "Its callbacks fail at present, as said above. What keeps them from succeeding may keep"
            " the teardown from selling, too."
        )


def _effects_of_stop(
    model: Model, status: LiveStatus, life: Life, stop_seconds: float
) -> Iterator[str]:
    """Yield what a stop does now."""
    if status.next_id is not None:
        yield "The version that is being prepared is not started."
    if status.state in DOWN:
        yield "Nothing of it runs now, so no teardown is called."
        if life.launched and status.state is not State.FINISHED:
            yield _EXCHANGE
    elif status.state is State.RESTARTING:
        yield "It has ended and waits for its restart, so no teardown is called."
        yield _EXCHANGE
    elif status.state is State.SCHEDULED:
        yield "Nothing of it runs between its runs, so no teardown is called."
    elif _only_prepares(status):
        yield "Nothing of it runs yet, and it is not started."
    elif model.is_screener:
        yield (f"Its run is told to end (SIGTERM). It has {stop_seconds:g} s; then it is killed.")
    else:
        yield (
            "Its process is told to end (SIGTERM). The strategy's `teardown` runs, which may send"
            f" orders, such as to sell everything. It has {stop_seconds:g} s; then it is killed."
        )
        if not status.strategy_started:
            yield "No strategy was started in it so far; without one, there is no teardown to call."
        yield (
            "This server closes no position and cancels no order itself: what the teardown leaves"
            " at the exchange stays there."
        )


def _only_prepares(status: LiveStatus) -> bool:
    is_coming = status.version is not None and status.version.progress == Progress.PREPARING
    return status.state is State.PREPARING and is_coming


def _effects_of_start(model: Model, version: Version) -> Iterator[str]:
    """Yield what a start does."""
    if model.is_screener:
        yield f"Prepares it, and runs it at the times of its schedule, {version.schedule}, in UTC."
        yield "What it orders is real if its exchange is."
    else:
        yield (
            "Prepares it and starts it. It trades as soon as it runs, with real money if its"
            " exchange and its keys are real."
        )
        yield "It is kept running: it is started again after a crash, and with this server."
    if version.progress == Progress.FAILED:
        yield f"It failed when it was last to run: {version.problem or 'its log says why'}"


def _cannot_start(status: LiveStatus | None, start: Version | None, *, has_bundle: bool) -> str:
    """Say why a model that is down has no button to start it; blank if it has."""
    if status is None or status.state not in DOWN or has_bundle:
        return ""
    if start is None:
        return "There is nothing to start: no version of it ever ran. Choose one under Versions."
    return (
        "What would start was removed, because the server keeps only newer ones. Deploy it again."
    )


# ------------------------------------------------------------------ what the buttons do


def stop_model(site: Site, visit: Visit) -> Answer:
    """Stop a model, whatever runs of it by now: that is never the wrong way round."""
    model, status = _asked(site, visit)
    if status is None or status.wanted != Wanted.STOPPED:  # or the form was sent twice
        site.models.stop_model(_request(model, visit), BY_PAGE)
    return _back(model)


def start_model(site: Site, visit: Visit) -> Answer:
    """Start the version that the visitor saw, unless something else was asked for since."""
    model, status = _asked(site, visit)
    version_id = visit.form.get("version", "")
    if is_coming(status, version_id):
        return _back(model)  # the form was sent twice
    try:
        _run(site, model, visit)
    except ChangedMeanwhileError:
        is_done = is_coming(_asked(site, visit)[1], version_id)  # by the same form, just now
        return _back(model) if is_done else _back(model, refused="changed")
    return _back(model)


def run_screener(site: Site, visit: Visit) -> Answer:
    """Run a screener once, unless it has run since the page was made, or runs."""
    model, status = _asked(site, visit)
    if status is None or status.state is State.RUNNING:
        return _back(model)
    if status.state is not State.SCHEDULED or visit.form.get("since", "") != repr(status.since):
        return _back(model, refused="ran")
    try:
        _run(site, model, visit)
    except ChangedMeanwhileError:
        return _back(model, refused="changed")
    return _back(model, asked=repr(status.since))


def _asked(site: Site, visit: Visit) -> tuple[Model, LiveStatus | None]:
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        return model, site.live.status(snapshot, model.project_id, model.id)


def _run(site: Site, model: Model, visit: Visit) -> None:
    """Run the version of a form, if the model stands as it did when the form was made."""
    request = _request(model, visit, versionId=visit.form.get("version", ""))
    site.models.run_version(request, visit.form.get("seen", ""), BY_PAGE)


def _request(model: Model, visit: Visit, **fields: str) -> Request:
    named = {"projectId": model.project_id, "modelId": model.id, **fields}
    return Request(named, address=visit.address)


def _back(model: Model, **query: str) -> SeeOther:
    path = f"{model_path(model.project_id, model.id)}/overview"
    return SeeOther(f"{path}?{urlencode(query)}" if query else path)
