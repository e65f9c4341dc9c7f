"""What the programs print to standard error, the log of `serve` among it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PRINT_ALL = """
import logging, threading, types, warnings
from deploy_action import main
main._defuse_stderr()
text = "one\\n::error::two\\n \\t::warning::three ##[error]four\\r::notice::five\\x1b[2K"
from deploy_action.commands.serve import _BacktestLog
_BacktestLog(main._log).section(types.SimpleNamespace(backtest_id="id"), text)
_BacktestLog(main._log).line(types.SimpleNamespace(backtest_id="id"), text)
main._log(text)
warnings.warn(text)
logging.getLogger("uvicorn").warning(text)
logging.getLogger("asyncio").error(text)
def fail():
    raise ValueError(text)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


def _is_obeyed(line: str) -> bool:
    """Whether a runner finds a workflow command in a line."""
    return line.lstrip().startswith("::") or "##[" in line


def test_no_text_of_others_issues_workflow_commands_on_stderr() -> None:
    """Whoever prints it: this program, a library, or Python itself."""
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_ALL], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    for word in ("two", "three", "four", "five"):
        assert len(re.findall(rf"\b{word}\b", done.stderr)) >= 8
    assert "\x1b" not in done.stderr
    assert not [line for line in re.split(r"[\r\n]", done.stderr) if _is_obeyed(line)]


def test_errors_and_usage_issue_no_workflow_commands(tmp_path: Path) -> None:
    strange = tmp_path / "##[error]a" / "\n::error::b"
    strange.mkdir(parents=True)
    (strange / "c").touch()
    for arguments in (
        ["serve", "--data", str(strange)],
        [str(strange)],
        ["serve", "--data=d", str(strange)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "deploy_action", *arguments],
            cwd=_ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "error]a" in done.stderr
        assert not [line for line in done.stderr.splitlines() if _is_obeyed(line)]
