"""The image, run as the GitHub runner runs a container action.

Its mounts, its variables, its working directory, its event file and its signals, as the runner's
`ContainerActionHandler` and `DockerCommandManager` have them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.conftest import Ended
from tests.support.runner_protocol import read_entries
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
MOUNTS = ("workspace", "home", "workflow", "file_commands", "runner_temp")
# The variables of the files that the runner reads after a step, and the files' names.
FILE_COMMANDS = {
    "GITHUB_ENV": "set_env",
    "GITHUB_OUTPUT": "set_output",
    "GITHUB_PATH": "add_path",
    "GITHUB_STATE": "save_state",
    "GITHUB_STEP_SUMMARY": "step_summary",
}


@dataclass(frozen=True, slots=True)
class Image:
    """A built image and the engine that runs it."""

    engine: str
    name: str

    def command(self, *options: str) -> list[str]:
        """Return the command that runs a container, up to and including the image."""
        if self.engine == "docker":
            return ["docker", "run", "--rm", *options, self.name]
        # crun cannot run on hosts with hybrid control groups; and where this is itself a container,
        # podman may not raise the limits to its own defaults.
        runtime = ["--runtime", "runc"] if shutil.which("runc") else []
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
        return ["podman", *runtime, "run", "--rm", *limits, *options, self.name]

    def run(self, entrypoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the image, without the runner's mounts and variables."""
        command = self.command("--network", "none", "--entrypoint", entrypoint)
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def inspect(self) -> dict[str, object]:
        """Return the image's configuration, as reported by the engine."""
        command = [self.engine, "image", "inspect", self.name]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        (document,) = json.loads(answer.stdout)
        assert isinstance(document, dict)
        return document


def default_inputs() -> dict[str, str]:
    """Return all inputs with the values that the runner passes by default."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return {name: str(declared.get("default", "")) for name, declared in action["inputs"].items()}


def tree_digest(folder: Path) -> str:
    """Return a digest of the names, modes, times and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest.update(f"{path.relative_to(folder)} {status.st_mode} {status.st_mtime_ns}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(slots=True)
class Runner:
    """One job on a runner: folders to mount, and the steps that run in them."""

    image: Image
    folder: Path
    event_name: str = "push"
    event: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in MOUNTS:
            (self.folder / name).mkdir(parents=True)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def write(self, path: str, content: str) -> Path:
        file = self.workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        return file

    def variables(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """Return the container's environment for a step with these inputs."""
        given = {**default_inputs(), "github-token": uuid.uuid4().hex, **inputs}
        return {
            **{f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in given.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": "https://api.github.com",
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": "/github/workflow/event.json",
            **{one: f"/github/file_commands/{name}" for one, name in FILE_COMMANDS.items()},
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REF_NAME": "main",
            "GITHUB_REF_TYPE": "branch",
            "GITHUB_REPOSITORY": "somebody/model",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": "1",
            "GITHUB_RUN_NUMBER": "7",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "a" * 40,
            "GITHUB_WORKFLOW": "Deploy",
            "GITHUB_WORKSPACE": "/github/workspace",
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": "/github/runner_temp",
            "CI": "true",
        }

    def start(self, inputs: Mapping[str, str], *options: str) -> subprocess.Popen[str]:
        """Start a step; the process's stdout has both output streams."""
        event = json.dumps(self.event)
        (self.folder / "workflow" / "event.json").write_text(event, encoding="utf-8")
        for name in FILE_COMMANDS.values():
            file = self.folder / "file_commands" / name
            file.write_text("")
            file.chmod(0o666)  # as act and the runners made from it have them
        variables = self.variables(inputs)
        mounts = [f"--volume={self.folder / name}:/github/{name}" for name in MOUNTS]
        # Names only, as the runner does: values on a command line would be seen by everybody.
        # HOME by its value: the engine needs its own.
        names = [f"--env={name}" for name in variables]
        names.append("--env=HOME=/github/home")
        command = self.image.command("--workdir=/github/workspace", *mounts, *names, *options)
        return subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for a step and read its outputs and summary."""
        log, _ = process.communicate(timeout=2 * PATIENCE)
        commands = self.folder / "file_commands"
        return Ended(
            code=process.returncode,
            log=log,
            outputs=read_entries(commands / "set_output"),
            summary=(commands / "step_summary").read_text(encoding="utf-8"),
        )

    def run(self, inputs: Mapping[str, str], *options: str) -> Ended:
        """Run a step to its end."""
        return self.finish(self.start(inputs, *options))
