"""What a person sees on a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import write_model
from tests.support.pseudo_terminal import Shown, run_on_terminal

ROOT = Path(__file__).parents[2]


def blankly_deploy(
    *arguments: str, cwd: Path, columns: int = 80, environ: Mapping[str, str] | None = None
) -> Shown:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return run_on_terminal(
        [sys.executable, "-m", "deploy_action", *arguments],
        cwd=cwd,
        environ={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **(environ or {})},
        columns=columns,
    )


def test_a_valid_model_is_green_with_a_full_bar(tmp_path: Path) -> None:
    model = write_model(tmp_path / "bot")
    shown = blankly_deploy("validate", cwd=model)
    assert shown.code == 0
    assert f"Packing {'█' * 24} 100% of " in shown.text
    assert "\x1b[1;32m✅ Valid: bot\x1b[0m\n" in shown.text


@pytest.mark.parametrize(
    ("environ", "codes"),
    [({"NO_COLOR": "1"}, {"\x1b[K"}), ({"TERM": "dumb"}, set())],
    ids=["NO_COLOR", "TERM=dumb"],
)
def test_who_wants_no_colours_gets_none(
    environ: dict[str, str], codes: set[str], tmp_path: Path
) -> None:
    shown = blankly_deploy("validate", cwd=write_model(tmp_path / "bot"), environ=environ)
    assert set(re.findall(r"\x1b\[.", shown.text)) == codes
    assert ("\r" in shown.text) == bool(codes)


def test_an_error_is_red_and_wrapped_at_the_terminals_width(tmp_path: Path) -> None:
    model = write_model(tmp_path / "bot")
    shown = blankly_deploy("backup", "--data", str(model), "y", cwd=tmp_path, columns=50)
    assert shown.code == 2
    assert shown.text.startswith("\x1b[1;31merror:\x1b[0m")
    assert shown.text.splitlines()[-2:] == [
        "    is not a data directory of this platform.",
        "  → Name the directory that `serve --data` uses.",
    ]
