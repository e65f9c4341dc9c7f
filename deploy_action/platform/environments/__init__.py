"""Python environments of models: choose the Python, install the packages with uv, keep both."""

from deploy_action.platform.environments.cache import Environment, Environments
from deploy_action.platform.environments.failure import EnvironmentFailedError

__all__ = ["Environment", "EnvironmentFailedError", "Environments"]
