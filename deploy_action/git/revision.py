"""Finds the commit that a ref names, by the rules of gitrevisions(7), and the checked-out one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.errors import InvalidInputError
from deploy_action.git.repository import Repository, open_repository, reading
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass
from deploy_action.text.harmless import one_line

if TYPE_CHECKING:
    from dulwich.objects import Commit, ObjectID

_LONGEST_COMPARED: Final = 120
_MOST_NAMED: Final = 5
# A name and the steps after it (gitrevisions(7)): `^`, `^2`, `~3`, `^{}`, `^{commit}`.
_REVISION: Final = lazy_regex(
    r"(?P<name>[^\^~]*)(?P<steps>(?:\^\{(?:commit)?\}|\^[0-9]{0,9}|~[0-9]{0,9})*)"
)
_STEP: Final = lazy_regex(r"(?P<sign>[\^~])(?P<number>[0-9]*)(?P<peel>\{(?:commit)?\})?")
# An abbreviated id, alone or in the output of git-describe(1): `v1.0-3-gc0ffee1`.
_ABBREVIATION: Final = lazy_regex(r"(?:.+-g)?(?P<id>[0-9a-fA-F]{4,64})", re.DOTALL)
_ID: Final = lazy_regex(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_HEAD: Final = "HEAD"
# Unlike `HEAD`, this is never the name of a branch or of a remote's HEAD.
_CHECKED_OUT: Final = "@"
_HEAD_NAMES: Final = frozenset({_HEAD, _CHECKED_OUT})
# The library does not see these as refs, such as FETCH_HEAD after a step with `git fetch`.
_ROOT_REF: Final = lazy_regex(r"[A-Z_]+_HEAD")
_ONE_COMMIT: Final = (
    "Name one commit: a branch, a tag, an id, or one of these with `^` or `~` after it, as in "
    "`origin/main` or `HEAD^`."
)


@dataclass(frozen=True, slots=True)
class FoundCommit:
    """A commit by its full hexadecimal id, with the id of its tree and its whole message.

    `committed_at` is the committer's time, in seconds since 1970-01-01 UTC. `parents` are ids.
    """

    sha: str
    tree: ObjectID
    message: str
    committed_at: int
    parents: tuple[str, ...]


def find_commit(repository: Repository, ref: str, asked_by: str = "compare-with") -> FoundCommit:
    """Return the commit that `ref` names, the value of the input `asked_by`.

    A bare branch name is also looked for among the branches of `origin`: `actions/checkout`
    makes no others.

    Raises:
        InvalidInputError: it does not name a commit, or the clone does not have that commit.
    """
    with reading(repository.root):
        commit = _Lookup(repository, ref, asked_by).commit()
        return FoundCommit(
            sha=commit.id.decode(),
            tree=commit.tree,
            message=_decoded(commit),
            committed_at=commit.commit_time,
            parents=tuple(parent.decode() for parent in commit.parents),
        )


def read_checked_out_commit(directory: Path) -> FoundCommit | None:
    """Return the commit that HEAD of the repository around `directory` names.

    None without a checkout, before the first commit, and if the repository cannot be read: a model
    can be deployed without one, and the description has other sources.
    """
    try:
        with open_repository(directory) as repository:
            return find_commit(repository, _CHECKED_OUT)
    except InvalidInputError:
        return None


@dataclass(frozen=True, slots=True)
class _Lookup:
    """Resolves one ref."""

    repository: Repository
    ref: str
    asked_by: str

    def commit(self) -> Commit:
        name, steps = self._parse()
        sha = self._named(name)
        if sha is None:
            raise self._unknown(name, steps)
        commit = self._peel(sha, steps)
        for sign, number in steps:
            commit = self._step(commit, sign, number, steps)
        return commit

    def _parse(self) -> tuple[str, tuple[tuple[str, int], ...]]:
        """Split the ref into name and steps, without the steps that only peel (`^{}`)."""
        found = _REVISION.fullmatch(self.ref)
        if reason := self._unsupported():
            raise self._error(reason, _ONE_COMMIT)
        if found is None or not found["name"]:
            raise self._error("that is not a name of a commit in git", _ONE_COMMIT)
        steps = (
            (step["sign"], int(step["number"] or 1))
            for step in _STEP.finditer(found["steps"])
            if not step["peel"]
        )
        return found["name"], tuple(steps)

    def _unsupported(self) -> str:
        if "@{" in self.ref:
            return "that asks the reflog or what a branch follows: a fresh checkout has neither"
        if ":" in self.ref:
            return "with a `:` git means a file, and a whole commit is needed"
        if ".." in self.ref:
            return "that is a range of commits, and one commit is needed"
        return ""

    def _named(self, name: str) -> ObjectID | None:
        """Return the id that a name stands for, in the order of gitrevisions(7)."""
        if (sha := self._known_id(name)) is not None:
            return sha
        for candidate in _places_of(name):
            if sha := self._ref(candidate):
                return sha
        if abbreviation := _ABBREVIATION.fullmatch(name):
            return self._abbreviated(abbreviation["id"].lower())
        return None

    def _known_id(self, name: str) -> ObjectID | None:
        """Return a name that is a full id; None if it is not, or there is no such object."""
        from dulwich.objects import ObjectID

        sha = name.lower().encode("utf-8", "replace")
        if not _ID.fullmatch(sha):
            return None
        if not sha.strip(b"0"):
            raise self._error(
                "an id of zeros does not stand for a commit: GitHub gives it as `before` when a "
                "branch is new",
                "Use `HEAD^`, or the branch to compare with, for pushes of new branches.",
            )
        return ObjectID(sha) if self.repository.read(ObjectID(sha)) is not None else None

    def _ref(self, place: str) -> ObjectID | None:
        from dulwich.errors import RefFormatError
        from dulwich.objects import ObjectID
        from dulwich.refs import Ref, SymrefLoop, check_ref_format

        ref = Ref(place.encode("utf-8", "replace"))
        if _ROOT_REF.fullmatch(place):
            return self._root_ref(place)
        if place != _HEAD and not check_ref_format(ref):
            return None
        try:
            sha = self.repository.repo.refs.follow(ref)[1]
        except (KeyError, RefFormatError, SymrefLoop):
            return None
        return ObjectID(sha) if sha and _ID.fullmatch(sha) else None

    def _root_ref(self, name: str) -> ObjectID | None:
        """Return the first id in a file such as FETCH_HEAD; more may follow it on the line."""
        from dulwich.objects import ObjectID

        file = self.repository.repo.get_named_file(name)
        if file is None:
            return None
        with file:
            words = file.readline().split()
        return ObjectID(words[0]) if words and _ID.fullmatch(words[0]) else None

    def _abbreviated(self, prefix: str) -> ObjectID | None:
        """Return the one commit or tag whose id starts with a prefix."""
        from dulwich.objects import Commit, Tag

        found = [
            sha
            for sha in self.repository.repo.object_store.iter_prefix(prefix.encode())
            if isinstance(self.repository.read(sha), Commit | Tag)
        ]
        if len(found) > 1:
            listed = ", ".join(sha.decode() for sha in sorted(found)[:_MOST_NAMED])
            raise self._error(
                f"{len(found)} commits have ids that start like that: {listed}",
                "Give more digits of the id.",
            )
        return found[0] if found else None

    def _peel(self, sha: ObjectID, steps: tuple[tuple[str, int], ...]) -> Commit:
        """Follow tags to the commit that they name."""
        from dulwich.objects import Commit, Tag

        found = self.repository.read(sha)
        while isinstance(found, Tag):
            sha = found.object[1]
            found = self.repository.read(sha)
        if found is None:
            raise self._absent(f"it names {sha.decode()}, which the clone does not have", steps)
        if not isinstance(found, Commit):
            kind = found.type_name.decode()
            raise self._error(f"it names a {kind}, which is not a commit", _ONE_COMMIT)
        return found

    def _step(
        self, commit: Commit, sign: str, number: int, steps: tuple[tuple[str, int], ...]
    ) -> Commit:
        """Return the parent with a number (`^2`), or the ancestor along first parents (`~2`)."""
        if sign == "^":
            return self._parent(commit, number, steps) if number else commit
        for _ in range(number):
            commit = self._parent(commit, 1, steps)
        return commit

    def _parent(self, commit: Commit, number: int, steps: tuple[tuple[str, int], ...]) -> Commit:
        from dulwich.objects import Commit

        sha, parents = commit.id.decode(), commit.parents
        if number > len(parents):
            one = "no parent" if not parents else f"no parent of number {number}"
            raise self._error(
                f"commit {sha} has {one}",
                "It is the first commit: there is nothing before it to compare with."
                if not parents
                else "Only a merge has a second parent. Use `^` for the first one.",
            )
        found = self.repository.read(parents[number - 1])
        if not isinstance(found, Commit):
            raise self._absent(f"the clone does not have the parent of commit {sha}", steps)
        return found

    def _unknown(self, name: str, steps: tuple[tuple[str, int], ...]) -> InvalidInputError:
        quoted = one_line(name)
        if name in _HEAD_NAMES:
            what = "the repository has no commit yet"
        elif re.fullmatch(r"[0-9a-fA-F]{40,64}", name):
            what = f"the clone has no commit {quoted}"
        else:
            what = f"the clone has no branch, tag or commit called `{quoted}`"
        return self._absent(what, steps, near=_nearest(name, self._known_names))

    def _known_names(self) -> list[str]:
        names = (ref.decode("utf-8", "replace") for ref in self.repository.repo.refs.allkeys())
        return [re.sub(r"^refs/(?:heads|tags|remotes)/", "", name) for name in names]

    def _absent(
        self, what: str, steps: tuple[tuple[str, int], ...], near: str = ""
    ) -> InvalidInputError:
        """Return the error for a commit that a deeper fetch may find."""
        is_shallow = self.repository.is_shallow
        hint = "Set `fetch-depth: 0` of `actions/checkout`, which fetches all branches and tags."
        if is_shallow:
            what += "; it is shallow, so it has only the latest commits"
        else:
            hint = f"Check the name, and in a workflow: {hint[0].lower()}{hint[1:]}"
        name = self.ref.partition("^")[0].partition("~")[0]
        if name in _HEAD_NAMES and steps:
            depth = 1 + sum(number if sign == "~" else min(number, 1) for sign, number in steps)
            hint = f"Set `fetch-depth: {depth}` of `actions/checkout`, or 0 for all commits."
        if not self.repository.for_runner:
            hint = "Run `git fetch --unshallow --tags`, which fetches the commits that are missing."
            if not is_shallow:
                hint = "Check the name, or run `git fetch --tags`."
        suggestion = f"Did you mean `{one_line(near)}`? " if near else ""
        return self._error(what, suggestion + hint)

    def _error(self, what: str, hint: str) -> InvalidInputError:
        message = f"Input `{self.asked_by}` is `{one_line(self.ref)}`: {what}."
        return InvalidInputError.of(message=message, hint=hint)


def _decoded(commit: Commit) -> str:
    """Return a commit's message, decoded as its `encoding` header says."""
    raw: bytes = commit.message
    encoding: bytes = commit.encoding or b"utf-8"
    try:
        return raw.decode(encoding.decode("ascii", "replace"), "replace")
    except (LookupError, ValueError):  # not an encoding, or one that cannot replace
        return raw.decode("utf-8", "replace")


def _places_of(name: str) -> tuple[str, ...]:
    """Return the refs that a name may stand for; the first that exists wins."""
    if name == _CHECKED_OUT:
        return (_HEAD,)
    is_whole = name == _HEAD or name.startswith("refs/") or _ROOT_REF.fullmatch(name)
    # `github.ref` has the full name of a branch, which the checkout keeps below `origin`.
    branch = name.removeprefix("refs/").removeprefix("heads/")
    return (
        *((name,) if is_whole else ()),
        f"refs/{name}",
        f"refs/tags/{name}",
        f"refs/heads/{name}",
        f"refs/remotes/{name}",
        f"refs/remotes/{name}/HEAD",
        f"refs/remotes/origin/{branch}",
    )


def _nearest(name: str, known: Callable[[], list[str]]) -> str:
    """Return the most similar branch or tag, "" if none is similar."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name[:_LONGEST_COMPARED], known(), n=1, cutoff=0.75)), "")
