from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SKIPPING_TEST = """
import pytest

def test_that_skips():
    pytest.skip("no engine")
"""

SKIPPING_MODULE = """
import pytest

pytest.skip("no browser", allow_module_level=True)
"""


def run_pytest(folder: Path, *, require_all: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "REQUIRE_ALL": require_all, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.support.require_all",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, "-rs", str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [(SKIPPING_TEST, "no engine"), (SKIPPING_MODULE, "no browser")],
    ids=["a test", "a module"],
)
def test_a_skip_fails_where_all_is_required_and_nowhere_else(
    tmp_path: Path, source: str, reason: str
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_skips.py").write_text(source)
    relaxed = run_pytest(tmp_path, require_all="")
    strict = run_pytest(tmp_path, require_all="1")
    # 5: nothing was collected, as when a module skips itself whole.
    assert relaxed.returncode in {0, 5}
    assert "1 skipped" in relaxed.stdout
    assert strict.returncode in {1, 2}
    assert f"nothing may be skipped here: Skipped: {reason}" in strict.stdout
