"""Why a model's environment could not be made."""

from __future__ import annotations

from deploy_action.errors import DeployActionError


class EnvironmentFailedError(DeployActionError):
    """The model's environment cannot be made; `problems` say why.

    Their path is the requirements file if the fault lies there.
    """
