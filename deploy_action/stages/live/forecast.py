"""What a deploy would lead to, for a dry run: as far as the server tells before it."""

from __future__ import annotations

from datetime import datetime

from deploy_action.errors import RefusedError
from deploy_action.inputs.settings import Settings
from deploy_action.live.deployed import DeployedModel, DeployedVersion
from deploy_action.outcome.prepared_model import PreparedModel
from deploy_action.stages.live.following import short
from deploy_action.text.quantities import moment


def foretell(model: DeployedModel, prepared: PreparedModel, settings: Settings) -> str:
    """Return what would become of the upload; blank if the server does not tell.

    Raises:
        RefusedError: the server would refuse it.
    """
    live = model.live
    if live is None:
        return "run it, if it can be prepared" if model.tells_life else ""
    current = model.versions.get(live.next_id or live.start_id or live.version_id)
    if current is not None and not settings.allow_older:
        _refuse_older(current, prepared)
    running = model.versions.get(live.version_id)
    if settings.unchanged and running is not None and _is_same(model, running, prepared, settings):
        return _unchanged(running, settings)
    if live.is_kept_stopped:
        at = f" since {moment(live.since)} UTC" if live.since is not None else ""
        return f"only store it: the model is stopped{at}, and `mode: start` would run it"
    if live.is_up:
        return f"run it in place of version {short(live.version_id)}, if it can be prepared"
    return "run it, if it can be prepared"


def _unchanged(running: DeployedVersion, settings: Settings) -> str:
    same = f"leave version {short(running.id)} alone, which has these bytes and settings"
    return f"{same}, unless the values of its variables changed" if settings.model_env else same


def _refuse_older(current: DeployedVersion, prepared: PreparedModel) -> None:
    described = prepared.described
    if not described.committed_at or described.repository != current.repository:
        return
    mine = datetime.fromisoformat(described.committed_at).timestamp()
    if not described.repository or current.committed_at is None or mine >= current.committed_at:
        return
    raise RefusedError.of(
        message=f"The server would refuse this commit, of {moment(mine)} UTC: it is older than "
        f"that of the current version {short(current.id)}, of {moment(current.committed_at)} UTC.",
        hint="To go back to an earlier version, use `mode: rollback`; to deploy this commit all "
        "the same, set `allow-older: true`.",
    )


def _is_same(
    model: DeployedModel, running: DeployedVersion, prepared: PreparedModel, settings: Settings
) -> bool:
    """Whether what runs has these bytes and settings, and variables of these names."""
    live, described = model.live, prepared.described
    runs_on = described.runs_on
    return (
        live is not None
        and live.is_up
        and not live.next_id
        and running.bundle_sha256 == prepared.bundle.sha256
        and running.plan == runs_on.plan
        and running.python_version == runs_on.python_version
        and running.schedule == runs_on.schedule
        and model.type == described.type
        and set(running.environment) == set(settings.model_env or {})
    )
