"""Selects the files of a model that go into its bundle, and reports those that cannot."""

from __future__ import annotations

import os
import posixpath
import stat
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple
from unicodedata import normalize

from deploy_action.bundle.ignore_rules import (
    MAX_PATTERN_LENGTH,
    IgnoreRule,
    IgnoreRules,
    compile_rules,
)
from deploy_action.bundle.including import Include, place_includes
from deploy_action.bundle.never_packed import ENVIRONMENT_MARKS, NEVER_PACKED, is_never_packed
from deploy_action.bundle.secret_files import looks_secret, may_hold_secrets, names_secrets
from deploy_action.errors import Problem, Severity
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field
from deploy_action.regular_files import SourceTree, Tree, is_within

# In bytes, and in components. The embedded platform refuses longer and deeper names, too, and they
# could not be unpacked everywhere: a path has at most 4,096 bytes on Linux, and 1,024 on macOS.
LONGEST_NAME: Final = 1_000
DEEPEST: Final = 100
_LONGEST_SHOWN: Final = 80
_UNDECODED: Final = lazy_regex("[\ud800-\udfff]")
_CONTROL: Final = lazy_regex(r"[\x00-\x1f\x7f-\x9f]")
_MANIFEST: Final = "blankly.json"
_KINDS: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)
# Directory links multiply: twenty levels of two links each are a million directories.
_MOST_FOLLOWED: Final = 1_000
# What is wrong with a link, and the way out.
_BROKEN: Final = ("which does not exist", "Correct or remove the link, or add it to ignore_files.")
_OUTSIDE: Final = (
    "which is outside the model",
    "Copy what it points to into the model, or add the link to ignore_files.",
)
_TO_EXCLUDED: Final = (
    "which is never packed",
    "Copy what it points to to another place in the model, or add the link to ignore_files.",
)
_IN_A_CIRCLE: Final = (
    "a directory that holds the link itself, so it would never end",
    "Remove the link, or add it to ignore_files.",
)
_ANOTHER_NAME: Final = "Write another name for it, as in `libs/common => shared`."


class Entry(NamedTuple):
    """A file, or an empty directory, of the bundle.

    `name` is POSIX and relative to the model's root. `source` is the path without links, relative
    to the top of the files. `size` is the number of bytes when it was selected, `executable` the
    owner's bit.
    """

    name: str
    source: str
    size: int
    executable: bool
    is_directory: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries of a bundle, sorted by name, and the problems found while selecting.

    `files` says where they come from, and `tree` is the top of those, which is opened again to pack
    them. `left_out` are the names of files that hold secrets, and that no pattern takes back.
    `dead_links` are the names of links that have problems, with the paths to which they lead, or
    would. `rules` say what is ignored.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    files: SourceTree
    tree: Tree
    left_out: tuple[str, ...]
    dead_links: Mapping[str, str]
    rules: IgnoreRules

    def leaves_out(self, name: str) -> bool:
        """Whether a file that is not there would be left out; a directory ends with a slash."""
        parts = name.rstrip("/").split("/")
        for count, part in enumerate(parts, 1):
            is_directory = count < len(parts) or name.endswith("/")
            path = "/".join(parts[:count])
            rule = self.rules.deciding(path, part, is_directory=is_directory)
            if part in NEVER_PACKED or (rule is not None and not rule.includes_again):
                return True
            if rule is None and not is_directory and names_secrets(part):
                return True
        return False

    def places(self) -> Iterator[str]:
        """Yield where the files are: absolute paths without links."""
        top = self.tree.path.rstrip("/")
        return (f"{top}/{one.source}" for one in self.entries if not one.is_directory)

    def includes(self, name: str) -> bool:
        """Whether the file `name`, or anything in the directory `name`, is selected."""
        wanted = posixpath.normpath(name)
        for start in (wanted, f"{wanted}/"):
            at = bisect_left(self.entries, start, key=attrgetter("name"))
            if at < len(self.entries) and is_within(wanted, self.entries[at].name):
                return True
        return wanted == "."


