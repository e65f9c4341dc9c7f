"""Runs jobs of the example workflows on this machine, each on a runner of its own.

Steps with this action run it; artifacts and caches are directories, and scripts run in bash.
Expressions are looked up and compared, as far as the examples need that.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import Ended, Runner

_TOKEN = re.compile(r"'[^']*'|!=|==|&&|\|\||!|[()]|[a-z][\w.-]*")
_IN_PYTHON = {"&&": "and", "||": "or", "!": "not"}


@dataclass(slots=True)
class Jobs:
    """The jobs of one run of a workflow, which share artifacts, and caches with other runs.

    `machine` returns a new runner. `inputs` replace those of each step with this action. `known`
    are values of expressions, such as of `github.run_id`. `ended` has these steps by their ids.
    """

    machine: Callable[[], Runner]
    storage: Path
    caches: Path
    inputs: Mapping[str, str]
    known: dict[str, str]
    ended: dict[str, Ended] = field(default_factory=dict)

    def run(self, job: Mapping[str, Any], known: Mapping[str, str]) -> bool:
        """Run the steps of a job, and return whether none failed."""
        runner, has_failed = self.machine(), False
        self.known = {key: one for key, one in self.known.items() if not key.startswith("steps.")}
        self.known |= {"runner.temp": runner.environ["RUNNER_TEMP"], **known}
        for step in job["steps"]:
            if self.value(step["if"]) if "if" in step else not has_failed:
                has_done = self._step(step, runner)
                has_failed |= not has_done
                outcome = "success" if has_done else "failure"
                self.known[f"steps.{step.get('id')}.outcome"] = outcome
        return not has_failed

    def _step(self, step: Mapping[str, Any], runner: Runner) -> bool:
        given = {name: self.filled(str(one)) for name, one in step.get("with", {}).items()}
        match step.get("uses", "").partition("@")[0]:
            case "":
                self._script(step, runner)
            case "blankly-community/deploy-action":
                return self._action(step.get("id", ""), runner, given)
            case "actions/upload-artifact":
                _copy(Path(given["path"]), self.storage / given["name"])
            case "actions/download-artifact":
                for found in self.storage.glob(given["pattern"]):
                    _copy(found, runner.workspace / given["path"] / found.name)
            case "actions/cache" | "actions/cache/save":  # the first would save after the job
                self._save(given)
            case "actions/cache/restore":
                return self._restore(step.get("id", ""), given)
            case "actions/checkout":
                pass
            case other:
                raise AssertionError(f"{other} is not played here")
        return True

    def filled(self, text: str) -> str:
        """Return a text with the values of its expressions."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(self.value(found[1])), text)

    def value(self, expression: str) -> object:
        """Return the value of an expression; what is not known is blank, as on GitHub."""

        def python(found: re.Match[str]) -> str:
            token = found[0]
            if token[0] == "'" or token in {"==", "!=", "(", ")"}:
                return token
            return f" {_IN_PYTHON[token]} " if token in _IN_PYTHON else f"known({token!r})"

        text = expression.strip().removeprefix("${{").removesuffix("}}")
        text = re.sub(r"(cancelled|hashFiles)\([^)]*\)", "''", text)
        code = _TOKEN.sub(python, text).strip()
        found: object = eval(code, {"known": self._known})  # noqa: S307  # of our own files
        return found

    def _known(self, name: str) -> str:
        return self.known.get(name, "")

    def _action(self, name: str, runner: Runner, given: Mapping[str, str]) -> bool:
        ended = runner.run(**{**given, **self.inputs})
        self.ended[name] = ended
        self.known |= {f"steps.{name}.outputs.{key}": one for key, one in ended.outputs.items()}
        return ended.code == 0

    def _script(self, step: Mapping[str, Any], runner: Runner) -> None:
        environ = {name: self.filled(one) for name, one in step.get("env", {}).items()}
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            env={"PATH": "/usr/bin:/bin", **runner.environ, **environ},
            check=True,
            timeout=30,
        )

    def _save(self, given: Mapping[str, str]) -> None:
        (self.caches / given["key"]).mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(given["path"].split()):
            _copy(Path(path), self.caches / given["key"] / str(number))

    def _restore(self, name: str, given: Mapping[str, str]) -> bool:
        keys = [given["key"], *given.get("restore-keys", "").split()]
        found = [one for key in keys for one in sorted(self.caches.glob(f"{key}*"), reverse=True)]
        if found and "lookup-only" not in given:
            for number, path in enumerate(given["path"].split()):
                _copy(found[0] / str(number), Path(path))
        self.known[f"steps.{name}.outputs.cache-matched-key"] = found[0].name if found else ""
        return bool(found) or "fail-on-cache-miss" not in given


def _copy(source: Path, target: Path) -> None:
    """Put a file into a directory, or a directory there, instead of what is there."""
    shutil.rmtree(target, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        target.mkdir(parents=True)
        shutil.copy(source, target)
