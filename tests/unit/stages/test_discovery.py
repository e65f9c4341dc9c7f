"""Which models a repository has, and which of them changed: for the matrix of a next job."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Ended, Runner, write_model
from tests.support.repositories import commit_all, git, make_repository

ZEROS = "0" * 40


@dataclass(slots=True)
class Monorepo:
    """A workspace that is a repository with two models and what they share."""

    runner: Runner

    @property
    def root(self) -> Path:
        return self.runner.workspace

    def write(self, name: str, text: str = "changed\n") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, name: str = "", text: str = "changed\n") -> str:
        if name:
            self.write(name, text)
        return commit_all(self.root)

    def discover(self, **inputs: str) -> Ended:
        return self.runner.run(mode="discover", **inputs)

    def changed(self, since: str = "HEAD^", **inputs: str) -> list[str]:
        """Return the paths of the models that changed since a ref."""
        return paths(self.discover(changed_since=since, **inputs))

    def pushed(self, before: str) -> None:
        self.runner.on("push", {"before": before})


def paths(ended: Ended) -> list[str]:
    assert ended.code == 0, ended.log
    assert ended.outputs["status"] == "discovered"
    return [one["path"] for one in json.loads(ended.outputs["models"])]


def errors(ended: Ended) -> list[str]:
    assert ended.code == 2, ended.log
    assert "models" not in ended.outputs
    return [line for line in ended.annotations if line.startswith("::error")]


@pytest.fixture
def repo(runner: Runner) -> Monorepo:
    for path in runner.workspace.iterdir():
        path.unlink()
    repo = Monorepo(runner)
    make_repository(repo.root)
    write_model(repo.root / "models" / "a")
    write_model(repo.root / "models" / "b", model_name="Bees")
    repo.write("shared/ta.py", "x = 1\n")
    repo.write("README.md", "text\n")
    repo.commit()
    return repo


def test_all_models_are_listed_with_path_and_name(repo: Monorepo) -> None:
    ended = repo.discover()
    assert ended.code == 0
    assert ended.outputs["models"] == (
        '[{"path":"models/a","name":"a"},{"path":"models/b","name":"Bees"}]'
    )
    assert "2 models found" in ended.summary
    assert not ended.annotations


NO_TEXT = os.fsdecode(b"caf\xe9")  # as Latin-1 writes it


def test_a_model_whose_directory_is_no_text_is_left_out_with_a_warning(repo: Monorepo) -> None:
    """Nothing that comes later could name it."""
    write_model(repo.root / "models" / NO_TEXT / "c")
    repo.commit()
    for since in ({}, {"changed_since": "HEAD^"}):
        ended = repo.discover(**since)
        assert paths(ended) == ([] if since else ["models/a", "models/b"])
        (warning,) = ended.annotations
        assert warning.startswith("::warning")
        assert (
            "`models/caf\\xe9/c` is not listed: the directory's name is not valid UTF-8" in warning
        )


def test_only_models_whose_directories_are_no_text_are_an_error(repo: Monorepo) -> None:
    write_model(repo.root / NO_TEXT)
    shutil.rmtree(repo.root / "models")
    (error,) = errors(repo.discover())
    assert "`caf\\xe9` is not listed" in error


def test_only_changed_models_are_listed_with_the_reason(repo: Monorepo) -> None:
    repo.write("models/b/helper.py")
    repo.write("models/b/third.py")
    repo.write("models/b/z.py")
    repo.commit("models/b/bot.py")
    ended = repo.discover(changed_since="HEAD^")
    assert json.loads(ended.outputs["models"]) == [{"path": "models/b", "name": "Bees"}]
    assert "1 of 2 models changed since `HEAD^`" in ended.summary
    assert "`bot.py`, `helper.py` and 2 more" in ended.summary
    assert "Not changed: `models/a`." in ended.summary


def test_a_list_without_models_is_one_that_a_matrix_can_take(repo: Monorepo) -> None:
    repo.commit("README.md")
    ended = repo.discover(changed_since="HEAD^")
    assert (ended.code, ended.outputs["models"]) == (0, "[]")
    assert "None of 2 models changed" in ended.summary


def test_the_refs_are_compared_directly(repo: Monorepo) -> None:
    """What a forced push dropped is a change, too: it ran before."""
    start = git(repo.root, "rev-parse", "HEAD")
    before = repo.commit("models/a/bot.py")
    git(repo.root, "reset", "--quiet", "--hard", start)
    repo.commit("models/b/bot.py")
    ended = repo.discover(changed_since=before)
    assert paths(ended) == ["models/a", "models/b"]
    assert f"changed since `{before[:12]}`\n" in ended.summary


def test_the_merge_of_a_pull_request_has_its_changes_alone(repo: Monorepo) -> None:
    git(repo.root, "switch", "--quiet", "--create", "topic")
    repo.commit("models/a/bot.py")
    head = repo.commit("README.md")
    git(repo.root, "switch", "--quiet", "main")
    repo.commit("models/b/bot.py")
    git(repo.root, "merge", "--quiet", "--no-ff", "topic", "-m", "Merge")
    repo.runner.on("pull_request", {"pull_request": {"head": {"sha": head}}})
    ended = repo.discover(changed_since="HEAD^")
    assert paths(ended) == ["models/a"]
    assert not ended.annotations
    git(repo.root, "switch", "--quiet", "topic")
    ended = repo.discover(changed_since="HEAD^")
    assert paths(ended) == []
    (warning,) = ended.annotations
    assert warning.startswith("::warning")
    assert "the checkout is not the merge of the pull request" in warning
    assert not repo.discover(changed_since="main").annotations


def test_a_new_branch_lists_all_and_says_why(repo: Monorepo) -> None:
    repo.pushed(ZEROS)
    ended = repo.discover(changed_since=ZEROS)
    assert paths(ended) == ["models/a", "models/b"]
    assert "All models are listed" in ended.summary
    assert "new branch" in ended.annotations[0]


def test_a_forced_push_whose_past_is_lost_lists_all_and_says_why(repo: Monorepo) -> None:
    lost = "c0ffee" * 6 + "c0ff"
    repo.pushed(lost)
    ended = repo.discover(changed_since=lost)
    assert paths(ended) == ["models/a", "models/b"]
    assert "the push was forced" in ended.annotations[0]


def test_a_commit_that_the_checkout_lacks_is_an_error(repo: Monorepo, tmp_path: Path) -> None:
    """Never a list without models, nor all of them, when a deeper checkout tells."""
    before = git(repo.root, "rev-parse", "HEAD")
    repo.commit("models/a/bot.py")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repo.root}", "shallow")
    repo.runner.environ["GITHUB_WORKSPACE"] = str(tmp_path / "shallow")
    repo.pushed(before)
    for ref, depth in ((before, "fetch-depth: 0"), ("HEAD^", "fetch-depth: 2")):
        (error,) = errors(repo.discover(changed_since=ref))
        assert "`changed-since`" in error
        assert depth in error
    repo.runner.environ["GITHUB_WORKSPACE"] = str(repo.root)
    (error,) = errors(repo.discover(changed_since="c0ffee" * 6 + "c0ff"))
    assert "fetch-depth: 0" in error


def test_without_a_repository_nothing_can_be_compared(runner: Runner) -> None:
    (error,) = errors(runner.run(mode="discover", changed_since="HEAD^"))
    assert "git repository" in error
    assert paths(runner.run(mode="discover")) == ["."]


def test_before_of_a_pull_request_is_too_late(repo: Monorepo) -> None:
    before = git(repo.root, "rev-parse", "HEAD")
    repo.commit("models/a/bot.py")
    repo.runner.on("pull_request", {"before": before, "action": "synchronize"})
    ended = repo.discover(changed_since=before)
    assert paths(ended) == ["models/a"]
    (warning,) = ended.annotations
    assert warning.startswith("::warning")
    assert "HEAD^" in warning
    ended = repo.discover(changed_since=before, fail_on_warning="true")
    assert (ended.code, ended.outputs["status"]) == (2, "failed")


def test_what_is_not_committed_counts_if_git_tracks_it(repo: Monorepo) -> None:
    repo.write("models/a/notes.txt")
    assert repo.changed("HEAD") == []
    repo.write("models/a/bot.py")
    assert repo.changed("HEAD") == ["models/a"]
    git(repo.root, "checkout", "--quiet", "--", ".")
    repo.write("models/b/extra.py")
    git(repo.root, "add", "models/b/extra.py")
    assert repo.changed("HEAD") == ["models/b"]
    (repo.root / "models/b/extra.py").unlink()
    write_model(repo.root / "models" / "untracked")
    assert repo.changed("HEAD") == ["models/b", "models/untracked"]


def test_removing_a_file_or_making_it_executable_is_a_change(repo: Monorepo) -> None:
    (repo.root / "models/a/settings.json").unlink()
    (repo.root / "models/b/bot.py").chmod(0o755)
    repo.commit()
    assert repo.changed() == ["models/a", "models/b"]


def test_a_file_that_was_only_touched_is_no_change(repo: Monorepo) -> None:
    (repo.root / "models/a/bot.py").touch()
    assert repo.changed("HEAD") == []


def test_a_new_model_is_called_new_and_a_moved_one_is_named_as_gone(repo: Monorepo) -> None:
    (repo.root / "models/a").rename(repo.root / "models/c")
    repo.commit()
    ended = repo.discover(changed_since="HEAD^")
    assert paths(ended) == ["models/c"]
    assert "new" in ended.summary
    assert "**Not there any more:** `models/a`" in ended.summary


def test_the_last_model_may_go(repo: Monorepo) -> None:
    shutil.rmtree(repo.root / "models")
    repo.commit()
    assert repo.changed() == []
    assert "There is no blankly.json" in errors(repo.discover())[0]


def test_a_model_inside_another_counts_for_both_unless_it_is_ignored(repo: Monorepo) -> None:
    write_model(repo.root / "models/a/inner")
    repo.commit()
    repo.commit("models/a/inner/bot.py")
    assert repo.changed() == ["models/a", "models/a/inner"]
    write_model(repo.root / "models/a", ignore_files=["/inner", "*.md"])
    repo.commit()
    repo.write("models/a/NOTES.md")
    repo.commit("models/a/inner/bot.py", "again\n")
    assert repo.changed() == ["models/a/inner"]


def test_a_model_at_the_root_holds_everything(repo: Monorepo) -> None:
    write_model(repo.root)
    repo.commit()
    repo.commit("models/a/bot.py")
    assert repo.changed() == [".", "models/a"]
    repo.commit("README.md")
    assert repo.changed() == ["."]


def test_a_directory_whose_name_starts_alike_is_another(repo: Monorepo) -> None:
    write_model(repo.root / "models/ab")
    repo.commit()
    repo.commit("models/ab/bot.py")
    assert repo.changed() == ["models/ab"]


def test_requirements_outside_of_the_model_count(repo: Monorepo) -> None:
    repo.write("models/a/requirements.txt", "-r ../../base.txt\n")
    repo.write("base.txt", "-c limits/all.txt\nblankly\n")
    repo.write("limits/all.txt", "numpy<2\n")
    (repo.root / "models/b/requirements.txt").unlink()
    (repo.root / "models/b/requirements.txt").symlink_to("../../linked.txt")
    repo.write("linked.txt", "blankly\n")
    repo.commit()
    for file, model in (("limits/all.txt", "a"), ("base.txt", "a"), ("linked.txt", "b")):
        repo.commit(file, "scipy\n")
        ended = repo.discover(changed_since="HEAD^")
        assert paths(ended) == [f"models/{model}"], file
        assert f"`{file} (requirements)`" in ended.summary
    (repo.root / "base.txt").unlink()
    repo.commit()
    assert repo.changed() == ["models/a"]


def test_what_is_included_counts(repo: Monorepo) -> None:
    (repo.root / "alias").symlink_to("shared")
    repo.commit("shared/notes.md")
    repo.write("shared/notes.md", "again\n")
    repo.commit("shared/ta.py", "x = 2\n")
    both = ["models/a", "models/b"]
    assert repo.changed() == []
    ended = repo.discover(changed_since="HEAD^", include="shared => lib", ignore="*.md")
    assert paths(ended) == both
    assert "`shared/ta.py (included)`" in ended.summary
    assert repo.changed(include="alias") == both
    assert repo.changed(include="shared/ta.py") == both
    assert repo.changed(include="shared => lib", ignore="/lib/ta.py\n*.md") == []
    repo.commit("README.md")
    assert repo.changed(include="shared") == []


def test_what_is_imported_counts_and_is_warned_of_until_it_is_included(repo: Monorepo) -> None:
    for name in "abc":
        write_model(repo.root / "models" / name)
        repo.write(f"models/{name}/bot.py", "import helper\n")
        repo.write(f"models/{name}/helper.py", "from common.util import x\n" * (name != "c"))
    repo.write("libs/common/util.py", "x = 1\n")
    repo.write("libs/other/util.py", "x = 1\n")
    repo.commit()
    repo.commit("libs/other/util.py", "x = 2\n")
    ended = repo.discover(changed_since="HEAD^")
    assert (paths(ended), ended.annotations) == ([], [])
    repo.commit("libs/common/util.py", "x = 2\n")
    ended = repo.discover(changed_since="HEAD^")
    assert paths(ended) == ["models/a", "models/b"]
    assert "`libs/common/util.py (imported, not included)`" in ended.summary
    (warning,) = ended.annotations
    assert warning.startswith("::warning")
    assert "by `models/a`, `models/b`" in warning
    assert "`include: libs/common`" in warning
    assert repo.discover(changed_since="HEAD^", fail_on_warning="true").code == 2
    ended = repo.discover(changed_since="HEAD^", include="libs/common", ignore="/common/*.md")
    assert (len(paths(ended)), ended.annotations) == (3, [])
    repo.commit("libs/common/more.py")
    assert repo.changed() == ["models/a", "models/b"]


def test_what_holds_a_model_and_is_imported_counts(repo: Monorepo) -> None:
    write_model(repo.root / "models")
    repo.write("models/a/bot.py", "import tools\n")
    repo.write("models/tools.py", "x = 1\n")
    repo.commit()
    repo.commit("models/tools.py", "x = 2\n")
    assert repo.changed() == ["models", "models/a"]


def test_a_broken_manifest_is_a_model(repo: Monorepo) -> None:
    repo.commit("models/a/blankly.json", "{")
    ended = repo.discover(changed_since="HEAD^")
    assert json.loads(ended.outputs["models"]) == [{"path": "models/a", "name": "a"}]
    assert not ended.annotations


def test_environments_and_hidden_directories_are_not_searched(repo: Monorepo) -> None:
    for place in (".git/x", ".venv/x", "node_modules/x", "env/lib/x", "conda/x"):
        write_model(repo.root / place)
    (repo.root / "env/pyvenv.cfg").touch()
    (repo.root / "conda/conda-meta").mkdir()
    (repo.root / "link").symlink_to("models")
    assert paths(repo.discover()) == ["models/a", "models/b"]


def test_the_search_starts_at_model_path(repo: Monorepo) -> None:
    write_model(repo.root / "other")
    repo.commit()
    repo.commit("other/bot.py")
    assert paths(repo.discover(model_path="models")) == ["models/a", "models/b"]
    assert repo.changed(model_path="models") == []
    assert repo.changed(model_path="other") == ["other"]
    assert "leads out" in errors(repo.discover(model_path=".."))[0]


def test_a_submodule_changes_with_its_commit(repo: Monorepo, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "source")
    write_model(source / "inner")
    commit_all(source)
    allowed = ("-c", "protocol.file.allow=always")
    git(repo.root, *allowed, "submodule", "--quiet", "add", str(source), "vendor")
    repo.commit()
    repo.commit("README.md")
    assert repo.changed() == []
    (repo.root / "vendor/inner/bot.py").write_text("changed\n")
    commit_all(repo.root / "vendor")
    repo.commit()
    ended = repo.discover(changed_since="HEAD^")
    assert paths(ended) == ["vendor/inner"]
    assert "new" not in ended.summary


def test_a_deleted_branch_has_no_models(repo: Monorepo) -> None:
    repo.runner.on("push", {"deleted": True, "ref": "refs/heads/topic"})
    assert "The push deleted `refs/heads/topic`" in errors(repo.discover())[0]


def test_what_the_checkout_lacks_is_named(repo: Monorepo, tmp_path: Path) -> None:
    """A model outside of a sparse checkout is neither listed nor gone."""
    repo.commit("models/b/bot.py")
    repo.write("models/b/blankly.json", "{}")
    repo.commit()
    git(repo.root, "sparse-checkout", "set", "models/a")
    ended = repo.discover(changed_since="HEAD~2")
    assert paths(ended) == []
    (notice,) = ended.annotations
    assert notice.startswith("::notice")
    assert "models/b/blankly.json is not in the checkout, which is a sparse one" in notice
    assert "Not there any more" not in ended.summary
    git(repo.root, "sparse-checkout", "disable")
    source = make_repository(tmp_path / "source")
    write_model(source)
    commit_all(source)
    allowed = ("-c", "protocol.file.allow=always")
    git(repo.root, *allowed, "submodule", "--quiet", "add", str(source), "vendor")
    repo.commit()
    assert repo.discover().annotations == []
    git(repo.root, "submodule", "--quiet", "deinit", "--force", "vendor")
    (notice,) = repo.discover().annotations
    assert "The submodule `vendor` was not fetched" in notice
    assert repo.discover(model_path="models").annotations == []


def test_what_others_wrote_is_shown_as_it_is(repo: Monorepo) -> None:
    write_model(repo.root / "models" / "mü |x`y", model_name="<b>@me</b>")
    ended = repo.discover()
    assert json.loads(ended.outputs["models"])[-1] == {
        "path": "models/mü |x`y",
        "name": "<b>@me</b>",
    }
    assert ended.outputs["models"].isascii()
    assert "`<b>@me</b>`" in ended.summary


def test_nothing_is_sent_and_no_token_is_needed(repo: Monorepo) -> None:
    """Inputs that the mode has no use for are ignored."""
    ended = repo.discover(api_url="http://127.0.0.1:9", comment="true", dry_run="true")
    assert paths(ended) == ["models/a", "models/b"]
