"""Problems as data, and the exceptions that end a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave a problem is; the values are the runner's annotation commands."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: what, why, where, and the way out.

    `path` is a POSIX path relative to the model's directory; `line` and `column` count from 1,
    columns in code points.
    """

    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    path: str | None = None
    line: int | None = None
    column: int | None = None


class DeployActionError(Exception):
    """The root of all expected failures: each carries the problems to show.

    `may_have_acted` says that a request which must not be done twice was on its way when the run
    failed, so that what it asked for may or may not have happened.
    """

    def __init__(self, *problems: Problem, may_have_acted: bool = False) -> None:
        """Keep the problems; the message is the first one's."""
        super().__init__(problems[0].message if problems else "")
        self.problems = problems
        self.may_have_acted = may_have_acted


class InvalidInputError(DeployActionError):
    """An input, `blankly.json` or a file of the model is wrong; nothing was sent (exit code 2)."""


class RefusedError(DeployActionError):
    """The platform, the backtest or a gate said no, or could not be asked (exit code 1)."""


class DeadlineError(RefusedError):
    """The run's deadline passed."""


class InterruptedRunError(DeployActionError):
    """A signal ended the run (exit code 128 plus its number)."""

    def __init__(self, signal_number: int, *problems: Problem) -> None:
        """Keep the signal's number for the exit code."""
        super().__init__(*problems)
        self.signal_number = signal_number
