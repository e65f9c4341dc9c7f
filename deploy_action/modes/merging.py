"""The mode that puts the reports of several runners together, and judges the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from deploy_action.errors import InvalidInputError, Severity
from deploy_action.inputs.settings import UNWANTED_WARNINGS, Settings
from deploy_action.outcome.ending import Ending, Status
from deploy_action.records import dataclass, replace

if TYPE_CHECKING:
    from deploy_action.console import Console
    from deploy_action.outcome.run_outcome import RunOutcome


_NO_BASE: Final = "the parts have none, since their jobs ran without `compare-with`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merging:
    """Puts together the parts at `report-path`; nothing is sent.

    `on_merged` gets the run that they are of, and gets it again with verdicts.
    """

    settings: Settings
    environ: Mapping[str, str]
    console: Console
    on_merged: Callable[[RunOutcome], None]

    def run(self) -> Ending:
        """Read, put together, and judge: the gates are this job's own.

        Raises:
            InvalidInputError: the parts are not all there, damaged, or not of one run.
            RefusedError: a gate did not pass, or there are warnings where none are wanted.
        """
        from deploy_action.stages.backtests.judging import Judging
        from deploy_action.stages.reports.files import report_directory
        from deploy_action.stages.reports.merging import merge_reports

        settings = self.settings
        self._refuse_warnings()
        given = settings.report_path or ""
        with self.console.group("Read the parts and put them together"):
            path = report_directory(given, self.environ)
            merged = merge_reports(path, given, self.console.info, self.console.redact)
        found = merged.backtests
        # Jobs that share their inputs have the same warnings about them.
        told = tuple(one for one in found.problems if one not in settings.warnings)
        merged = replace(merged, backtests=replace(found, problems=told))
        self.on_merged(merged)
        judging = Judging(
            gates=settings.gates,
            fail_on_warning=settings.fail_on_warning,
            redact=self.console.redact,
            why_no_base="" if found.base else _NO_BASE,
            wants_several=True,
        )
        merged = replace(merged, backtests=judging.conclude(merged.backtests))
        self.on_merged(merged)
        judging.refuse(merged.backtests)
        return Ending(status=Status.MERGED)

    def _refuse_warnings(self) -> None:
        warnings = self.settings.warnings
        is_warned = any(one.severity is Severity.WARNING for one in warnings)
        if self.settings.fail_on_warning and is_warned:
            raise InvalidInputError(UNWANTED_WARNINGS)
