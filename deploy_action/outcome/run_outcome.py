"""All that is known of a run: what outputs, summary, report and comment are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from deploy_action.errors import Problem, Severity
from deploy_action.outcome.backtests import Backtests
from deploy_action.outcome.discovery import Discovery
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.excerpt import Excerpt
from deploy_action.outcome.forwarding import Forwarding
from deploy_action.outcome.life import Life
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.outcome.request import Request
from deploy_action.outcome.target import Target
from deploy_action.records import dataclass, field, fields, is_record, replace
from deploy_action.regular_files import is_within
from deploy_action.text.strict_json import JsonText

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle

_OWN_WORDS: Final = frozenset({"strategy", "screener", "buy", "sell", "open"})
# Digests that we computed, ids of commits, and what is looked up and not shown.
_OWN_FIELDS: Final = frozenset(
    {
        "sha256",
        "trades_sha256",
        "bundle_sha256",
        "commit",
        "checked_out",
        "committed_at",
        "commit_url",
        "mode",
        "state",
        "wanted",
        "progress",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """The values that the stages of a run returned, as far as the run came.

    `warnings` are those of the inputs. `report_path` is where the report of a backtest was written,
    as the output names it, and `page_path` the same of the page. `excerpts` are lines of the
    model's Python files at which problems are.
    """

    request: Request = field(default_factory=Request)
    warnings: tuple[Problem, ...] = ()
    model: DescribedModel = field(default_factory=DescribedModel)
    bundle: Bundle | None = None
    target: Target = field(default_factory=Target)
    life: Life = field(default_factory=Life)
    backtests: Backtests = field(default_factory=Backtests)
    discovery: Discovery | None = None
    forwarding: Forwarding | None = None
    ending: Ending = field(default_factory=Ending)
    report_path: str = ""
    page_path: str = ""
    excerpts: tuple[Excerpt, ...] = ()

    def excerpt_at(self, problem: Problem) -> Excerpt | None:
        """Return the lines of the model around the place of a problem, if they are known."""
        place = (problem.path, problem.line)
        return next((one for one in self.excerpts if (one.path, one.line) == place), None)

    @property
    def model_path(self) -> str:
        """The model's directory, relative to the workspace."""
        return self.model.path or self.request.model_path

    def path_in_workspace(self, path: str) -> str:
        """Return where a file of the model is: below its directory, or included."""
        for one in self.model.included:
            if is_within(one.name, path):
                return one.source + path[len(one.name) :]
        return path if self.model_path in {"", "."} else f"{self.model_path}/{path}"

    @property
    def project_id(self) -> str:
        """The project's id, wherever the run got to know it."""
        return self.target.project_id or self.model.project_id or self.request.project_id

    @property
    def model_id(self) -> str:
        """The model's id, wherever the run got to know it."""
        return self.target.model_id or self.model.model_id or self.request.model_id

    @property
    def tested_sha256(self) -> str:
        """The digest of the bytes that were backtested before a deploy; blank without that."""
        run = self.backtests.run
        return run.bundle_sha256 if run is not None and self.request.mode == "deploy" else ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, stage by stage."""
        return (
            *self.warnings,
            *self.model.problems,
            *self.target.problems,
            *self.life.problems,
            *self.backtests.problems,
            *(() if self.discovery is None else self.discovery.problems),
            *self.ending.problems,
        )

    @property
    def is_problematic(self) -> bool:
        """Whether it failed, or there is a warning to tell."""
        return self.ending.status is Status.FAILED or bool(self.of(Severity.WARNING))

    def of(self, severity: Severity) -> list[Problem]:
        """Return the problems of one severity."""
        return [problem for problem in self.problems if problem.severity is severity]

    def redacted(self, redact: Callable[[str], str]) -> RunOutcome:
        """Return the outcome with every text that others wrote passed through `redact`.

        This has to happen before anything is formatted: a secret that was cut, or escaped for a
        table, is no longer recognised, and what is cut out of something formatted may be the marks
        that hold it together. Our own words stay, even where one is also somebody's password.
        """
        own = _own_words() if self.backtests.result is not None else _OWN_WORDS

        @lru_cache  # ten thousand trades name the same few symbols and sides
        def redact_once(text: str) -> str:
            return text if text in own else redact(text)

        shown: RunOutcome = _redacted(self, redact_once)
        return shown


def _own_words() -> frozenset[str]:
    """Return the words that we look up in a result, and its keys."""
    from deploy_action.backtest.metrics import METRICS, PACKAGE_IDS
    from deploy_action.backtest.trades import MARKET_ORDERS, STOP_LOSS
    from deploy_action.backtest.wire import KEYS

    orders = MARKET_ORDERS | {STOP_LOSS}
    return _OWN_WORDS | METRICS.keys() | frozenset(PACKAGE_IDS.values()) | KEYS | orders


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    shown = value
    match value:
        case None | int() | float():  # most of what there is
            pass
        case str() if not isinstance(value, Enum):
            shown = redact(value)
        case JsonText() | Excerpt():
            shown = value.rewritten(redact)
        case Mapping():
            shown = {redact(key): _redacted(one, redact) for key, one in value.items()}
        case list() | tuple():
            shown = type(value)(_redacted(one, redact) for one in value)
        case _ if is_record(value):
            names = [one.name for one in fields(value) if one.name not in _OWN_FIELDS]
            texts = {name: _redacted(getattr(value, name), redact) for name in names}
            shown = replace(value, **texts)
            # What was computed before stays: what is shown is what was judged.
            computed = getattr(value, "__dict__", {}).keys() - {one.name for one in fields(value)}
            for name in computed:
                vars(shown)[name] = _redacted(getattr(value, name), redact)
        case _ if hasattr(value, "__struct_fields__"):
            shown = _redacted_struct(value, redact)
        case _:
            pass
    return shown


def _redacted_struct(value: Any, redact: Callable[[str], str]) -> Any:
    """Redact a struct of msgspec, such as one of a hundred thousand trades: few change."""
    from msgspec.structs import replace as replace_in_struct

    before = {name: getattr(value, name) for name in value.__struct_fields__}
    after = {name: _redacted(one, redact) for name, one in before.items()}
    return value if after == before else replace_in_struct(value, **after)
