"""Why a model's environment could not be made."""

from __future__ import annotations

from deploy_action.errors import DeployActionError


class EnvironmentFailedError(DeployActionError):
    """There is no environment for the model; `problems` say why.

    Their path is the requirements file where it is the file's fault.
    """
