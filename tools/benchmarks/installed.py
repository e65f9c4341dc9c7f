"""This project as users have it: its wheel, in a virtual environment with the locked packages.

Beside it is `requests`, with which its start is compared.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tools.benchmarks.measure import Command, run_command

ROOT = Path(__file__).parents[2]
_INSTALL = """
"$1" venv --quiet --python "$2" "$3"
export VIRTUAL_ENV="$3"
"$1" pip install --quiet --compile-bytecode --require-hashes --requirement "$4"
"$1" pip install --quiet --compile-bytecode --no-deps "$5"
"$1" pip install --quiet --compile-bytecode --constraint "$6" requests
"""


def install(uv: Path, scratch: Path, environ: Mapping[str, str]) -> Path:
    """Build the wheel, install it below `scratch`, and return the folder of the programs.

    Raises:
        BrokenError: the packages are neither in uv's cache nor to be had.
    """
    wheels, environment = scratch / "wheels", scratch / "installed"
    build: Command = [sys.executable, "-m", "flit_core.wheel", "--outdir", wheels]
    run_command(build, cwd=ROOT, environ=environ)
    (wheel,) = wheels.glob("*.whl")
    lock, development = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
    command: Command = [uv, sys.executable, environment, lock, wheel, development]
    run_command(["sh", "-euc", _INSTALL, "install", *command], cwd=scratch, environ=environ)
    return environment / "bin"
