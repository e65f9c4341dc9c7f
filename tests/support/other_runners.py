"""Runners that are not GitHub's: the variables, files and events that a container gets from them.

act is `nektos/act`; the runners of Gitea and Forgejo grew out of it, so all three read commands
alike. What each function says is in their sources, in the files that it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import write_model
from tests.support.runner_protocol import read_entries

# As act and Forgejo read a line (pkg/runner/command.go, act/runner/command.go): the name of a
# command goes up to the last `::`, and has no blanks.
_COMMAND = re.compile(r"::(?P<name>[^ ]+)(?: .+)?::(?P<value>.*)")
_KNOWN = {"set-env", "set-output", "add-path", "debug", "warning", "error", "add-mask"}
_KNOWN |= {"stop-commands", "save-state", "add-matcher"}


@dataclass(slots=True)
class OtherRunner:
    """A job's directories on such a runner, and what a container of the job gets."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make what is mounted; `/tmp` is the container's own, and so is no place of the job."""
        for name in ("workspace", "act/workflow", "tmp", "home"):
            (self.root / name).mkdir(parents=True)
        write_model(self.workspace)
        # All of them: run_context.go, `withGithubEnv`, and action.go, `newStepContainer`.
        self.environ |= {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_REPOSITORY": "trader/models",
            "GITHUB_REPOSITORY_OWNER": "trader",
            "GITHUB_SHA": "c0ffee" * 6 + "c0ff",
            "GITHUB_JOB": "deploy",
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.root / "tmp"),
            "HOME": str(self.root / "home"),
        }

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    def gives_files(self, *prefixes: str) -> None:
        """Name the files of a step by variables with these prefixes (step.go)."""
        files = {"OUTPUT": "outputcmd.txt", "STATE": "statecmd.txt", "PATH": "pathcmd.txt"}
        files |= {"ENV": "envs.txt", "STEP_SUMMARY": "SUMMARY.md"}
        for name, file in files.items():
            path = self.root / "act" / "workflow" / file
            path.touch()
            path.chmod(0o666)
            self.environ |= {f"{prefix}_{name}": str(path) for prefix in prefixes}

    def on(self, event: str, payload: object, ref: str) -> None:
        """Let an event have started the run."""
        path = self.root / "act" / "workflow" / "event.json"
        path.write_text(json.dumps(payload))
        self.environ |= {
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_REF": ref,
        }

    def mirror(self, prefix: str) -> None:
        """Give each of GITHUB's variables with another prefix, too."""
        named = {name.removeprefix("GITHUB"): value for name, value in self.environ.items()}
        github = {name: value for name, value in named.items() if name not in self.environ}
        self.environ |= {f"{prefix}{name}": value for name, value in github.items()}

    def summary(self) -> str:
        return Path(self.environ["GITHUB_STEP_SUMMARY"]).read_text()

    def outputs(self) -> Mapping[str, str]:
        return read_entries(Path(self.environ["GITHUB_OUTPUT"]))


def act(root: Path) -> OtherRunner:
    """Return act on a developer's computer, which plays an event that it was not given."""
    runner = OtherRunner(root)
    # run_context.go: `GetEnv`, `getGithubContext`; without --eventpath, the event is almost empty.
    runner.environ |= {
        "ACT": "true",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_API_URL": "https://api.github.com",
        "GITHUB_RUN_ID": "1",
        "GITHUB_RUN_NUMBER": "1",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_ACTOR": "nektos/act",
        "GITHUB_WORKFLOW": "Deploy",
    }
    runner.gives_files("GITHUB")
    runner.on("push", {"act": True}, "refs/heads/main")
    return runner


def gitea(root: Path, server: str) -> OtherRunner:
    """Return the runner of a Gitea at this address, as for a pull request.

    services/actions/context.go of Gitea: addresses begin with `ROOT_URL`, which may have a path and
    ends with a slash; `run_id` is the number of the row, `run_number` the index in the repository.
    """
    runner = OtherRunner(root)
    runner.environ |= {
        "GITEA_ACTIONS": "true",
        "GITEA_ACTIONS_RUNNER_VERSION": "v0.6.1",
        "GITHUB_SERVER_URL": f"{server}/",
        "GITHUB_API_URL": f"{server}/api/v1",
        "GITHUB_GRAPHQL_URL": "",
        "GITHUB_RUN_ID": "272",
        "GITHUB_RUN_NUMBER": "43",
        "GITHUB_ACTOR": "trader",
        "GITHUB_WORKFLOW": "deploy.yml",
    }
    runner.gives_files("GITHUB", "GITEA")
    head = {"ref": "faster", "sha": "81b7a04d3c6e1f0a9b8c7d6e5f4a3b2c1d5f2c9e", "repo": {"id": 1}}
    request = {"number": 7, "title": "Faster", "head": head, "base": {"ref": "main"}}
    payload = {"action": "opened", "number": 7, "pull_request": request, "is_pull": True}
    runner.on("pull_request", payload, "refs/pull/7/head")
    return runner


def forgejo(root: Path, server: str) -> OtherRunner:
    """Return the runner of a Forgejo at this address, as for a pull request.

    act/runner/run_context.go and step.go of its runner: it gives all variables twice, and those by
    which Gitea's runner is known, too. A run's page has the number of the run.
    """
    runner = gitea(root, server)
    runner.environ |= {
        "FORGEJO_ACTIONS": "true",
        "FORGEJO_ACTIONS_RUNNER_VERSION": "v11.1.2",
        "GITHUB_SERVER_URL": server,
    }
    runner.mirror("FORGEJO")
    return runner


def printed_by_act(log: str) -> str:
    """Return what act prints of a log: commands that it does not know as they are."""
    lines = []
    for line in log.splitlines():
        found = _COMMAND.fullmatch(line)
        lines.append("***" if found and found["name"] == "add-mask" else line)
    return "\n".join(lines)
