"""The effects at the end of a run: annotations, outputs, summary, report and comment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import Problem, Severity
from deploy_action.inputs.comment import comment_wanted
from deploy_action.interruption import signals_as_errors
from deploy_action.outcome.ending import Status
from deploy_action.records import dataclass, replace

if TYPE_CHECKING:
    from deploy_action.console import Console
    from deploy_action.interruption import Deadline
    from deploy_action.outcome.run_outcome import RunOutcome

# Seconds.
_MOST_FOR_COMMENT: Final = 30.0
_LEAST_FOR_COMMENT: Final = 5.0
_OF_JOB: Final = ("GITHUB_WORKFLOW", "GITHUB_JOB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """Where a run reports to. On a terminal the report goes below `platform_data`."""

    environ: Mapping[str, str]
    console: Console
    platform_data: Path
    pause: Callable[[float], None]

    def report(self, outcome: RunOutcome) -> RunOutcome:
        """Show problems, outputs and summary: on success, on failure, and when interrupted.

        Returns the outcome without secrets, as it was shown.
        """
        from deploy_action.github import commands
        from deploy_action.report.outputs import left_out, outputs_of

        shown = outcome.redacted(self.console.redact)
        self.console.path_in_workspace = shown.path_in_workspace
        summary_path = self.environ.get("GITHUB_STEP_SUMMARY")
        if self.console.for_runner or summary_path:
            # On a terminal, the summary below names them.
            for problem in shown.problems:
                self.console.problem(problem)
        try:
            if shown.backtests.result is not None:
                shown = self._write_report(shown)
                shown = self._write_page(shown)
        finally:
            if output_path := self.environ.get("GITHUB_OUTPUT"):
                outputs = outputs_of(shown)
                self._write(output_path, lambda path: commands.write_outputs(path, outputs))
                shown = self._noting(shown, left_out(shown, outputs))
            self._show_summary(shown, summary_path)
        return shown

    def _noting(self, outcome: RunOutcome, notice: Problem | None) -> RunOutcome:
        """Show a notice that comes up while reporting, and return the outcome with it."""
        if notice is None:
            return outcome
        self.console.problem(notice)
        ending = replace(outcome.ending, problems=(*outcome.ending.problems, notice))
        return replace(outcome, ending=ending)

    def _show_summary(self, outcome: RunOutcome, summary_path: str | None) -> None:
        from deploy_action.github import commands
        from deploy_action.github.runners import runner_of
        from deploy_action.report.document import to_markdown, to_text
        from deploy_action.report.summary import build_summary

        document = build_summary(outcome)
        if outcome.forwarding is not None:
            from deploy_action.report.forwarded import build_forwarding

            document = [*document, *build_forwarding(outcome.forwarding)]
        if summary_path:
            markdown = to_markdown(document)
            is_kept = self._write(summary_path, lambda path: commands.write_summary(path, markdown))
            if is_kept and runner_of(self.environ).shows_summaries:
                return
        terminal = self.console.terminal
        text = to_text(document, width=terminal.width, paint=terminal.painted)
        self.console.page(text.rstrip())
        if self.console.for_runner:  # the outputs name them
            return
        if outcome.report_path:
            self.console.info(f"\nThe whole result: {outcome.report_path}")
        if outcome.page_path:
            self.console.info(f"As a page to keep and send: {outcome.page_path}")

    def comment(
        self, outcome: RunOutcome, inputs: Mapping[str, str], deadline: Deadline | None
    ) -> None:
        """Keep the comment on the pull request up to date; a failure here does not fail the run.

        Raises:
            InterruptedRunError: a signal ended it.
        """
        wanted = comment_wanted(inputs)
        if wanted is None:
            return
        from deploy_action.github.comment import LARGEST_BODY, Message, keep_comment
        from deploy_action.github.event import read_event
        from deploy_action.github.pull_request import find_place
        from deploy_action.report.document import to_markdown
        from deploy_action.report.summary import build_comment

        event = read_event(self.environ)
        place = find_place(self.environ, event.payload)
        if isinstance(place, Problem):
            self.console.problem(place)
            return
        document = build_comment(outcome, event.run_url, self.console.redact(wanted.name))
        message = Message(
            # Two workflows, or two jobs, do not take over each other's comments.
            key="\n".join([wanted.key, *(self.environ.get(name, "") for name in _OF_JOB)]),
            body=to_markdown(document, largest=LARGEST_BODY),
            leg=wanted.leg,
            is_failed=outcome.ending.status is Status.FAILED,
            is_update=wanted.is_on_problem and not outcome.is_problematic,
            run_url=event.run_url if event.runner.has_pages_of_attempts else "",
        )
        with self.console.group("Comment on the pull request"):
            with signals_as_errors():
                seconds = _seconds_for_comment(deadline)
                kept = keep_comment(place, wanted.token, message, pause=self.pause, seconds=seconds)
            if kept.problem is not None:
                self.console.problem(kept.problem)
            else:
                self.console.info(kept.url or "None was written: there is no problem to tell.")

    def _write_report(self, outcome: RunOutcome) -> RunOutcome:
        """Write the report of a backtest, and return the outcome with its path."""
        import re
        from secrets import token_hex

        from deploy_action.report.json_report import build_report

        # Another server may call a backtest anything.
        backtest_id = outcome.backtests.backtest_id
        is_harmless = re.fullmatch(r"[A-Za-z0-9-]{1,64}", backtest_id)
        name = backtest_id if is_harmless else token_hex(16)
        return replace(outcome, report_path=self._keep(f"{name}.json", build_report(outcome)))

    def _write_page(self, outcome: RunOutcome) -> RunOutcome:
        """Write the page of a backtest beside its report, and return the outcome with its path."""
        from secrets import token_hex

        from deploy_action.report.html_page import Written, build_page

        if outcome.backtests.part is not None:  # it says nothing of the results
            return outcome
        report = Path(outcome.report_path)
        page = build_page(outcome, Written(time.time(), report.name))
        name = f"{report.stem or token_hex(16)}.html"
        return replace(outcome, page_path=self._keep(name, [page]))

    def _keep(self, name: str, blocks: Iterable[str]) -> str:
        """Write a report, and return its path as an output names it; blank if that fails."""
        from deploy_action.platform.storage.data_directory import REPORTS

        temporary = self.environ.get("RUNNER_TEMP") if self.console.for_runner else None
        root = Path(temporary) if temporary else self.platform_data
        path = root / REPORTS / name
        # Later steps of a workflow may run as another user; on a terminal the report is private.
        mode = 0o755 if temporary else 0o700

        def write(path: Path) -> None:
            path.parent.mkdir(mode, parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.partial")
            try:
                with partial.open("w", encoding="utf-8", errors="replace") as file:
                    file.writelines(blocks)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

        if not self._write(str(path), write):
            return ""
        return str(path.relative_to(root) if temporary else path)

    def _write(self, path: str, write: Callable[[Path], None]) -> bool:
        """Write a file; print a warning and return False if that fails."""
        try:
            write(Path(path))
        except OSError as error:
            self.console.problem(
                Problem(
                    message=f"{path} cannot be written: {error.strerror}.",
                    hint="An output of this step is missing; its exit code holds.",
                    severity=Severity.WARNING,
                ),
            )
            return False
        return True


def load_ahead() -> None:
    """Load what reports on a backtest: a run has time for that while the model is at work."""
    from deploy_action.report import html_page, json_report, outputs  # noqa: F401

    html_page.load_templates()


def _seconds_for_comment(deadline: Deadline | None) -> float:
    """Return the seconds until the deadline, but enough to post a comment if it has passed."""
    left = _MOST_FOR_COMMENT if deadline is None else deadline.at - deadline.clock()
    return min(_MOST_FOR_COMMENT, max(_LEAST_FOR_COMMENT, left))
