"""The plans of the platform: CPU in thousandths of a core, RAM in MiB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from deploy_action.platform.api.request import ApiError


class Plan(TypedDict):
    """The resources of a plan: CPU in thousandths of a core, RAM in MiB."""

    cpu: int
    ram: int


LIVE_PLANS: Mapping[str, Plan] = {
    "nano": {"cpu": 250, "ram": 256},
    "micro": {"cpu": 500, "ram": 512},
    "small": {"cpu": 1000, "ram": 1024},
    "medium": {"cpu": 2000, "ram": 2048},
    "large": {"cpu": 4000, "ram": 8192},
}
BACKTEST_PLAN = "slow"
BACKTESTING_PLANS: Mapping[str, Plan] = {BACKTEST_PLAN: {"cpu": 1000, "ram": 1024}}
PLANS = {"live": LIVE_PLANS, "backtesting": BACKTESTING_PLANS}


def check_plan(name: str) -> None:
    """Refuse a plan that deployed models cannot have."""
    if name not in LIVE_PLANS:
        raise ApiError(f"There is no plan {name!r}. The plans are: {', '.join(LIVE_PLANS)}")
