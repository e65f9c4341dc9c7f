"""A sound model to spoil, and all checks of its files at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy_action.bundle.selection import Selection, select_files
from deploy_action.errors import Problem, Severity
from deploy_action.model.files import check_model_files
from deploy_action.model.leaks import find_leaks, leak_problems
from deploy_action.model.live.code import Code, read_code
from deploy_action.model.manifest import load_manifest
from deploy_action.model.requirements import UNKNOWN, Installer
from deploy_action.model.syntax import wanted_python


def sound_model(directory: Path) -> Path:
    """Write a model without a problem into a new directory."""
    directory.mkdir()
    (directory / "blankly.json").write_text('{\n "main_script": "./bot.py",\n "type": "strategy"}')
    (directory / "bot.py").write_text("import blankly\n")
    (directory / "requirements.txt").write_text("blankly\n")
    (directory / "settings.json").write_text('{"settings": {}}')
    (directory / "backtest.json").write_text('{"settings": {}}')
    return directory


def check(
    directory: Path,
    *,
    keys_injected: bool = False,
    is_tracked: Callable[[Path], bool] = lambda _: True,
    ignore: tuple[str, ...] = (),
    installer: Installer = UNKNOWN,
    redact: Callable[[str], str] = str,
    **keys: Any,
) -> tuple[Problem, ...]:
    """Check a model; `keys` replace its blankly.json, one a line from line 2."""
    if keys:
        lines = ",\n ".join(f"{json.dumps(key)}: {json.dumps(keys[key])}" for key in keys)
        (directory / "blankly.json").write_text(f"{{\n {lines}}}")
    manifest, problems = load_manifest(directory)
    assert manifest is not None, problems
    selection = select_files(directory, (*manifest.ignore_files, *ignore))
    code = read_code(manifest.main_script, selection)
    wanted = wanted_python(manifest.python_version, "3.11")
    return (
        *check_model_files(manifest, selection, code, wanted, installer, redact),
        *leak_problems(
            find_leaks(selection),
            code,
            is_tracked,
            keys_injected=keys_injected,
            redact=redact,
        ),
    )


def read(directory: Path, *, is_backtest: bool = False) -> tuple[Code, Selection]:
    """Return what of the script `bot.py` runs, and the files of its bundle."""
    selection = select_files(directory, ())
    return read_code("bot.py", selection, is_backtest=is_backtest), selection


def only(problems: tuple[Problem, ...], severity: Severity = Severity.ERROR) -> Problem:
    """Return the one problem there is, which has a severity and a hint."""
    assert len(problems) == 1, problems
    assert problems[0].severity is severity
    assert problems[0].hint
    return problems[0]


def place(problem: Problem) -> tuple[str | None, int | None, int | None]:
    """Return where a problem is."""
    return problem.path, problem.line, problem.column
