"""The shape of the package: imports point one way, effects stay at the edge, start-up is cheap."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deploy_action"

# What each of these costs at import is a good part of the half second in which the first request
# should have been sent; each is loaded by the function that needs it.
HEAVY = frozenset(
    {
        "anyio",
        "apprise",
        "asyncio",
        "cronsim",
        "difflib",
        "dulwich",
        "h11",
        "isal",
        "jsonschema",
        "msgspec",
        "multipart",
        "packaging",
        "requests",
        "sqlite3",
        "starlette",
        "urllib3",
        "uvicorn",
        "yaml",
    }
)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml for the package in this folder."""
    command = [str(Path(sysconfig.get_path("scripts")) / "lint-imports"), "--no-cache"]
    environ = {**os.environ, "COLUMNS": "1000"}  # narrower, and long names are wrapped
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def test_imports_point_one_way() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


# For each contract, imports that break it: what imports, and what is imported.
WRONG_IMPORTS = {
    "Imports point one way": [
        ("errors", "main"),
        ("text", "bundle"),
        ("backtest", "gates"),
        ("backtest", "report"),
        ("gates", "inputs"),
        ("gates", "report"),
        ("inputs", "github"),
        ("outcome", "report"),
        ("report", "model"),
        ("report", "stages"),
        ("stages", "console"),
        ("stages", "platform"),
        ("stages", "run"),
        ("bundle", "gates"),
        ("git", "model"),
        ("git", "report"),
        ("model", "deployment_api"),
        ("model", "git"),
        ("model", "github"),
        ("model", "platform"),
        ("model", "report"),
        ("github", "deployment_api"),
        ("github", "model"),
        ("github", "report"),
        ("deployment_api", "github"),
        ("deployment_api", "model"),
        ("deployment_api", "platform"),
        ("deployment_api", "report"),
        ("http", "inputs"),
        ("interruption", "text"),
    ],
    "In the platform, imports point one way, too": [("platform.processes", "platform.runs")],
    "In the platform's API, imports point one way, too": [
        ("platform.api.http", "platform.api.forms"),
        ("platform.api.fields", "platform.api.app"),
    ],
    "In the report, imports point one way, too": [("report.charts", "report.sections")],
    "The platform knows nothing of the action: it could be anybody's server": [
        ("platform.storage", "inputs")
    ],
    "The entry knows neither payloads nor Markdown": [("cli", "report")],
    "The bundle knows files and bytes, and nothing of the run": [("bundle", "text")],
    "What a model is does not depend on where it comes from or goes to": [("model", "outcome")],
    "Git is read without knowing what for": [("git", "inputs")],
    "The runner's protocol and the forge know nothing of Blankly": [
        ("github", "backtest"),
        ("github", "inputs"),
    ],
    "The client takes its bundle as a file": [("deployment_api", "bundle")],
    "What came of a run does not depend on what was asked for": [("outcome", "inputs")],
    "Only `git` reads repositories": [("model", "dulwich")],
    "Texts are read and written without knowing what they are about": [("text", "interruption")],
    "Only the two clients, the sign-in and the platform speak HTTP": [
        ("gates", "requests"),
        ("inputs", "http.exchange"),
    ],
}


def copy_package(folder: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", folder)
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=ignored))


def full_name(module: str) -> str:
    place = PACKAGE.joinpath(*module.split("."))
    is_ours = place.is_dir() or place.with_suffix(".py").exists()
    return f"deploy_action.{module}" if is_ours else module


def test_each_contract_bites(tmp_path: Path) -> None:
    copy = copy_package(tmp_path)
    for importer, imported in (pair for pairs in WRONG_IMPORTS.values() for pair in pairs):
        place = copy.joinpath(*importer.split("."))
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\nimport {full_name(imported)}\n")
    _, *parts = re.split(r"^(.+)\n-+\n", lint_imports(tmp_path).stdout, flags=re.MULTILINE)
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    for contract, pairs in WRONG_IMPORTS.items():
        for importer, imported in pairs:
            shown = f"deploy_action.{importer} -> {full_name(imported)} (l."
            assert shown in found[contract], contract


def test_each_contract_has_an_import_that_breaks_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == set(WRONG_IMPORTS)


def test_a_new_folder_needs_a_place_in_the_contract(tmp_path: Path) -> None:
    copy_package(tmp_path)
    (tmp_path / "deploy_action" / "new_room.py").touch()
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "new_room" in done.stdout


def parts_over(package: Path, *, modules: int, lines: int, function_lines: int) -> list[str]:
    """Return the folders, modules and functions of a package that are larger than this."""
    found = []
    for folder in sorted({path.parent for path in package.rglob("*.py")}):
        paths = sorted(folder.glob("*.py"))
        if len([path for path in paths if path.stem != "__init__"]) > modules:
            found.append(str(folder.relative_to(package.parent)))
        for path in paths:
            name, source = str(path.relative_to(package.parent)), path.read_text(encoding="utf-8")
            found += [name] if source.count("\n") > lines else []
            found += [
                f"{name}: {node.name}"
                for node in ast.walk(ast.parse(source))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and (node.end_lineno or 0) - node.lineno >= function_lines
            ]
    return found


def test_nothing_is_too_large_to_be_found_or_read() -> None:
    assert parts_over(PACKAGE, modules=12, lines=500, function_lines=60) == []


def test_what_is_too_large_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "a.py").write_text(
        "def short():\n    return 1\n\n\nasync def long():\n    x = 1\n    return x\n"
    )
    (folder / "b.py").write_text("")
    (folder / "__init__.py").write_text("")
    found = parts_over(folder, modules=1, lines=6, function_lines=2)
    assert found == ["package", "package/a.py", "package/a.py: long"]


def effects(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each use of the environment, stdout, stderr or the exit."""
    names = {"environ", "getenv", "exit", "_exit", "stdout", "stderr", "stdin"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in {"os", "sys"} and node.attr in names:
                yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "sys"}:
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in names)
        elif isinstance(node, ast.Name) and node.id in {"print", "input", "exit", "SystemExit"}:
            yield node.lineno, node.id


def test_only_main_reads_the_environment_prints_or_exits() -> None:
    """What runs in a model's process, or starts it, is a program of its own."""
    launcher = PACKAGE / "platform" / "processes" / "launcher.py"
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path not in {PACKAGE / "main.py", PACKAGE / "__main__.py", launcher}
        and not path.is_relative_to(PACKAGE / "platform" / "model_process")
        for line, name in effects(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import os\nx = os.environ['HOME']", "os.environ"),
        ("from os import environ", "environ"),
        ("import sys\nsys.stdout.write('x')", "sys.stdout"),
        ("raise SystemExit(1)", "SystemExit"),
        ("print('x')", "print"),
    ],
)
def test_the_search_for_effects_finds_each_form(source: str, name: str) -> None:
    assert name in [found for _, found in effects(source)]


def test_starting_up_loads_nothing_heavy() -> None:
    code = "import json, sys, deploy_action.main; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    # Measuring coverage would load a library of its own.
    environ = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded & HEAVY == set()
