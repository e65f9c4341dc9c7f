"""What models report of themselves: read with suspicion, kept within bounds, shown as told."""

from deploy_action.platform.live.reports.keeping import Reports, TooManyReportsError
from deploy_action.platform.live.reports.reading import KINDS, ReportError, check_time
from deploy_action.platform.live.reports.showing import Reported, read_profits, read_reports

__all__ = [
    "KINDS",
    "ReportError",
    "Reported",
    "Reports",
    "TooManyReportsError",
    "check_time",
    "read_profits",
    "read_reports",
]
