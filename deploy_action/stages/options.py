"""The fields of an upload that only some servers take."""

from __future__ import annotations

from typing import Final

from deploy_action.deployment_api.client import ENVIRONMENT, DeploymentApi
from deploy_action.errors import RefusedError
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import Settings
from deploy_action.outcome.prepared_model import DescribedModel

_ROUTES: Final = {
    Mode.DEPLOY: "/model/deploy",
    Mode.BACKTEST: "/model/backtest",
    Mode.START: "/model/run",
    Mode.ROLLBACK: "/model/run",
}
COMBINATIONS: Final = "combinations"
"""The field for how many combinations are backtested beside the whole period."""

_UNCHANGED: Final = "unchanged"
# In characters; the server refuses longer ones.
_LONGEST_DEPLOYER: Final = 100
_LONGEST_RUN_URL: Final = 500


def check_options(api: DeploymentApi, settings: Settings) -> None:
    """Refuse what the inputs ask for and the server would ignore, before anything is made.

    A server that does not know `allow-older` allows that anyway.

    Raises:
        RefusedError: the server does not list the field.
    """
    path = _ROUTES[settings.mode]
    # An upload has none unless they are sent; a version that is run has some, which none replace.
    is_sent = settings.model_env is not None if settings.mode.is_control else settings.model_env
    if is_sent and ENVIRONMENT not in api.fields_of(path):
        raise _without_variables(settings, path, "`model-env` is set", "`model-env`")
    if settings.sweep is not None and settings.mode is Mode.BACKTEST:
        swept = next((one for one in settings.sweep.axes if one.variable is not None), None)
        if swept is not None and ENVIRONMENT not in api.fields_of(path):
            raise _without_variables(settings, path, f"`sweep` has `{swept.name}`", "it")
    if settings.mode is not Mode.DEPLOY:
        return
    # Also where nothing is asked for: the server is read before anything is made there.
    if _UNCHANGED not in api.fields_of(path) and settings.unchanged:
        raise RefusedError.of(
            message=f"Input `unchanged` is `skip`, and {settings.api_url} cannot tell whether "
            f"something changed: its `/openapi.json` lists no field `{_UNCHANGED}` of "
            f"`POST {path}`.",
            hint="Use a server that can, such as `blankly-deploy serve`, or remove `unchanged`.",
        )


def _without_variables(settings: Settings, path: str, what: str, which: str) -> RefusedError:
    return RefusedError.of(
        message=f"Input {what}, and {settings.api_url} does not take variables: its "
        f"`/openapi.json` lists no field `{ENVIRONMENT}` of `POST {path}`.",
        hint="Use a server that takes them, such as `blankly-deploy serve`, or remove "
        f"{which}. Keys of exchanges can go into `keys-json`.",
    )


def upload_options(
    api: DeploymentApi, settings: Settings, described: DescribedModel, tested: str
) -> dict[str, str]:
    """Return the fields of a deploy or a backtest that this server knows, and others do not.

    `tested` are the figures of the backtest before a deploy, as JSON, blank if there was none.
    """
    options = {
        "commit": described.checked_out,
        "committedAt": described.committed_at,
        "commitRepository": described.repository,
        "runUrl": described.run_url if len(described.run_url) <= _LONGEST_RUN_URL else "",
    }
    if settings.mode is Mode.DEPLOY:
        options |= {
            "deployedBy": described.deployed_by[:_LONGEST_DEPLOYER],
            "tested": tested,
            "allowOlder": "true" if settings.allow_older else "",
            _UNCHANGED: "skip" if settings.unchanged else "",
        }
    elif settings.is_local:  # it ends with the run
        return {}
    wanted = {name: text for name, text in options.items() if text}
    if not wanted and settings.mode is not Mode.DEPLOY and not settings.wants_several:
        return {}
    if settings.mode is Mode.BACKTEST:
        wanted |= _beside(settings)
    known = api.fields_of(_ROUTES[settings.mode])
    return {name: text for name, text in wanted.items() if name in known}


def _beside(settings: Settings) -> dict[str, str]:
    """Return the fields that say what is backtested beside the whole period."""
    windows, sweep = settings.windows, settings.sweep
    return {
        "windows": str(windows if isinstance(windows, int) else len(windows)),
        COMBINATIONS: "0" if sweep is None else str(len(sweep)),
    }
