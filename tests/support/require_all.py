"""With REQUIRE_ALL set, a skipped test is a failed test.

Tests skip what a machine cannot do: build an image, drive a browser. Where everything was installed
on purpose, a skip means that something went untested without anybody noticing.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # A skip carries (path, line, reason); an expected failure has `wasxfail` and is no skip.
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped here: {report.longrepr[2]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into its failure."""
    report = yield
    if os.environ.get("REQUIRE_ALL"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into its failure."""
    report = yield
    if os.environ.get("REQUIRE_ALL"):
        _refuse_skip(report)
    return report
