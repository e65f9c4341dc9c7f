"""Python environments for models: which Python, which packages, made by uv and kept."""

from deploy_action.platform.environments.cache import Environment, Environments
from deploy_action.platform.environments.failure import EnvironmentFailedError

__all__ = ["Environment", "EnvironmentFailedError", "Environments"]
