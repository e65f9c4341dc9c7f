"""`blankly-deploy init` in a repository that somebody else made, with hostile names and texts."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
import yaml

from deploy_action.commands.init.command import init
from deploy_action.commands.init.workflow import ModelInRepository, workflow_of
from deploy_action.console import Console
from deploy_action.errors import DeployActionError, InvalidInputError
from deploy_action.git.branches import read_habits
from tests.conftest import MANIFEST, write_model
from tests.support.hostile import changed, hostile_name, spoiled
from tests.support.hostile_world import commit_of, sound_text, strange_file
from tests.support.judges import assert_visible
from tests.support.repositories import git, make_repository
from tests.support.torture import Rounds

WORKFLOW: Final = ".github/workflows/blankly.yml"
EXPRESSION: Final = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
PROGRAMS: Final = {"blankly-deploy", "cd", "gh", "git", "printf"}


def leaves(value: Any) -> Iterator[str]:
    """Yield all texts of a document, those of its keys, too."""
    if isinstance(value, dict):
        yield from map(str, value)
        value = value.values()
    if isinstance(value, str):
        yield value
    elif not isinstance(value, int | float | bool | type(None)):
        for one in value:
            yield from leaves(one)


def expressions(text: str) -> set[str]:
    """Return what GitHub computes in a workflow, without the names of screeners."""
    found = {one for leaf in leaves(yaml.safe_load(text)) for one in EXPRESSION.findall(leaf)}
    return {re.sub(r"fromJSON\('(?:[^']|'')*'\)", "fromJSON(…)", one) for one in found}


def our_expressions() -> set[str]:
    kinds = [ModelInRepository("a"), ModelInRepository("b", is_screener=True)]
    made = [workflow_of(one, "main") for one in (kinds[:1], kinds[1:], kinds, kinds[:1] * 2)]
    return {*(one for text in made for one in expressions(text)), " '${{' "}


OURS: Final = our_expressions()
KEYS: Final = {"name", "on", True, "permissions", "jobs", "concurrency", "env", "defaults"}


def names_by_chance(chance: Random) -> str:
    return hostile_name(chance)[:80].decode("utf-8", "surrogateescape")


def hostile_repository(root: Path, chance: Random) -> None:
    """Make a repository of models in which names and texts are hostile."""
    make_repository(root)
    for _ in range(chance.randint(1, 3)):
        name = names_by_chance(chance)
        if chance.random() < 0.8:
            name = "".join(char for char in name if char.isprintable()) or "x"
        place = root / "bots" / name if chance.random() < 0.8 else root
        manifest: Mapping[str, Any] = {**MANIFEST, "model_name": sound_text(chance)}
        if chance.random() < 0.3:
            manifest = {**manifest, "type": "screener"}
        write_model(place)
        (place / "settings.json").unlink()
        text = json.dumps(changed(chance, manifest) if chance.random() < 0.3 else manifest)
        data = text.encode("utf-8", "replace")
        (place / "blankly.json").write_bytes(
            spoiled(chance, data) if chance.random() < 0.1 else data
        )
        for _ in range(chance.randint(0, 3)):
            strange_file(place, chance)
    for name in (".gitignore", ".gitattributes", ".gitmodules"):
        if chance.random() < 0.3:
            (root / name).write_text(f"{sound_text(chance)}\npath = {sound_text(chance)}\n")
    if chance.random() < 0.7:
        commit_of(root, chance)
    if chance.random() < 0.5:
        branch = " ".join(sound_text(chance).splitlines())
        (root / ".git" / "HEAD").write_text(f"ref: refs/heads/{branch}\n")


def state(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and ".git" not in path.relative_to(root).parts
    }


def judge_workflow(text: str, branch: str) -> None:
    """Fail if anything but the names of branches and models is other than ours."""
    document = yaml.safe_load(text)
    assert document.keys() <= KEYS, document.keys()
    if "${{" not in branch:
        assert document[True]["push"]["branches"] == [re.sub(r"[+!]", r"\\\g<0>", branch)]
    assert document["jobs"].keys() <= {"models", "backtest", "check", "deploy"}
    assert expressions(text) <= OURS, expressions(text) - OURS
    for job in document["jobs"].values():
        for step in job["steps"]:
            assert step.keys() <= {"name", "uses", "id", "with", "if", "run", "env"}
            assert "run" not in step
            uses = step.get("uses", "")
            assert re.fullmatch(r"(actions|blankly-community)/[a-z/-]+@[\w.-]+", uses), uses


def judge_commands(printed: str) -> None:
    """Fail if a command that is there to be copied does more than it says."""
    for line in printed.partition("\nNext:\n")[2].splitlines():
        if not line.startswith("     ") or not line.strip():
            continue
        words = [*shlex.shlex(line, punctuation_chars=True)]  # with their quotes
        if words[0] not in PROGRAMS:
            continue  # a sentence that was wrapped
        assert {one for one in words if set(one) <= set("();<>|&")} <= {">>"}, line
        if words[:2] == ["git", "add"]:
            names = shlex.split(line)[2:]
            assert not any(re.search(r"^[-:]|[*?\[]", one) for one in names), line


@pytest.mark.torture(quick=8)
def test_what_others_wrote_stays_a_name(
    rounds: Rounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, chance in enumerate(rounds):
        root = tmp_path / f"repository-{number}"
        hostile_repository(root, chance)
        before, around = state(root), {*tmp_path.iterdir()}
        stream = io.StringIO()
        console = Console(stream, for_runner=False)
        monkeypatch.chdir(root)
        try:
            init(Path(), console, {}, dry_run=False)
            rounds.count("written")
        except DeployActionError as error:
            for problem in error.problems:
                console.problem(problem)
            rounds.count("refused")
        printed = stream.getvalue()
        assert "Traceback" not in printed
        assert_visible(printed)
        judge_commands(printed)
        after = state(root)
        assert {*tmp_path.iterdir()} == around
        for name, data in before.items():
            if after[name] != data:
                assert name.endswith("blankly.json"), name
                found = json.loads(after[name].decode("utf-8-sig"))
                assert found.pop("$schema").startswith("https://raw.githubusercontent.com/")
                assert found == json.loads(data.decode("utf-8-sig")), name
        if WORKFLOW in after:
            judge_workflow(after[WORKFLOW].decode(), read_habits(root).branch)


def outside(root: Path, link: str) -> Path:
    """Let a directory of a repository be a link to another place, and return that."""
    other = root.parent / "other"
    other.mkdir()
    place = root / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(other)
    return other


@pytest.mark.parametrize("link", [".github", ".github/workflows", "work"])
def test_nothing_is_written_through_a_link_out_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    root = write_model(make_repository(tmp_path / "bot"), working_directory="./work")
    other = outside(root, link)
    before = state(root)
    monkeypatch.chdir(root)
    with pytest.raises(InvalidInputError, match="leads out of the repository"):
        init(Path(), Console(io.StringIO(), for_runner=False), {}, dry_run=False)
    assert state(root) == before
    assert [*other.rglob("*")] == []


@pytest.mark.parametrize("name", ["*", "-f", ":!bot.py", "a[b]"])
def test_a_file_that_git_could_take_for_more_is_added_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = write_model(make_repository(tmp_path / "bot"))
    commit_of(root, Random(0))  # noqa: S311  # no secret
    (root / name).write_text("x")
    monkeypatch.chdir(root)
    stream = io.StringIO()
    init(Path(), Console(stream, for_runner=False), {}, dry_run=False)
    (command,) = re.findall(r"^ +(git .*add .*)$", stream.getvalue(), re.MULTILINE)
    git(root, *shlex.split(command)[1:])
    assert set(git(root, "diff", "--cached", "--name-only", "-z").split("\0")) >= {name, WORKFLOW}


def test_a_script_with_a_name_that_no_file_can_have_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "a" * 300
    changes = {"main_script": f"./{long}.py", "working_directory": f"./{long}"}
    root = write_model(make_repository(tmp_path / "bot"), **changes)
    monkeypatch.chdir(root)
    stream = io.StringIO()
    init(Path(), Console(stream, for_runner=False), {}, dry_run=False)
    assert f"`{long[:20]}" in stream.getvalue() or long[:20] in stream.getvalue()


@pytest.mark.parametrize("branch", ["a\x9bb", "a\u2028b", "a\x85b", "\ufeffa", "😀"])
def test_a_branch_keeps_its_name_in_the_workflow(branch: str) -> None:
    judge_workflow(workflow_of([ModelInRepository("a")], branch), branch)
