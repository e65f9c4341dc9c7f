"""What a version of a model runs on, and with which arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.text.located_json import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsOn:
    """Plan, Python version, schedule and arguments of a version; blank where they are not known.

    `schedule` is the cron expression of a screener, and blank for a strategy. `arguments` are those
    of `Strategy.backtest()`; None where there is no backtest.
    """

    plan: str = ""
    python_version: str = ""
    schedule: str = ""
    arguments: Mapping[str, JsonValue] | None = None