def select_files(
    model_dir: Path,
    patterns: Sequence[str],
    *,
    excluded: Collection[Path] = (),
    workspace: Path | None = None,
    include: Sequence[Include] = (),
    redact: Callable[[str], str] = str,
) -> Selection:
    """Select the files of the model in `model_dir`; bad content is a Problem, never an exception.

    `patterns` are in `.gitignore` syntax; the last match wins. `excluded` are absolute paths that
    are left out whatever the patterns say, as are `.git`, `__pycache__` and virtual environments;
    files that hold secrets, such as `.env`, are left out unless a pattern takes them back.
    What is to `include` is in the `workspace`, which holds the model. Names and patterns in
    messages go through `redact` before they are cut.
    """
    rules, invalid = compile_rules(patterns)
    left_out = frozenset(map(os.path.realpath, excluded))
    files, problems = place_includes(workspace or model_dir, model_dir, include, left_out)
    walk = _Walk(files, os.path.realpath(workspace or model_dir), rules, left_out, redact)
    walk.problems.extend(
        _invalid_pattern(redact(text[:MAX_PATTERN_LENGTH]), reason) for text, reason in invalid
    )
    walk.problems.extend(problems)
    tree = Tree.at(files.top)
    walk.run()
    return walk.selection(tree)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory to visit: its real path, its name in the bundle ("" or ending in a slash)."""

    real: str
    prefix: str
    # The real directories with the links that led here.
    trail: tuple[str, ...] = ()


@dataclass(slots=True)
class _Walk:
    """One pass over the model's directory, without recursion, because trees can be very deep."""

    files: SourceTree
    workspace: str
    rules: IgnoreRules
    excluded: frozenset[str]
    redact: Callable[[str], str]
    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _folders: list[_Folder] = field(default_factory=list)
    _ignored_manifest: IgnoreRule | None = None
    _followed: int = 0
    _dead_links: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        self._walk(_Folder(self.files.root, ""))
        for name, real in self.files.included:
            self._include(name, real)
        if self._ignored_manifest is not None:
            self.problems.append(_manifest_ignored(self._ignored_manifest))

    def selection(self, tree: Tree) -> Selection:
        entries = sorted(self.entries, key=attrgetter("name"))
        problems = sorted(self.problems, key=lambda problem: (problem.path or "", problem.message))
        return Selection(
            tuple(entries),
            tuple(problems),
            self.files,
            tree,
            tuple(sorted(self.left_out)),
            self._dead_links,
            self.rules,
        )

    def _include(self, name: str, real: str) -> None:
        """Select an included file or directory, unless a link of the model did so already."""
        source = _escaped(real[len(self.files.top) :].lstrip("/"))
        fault = self._fault_of_included(name, Path(real))
        if fault is None and os.path.realpath(f"{self.files.root}/{name}") == real:
            return
        if fault := fault or self._clash(name):
            why, hint = fault
            shown = _shortened(self.redact(name))
            message = f"Input `include`: `{source}` cannot be {shown} in the bundle: {why}."
            self.problems.append(Problem(message=message, hint=hint))
            return
        if Path(real).is_dir():
            self._walk(_Folder(real, f"{name}/"))
        else:
            self._add_file(real, name, Path(real).lstat())
        parent, _, last = name.rpartition("/")
        prefix = f"{parent}/" if parent else ""
        others = {one.name[len(prefix) :].split("/")[0] for one in self._starting_with(prefix)}
        found = _colliding_names(prefix, [*others - {last}, last])
        self.problems.extend(one for one in found if one not in self.problems)

    def _fault_of_included(self, name: str, real: Path) -> tuple[str, str] | None:
        """Return why nothing can be included under a name, and the way out."""
        is_directory = real.is_dir()
        if reason := _bad_name(name) or _too_long(name):
            return f"the name {reason}", _ANOTHER_NAME
        parts = name.split("/")
        for count, part in enumerate(parts, 1):
            path = "/".join(parts[:count])
            if part in NEVER_PACKED:
                return f"{path} is never packed", _ANOTHER_NAME
            is_parent = count < len(parts)
            rule = self.rules.deciding(path, part, is_directory=is_parent or is_directory)
            is_file = not is_parent and real.is_file()
            if rule is None and is_file and may_hold_secrets(part, real):
                like = "of that name" if names_secrets(part) else f"like {_escaped(real.name)}"
                return f"files {like} hold secrets", f"Add !/{path} to ignore_files."
            if rule is not None and not rule.includes_again:
                why = f"the ignore pattern {_escaped(rule.text)!r} leaves out {path}"
                return why, f"Make the pattern narrower, or add the pattern !/{path} after it."
        return None

    def _clash(self, name: str) -> tuple[str, str] | None:
        """Return which file of the bundle is in the way of a name, and the way out."""
        for one in self.entries:
            if is_within(name, one.name) or (not one.is_directory and is_within(one.name, name)):
                return f"{_escaped(one.name)} is there already", _ANOTHER_NAME
        return None

    def _starting_with(self, prefix: str) -> Iterator[Entry]:
        return (one for one in self.entries if one.name.startswith(prefix))

    def _walk(self, folder: _Folder) -> None:
        self._folders.append(folder)
        while self._folders:
            self._visit(self._folders.pop())

    def _visit(self, folder: _Folder) -> None:
        try:
            with os.scandir(folder.real) as scan:
                children = list(scan)
        except OSError as error:
            self._report_unreadable(folder.prefix.removesuffix("/"), reason_of(error))
            return
        if any(child.name in ENVIRONMENT_MARKS for child in children):
            if folder.prefix:
                return
            self.problems.append(_ROOT_IS_ENVIRONMENT)
        if not children and folder.prefix:
            name = folder.prefix.removesuffix("/")
            source = self._source(folder.real)
            self.entries.append(Entry(name, source, 0, executable=True, is_directory=True))
            return
        kept = [child.name for child in children if self._take(folder, child)]
        self.problems.extend(_colliding_names(folder.prefix, kept))

    def _take(self, folder: _Folder, child: os.DirEntry[str]) -> bool:
        """Select `child`, or put it on the list of folders; return False if it is left out."""
        if child.name in NEVER_PACKED or child.path in self.excluded:
            return False
        name = folder.prefix + child.name
        try:
            is_directory = child.is_dir()
        except OSError:
            is_directory = False
        rule = self.rules.deciding(name, child.name, is_directory=is_directory)
        if rule is None and not is_directory and _holds_secrets(child):
            self.left_out.append(name)
            return False
        if rule is not None and not rule.includes_again:
            if name == _MANIFEST:
                self._ignored_manifest = rule
            return False
        if reason := _bad_name(child.name) or _too_long(name):
            message = f"The name {_shortened(self.redact(name))} {reason}."
            self._report(name, message, "Rename it, or add it to ignore_files.")
            return False
        try:
            self._add(folder, child, name)
        except OSError as error:
            self._report_unreadable(name, reason_of(error))
            return False
        return True

    def _add(self, folder: _Folder, child: os.DirEntry[str], name: str) -> None:
        if child.is_symlink():
            self._add_link(folder, child.path, name)
        elif child.is_dir(follow_symlinks=False):
            self._folders.append(_Folder(child.path, name + "/", folder.trail))
        else:
            self._add_file(child.path, name, child.stat(follow_symlinks=False))

    def _add_file(self, real: str, name: str, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            what = next((kind for fits, kind in _KINDS if fits(status.st_mode)), "a special file")
            message = f"{_escaped(name)} is {what}, which has no contents to pack."
            self._report(name, message, "Remove it, or add it to ignore_files.")
            return
        if not os.access(real, os.R_OK):
            self._report_unreadable(name, "permission denied")
            return
        executable = bool(status.st_mode & stat.S_IXUSR)
        source = self._source(real)
        if source == name:
            source = name  # one text in memory for most of many files
        self.entries.append(Entry(name, source, status.st_size, executable, is_directory=False))

    def _source(self, real: str) -> str:
        return real[len(self.files.top) :].lstrip("/")

    def _add_link(self, folder: _Folder, real: str, name: str) -> None:
        written = str(Path(real).readlink())
        try:
            Path(real).stat()  # which refuses a chain of links that is too long for the next line
            target = os.path.realpath(real, strict=True)
        except OSError:
            where = os.path.normpath(Path(folder.real, written))  # as far as can be told
            self._report_link(name, written, _BROKEN, where)
            return
        if not self.files.holds(target):
            self._report_link(name, written, self._outside(name, target), target)
        elif is_never_packed(self.files.root_of(target), target, self.excluded):
            self._report_link(name, written, _TO_EXCLUDED, target)
        elif not Path(target).is_dir():
            self._add_file(target, name, Path(target).lstat())
        elif any(is_within(target, real) for real in (*folder.trail, folder.real)):
            self._report_link(name, written, _IN_A_CIRCLE, target)
        else:
            self._follow(folder, target, name)

    def _outside(self, name: str, target: str) -> tuple[str, str]:
        """Return what is wrong with a link that leads out, and what includes its target."""
        if not is_within(self.workspace, target) or is_within(target, self.files.root):
            return _OUTSIDE
        place = target[len(self.workspace) :].lstrip("/")
        entry = place if posixpath.basename(place) == name else f"{place} => {name}"
        way = f"Add `{_escaped(entry)}` to the input `include`, or add the link to ignore_files."
        return _OUTSIDE[0], way

    def _follow(self, folder: _Folder, target: str, name: str) -> None:
        self._followed += 1
        if self._followed <= _MOST_FOLLOWED:
            self._folders.append(_Folder(target, name + "/", (*folder.trail, folder.real)))
        elif self._followed == _MOST_FOLLOWED + 1:
            message = (
                f"More than {_MOST_FOLLOWED:,} links to directories lead to one another; "
                f"{_escaped(name)} was not followed."
            )
            hint = "Remove links to directories that contain links to directories, or ignore them."
            self._report(name, message, hint)

    def _report(self, name: str, message: str, hint: str) -> None:
        path = _escaped(name) or None
        self.problems.append(Problem(message=message, hint=hint, path=path))

    def _report_unreadable(self, name: str, reason: str) -> None:
        message = f"{_escaped(name) or 'The model directory'} cannot be read: {reason}."
        hint = "Make it readable, or add it to ignore_files." if name else "Check model-path."
        self._report(name, message, hint)

    def _report_link(self, name: str, written: str, fault: tuple[str, str], target: str) -> None:
        what, hint = fault
        self._dead_links[_escaped(name)] = target
        message = f"The link {_escaped(name)} points to {_escaped(written)}, {what}."
        self._report(name, message, hint)


def reason_of(error: OSError) -> str:
    """Return why the operating system refused, in lower case: `permission denied`."""
    return (error.strerror or str(error)).lower()


def _holds_secrets(child: os.DirEntry[str]) -> bool:
    """Whether a file of the model holds secrets; only a link has more than one name."""
    if not child.is_symlink() and not looks_secret(child.name):
        return False
    return may_hold_secrets(child.name, Path(child.path))


def _bad_name(name: str) -> str:
    """Return why a name does not survive packing and unpacking on every system, "" if it does."""
    if name.isprintable() and "\\" not in name:
        return ""
    if _UNDECODED.search(name):
        return "is not valid UTF-8"
    if _CONTROL.search(name):
        return "contains a control character"
    return "contains a backslash, which unzip tools read as a separator" if "\\" in name else ""


def _too_long(name: str) -> str:
    """Return why a name is too long or too deep for a bundle, "" if it is not."""
    if name.count("/") >= DEEPEST:
        return f"is more than {DEEPEST} levels deep"
    size = len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))
    return f"has more than {LONGEST_NAME:,} bytes" if size > LONGEST_NAME else ""


