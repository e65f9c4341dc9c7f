"""The runners that start this action as GitHub's does, and what they do otherwise.

Each is known by the variables that it sets: those of Forgejo and Gitea are built on act, and that
of Forgejo sets Gitea's variable, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final
from urllib.parse import quote


class Runner(Enum):
    """Whose runner started this run; a terminal counts as GitHub's."""

    GITHUB = auto()
    GITEA = auto()
    FORGEJO = auto()
    ACT = auto()

    @property
    def shows_summaries(self) -> bool:
        """Whether a summary is certain to be shown: Gitea shows them since 1.27, act prints it."""
        return self is Runner.GITHUB

    @property
    def has_pages_of_attempts(self) -> bool:
        """Whether each attempt has a page below that of its run."""
        return self is Runner.GITHUB

    def takes_mask(self, line: str) -> bool:
        """Whether the command that masks a line is understood, and so not printed.

        act reads the name of a command up to the last `::`, and prints commands that it does not
        know.
        """
        return self is not Runner.ACT or ("::" not in line and not line.startswith(":"))

    def run_url(self, repository: str, run_id: str, run_number: str) -> str:
        """Return the page of a run of the repository at this address; blank if there is none.

        Forgejo counts the runs of a repository, and so did Gitea before 1.26; act has no pages.
        """
        number = run_number if self is Runner.FORGEJO else run_id
        if not repository or not number or self is Runner.ACT:
            return ""
        return f"{repository}/actions/runs/{quote(number, safe='')}"

    def line_url(self, repository: str, commit: str, path: str, line: int) -> str:
        """Return the page of a line of a file in a commit of the repository at this address."""
        place = "src/commit" if self in {Runner.GITEA, Runner.FORGEJO} else "blob"
        return f"{repository}/{place}/{quote(commit, safe='')}/{quote(path)}#L{line}"


_VARIABLES: Final = {
    "FORGEJO_ACTIONS": Runner.FORGEJO,
    "GITEA_ACTIONS": Runner.GITEA,
    "ACT": Runner.ACT,
}


def runner_of(environ: Mapping[str, str]) -> Runner:
    """Return whose runner set these variables."""
    named = (one for name, one in _VARIABLES.items() if environ.get(name) == "true")
    return next(named, Runner.GITHUB)
