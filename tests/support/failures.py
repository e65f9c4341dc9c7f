"""Print each failure when it happens.

pytest tells all failures at the end, which a run that hangs never reaches.
"""

from __future__ import annotations

import sys

import pytest


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print what failed, with the end of its report.

    Parameters
    ----------
    report
        What came of one phase of a test.
    """
    if report.failed:
        told = f"{report.nodeid} ({report.when})\n{report.longreprtext[-2000:]}"
        sys.stdout.write(f"\nFAILED {told}\n")
        sys.stdout.flush()
