"""Makes a requirements file of the dependencies in `pyproject.toml`, or says how to export one.

Servers install a requirements file and nothing else, so that the bundle gets one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem
from deploy_action.regular_files import SourceTree

NAME: Final = "pyproject.toml"
_MOST_BYTES: Final = 1 << 20
_COMPILE: Final = "`uv pip compile pyproject.toml -o {}`"
# A locked version is the one that was tested: the names alone would install others.
_COMMANDS: Final = {
    "uv": "`uv export --frozen --no-dev --no-emit-workspace -o {}`",
    "poetry": "`poetry export -o {}` (Poetry 2 needs the plugin poetry-plugin-export)",
    "pdm": "`pdm export --prod -o {}`",
}
# Dependencies in the tool's own form, and what says where a package comes from: without it, one of
# the same name is taken from PyPI.
_OWN_TABLES: Final = {
    "uv": ("sources", "index"),
    "poetry": ("dependencies", "source"),
    "pdm": ("source",),
}


def requirements_of_project(
    files: SourceTree, workspace: Path, name: str
) -> bytes | Problem | None:
    """Return the text of a requirements file `name` that a model lacks, made of its project.

    None if it has no `pyproject.toml`, or one that is not about dependencies. A problem if they
    cannot be told from that file alone: with a lock file, sources of its own, or dependencies that
    are computed or in Poetry's form. `workspace` is the root of the repository, where the lock file
    of several projects is.
    """
    try:
        document = _read(files)
    except OSError:
        return None
    except (ValueError, RecursionError):  # no UTF-8, or no TOML, whose message quotes the text
        return _problem(f"{NAME} is not valid TOML.", "Correct it.")
    project, tools = _table(document.get("project")), _table(document.get("tool"))
    has_poetry = bool(_poetry(tools))
    dynamic = project.get("dynamic")
    is_dynamic = isinstance(dynamic, list) and "dependencies" in dynamic
    if not has_poetry and not is_dynamic and "dependencies" not in project:
        return None
    if found := _command(files, workspace, tools):
        what, tool = found
        command = _COMMANDS[tool]
    elif is_dynamic:
        what, command = "`dependencies` are dynamic in it", _COMPILE
    else:
        return _listed(project["dependencies"])
    return _problem(
        f"There is no {name}, and {NAME} alone does not say what to install: {what}.",
        f"Export it with {command.format(name)} in the model's directory, and commit it, or let a "
        "step before this one do it.",
    )


def _command(
    files: SourceTree, workspace: Path, tools: Mapping[str, object]
) -> tuple[str, str] | None:
    """Return why the file alone does not tell, and the tool that can export what it means."""
    root, top = Path(files.root), workspace.resolve()
    for tool in _COMMANDS:
        if (root / f"{tool}.lock").is_file():
            return f"the versions are in {tool}.lock", tool
    above = [one for one in root.parents if one.is_relative_to(top)]
    if any((one / "uv.lock").is_file() and _is_workspace(one) for one in above):
        return "the versions are in the uv.lock of the workspace above", "uv"
    for tool, keys in _OWN_TABLES.items():
        given = {**_table(tools.get(tool))}
        if tool == "poetry":
            given["dependencies"] = _poetry(tools)
        for key in keys:
            if given.get(key):
                return f"it has `tool.{tool}.{key}`, which pip does not know", tool
    return None


def _is_workspace(directory: Path) -> bool:
    try:
        tools = _table(_read(SourceTree.at(directory)).get("tool"))
    except (OSError, ValueError, RecursionError):
        return False
    return "workspace" in _table(tools.get("uv"))


def _read(files: SourceTree) -> Mapping[str, object]:
    import tomllib

    return tomllib.loads(files.read(NAME, _MOST_BYTES).decode())


def _poetry(tools: Mapping[str, object]) -> Mapping[str, object]:
    """Return the packages of `tool.poetry.dependencies`, which also has the version of Python."""
    listed = _table(_table(tools.get("poetry")).get("dependencies"))
    return {name: how for name, how in listed.items() if name != "python"}


def _listed(dependencies: object) -> bytes | Problem:
    from packaging.requirements import InvalidRequirement, Requirement

    if not isinstance(dependencies, list):
        return _problem(f"`dependencies` in {NAME} is no list.", 'Write `["blankly", …]`.')
    lines = []
    for one in dependencies:
        try:
            lines.append(str(Requirement(one)) if isinstance(one, str) else "")
        except (InvalidRequirement, RecursionError):
            lines.append("")
    if "" in lines:
        number = lines.index("") + 1
        message = f"Dependency {number} in {NAME} is not a requirement, such as `pandas<2.2`."
        return _problem(message, "Correct it as in PEP 508.")
    return "".join(f"{line}\n" for line in lines).encode()


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _problem(message: str, hint: str) -> Problem:
    return Problem(message=message, hint=hint, path=NAME, line=1)
