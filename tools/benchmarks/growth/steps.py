"""Makes everything of a result, and tells how long each step takes.

    python -m tools.benchmarks.growth.steps RESULT

It prints one line of JSON: seconds of the processor, by step.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from pathlib import Path

from deploy_action.backtest.wire import parse_result
from deploy_action.outcome.ending import Status
from deploy_action.report.document import to_markdown
from deploy_action.report.html_page import Written, build_page
from deploy_action.report.json_report import build_report
from deploy_action.report.summary import build_summary
from tests.support.outcomes import an_outcome


def main() -> None:
    """Read the result, then make what a run leaves behind."""
    data = Path(sys.argv[1]).read_bytes()
    seconds: dict[str, float] = {}
    started = time.process_time()

    def note(step: str) -> None:
        nonlocal started
        now = time.process_time()
        seconds[step] = now - started
        started = now

    result = parse_result(data)
    if not result.analysis.metrics:
        raise AssertionError("there are no metrics")
    note("reading the result")
    outcome = an_outcome("backtest", Status.BACKTESTED, backtests={"result": result})
    to_markdown(build_summary(outcome))
    note("the summary")
    deque(build_report(outcome), maxlen=0)
    note("the report")
    build_page(outcome, Written(0.0, "report.json"))
    note("the page")
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
