"""The parsers of bytes, attacked by a fuzzer that looks for inputs which reach something new."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.hostile.guided import TARGETS
from tests.support.torture import Rounds

pytest.importorskip("atheris", reason="it has wheels for x86-64 alone")

ROOT = Path(__file__).parents[2]
_SECONDS = 10


def fuzz(target: str, folder: Path, chance: Random, *options: str) -> int:
    """Fuzz a target, with what earlier rounds found in the folder; return how often it ran."""
    command = [sys.executable, "-m", "tests.hostile.guided", target, str(folder), *options]
    command += [f"-seed={chance.randrange(1, 1 << 31)}", f"-artifact_prefix={folder}-"]
    command += ["-timeout=20", "-rss_limit_mb=3000"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-6_000:]
    found = re.search(r"Done ([0-9]+) runs", done.stderr)
    assert found, done.stderr[-2_000:]
    return int(found[1])


@pytest.mark.torture(quick=0)
@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_end_in_an_exception_that_is_not_documented(
    rounds: Rounds, tmp_path: Path, target: str
) -> None:
    for chance in rounds:
        number = fuzz(target, tmp_path / "found", chance, f"-max_total_time={_SECONDS}")
        rounds.count("inputs", number)


@pytest.mark.slow
def test_the_fuzzer_finds_a_way_through_a_parser(tmp_path: Path) -> None:
    """It stands for all targets in a usual run, which has no time for more."""
    chance = Random(1)  # noqa: S311  # no secret
    assert fuzz("gates", tmp_path / "found", chance, "-runs=500") >= 500
    assert len([*(tmp_path / "found").iterdir()]) > 10
