"""The steps of the release workflow, against a registry and a repository on this machine.

What is left out: GitHub's own registry, the attestations, and the action run by GitHub's runner.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.support.container_runner import ROOT
from tests.support.repositories import commit_all, git, make_repository
from tests.support.runner_protocol import read_entries
from tools import registry
from tools.lint_workflows import tool

pytestmark = pytest.mark.xdist_group("image")  # one store of images

DIGEST = f"sha256:{'1f' * 32}"
REFERENCE = f"ghcr.io/somebody/deploy-action@{DIGEST}"
OTHER = f"ghcr.io/somebody/deploy-action@sha256:{'2e' * 32}"
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))


@dataclass
class Checkout:
    """What a job of the release has: the commit, and the repository that it came from."""

    folder: Path
    origin: Path
    programs: Path
    environ: dict[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    def step(self, job: str, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a step of the workflow as the runner would, and keep its outputs."""
        (step,) = (one for one in WORKFLOW["jobs"][job]["steps"] if one.get("name") == name)
        output = self.folder.parent / "output"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={
                **os.environ,
                **self.environ,
                "GITHUB_REF": "refs/heads/main",
                "GITHUB_OUTPUT": str(output),
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.outputs = read_entries(output) if output.exists() else {}
        return done

    def tag(self, version: str, reference: str) -> subprocess.CompletedProcess[str]:
        name = "Tag a commit whose action.yml names the image"
        return self.step("tag", name, VERSION=version, REFERENCE=reference)

    def version(self, version: str) -> None:
        """Commit and push this version to main."""
        (self.folder / "deploy_action" / "__init__.py").write_text(f'__version__ = "{version}"\n')
        with (self.folder / "CHANGELOG.md").open("a") as changelog:
            changelog.write(f"\n## [{version}] - 2026-11-29\n\n- What is new in {version}.\n")
        commit_all(self.folder, f"Release {version}")
        git(self.folder, "push", "--quiet", "origin", "main")

    def tags(self) -> dict[str, str]:
        """Return the tags of the repository that people see, and their commits."""
        lines = git(self.origin, "for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
        return dict(line.removeprefix("refs/tags/").split() for line in lines.splitlines())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Check out version 1.2.3 of an action with an image of a few bytes."""
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    folder = make_repository(tmp_path / "checkout")
    for name in ("action.yml", "tools/image.sh", "tools/release.sh"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY action.yml /\n")
    (folder / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    (folder / "deploy_action").mkdir()
    git(folder, "remote", "add", "origin", str(origin))
    # Instead of GitHub's program, which would let git sign in.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gh").write_text("#!/bin/sh\n")
    (programs / "gh").chmod(0o755)
    made = Checkout(folder, origin, programs)
    made.version("1.2.3")
    made.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return made


def changed_lines(checkout: Checkout, commit: str) -> list[str]:
    """Return the lines by which a commit differs from main."""
    diff = git(checkout.origin, "diff", "--unified=0", "main", commit)
    return [line for line in diff.splitlines() if re.match(r"[-+](?![-+])", line)]


def test_the_release_names_the_image_and_changes_nothing_else(checkout: Checkout) -> None:
    step = "Name the image in action.yml"
    named = checkout.step("try", step, REFERENCE=REFERENCE)
    action = checkout.folder / "action.yml"
    rewritten = action.read_text(encoding="utf-8")
    again = checkout.step("try", step, REFERENCE=REFERENCE)

    assert named.returncode == 0, named.stderr
    before = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    after = yaml.safe_load(rewritten)
    assert before.pop("runs") == {"using": "docker", "image": "Dockerfile"}
    assert after.pop("runs") == {"using": "docker", "image": f"docker://{REFERENCE}"}
    assert after == before
    schema = [tool("check-jsonschema"), "--quiet", "--builtin-schema", "vendor.github-actions"]
    assert subprocess.run([*schema, str(action)], check=False).returncode == 0
    assert "has not one line '  image: Dockerfile'" in again.stderr
    assert action.read_text(encoding="utf-8") == rewritten


@pytest.mark.parametrize("reference", ["ghcr.io/a/b:1.2.3", "ghcr.io/a/b@sha256:12", "", "a|b\n"])
def test_an_image_without_its_digest_is_refused(checkout: Checkout, reference: str) -> None:
    refused = checkout.tag("1.2.3", reference)
    assert refused.returncode != 0
    assert checkout.tags() == {}


def test_both_tags_are_pushed_and_a_second_run_changes_nothing(checkout: Checkout) -> None:
    done = checkout.tag("1.2.3", REFERENCE)
    assert done.returncode == 0, done.stderr
    tags = checkout.tags()
    assert set(tags) == {"v1", "v1.2.3"}
    assert tags["v1"] == tags["v1.2.3"]
    assert changed_lines(checkout, "v1.2.3") == [
        "-  image: Dockerfile",
        f"+  image: docker://{REFERENCE}",
    ]
    parent = git(checkout.origin, "rev-parse", "v1.2.3^")
    assert parent == git(checkout.folder, "rev-parse", "HEAD")
    assert git(checkout.folder, "status", "--porcelain") == ""

    again = checkout.tag("1.2.3", REFERENCE)
    assert again.returncode == 0, again.stderr
    assert checkout.tags() == tags


def test_a_version_is_never_released_twice(checkout: Checkout) -> None:
    """Neither with another image, nor of another commit."""
    checkout.tag("1.2.3", REFERENCE)
    tags = checkout.tags()
    other_image = checkout.tag("1.2.3", OTHER)
    (checkout.folder / "README.md").write_text("One more line.\n")
    commit_all(checkout.folder)
    other_commit = checkout.tag("1.2.3", REFERENCE)
    check = checkout.step("check", "Check")

    for refused in (other_image, other_commit):
        assert refused.returncode == 1
        assert "v1.2.3 is there already" in refused.stderr
    assert check.returncode == 1
    assert "v1.2.3 is tagged already" in check.stderr
    assert checkout.tags() == tags


def test_the_major_tag_follows_the_newest_release_of_its_major(checkout: Checkout) -> None:
    checkout.tag("1.2.3", REFERENCE)
    for version, major_moves in (("1.10.0", True), ("1.9.9", False), ("2.0.0", True)):
        before = checkout.tags()
        checkout.version(version)
        done = checkout.tag(version, OTHER)
        assert done.returncode == 0, done.stderr
        tags = checkout.tags()
        major = f"v{version.partition('.')[0]}"
        assert (tags[major] == tags[f"v{version}"]) is major_moves
        assert {name: tags[name] for name in before if name != major} == {
            name: sha for name, sha in before.items() if name != major
        }


def test_where_one_tag_is_refused_neither_is_pushed(checkout: Checkout) -> None:
    """As GitHub refuses tags whose workflows no branch has any more."""
    hook = checkout.origin / "hooks" / "update"
    hook.write_text('#!/bin/sh\ntest "$1" != refs/tags/v1\n')
    hook.chmod(0o755)
    refused = checkout.tag("1.2.3", REFERENCE)
    assert refused.returncode == 1
    assert "nothing was tagged" in refused.stderr
    assert checkout.tags() == {}

    hook.unlink()
    assert checkout.tag("1.2.3", REFERENCE).returncode == 0
    assert set(checkout.tags()) == {"v1", "v1.2.3"}


@pytest.mark.parametrize(
    ("path", "text", "ref", "reason"),
    [
        ("CHANGELOG.md", "## [Unreleased]\n", "refs/heads/main", "has no line '## [1.2.3] - "),
        ("deploy_action/__init__.py", '__version__ = "1.2"\n', "refs/heads/main", "'1.2' in"),
        ("README.md", "", "refs/heads/next", "made from main, not refs/heads/next"),
    ],
)
def test_what_is_no_release_is_refused_before_anything_is_built(
    checkout: Checkout, path: str, text: str, ref: str, reason: str
) -> None:
    (checkout.folder / path).write_text(text)
    refused = checkout.step("check", "Check", GITHUB_REF=ref)
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert checkout.outputs == {}


def test_the_notes_are_those_of_the_version(checkout: Checkout) -> None:
    checkout.version("1.2.30")
    script = [str(checkout.folder / "tools" / "release.sh"), "notes", "1.2.3"]
    notes = subprocess.run(script, capture_output=True, text=True, check=True)
    assert notes.stdout.strip() == "- What is new in 1.2.3."


@pytest.fixture
def loopback(checkout: Checkout, tmp_path: Path) -> Iterator[registry.Registry]:
    """Run a registry, and let images be of the architecture that the job's runner would have."""
    for program, package in ((registry.PROGRAM, "docker-registry"), ("podman", "podman")):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    podman = checkout.programs / "podman"
    podman.write_text(
        f"""#!/bin/sh
        if [ "$1" = build ]; then
            shift
            set -- build --no-cache --arch "$ARCHITECTURE" "$@"
        fi
        exec {shutil.which("podman")} "$@"
        """
    )
    podman.chmod(0o755)
    with registry.running(tmp_path / "registry") as running:
        yield running


def ask_podman(environ: Mapping[str, str], *arguments: str) -> str:
    command = ["podman", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_release_from_the_check_to_the_tag(
    checkout: Checkout, loopback: registry.Registry
) -> None:
    """The tagged action names the index of the images of both architectures, made of its parent."""
    image = f"{loopback.address}/somebody/deploy-action"
    sign_in = {"REGISTRY": loopback.address, "ACTOR": "somebody", "TOKEN": "any", "IMAGE": image}
    checkout.environ |= {**loopback.environ, **sign_in}
    try:
        assert checkout.step("check", "Check").returncode == 0
        version = checkout.outputs["version"]
        for architecture in ("amd64", "arm64"):
            built = {"VERSION": version, "ARCHITECTURE": architecture}
            pushed = checkout.step("build", "Build and push", **built)
            assert pushed.returncode == 0, pushed.stderr
        name = "Join the images of both architectures"
        for _ in range(2):  # a job that is run again
            joined = checkout.step("image", name, VERSION=version)
            assert joined.returncode == 0, joined.stderr
        outputs = checkout.outputs
        tagged = checkout.tag(version, outputs["reference"])
        assert tagged.returncode == 0, tagged.stderr

        action = yaml.safe_load(git(checkout.origin, "show", "v1.2.3:action.yml"))
        reference = action["runs"]["image"].removeprefix("docker://")
        assert reference == f"{image}@{outputs['digest']}" == outputs["reference"]
        index = json.loads(ask_podman(loopback.environ, "manifest", "inspect", reference))
        listed = {one["platform"]["architecture"]: one["digest"] for one in index["manifests"]}
        assert listed == {
            each: outputs[each].removeprefix(f"{image}@") for each in ("amd64", "arm64")
        }
        ask_podman(loopback.environ, "pull", "--quiet", reference)
        (pulled,) = json.loads(ask_podman({}, "image", "inspect", reference))
        labels = pulled["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == "1.2.3"
        revision = labels["org.opencontainers.image.revision"]
        assert revision == git(checkout.origin, "rev-parse", "v1.2.3^")
    finally:
        # The list first: without its images it would be damaged, and podman list no image any more.
        for remove in (
            ("manifest", "rm", f"{image}:1.2.3"),
            ("rmi", "--force", f"{image}:1.2.3-amd64", f"{image}:1.2.3-arm64"),
            ("rmi", "--force", checkout.outputs.get("reference", f"{image}:none")),
        ):
            subprocess.run(["podman", *remove], capture_output=True, check=False)
