"""Explains to the user why an environment could not be made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from deploy_action.errors import Problem
from deploy_action.platform.environments.failure import EnvironmentFailedError
from deploy_action.platform.environments.interpreters import WITH_WHEELS, Interpreter, release_of
from deploy_action.platform.environments.requirements import ModelRequirements
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut, cut_middle

_NEWEST: Final = ".".join(map(str, WITH_WHEELS[1]))
_LONGEST_MESSAGE: Final = 1_000
_NUMPY_CHANGED: Final = re.compile(r"numpy\.dtype size changed|numpy 1\.x cannot be run|_ARRAY_API")
_AT_LINE: Final = re.compile(r":(\d+):\d+\b")
_AT_POSITION: Final = re.compile(r"at position (\d+)")
_NO_REQUIREMENT: Final = ("Couldn't parse requirement", "Unexpected '", "Error parsing included")
_OUT_OF_REACH: Final = ("error sending request", "Failed to fetch", "client error")
_NOT_BUILT: Final = "Failed to build"
# uv's words when a version has no file for the Python in use.
_OTHER_PYTHON: Final = re.compile(r"\bPython\b|\bcp3\d")
_WHEELS_FOR: Final = re.compile(r"\bcp(3\d+)")


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains failures of one environment."""

    requirements: ModelRequirements
    interpreter: Interpreter

    def not_installed(self, reason: str) -> EnvironmentFailedError:
        """Return the error for packages that uv did not install, and its reason."""
        name = self.requirements.name
        message = f"The packages of {name} cannot be installed: {reason}"
        problem = Problem(
            message=cut_middle(message, _LONGEST_MESSAGE),
            hint=self._hint_for(reason),
            path=name,
            line=self._line_of(reason),
        )
        return EnvironmentFailedError(problem, *self.interpreter.problems)

    def _hint_for(self, reason: str) -> str:
        minor = release_of(self.interpreter.version)[:2]
        is_build = _NOT_BUILT in reason
        if "newnewtulipy" in reason and not WITH_WHEELS[0] <= minor <= WITH_WHEELS[1]:
            return f"Set python_version in blankly.json to {_NEWEST}, which has a wheel."
        if any(said in reason for said in _NO_REQUIREMENT):
            return "Write one package a line, such as blankly, and # before a comment."
        if any(said in reason for said in _OUT_OF_REACH):
            return (
                "Check that this machine can reach the package index and, if there is a proxy, the "
                "variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY; the log has uv's output."
            )
        if not is_build and not _OTHER_PYTHON.search(reason):
            return "Correct the names and versions in it; the log has uv's output."
        wanted, runs_with = self.interpreter.wanted, self.interpreter.version
        if wanted and _may_have_worked_with(wanted, reason):
            return (
                f"The model wants Python {wanted} and runs with {runs_with}, which old versions of "
                f"packages may not know: install Python {wanted} here, or take newer versions."
            )
        return (
            f"Take a version that has a wheel for Python {'.'.join(map(str, minor))}, or correct "
            "the name; the log has uv's output."
        )

    def _line_of(self, reason: str) -> int | None:
        """Return the line that uv complains about: it names a line, or a byte offset."""
        name = self.requirements.name
        text = self.requirements.rewritten.get(name, self.requirements.texts[name])
        if match := re.search(re.escape(self.requirements.name) + _AT_LINE.pattern, reason):
            return int(match[1])
        match = _AT_POSITION.search(reason)
        if not match or f"`{self.requirements.name}` at position" not in reason:
            return None
        return text.encode()[: int(match[1])].count(b"\n") + 1

    def not_imported(self, said: Sequence[str], code: int) -> EnvironmentFailedError:
        """Return the error for an import of blankly that printed lines, and its exit code."""
        reason = said[-1] if said else f"Python ended with code {code}"
        name = self.requirements.name
        hint = "Correct the versions in it so that `import blankly` works."
        if any(_NUMPY_CHANGED.search(line) for line in said):
            hint = (
                f"Add the lines numpy<2 and pandas<2.2 to {name}: newnewtulipy, which blankly "
                "needs, was built for numpy 1."
            )
        message = f"blankly cannot be imported with the packages of {name}: {reason}"
        problem = Problem(message=cut(message, _LONGEST_MESSAGE), hint=hint, path=name)
        return EnvironmentFailedError(problem, *self.interpreter.problems)

    def python_changed(self) -> EnvironmentFailedError:
        """Return the error for packages that put something else in the place of Python."""
        name = self.requirements.name
        message = f"A package of {name} has changed the Python that the model would run with."
        hint = "Remove the package that does so: the last one that you added, perhaps."
        return EnvironmentFailedError(Problem(message=message, hint=hint, path=name))


def _may_have_worked_with(wanted: str, reason: str) -> bool:
    """Whether the wanted Python may be what is missing: not if uv found files for others only."""
    found = set(_WHEELS_FOR.findall(reason))
    return "".join(wanted.split(".")[:2]) in found or len(found) <= 1  # the one in use
