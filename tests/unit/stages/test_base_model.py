"""The base of a comparison comes from real repositories."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from deploy_action.backtest.runs_on import RunsOn
from deploy_action.bundle.bundle import Bundle
from deploy_action.errors import InvalidInputError, Severity
from deploy_action.github.event import read_event
from deploy_action.inputs.settings import parse_settings
from deploy_action.outcome.prepared_model import DescribedModel, PreparedModel
from deploy_action.stages.base_model import PreparedBase, prepare_base
from deploy_action.stages.preparation import Places, Preparation
from tests.conftest import write_model
from tests.support.repositories import commit_all, git, make_repository, snapshot


@dataclass(slots=True)
class Workspace:
    root: Path
    secrets: list[str] = field(default_factory=list)
    described: list[DescribedModel] = field(default_factory=list)
    runs: int = 0
    event: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.root / "workspace"

    @property
    def model(self) -> Path:
        return self.repository / "models" / "trend"

    def commit(self, **changes: object) -> str:
        write_model(self.model, **changes)
        return commit_all(self.repository)

    def preparation(self, **inputs: str) -> Preparation:
        """Return the preparation of a run with these inputs, `keys_json` for `keys-json`."""
        self.runs += 1
        scratch = self.root / f"scratch{self.runs}"
        scratch.mkdir()
        given = {"mode": "backtest", "api-url": "local", "model-path": "models/trend"}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        environ = {"GITHUB_SERVER_URL": "https://forge.example", "GITHUB_REPOSITORY": "me/models"}
        environ |= self.event
        return Preparation(
            settings=parse_settings(given),
            event=read_event(environ),
            places=Places(workspace=self.repository, scratch=scratch, excluded=(scratch,)),
            on_described=self.described.append,
            on_secrets=self._mask,
            redact=self._redact,
            on_packing=lambda _done, _total: None,
        )

    def prepare(self, ref: str = "HEAD^", **inputs: str) -> tuple[PreparedModel, PreparedBase]:
        preparation = self.preparation(**inputs)
        candidate = preparation.run()
        return candidate, prepare_base(preparation, candidate, ref)

    def base(self, ref: str = "HEAD^", **inputs: str) -> PreparedBase:
        return self.prepare(ref, **inputs)[1]

    def _mask(self, secrets: Iterable[str]) -> None:
        self.secrets += secrets

    def _redact(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path)
    make_repository(found.repository)
    found.commit()
    return found


def packed(bundle: Bundle | None) -> dict[str, bytes]:
    assert bundle is not None
    with ZipFile(bundle.path) as archive:
        return {name.removeprefix("model/"): archive.read(name) for name in archive.namelist()}


def test_the_base_is_packed_as_it_was(workspace: Workspace) -> None:
    before, _ = workspace.prepare("HEAD")
    (workspace.model / "bot.py").write_text("import blankly\n")
    sha = workspace.commit(plan="medium", python_version="3.11")
    candidate, base = workspace.prepare("HEAD^")
    assert base.bundle is not None
    assert base.bundle.sha256 == before.bundle.sha256
    assert candidate.bundle.sha256 != before.bundle.sha256
    assert base.commit == git(workspace.repository, "rev-parse", f"{sha}^")
    assert base.commit_url == f"https://forge.example/me/models/commit/{base.commit}"
    assert (base.ref, base.reason, base.is_absent) == ("HEAD^", "", False)
    assert base.runs_on == RunsOn(
        plan="nano", python_version="3.10", schedule="", arguments={"to": "1y"}
    )
    runs_on = candidate.described.runs_on
    assert (runs_on.plan, runs_on.python_version) == ("medium", "3.11")


def test_an_unchanged_base_has_the_same_bytes(workspace: Workspace) -> None:
    (workspace.model / "deep").mkdir()
    (workspace.model / "deep" / "run.sh").write_text("#!/bin/sh\n")
    (workspace.model / "deep" / "run.sh").chmod(0o755)
    (workspace.model / "Größe.py").write_text("x = 1\n")
    (workspace.model / "link").symlink_to("deep")
    workspace.commit()
    (workspace.repository / "README.md").write_text("Not of the model\n")
    workspace.commit()
    candidate, base = workspace.prepare()
    assert base.bundle is not None
    assert base.bundle.sha256 == candidate.bundle.sha256
    assert base.bundle.path != candidate.bundle.path
    assert sha256(base.bundle.path.read_bytes()).hexdigest() == base.bundle.sha256


def test_the_inputs_are_laid_over_both(workspace: Workspace) -> None:
    keys = json.dumps({"alpaca": {"default": {"API_KEY": "K" * 12}}})
    (workspace.model / "notes.txt").write_text("then\n")
    workspace.commit(plan="micro", python_version="3.9")
    (workspace.model / "notes.txt").write_text("now\n")
    workspace.commit()
    candidate, base = workspace.prepare(
        plan="large", python_version="3.8", ignore="notes.txt", keys_json=keys
    )
    for runs_on, bundle in (
        (candidate.described.runs_on, candidate.bundle),
        (base.runs_on, base.bundle),
    ):
        assert runs_on is not None
        assert (runs_on.plan, runs_on.python_version) == ("large", "3.8")
        files = packed(bundle)
        assert files["keys.json"] == keys.encode()
        assert "notes.txt" not in files


def test_candidate_and_base_have_their_own_ignore_files(workspace: Workspace) -> None:
    (workspace.model / "data").mkdir()
    (workspace.model / "data" / "prices.csv").write_text("1\n")
    workspace.commit(ignore_files=["data"])
    workspace.commit(ignore_files=[])
    candidate, base = workspace.prepare()
    assert "data/prices.csv" not in packed(base.bundle)
    assert "data/prices.csv" in packed(candidate.bundle)


def test_the_base_has_the_same_exclusions_as_the_candidate(workspace: Workspace) -> None:
    (workspace.model / "platform" / "data").mkdir(parents=True)
    (workspace.model / "platform" / "data" / "store").write_text("1\n")
    workspace.commit()
    preparation = workspace.preparation()
    excluded = (workspace.model / "platform" / "data",)
    preparation = replace(preparation, places=replace(preparation.places, excluded=excluded))
    candidate = preparation.run()
    base = prepare_base(preparation, candidate, "HEAD")
    assert base.bundle is not None
    assert base.bundle.sha256 == candidate.bundle.sha256
    assert "platform/data/store" not in packed(base.bundle)


def test_requirements_are_read_for_a_comparison(workspace: Workspace) -> None:
    (workspace.model / "requirements.txt").write_text("blankly\nnumpy>=1\n")
    commit_all(workspace.repository)
    candidate, base = workspace.prepare(compare_with="HEAD^")
    assert base.requirements == {"blankly": ""}
    assert candidate.requirements == {"blankly": "", "numpy": ">=1"}
    assert candidate.directory == workspace.model.resolve()
    assert workspace.preparation().run().requirements == {}


def test_a_base_within_the_pull_request_is_warned_of(workspace: Workspace) -> None:
    """On the head itself, `HEAD^` is without the last commit only, and not the base branch."""

    def warnings(ref: str) -> list[str]:
        candidate, _ = workspace.prepare(ref, compare_with=ref)
        return [
            one.message for one in candidate.described.problems if one.severity is Severity.WARNING
        ]

    def on_pull_request(**payload: object) -> None:
        path = workspace.root / "event.json"
        path.write_text(json.dumps(payload))
        workspace.event = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(path)}

    git(workspace.repository, "switch", "--quiet", "--create", "topic")
    before = workspace.commit(plan="medium")
    head = workspace.commit(plan="nano")
    assert warnings("HEAD^") == []  # of a push
    on_pull_request(before=before, pull_request={"head": {"sha": head}})
    (warning,) = warnings("HEAD^")
    assert warning == (
        "The comparison may miss what the pull request changed earlier: the checkout is not the "
        "merge of the pull request, so that `HEAD^` is a commit of its own branch."
    )
    (warning,) = warnings(before)
    assert "is the pull request before its last push" in warning
    assert warnings("main") == []
    git(workspace.repository, "switch", "--quiet", "main")
    git(workspace.repository, "merge", "--quiet", "--no-ff", "topic", "-m", "Merge")
    assert warnings("HEAD^") == []


def test_a_model_that_is_new_has_no_base(workspace: Workspace) -> None:
    git(workspace.repository, "rm", "-r", "--quiet", "models")
    (workspace.repository / "README.md").write_text("No model yet\n")
    commit_all(workspace.repository)
    workspace.commit()
    base = workspace.base()
    assert base.is_absent
    assert base.reason == "the model did not exist at HEAD^"
    assert base.commit == git(workspace.repository, "rev-parse", "HEAD^")
    assert (base.bundle, base.runs_on, base.requirements) == (None, None, None)


def test_the_problem_of_a_base_is_the_reason(workspace: Workspace) -> None:
    (workspace.model / "bot.py").write_text("import blankly\nprint(\n")
    (workspace.model / "requirements.txt").unlink()
    git(workspace.repository, "add", "--all")
    commit_all(workspace.repository)
    (workspace.model / "blankly.json").write_text('{"main_script": "bot.py",')
    commit_all(workspace.repository)
    workspace.commit()
    preparation = workspace.preparation()
    candidate = preparation.run()
    shown = list(workspace.described)
    broken = prepare_base(preparation, candidate, "HEAD~2")
    assert broken.reason.startswith("bot.py:2: bot.py is not valid Python: ")
    assert broken.reason.endswith("There is 1 more problem.")
    assert broken.bundle is None
    assert not broken.is_absent
    assert broken.runs_on is not None
    assert workspace.described == shown

    unreadable = workspace.base("HEAD^")
    assert unreadable.reason.startswith("blankly.json:1: ")
    assert unreadable.runs_on is None
    assert unreadable.bundle is None


def test_a_base_manifest_that_links_out_of_the_model_is_missing(workspace: Workspace) -> None:
    (workspace.repository / "shared.json").write_text("{}")
    (workspace.model / "blankly.json").unlink()
    (workspace.model / "blankly.json").symlink_to("../../shared.json")
    commit_all(workspace.repository)
    (workspace.model / "blankly.json").unlink()
    workspace.commit()
    assert workspace.base().reason == "There is no blankly.json in the model."


def test_many_problems_of_the_base_are_counted(workspace: Workspace) -> None:
    workspace.commit(main_script="../bot.py", requirements="/x", working_directory="nowhere")
    workspace.commit()
    assert workspace.base().reason.endswith("There are 2 more problems.")


def test_warnings_of_the_base_are_dropped(workspace: Workspace) -> None:
    workspace.commit(python_version=None, unknown_key=1)
    workspace.commit()
    preparation = workspace.preparation(fail_on_warning="true")
    candidate = preparation.run()
    base = prepare_base(preparation, candidate, "HEAD^")
    assert base.bundle is not None
    assert base.runs_on is not None
    assert base.runs_on.python_version == "3.7"
    assert workspace.described[-1].problems == ()


def test_a_base_that_was_a_screener_cannot_be_backtested(workspace: Workspace) -> None:
    workspace.commit(type="screener", screener={"schedule": "30 14 * * 1-5"})
    workspace.commit()
    base = workspace.base()
    assert "was a screener" in base.reason
    assert base.runs_on is not None
    assert base.runs_on.schedule == "30 14 * * 1-5"
    assert base.bundle is None


def test_a_base_that_cannot_be_restored_has_its_commit_and_reason(workspace: Workspace) -> None:
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(b'x').hexdigest()}\n"
        "size 1\n"
    )
    (workspace.model / "prices.csv").write_text(pointer)
    sha = workspace.commit()
    (workspace.model / "prices.csv").unlink()
    workspace.commit()
    base = workspace.base()
    assert "Git LFS" in base.reason
    assert base.commit == sha
    assert not base.is_absent
    assert base.bundle is None


def test_keys_of_the_inputs_replace_what_the_base_has(workspace: Workspace) -> None:
    (workspace.model / "keys.json").mkdir()
    (workspace.model / "keys.json" / "file").touch()
    workspace.commit()
    (workspace.model / "keys.json" / "file").unlink()
    (workspace.model / "keys.json").rmdir()
    workspace.commit()
    assert packed(workspace.base(keys_json="{}").bundle)["keys.json"] == b"{}"


def test_secrets_in_the_base_are_masked(workspace: Workspace) -> None:
    leaked, password = "Q" * 4 + "7" * 12, "hunter" * 3
    (workspace.model / "keys.json").write_text(json.dumps({"binance": {"main": {"KEY": leaked}}}))
    workspace.commit(api_pass=password, type=f"{leaked} {password}")
    (workspace.model / "keys.json").unlink()
    workspace.commit()
    base = workspace.base()
    assert {leaked, password} <= set(workspace.secrets)
    assert "*** ***" in base.reason


def test_a_ref_that_is_missing_is_an_error_of_the_run(workspace: Workspace) -> None:
    with pytest.raises(InvalidInputError) as caught:
        workspace.base("v1.0")
    assert "fetch-depth" in caught.value.problems[0].hint


def test_the_checkout_is_only_read(workspace: Workspace) -> None:
    workspace.commit()
    before = snapshot(workspace.repository)
    workspace.base()
    assert snapshot(workspace.repository) == before


# The candidate, where it is to be backtested before it is deployed


def refusal(workspace: Workspace, **inputs: str) -> list[str]:
    preparation = workspace.preparation(**inputs)
    with pytest.raises(InvalidInputError) as caught:
        preparation.run()
    problems = (*workspace.described[-1].problems, *caught.value.problems)
    return [one.text() for one in problems if one.severity is Severity.ERROR]


@pytest.mark.parametrize("inputs", [{"gates": "sharpe >= 1"}, {"compare_with": "HEAD^"}])
def test_a_screener_cannot_be_tested_before_it_is_deployed(
    workspace: Workspace, inputs: dict[str, str]
) -> None:
    workspace.commit(type="screener", screener={"schedule": "30 14 * * 1-5"})
    (error,) = refusal(workspace, mode="deploy", **inputs)
    assert "screener" in error
    assert "Remove `gates` and `compare-with`" in error
    assert workspace.preparation(mode="deploy").run().described.runs_on.schedule == "30 14 * * 1-5"
    assert workspace.preparation(mode="validate", **inputs).run().described.type == "screener"
    (error,) = refusal(workspace, mode="backtest")
    assert "Use mode `deploy`" in error


def test_the_arguments_of_a_tested_deploy_are_noted(workspace: Workspace) -> None:
    for gates, expected in (("sharpe >= 1", {"to": "2y"}), ("", None)):
        preparation = workspace.preparation(mode="deploy", gates=gates, backtest_args="{to: 2y}")
        assert preparation.run().described.runs_on.arguments == expected


def test_what_the_model_includes_is_taken_from_the_same_ref(workspace: Workspace) -> None:
    shared, requirements = workspace.repository / "libs/shared", workspace.repository / "all.txt"
    shared.mkdir(parents=True)
    (shared / "util.py").write_text("FAST = 10\n")
    requirements.write_text("blankly==1\n")
    workspace.commit(requirements="all.txt")
    (shared / "util.py").write_text("FAST = 20\n")
    (shared / "new.py").write_text("")
    requirements.write_text("blankly==2\n")
    workspace.commit(requirements="all.txt")

    model, base = workspace.prepare(
        include="libs/shared => lib/shared\nall.txt\nlibs/shared/new.py", compare_with="HEAD^"
    )

    assert base.reason == ""
    now, before = packed(model.bundle), packed(base.bundle)
    assert now["lib/shared/util.py"] == b"FAST = 20\n"
    assert before["lib/shared/util.py"] == b"FAST = 10\n"
    assert now.keys() - before.keys() == {"lib/shared/new.py", "new.py"}
    assert (base.requirements, model.requirements) == ({"blankly": "==1"}, {"blankly": "==2"})


def test_an_include_through_a_link_is_restored_from_where_it_leads(workspace: Workspace) -> None:
    (workspace.repository / "libs").mkdir()
    (workspace.repository / "libs/util.py").write_text("FAST = 10\n")
    workspace.commit()
    (workspace.repository / "shared").symlink_to("libs")
    (workspace.model / "shared").symlink_to("../../libs")
    workspace.commit()
    model, base = workspace.prepare("HEAD", include="shared")
    assert packed(model.bundle) == packed(base.bundle)


def test_an_include_of_another_repository_has_no_past(workspace: Workspace) -> None:
    other = make_repository(workspace.repository.parent / "other")
    (other / "util.py").write_text("")
    other.rename(workspace.repository / "other")
    base = workspace.base("HEAD", include="other")
    assert base.bundle is None
    assert base.reason.endswith("other` is not in the repository of the model.")


def test_what_the_base_lacks_matters_only_where_it_is_packed(workspace: Workspace) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    for name in ("weights.bin", "notebooks/large.bin"):
        (workspace.model / name).parent.mkdir(exist_ok=True)
        (workspace.model / name).write_text(pointer)
    before = workspace.commit()
    (workspace.model / "weights.bin").write_text("trained")
    (workspace.model / "notebooks/large.bin").write_text("plotted")
    workspace.commit()
    assert "`weights.bin` is in Git LFS" in workspace.base(ignore="notebooks").reason
    assert f"git lfs fetch origin {before}" in workspace.base(ignore="notebooks").reason
    assert workspace.base(ignore="*.bin").reason == ""
    (workspace.model / "blankly.json").write_text(pointer)
    commit_all(workspace.repository)
    workspace.commit()
    assert "`blankly.json` is in Git LFS" in workspace.base(ignore="*.bin").reason


def test_an_included_submodule_is_restored_as_it_was(workspace: Workspace) -> None:
    shared = make_repository(workspace.root / "shared")
    (shared / "pkg").mkdir()
    (shared / "pkg/util.py").write_text("FAST = 10\n")
    commit_all(shared)
    allowed = ("-c", "protocol.file.allow=always")
    add = ("submodule", "--quiet", "add", str(shared), "libs/shared")
    git(workspace.repository, *allowed, *add)
    workspace.commit()
    (shared / "pkg/util.py").write_text("FAST = 20\n")
    commit_all(shared)
    git(workspace.repository, *allowed, "submodule", "--quiet", "update", "--remote")
    workspace.commit()
    for include, name in (
        ("libs/shared", "shared/pkg/util.py"),
        ("libs/shared/pkg", "pkg/util.py"),
    ):
        model, base = workspace.prepare(include=include)
        assert packed(model.bundle)[name] == b"FAST = 20\n"
        assert packed(base.bundle)[name] == b"FAST = 10\n"
