"""The modes for a model that is deployed: start, stop and rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import Settings
from deploy_action.modes.tools import Tools
from deploy_action.outcome.ending import Ending, Status
from deploy_action.servers import server_name

if TYPE_CHECKING:
    from deploy_action.outcome.prepared_model import DescribedModel


def control(tools: Tools, settings: Settings, model: DescribedModel) -> Ending:
    """Start, stop or roll back a deployed model."""
    from deploy_action.stages.live.control import Control

    api = tools.connect(tools.servers.named(settings))
    commanded = Control(
        api=api,
        settings=settings,
        described=model,
        follower=lambda target: tools.follower(api, target),
        on_target=tools.on_target,
        on_life=tools.on_life,
        on_doubt=tools.on_doubt,
    )
    target = None
    if settings.token is not None:
        with tools.console.group(f"Look up on {server_name(settings)}"):
            target = commanded.look_up()
    if target is None or settings.dry_run:
        return tools.would(commanded.plan_ahead(target))
    with tools.console.group(f"{settings.mode.title()} on {server_name(settings)}"):
        commanded.run(target)
    return Ending(status=Status.STOPPED if settings.mode is Mode.STOP else Status.STARTED)