def _shortened(name: str) -> str:
    shown = _escaped(name)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _escaped(name: str) -> str:
    """Return a name for display, with control characters and undecodable bytes escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _colliding_names(prefix: str, names: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for siblings whose names are equal on some file systems."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        folded = name.lower()
        if not name.isascii():
            folded = normalize("NFC", normalize("NFD", name).casefold())
        if folded in seen:
            yield _collision(prefix + name, prefix + seen[folded])
        seen.setdefault(folded, name)


_ROOT_IS_ENVIRONMENT: Final = Problem(
    message="The model's directory is itself a virtual environment: it has a pyvenv.cfg or "
    "conda-meta.",
    hint="Keep the environment in a directory of its own, such as .venv, which is never packed.",
)


def _invalid_pattern(text: str, reason: str) -> Problem:
    return Problem(
        message=f"The ignore pattern {_shortened(text)!r} matches nothing: {reason}.",
        hint="Write it as in a .gitignore file; a backslash makes the next character literal.",
    )


def _manifest_ignored(rule: IgnoreRule) -> Problem:
    return Problem(
        message=f"The ignore pattern {_escaped(rule.text)!r} leaves blankly.json out of the "
        "bundle.",
        hint="Make the pattern narrower, or add the pattern !/blankly.json after it.",
        path=_MANIFEST,
    )


def _collision(name: str, other: str) -> Problem:
    return Problem(
        message=f"{name} and {other} differ only in case or in Unicode form, "
        "so one replaces the other where file systems do not tell them apart.",
        hint="Rename one of them.",
        severity=Severity.WARNING,
        path=name,
    )
