"""What a run has found out so far: the one thing that a run fills in as it goes.

It is what outputs and summary are made of, on success and on failure alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum, StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from deploy_action.errors import Problem, Severity
from deploy_action.inputs.definitions import LOCAL

if TYPE_CHECKING:
    from deploy_action.backtest.comparison import Comparison
    from deploy_action.backtest.result import BacktestResult, BacktestRun
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.gates.judgement import Verdict
    from deploy_action.text.located_json import JsonValue


class Status(StrEnum):
    """How a run ended: the values of the output `status`."""

    DEPLOYED = "deployed"
    BACKTESTED = "backtested"
    VALID = "valid"
    DRY_RUN = "dry-run"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """The state of a run. Blank or None is what is not known (yet)."""

    mode: str = ""
    status: Status = Status.FAILED
    is_unsent: bool = False
    is_in_doubt: bool = False
    server: str = ""
    model_path: str = ""
    model_name: str = ""
    model_type: str = ""
    project_id: str = ""
    model_id: str = ""
    version_id: str = ""
    backtest_id: str = ""
    project_url: str = ""
    url: str = ""
    description: str = ""
    plan: str = ""
    python_version: str = ""
    schedule: str = ""
    backtest_args: Mapping[str, JsonValue] | None = None
    commit: str = ""
    commit_url: str | None = None
    bundle: Bundle | None = None
    backtest: BacktestResult | None = None
    backtest_run: BacktestRun | None = None
    # What came of the gates, in the order in which they were given.
    verdicts: tuple[Verdict, ...] = ()
    comparison: Comparison | None = None
    # Digest of the bytes that the embedded platform backtested before they were deployed.
    tested_sha256: str = ""
    report_path: str = ""
    created: list[str] = field(default_factory=list)
    would_do: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic
    started_at: float = 0.0

    def __post_init__(self) -> None:
        self.started_at = self.clock()

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return self.clock() - self.started_at

    @property
    def is_local(self) -> bool:
        """Whether the server is the embedded platform."""
        return self.server == LOCAL

    @property
    def path_prefix(self) -> str:
        """What stands before a path in the model to make it one in the repository."""
        return "" if self.model_path in {"", "."} else f"{self.model_path}/"

    def of(self, severity: Severity) -> list[Problem]:
        """Return the problems of one severity."""
        return [problem for problem in self.problems if problem.severity is severity]

    def redacted(self, redact: Callable[[str], str]) -> RunRecord:
        """Return a copy whose texts went through `redact`.

        It has to be done before they are shown: a secret that was cut, or escaped for a table, is
        not found any more.
        """
        shown = copy(self)
        from deploy_action.backtest.metrics import METRICS

        @cache  # ten thousand trades name the same few symbols, sides and keys
        def redact_once(text: str) -> str:
            # What is looked up by its id must be found, also where that is somebody's password.
            return text if text in METRICS else redact(text)

        for one in fields(self):
            setattr(shown, one.name, _redacted(getattr(self, one.name), redact_once))
        return shown

    def outputs(self) -> dict[str, str]:
        """Return the outputs of `action.yml` as far as they are known."""
        known = {
            "status": self.status.value,
            "project-id": self.project_id,
            "model-id": self.model_id,
            "version-id": self.version_id,
            "backtest-id": self.backtest_id,
            "url": self.url,
            "description": self.description,
            "report": self.report_path,
        }
        if self.bundle is not None:
            known |= {
                "bundle-sha256": self.bundle.sha256,
                "bundle-bytes": str(self.bundle.size),
                "bundle-files": str(self.bundle.file_count),
            }
        if self.backtest is not None:
            metrics = self.backtest.contract_metrics()
            known |= {
                "metrics": json.dumps(metrics, separators=(",", ":"), allow_nan=False),
                "trades-sha256": self.backtest.trades_sha256,
            }
        if self.verdicts:
            from deploy_action.gates.judgement import are_passed

            known["gates"] = "passed" if are_passed(self.verdicts) else "failed"
        return {name: value for name, value in known.items() if value}


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    match value:
        case Enum():
            return value
        case str():
            return redact(value)
        case Mapping():
            return {redact(key): _redacted(one, redact) for key, one in value.items()}
        case list() | tuple():
            return type(value)(_redacted(one, redact) for one in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            texts = {one.name: _redacted(getattr(value, one.name), redact) for one in fields(value)}
            return replace(value, **texts)
        case _:
            return value
