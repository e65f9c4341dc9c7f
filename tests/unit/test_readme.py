"""The documents agree with the code: tables, commands, links and examples."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from deploy_action.model.manifest import load_manifest
from tools.lint_workflows import workflows_in_markdown

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
INPUTS = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
TERMINAL = (ROOT / "docs" / "terminal.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "examples/**/*.md") for path in ROOT.glob(pattern)
)


class Block(NamedTuple):
    language: str
    text: str


def blocks(text: str) -> list[Block]:
    return [
        Block(*found)
        for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def table(section: str, document: str) -> list[tuple[str, ...]]:
    body = document.partition(f"\n{section}\n")[2]
    rows = re.search(r"(?:^\|.*\|\n)+", body, re.MULTILINE)
    assert rows is not None, f"no table under {section}"
    cells = [
        tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        for row in rows[0].splitlines()
    ]
    return cells[2:]


def slugs(text: str) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def relative_links() -> Iterator[tuple[Path, str]]:
    for document in DOCUMENTS:
        text = prose(document.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                yield document, target


@pytest.fixture(scope="module")
def action() -> dict[str, dict[str, dict[str, str]]]:
    declared: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
        (ROOT / "action.yml").read_bytes()
    )
    return declared


def test_the_table_of_inputs_is_complete(action: dict[str, dict[str, dict[str, str]]]) -> None:
    declared = [
        (f"`{name}`", f"`{one['default']}`" if one.get("default") else "", one["description"])
        for name, one in action["inputs"].items()
    ]
    assert table("## Inputs", INPUTS) == declared


def test_the_table_of_outputs_is_complete(action: dict[str, dict[str, dict[str, str]]]) -> None:
    declared = [(f"`{name}`", one["description"]) for name, one in action["outputs"].items()]
    assert table("## Outputs", INPUTS) == declared


def test_every_dependency_is_named_with_its_reason() -> None:
    distributions = packages_distributions()
    imported = {
        distributions[name][0]
        for path in (ROOT / "deploy_action").rglob("*.py")
        for name in imported_modules(path)
        if name in distributions and name != "deploy_action"
    }
    imported.remove("requests")  # that of a model, in the model's own environment
    imported.add("idna")  # urllib3 imports it where it is there
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    lines = [*project["dependencies"], *extras]
    declared = {re.split(r"[<>=~! ]", line)[0] for line in lines}

    listed = {
        package.strip("`"): reason for package, reason in table("## Dependencies", CONTRIBUTING)
    }

    assert set(listed) == imported
    assert imported <= declared
    assert all(listed.values())


def test_every_folder_has_a_row() -> None:
    package = ROOT / "deploy_action"
    folders = {
        f"{path.parent.relative_to(package)}/"
        for path in package.glob("*/**/__init__.py")
        if "model_process" not in path.parts
    }
    rows = {
        name for row in table("## Where things are", CONTRIBUTING) for name in row[0].split(", ")
    }
    assert {row.strip("`") for row in rows if row.endswith("/`")} == (
        folders - {"platform/"} | {"platform/model_process/"}
    )
    assert all((package / row.strip("`")).exists() for row in rows)


def test_every_make_command_exists() -> None:
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ |^\| `)make ([a-z-]+)", text, re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets


def test_every_flag_in_an_example_is_an_input(action: dict[str, dict[str, dict[str, str]]]) -> None:
    commands = re.findall(
        r"^\$ blankly-deploy (?:deploy|backtest|validate) (.*)$", TERMINAL, re.MULTILINE
    )
    flags = set(re.findall(r"--([a-z-]+)", " ".join(commands)))
    assert flags
    assert flags <= set(action["inputs"])


@pytest.mark.parametrize(
    ("document", "target"),
    [pytest.param(*link, id=f"{link[0].name}:{link[1]}") for link in relative_links()],
)
def test_a_link_into_the_repository_leads_somewhere(document: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = document.parent / name if name else document
    assert path.exists()
    if anchor:
        assert anchor in slugs(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_of_code_is_cut(document: Path) -> None:
    """GitHub shows about 110 characters of a line; an address cannot be broken."""
    for block in blocks(document.read_text(encoding="utf-8")):
        lines = [line for line in block.text.splitlines() if "https://" not in line]
        assert max(map(len, lines), default=0) <= 110


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_of_yaml_and_json_parse(document: Path) -> None:
    for block in blocks(document.read_text(encoding="utf-8")):
        if block.language == "yaml":
            assert yaml.safe_load(block.text)
        if block.language == "json":
            assert json.loads(block.text)


def test_the_manifest_in_the_documentation_is_valid(tmp_path: Path) -> None:
    (manifest,) = (block.text for block in blocks(MODELS) if block.language == "json")
    (tmp_path / "blankly.json").write_text(manifest)
    loaded, problems = load_manifest(tmp_path)
    assert loaded is not None
    assert problems == ()


def test_the_front_page_is_short() -> None:
    assert len(README.split()) < 1_500


def test_every_page_is_named_on_the_front_page() -> None:
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)\s#]+)\)", README))


def test_the_workflow_of_the_front_page_is_an_example() -> None:
    (workflow,) = workflows_in_markdown(README)
    example = ROOT / "examples" / "workflows" / "first-backtest.yml"
    assert workflow.lstrip("\n") == example.read_text(encoding="utf-8")


def test_every_example_workflow_is_described() -> None:
    described = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples" / "workflows").glob("*.yml"):
        assert f"(../examples/workflows/{path.name})" in described, path.name
