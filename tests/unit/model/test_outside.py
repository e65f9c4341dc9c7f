"""Imports of code that is in the repository, but not in the bundle."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from deploy_action.bundle.including import Include
from deploy_action.bundle.selection import select_files
from deploy_action.errors import Problem, Severity
from deploy_action.model.live.code import read_code
from deploy_action.model.live.outside import Outside
from deploy_action.model.manifest import load_manifest

SHARED = ("libs/common/util.py", "common.py", "bots/shared.py", "bots/tools/charts.py")


def warnings(
    workspace: Path,
    script: str,
    *,
    shared: tuple[str, ...] = SHARED,
    include: tuple[Include, ...] = (),
    for_runner: bool = True,
    **files: str,
) -> list[Problem]:
    """Return the warnings for the model `bots/a` beside shared code; `files` are more of it."""
    model = workspace / "bots/a"
    written = {"bot.py": dedent(script), "requirements.txt": "blankly\n"}
    written |= {name.replace("__", "/") + ".py": dedent(text) for name, text in files.items()}
    for name, text in written.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(text)
    for name in shared:
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).touch()
    (model / "blankly.json").write_text(json.dumps({"main_script": "./bot.py"}))
    manifest, _ = load_manifest(model)
    assert manifest is not None
    selection = select_files(model, [], workspace=workspace, include=include)
    return list(
        Outside(workspace, model, for_runner).warnings(
            manifest, selection, read_code("bot.py", selection)
        )
    )


@pytest.mark.parametrize(
    ("statement", "shared", "place", "entry"),
    [
        ("from common.util import FAST", SHARED, "libs/common", "libs/common"),
        ("import common", SHARED, "common.py", "common.py"),
        ("import libs.common.util as u", SHARED, "libs", "libs"),
        ("from common import util", ("libs/common/util.py",), "libs/common", "libs/common"),
        ("from bots.shared import x", SHARED, "bots/shared.py", "bots/shared.py => bots/shared.py"),
        ("from bots.tools import charts", SHARED, "bots/tools", "bots/tools => bots/tools"),
        ("from shared import x", SHARED, "bots/shared.py", "bots/shared.py"),
    ],
)
def test_an_import_from_outside_the_model_names_the_include(
    tmp_path: Path, statement: str, shared: tuple[str, ...], place: str, entry: str
) -> None:
    (found,) = warnings(tmp_path, f"import json\n{statement}\n", shared=shared)
    assert (found.path, found.line, found.severity) == ("bot.py", 2, Severity.WARNING)
    assert f"is outside the model, in {place}:" in found.message
    assert found.hint == f"Put it into the bundle with `include: {entry}`."
    source, _, name = entry.partition(" => ")
    include = Include(source, name or source.rpartition("/")[2])
    assert warnings(tmp_path, statement, shared=shared, include=(include,)) == []


def test_a_terminal_has_a_flag(tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, "from common.util import x", for_runner=False)
    assert found.hint == 'Put it into the bundle with `--include "libs/common"`.'


def test_scripts_that_the_model_imports_are_read_too(tmp_path: Path) -> None:
    (found,) = warnings(tmp_path, "import own.deep", own__deep="\nfrom common.util import x")
    assert (found.path, found.line) == ("own/deep.py", 2)
    assert warnings(tmp_path, "x = 1", tests="from common.util import x") == []


@pytest.mark.parametrize(
    "script",
    [
        """
        import os
        if os.environ.get("FAST"):
            from common.util import x
        """,
        """
        try:
            from common.util import x
        finally:
            print("tried")
        """,
        """
        try:
            from common.util import x
        except ValueError:
            x = None
        """,
        """
        if TYPE_CHECKING:
            x = None
        else:
            from common.util import x
        """,
    ],
)
def test_imports_under_conditions_are_counted(tmp_path: Path, script: str) -> None:
    (found,) = warnings(tmp_path, script)
    assert "`common.util` is outside the model" in found.message


@pytest.mark.parametrize(
    "script",
    [
        "import numpy, json, blankly",
        "import elsewhere",
        "import charts.more",
        """
        try:
            from common.util import x
        except ImportError:
            x = None
        """,
        """
        if TYPE_CHECKING:
            from common.util import x
        """,
        "from . import common",
        "import (",
    ],
)
def test_other_imports_are_no_warning(tmp_path: Path, script: str) -> None:
    assert warnings(tmp_path, script) == []


def test_what_requirements_install_is_not_outside(tmp_path: Path) -> None:
    script = "import my_common"
    assert len(warnings(tmp_path, script, shared=("libs/my_common/a.py",))) == 1
    model = tmp_path / "bots/a"
    (model / "requirements.txt").write_text("blankly\nmy-common==1\n")
    manifest, _ = load_manifest(model)
    assert manifest is not None
    selection = select_files(model, [], workspace=tmp_path)
    assert (
        list(
            Outside(tmp_path, model, for_runner=True).warnings(
                manifest, selection, read_code("bot.py", selection)
            )
        )
        == []
    )


def test_the_code_of_other_models_and_environments_is_not_meant(tmp_path: Path) -> None:
    shared = ("bots/b/blankly.json", "bots/b/helpers.py", "venv/pyvenv.cfg", "venv/lib/helpers.py")
    assert warnings(tmp_path, "import helpers", shared=shared) == []


def test_of_several_places_the_nearest_is_named(tmp_path: Path) -> None:
    shared = ("bots/common/a.py", "common/a.py", "aaa/common/a.py")
    (found,) = warnings(tmp_path, "import common\nimport common.a", shared=shared)
    assert "`include: bots/common`" in found.hint


def test_a_model_that_is_the_workspace_has_no_outside(tmp_path: Path) -> None:
    warnings(tmp_path, "import common")
    model = tmp_path / "bots/a"
    manifest, _ = load_manifest(model)
    assert manifest is not None
    selection = select_files(model, [])
    assert (
        list(
            Outside(model, model, for_runner=True).warnings(
                manifest, selection, read_code("bot.py", selection)
            )
        )
        == []
    )
