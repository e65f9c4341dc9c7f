"""Problems as data, and the exceptions that end a run."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Self

from deploy_action.records import dataclass, fields

_MOST_PROBLEMS: Final = 100
_LONGEST_TEXT: Final = 4_000


class Severity(StrEnum):
    """How serious a problem is; the values are the runner's annotation commands."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: what, why, where, and what to do.

    `path` is a POSIX path relative to the model's directory; `line` and `column` count from 1,
    columns in code points.
    """

    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    path: str | None = None
    line: int | None = None
    column: int | None = None

    def text(self) -> str:
        """Return message and hint as one text."""
        if not self.hint:
            return self.message
        stop = "" if self.message.endswith((".", "!", "?", ":")) else "."
        return f"{self.message}{stop} {self.hint}"

    @property
    def sentence(self) -> str:
        """The message, preceded by its place if it has one, such as `main.py:3: …`."""
        place = ":".join(str(part) for part in (self.path, self.line) if part)
        return f"{place}: {self.message}" if place else self.message

    def document(self) -> dict[str, str | int | None]:
        """Return the JSON object for reports and the platform: the severity, then every field."""
        return {
            "severity": self.severity,
            **{one.name: getattr(self, one.name) for one in fields(self)},
        }


def read_problems(documents: object, redact: Callable[[str], str] = str) -> tuple[Problem, ...]:
    """Parse a list of problems from another process or server; skip malformed ones.

    Returns at most 100, with texts of at most 4,000 characters, which go through `redact` before
    they are cut, and no path outside the model.
    """
    if not isinstance(documents, list):
        return ()
    problems = (_read_problem(one, redact) for one in documents[:_MOST_PROBLEMS])
    return tuple(problem for problem in problems if problem is not None)


def _read_problem(document: object, redact: Callable[[str], str]) -> Problem | None:
    if not isinstance(document, dict):
        return None
    severity, message = document.get("severity"), document.get("message")
    hint, path = document.get("hint"), document.get("path")
    line, column = document.get("line"), document.get("column")
    if not isinstance(severity, str) or severity not in set(Severity):
        return None
    if not isinstance(message, str) or not message:
        return None
    if not isinstance(path, str) or path[:1] in {"", "/"} or ".." in path.split("/"):
        path = None
    return Problem(
        message=_cut(redact(message)),
        hint=_cut(redact(hint)) if isinstance(hint, str) else "",
        severity=Severity(severity),
        path=path and _cut(redact(path)),
        line=line if type(line) is int and line > 0 else None,
        column=column if type(column) is int and column > 0 else None,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


class DeployActionError(Exception):
    """The base of all expected failures; `problems` are shown to the user.

    `may_have_acted` says that the run failed while a request that must not be repeated was under
    way: what it asked for may or may not have happened.
    """

    def __init__(self, *problems: Problem, may_have_acted: bool = False) -> None:
        super().__init__(problems[0].message if problems else "")
        self.problems = problems
        self.may_have_acted = may_have_acted

    @classmethod
    def of(cls, message: str, hint: str = "") -> Self:
        """Return the error for one problem that has no place."""
        return cls(Problem(message=message, hint=hint))


class InvalidInputError(DeployActionError):
    """An input, `blankly.json` or a file of the model is wrong; nothing was sent (exit code 2)."""


class RefusedError(DeployActionError):
    """The platform, the backtest or a gate said no, or could not be reached (exit code 1)."""


class DeadlineError(RefusedError):
    """The run's deadline passed."""


class InterruptedRunError(DeployActionError):
    """A signal ended the run (exit code 128 plus its number)."""

    def __init__(self, signal_number: int, *problems: Problem) -> None:
        super().__init__(*problems)
        self.signal_number = signal_number
