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
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deploy_action"

# What a command loads from others, until it is done or connects to a server. Each library takes a
# good part of the time to start, so each has to be needed there.
LIBRARIES: dict[str, set[str]] = {
    "--version": set(),
    "validate": {"isal", "platformdirs"},
    "deploy": {"isal", "platformdirs", "urllib3"},
}
# How many modules these are in all: those of Python, of the libraries, and our own.
MOST_MODULES = {"--version": 95, "validate": 195, "deploy": 285}
# How many regular expressions are compiled: each takes about as long as loading a small module.
MOST_PATTERNS = {"--version": 15, "validate": 72, "deploy": 102}
# Modules of Python that take as long as many others, and that none of these commands needs.
HEAVY = frozenset(
    {
        "_decimal",
        "asyncio",
        "dataclasses",
        "difflib",
        "inspect",
        "multiprocessing",
        "secrets",
        "sqlite3",
        "statistics",
        "subprocess",
        "unittest",
        "uuid",
        "xml",
    }
)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml for the package in this folder."""
    command = [str(Path(sysconfig.get_path("scripts")) / "lint-imports"), "--no-cache"]
    environ = {**os.environ, "COLUMNS": "1000"}  # narrower, and long names are wrapped
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=120
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
        ("gates", "pages"),
        ("pages", "gates"),
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
        ("records", "errors"),
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
    "Pages know what was found, and neither runs nor servers": [("pages", "live")],
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
        ("gates", "urllib3"),
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


LOADED = """
import json, os, re, socket, sys

before = set(sys.modules)
root, found = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, root)
compile_pattern, compiled = re._compiler.compile, []


def note_and_compile(*arguments):
    frame = sys._getframe(1)
    while frame.f_globals["__name__"].partition(".")[0] == "re":
        frame = frame.f_back
    compiled.append((frame.f_globals["__name__"], frame.f_code.co_name))
    return compile_pattern(*arguments)


def report(*_arguments):
    with open(found, "w") as file:
        json.dump({"modules": sorted(set(sys.modules) - before), "compiled": compiled}, file)
    os._exit(0)


re._compiler.compile = note_and_compile
socket.socket.connect = report
from deploy_action.main import console

try:
    console()
except SystemExit:
    pass
report()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """What a command does until it connects to a server, or is done.

    `compiled` has the module and the function that compiled each regular expression.
    """

    modules: set[str]
    compiled: list[tuple[str, str]]


def start_of(arguments: list[str], directory: Path) -> Start:
    # Neither measures coverage, nor reads inputs or certificates from the environment of the tests.
    unwanted = re.compile("COVERAGE|INPUT_|GITHUB_|CA_BUNDLE|CERT")
    environ = {name: value for name, value in os.environ.items() if not unwanted.search(name)}
    found = directory.parent / "start.json"
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, str(ROOT), str(found), *arguments],
        cwd=directory,
        env={**environ, "INPUT_TOKEN": "not-one"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.exists(), done.stderr
    told = json.loads(found.read_text())
    return Start(set(told["modules"]), [(module, name) for module, name in told["compiled"]])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["validate"],
        ["deploy", "--api-url", "http://127.0.0.1:9", "--model-id", "any"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_loads_what_it_needs_and_nothing_else(
    arguments: list[str], tmp_path: Path
) -> None:
    model = shutil.copytree(ROOT / "examples" / "models" / "golden-cross", tmp_path / "model")
    start = start_of(arguments, model)
    packages = {name.partition(".")[0] for name in start.modules}
    assert packages - sys.stdlib_module_names - {"deploy_action"} == LIBRARIES[arguments[0]]
    assert packages & HEAVY == set()
    assert len(start.modules) <= MOST_MODULES[arguments[0]]
    assert len(start.compiled) <= MOST_PATTERNS[arguments[0]]
    at_import = [module for module, name in start.compiled if name == "<module>"]
    assert [module for module in at_import if module.startswith("deploy_action")] == []


def test_the_embedded_platform_of_a_run_loads_no_pages(tmp_path: Path) -> None:
    model = shutil.copytree(ROOT / "examples" / "models" / "golden-cross", tmp_path / "model")
    loaded = start_of(
        ["backtest", "--api-url", "local", "--platform-data", str(tmp_path / "data")], model
    ).modules
    assert "deploy_action.platform.server" in loaded
    assert not [name for name in loaded if name.startswith("deploy_action.platform.web")]
    assert loaded & {"jinja2", "markupsafe"} == set()
