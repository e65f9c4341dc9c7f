"""The report that a run leaves behind."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.benchmarks.measure import BrokenError


def report_path(outputs: Path) -> Path:
    """Return where the report is, from the file of outputs."""
    text = outputs.read_text(encoding="utf-8")
    found = re.search(r"^report(?:=|<<.*\n)(.+)$", text, re.MULTILINE)
    if found is None:
        raise BrokenError("there is no output `report`")
    return Path(found[1])


def read_report(outputs: Path) -> Mapping[str, Any]:
    """Return the report of the run with these outputs."""
    report: Mapping[str, Any] = json.loads(report_path(outputs).read_bytes())
    return report
