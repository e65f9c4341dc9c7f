"""Builds the image once, and sets up jobs that use it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.container_runner import ROOT, Image, Runner

NAME = "localhost/blankly-deploy-test"


def _script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "tools" / "image.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def build_image(name: str, *options: str) -> Image:
    """Build an image with whichever engine works here; skip where none does."""
    engine = _script("engine")
    if engine.returncode != 0:
        pytest.skip(engine.stderr.strip())
    built = _script("build", name, *options)
    if "apt-get install mmdebstrap" in built.stderr or "only root can make" in built.stderr:
        pytest.skip(built.stderr.strip().splitlines()[-1])
    assert built.returncode == 0, built.stdout + built.stderr
    return Image(engine=engine.stdout.strip(), name=name)


@pytest.fixture(scope="session")
def image() -> Image:
    """Build the action's image."""
    return build_image(NAME)


@pytest.fixture
def job(image: Image, tmp_path: Path) -> Runner:
    """Check out a small model on a runner, for a push to main."""
    commit = {"id": "a" * 40, "message": "Buy the dip\n\nThe whole of it."}
    runner = Runner(image, tmp_path / "job", event={"head_commit": commit, "deleted": False})
    runner.write(
        "blankly.json",
        '{\n  "main_script": "./bot.py",\n  "python_version": "3.10",\n'
        '  "requirements": "./requirements.txt",\n  "working_directory": ".",\n'
        '  "ignore_files": ["price_caches"],\n  "backtest_args": {"to": "1y"},\n'
        '  "type": "strategy"\n}\n',
    )
    runner.write("bot.py", "import blankly\n")
    runner.write("requirements.txt", "blankly\n")
    return runner
