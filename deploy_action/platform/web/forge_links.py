"""Links to the pages of a forge, built from what clients say of a commit and of a run.

A client may say anything. A link is made only of a scheme, a host and a path that look like those
of a repository; everything else stays text.
"""

from __future__ import annotations

import re
from typing import Final

from deploy_action.platform.storage.records import COMMIT, SHORT_COMMIT
from deploy_action.records import dataclass

_HOST: Final = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
_PATH: Final = r"(?P<path>[\w.~-]{1,200}(?:/[\w.~-]{1,200}){1,9})"
_ADDRESSES: Final = (
    # https://forge.example:3000/owner/name.git
    re.compile(rf"(?P<scheme>https?)://{_HOST}(?P<port>:[0-9]{{1,5}})?/{_PATH}/?", re.ASCII),
    # git@forge.example:owner/name.git, whose pages are at the host's own web address
    re.compile(rf"(?:ssh://)?[\w.-]{{1,64}}@{_HOST}(?::[0-9]{{1,5}}(?=/))?[:/]{_PATH}/?", re.ASCII),
)
_REST_OF_RUN: Final = re.compile(r"/[\w/.~-]{1,400}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a forge: the address of its page, and how people call it."""

    url: str
    name: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit for people; `url` is None where its page is not known.

    `where` is the repository, as its name at a host or as the client wrote it.
    """

    short: str
    whole: str
    where: str
    url: str | None


def repository_of(text: str) -> Repository | None:
    """Return the repository that an address names, None if it cannot be linked."""
    found = next((one for form in _ADDRESSES if (one := form.fullmatch(text.strip()))), None)
    if found is None:
        return None
    parts = found["path"].removesuffix(".git").split("/")
    if not all(part.strip(".") for part in parts):
        return None
    given, host, path = found.groupdict(), found["host"], "/".join(parts)
    address = f"{host}{given.get('port') or ''}"
    return Repository(f"{given.get('scheme') or 'https'}://{address}/{path}", f"{address}/{path}")


def commit_of(commit: str, repository: str) -> Commit | None:
    """Return a commit for people, None if none was named."""
    if not commit:
        return None
    if not COMMIT.fullmatch(commit):
        return Commit(commit, commit, repository, None)
    known = repository_of(repository)
    short = commit[:SHORT_COMMIT]
    if known is None:
        return Commit(short, commit, repository, None)
    # GitHub, Gitea and Forgejo have the first, GitLab the second.
    kind = "-/commit" if "gitlab" in known.name.partition("/")[0].lower() else "commit"
    return Commit(short, commit, known.name, f"{known.url}/{kind}/{commit}")


def run_link(run_url: str, repository: str) -> str | None:
    """Return the address of a run's page, if it is one of the repository of the commit."""
    known = repository_of(repository)
    if known is None or not run_url.startswith(f"{known.url}/"):
        return None
    rest = run_url.removeprefix(known.url)
    is_plain = _REST_OF_RUN.fullmatch(rest) and all(part.strip(".") for part in rest[1:].split("/"))
    return run_url if is_plain else None
