"""Checks a model's requirements, and lists what they ask for, without installing anything.

Problems never show a whole line, because a URL may hold a password.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.model.manifest_checks import LEADS_OUT, path_fault
from deploy_action.records import dataclass, field
from deploy_action.regular_files import SourceTree
from deploy_action.text.located_json import Redact
from deploy_action.text.requirements import (
    Line,
    Walk,
    has_variable,
    is_file_inside,
    is_inside,
    is_url,
    looks_like_path,
    variables_in,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PACKAGE = "blankly"
_MAX_PROBLEMS = 5
_LONGEST_REQUIREMENT = 1000
_COMPARISON = r"(?:===|==|~=|!=|<=|>=|<|>)\s*[^\s=<>!~,;]+"
# Versions that pip accepted before 24.1: `name>=1.*`, `name==1.0-final-2`.
_LEGACY = lazy_regex(
    rf"[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\]\s*)?{_COMPARISON}(?:\s*,\s*{_COMPARISON})*\s*(?:;.*)?$"
)
_OTHER_OPTION = lazy_regex(
    r"-[fi]|--(?:extra-index-url|find-links|index-url|no-binary|no-index|only-binary|pre"
    r"|prefer-binary|pypi-url|require-hashes|trusted-host|use-feature)"
)

_NAME = lazy_regex(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")
_EGG = lazy_regex(rf"[#&]egg=({_NAME.pattern})")
_HOST = lazy_regex(r"(?:\[[0-9A-Fa-f:.]+\]|[^:]*)(?::\d*)?")
_ADDRESS = lazy_regex(r"://([^/?#\s]*)([^?#\s]*)(?:\?[^#\s]*)?(#\S*)?")
# `name`, `name==1.2.3` and the like.
_PLAIN_NUMBER = r"(?:0|[1-9][0-9]{0,5})"
_PLAIN = lazy_regex(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)(?P<version>(?:(?:[=!<>]=|[<>])"
    rf"{_PLAIN_NUMBER}(?:\.{_PLAIN_NUMBER}){{0,4}}(?:(?:a|b|rc){_PLAIN_NUMBER})?)?)"
)
_NO_NAME = lazy_regex(r"[\s=<>!~;@\[]")


@dataclass(frozen=True, slots=True)
class Installer:
    """What is known of who installs the requirements.

    `adds_blankly`: it installs blankly, also where nothing requires it, as the embedded platform
    does. `lacks_git`: it is this machine, which has no git.
    """

    adds_blankly: bool = False
    lacks_git: bool = False


UNKNOWN: Final = Installer()


def check_requirements(
    name: str, selection: Selection, installer: Installer = UNKNOWN, redact: Redact = str
) -> tuple[Problem, ...]:
    """Check a requirements file of the model and those it includes.

    `name` is its POSIX path relative to the model, normalised; the file exists. Lines that pip
    cannot read are errors; a warning says if nothing installs blankly. Whatever messages quote from
    a line goes through `redact` before it is cut.
    """
    checker = _Checker(selection, installer, redact)
    checker.run(name)
    is_readable = all(one.severity is Severity.NOTICE for one in checker.problems)
    if is_readable and not checker.may_install_blankly:
        what = "does not name blankly" if checker.installs_anything else "names no package"
        return (*checker.problems, _lacking(name, what, installer))
    return tuple(checker.problems)


def read_requirements(files: SourceTree, name: str) -> Mapping[str, str]:
    """Return what a requirements file and those it includes ask of each package.

    Keys are canonical names, in order. Values are versions, extras, address and marker, "" where
    any version will do; those of several lines are joined by ` | `. A requirement that is only an
    address has the name at its end. Addresses are without credentials and queries. A file that is
    missing, outside the model, or unreadable asks for nothing.
    """
    start = posixpath.normpath(name)
    if path_fault(start) or not is_file_inside(files, start):
        return {}
    asked: dict[str, set[str]] = {}
    for option, text in _asked(Walk(files, start, on_unreadable=lambda _: None)):
        package, what = _what_is_asked(option, text)
        asked.setdefault(package, set()).add(what)
    return {package: " | ".join(sorted(asked[package])) for package in sorted(asked)}


def variables_named(files: SourceTree, name: str) -> Iterator[tuple[Line, str]]:
    """Yield the variables that requirements name, such as `${TOKEN}`, each at its first line.

    Files that are missing, outside the model, or unreadable name none.
    """
    start = posixpath.normpath(name)
    if path_fault(start) or not is_file_inside(files, start):
        return
    known: set[str] = set()
    walk = Walk(files, start, on_unreadable=lambda _: None)
    for line in (line for file in walk for line in file.lines):
        for variable in variables_in(line.text):
            if variable not in known:
                known.add(variable)
                yield line, variable
        is_local = line.is_include and not line.is_remote and _path_fault(line) is None
        if is_local and is_file_inside(walk.files, line.target):
            walk.follow(line)


def files_read(files: SourceTree, start: str) -> Iterator[str]:
    """Yield the names of a requirements file and of those that it includes, missing ones too.

    `files` may be those of a directory that holds the model's.
    """
    walk = Walk(files, start, on_unreadable=lambda _: None)
    yield start
    for line in (line for file in walk for line in file.lines):
        if line.is_include and not line.is_remote and line.word and is_inside(line.target):
            yield line.target
            if is_file_inside(files, line.target):
                walk.follow(line)


def _asked(walk: Walk) -> Iterator[tuple[str, str]]:
    """Yield what is to be installed, after the option before it: "", `-e` or `-r`."""
    for line in (line for file in walk for line in file.lines):
        if line.is_requirement or line.is_editable:
            yield "-e" if line.is_editable else "", line.value
        elif line.is_include and not line.is_constraint:
            if line.is_remote:
                yield "-r", line.word
            elif _path_fault(line) is None and is_file_inside(walk.files, line.target):
                walk.follow(line)


def _path_fault(line: Line) -> str | None:
    if not line.word:
        return "names no file"
    return path_fault(line.word if line.word.startswith("/") else line.target)


def _lacking(name: str, what: str, installer: Installer) -> Problem:
    return Problem(
        message=f"{name} {what}. The embedded platform and `blankly-deploy serve` install it all "
        "the same; a server that installs only what the file names cannot run the model.",
        hint=f"Add a line with {_PACKAGE}.",
        severity=Severity.NOTICE if installer.adds_blankly else Severity.WARNING,
        path=name,
        line=1,
    )


@dataclass(slots=True)
class _Checker:
    """Collects what is wrong with requirements files."""

    selection: Selection
    installer: Installer
    redact: Redact
    problems: list[Problem] = field(default_factory=list)
    installs_anything: bool = False
    may_install_blankly: bool = False

    def run(self, name: str) -> None:
        walk = Walk(self.selection.files, name, on_unreadable=self.problems.append)
        for file in walk:
            most = len(self.problems) + _MAX_PROBLEMS
            for line in file.lines:
                self._check(line, walk)
                if len(self.problems) >= most:
                    message = f"There may be more lines in {file.name} that pip cannot read."
                    self._report(line, message, "Correct these first.", Severity.NOTICE)
                    break

    def _report(
        self, line: Line, message: str, hint: str, severity: Severity = Severity.ERROR
    ) -> None:
        self.problems.append(
            Problem(
                message=message,
                hint=hint,
                severity=severity,
                path=line.file,
                line=line.number,
                column=1,
            )
        )

    def _check(self, line: Line, walk: Walk) -> None:
        if line.from_git:
            self._check_git(line)
        if line.is_requirement:
            self._check_requirement(line)
        elif line.is_editable or (line.is_include and line.is_remote):
            self.installs_anything = self.may_install_blankly = True
        elif line.is_include:
            self._check_include(line, walk)
        else:
            self._check_option(line)

    def _check_git(self, line: Line) -> None:
        """Name the archive that needs no git: the action's image, which is a server too, has none.

        A server may have git, so that it is only noted where another one installs.
        """
        lacks_git = self.installer.lacks_git
        message = "This comes from a git repository, and "
        message += "there is no git here." if lacks_git else "the image of this action has no git."
        archive = self.redact(line.from_archive)[:_LONGEST_REQUIREMENT]
        hint = "Name its archive instead, which needs none"
        hint += f": `{archive}`." if archive else ", with its address from the forge."
        self._report(line, message, hint, Severity.ERROR if lacks_git else Severity.NOTICE)

    def _check_option(self, line: Line) -> None:
        if _OTHER_OPTION.fullmatch(line.option):
            return
        if line.option.startswith("--"):
            quoted = self.redact(line.option)[:40]
            message = f"pip may not know the option {quoted} in a requirements file."
            self._report(line, message, "Check its spelling.", Severity.WARNING)
        else:
            hint = "Write one package a line, without a bullet before it."
            self._report(line, "pip cannot read this line: it is not an option.", hint)

    def _check_include(self, line: Line, walk: Walk) -> None:
        """Follow an included file; constraints only have to exist, because they install nothing."""
        if fault := self._fault_of(line):
            hint = f"Correct the path after {line.option}, which is relative to this file."
            if fault == LEADS_OUT:
                way = f"write the name that it gets after {line.option}"
                hint = f"Add the file to the input `include`, and {way}."
            quoted = self.redact(line.word)[:60] or "this"
            self._report(line, f"pip cannot read {quoted}: it {fault}.", hint)
        elif not line.is_constraint:
            walk.follow(line)

    def _fault_of(self, line: Line) -> str | None:
        if fault := _path_fault(line):
            return fault
        if not _exists(self.selection.files.path(line.target)):
            return "does not exist"
        return None if self.selection.includes(line.target) else "is not in the bundle"

    def _check_requirement(self, line: Line) -> None:
        self.installs_anything = True
        if has_variable(line.value) or is_url(line.value):
            self.may_install_blankly = True
        elif looks_like_path(line.value):
            self._check_path(line)
        else:
            self._check_package(line)

    def _check_path(self, line: Line) -> None:
        """Look for a path that pip would install from, relative to the model's root."""
        path = re.split(r"[\[;]", line.value)[0].strip()
        if path.startswith("/") or _exists(self.selection.files.path(path)):
            self.may_install_blankly = True
            return
        message = "pip cannot read this line: it looks like a path, and there is no such file."
        self._report(line, message, _hint_for(line.value))

    def _check_package(self, line: Line) -> None:
        if plain := plain_requirement(line.value):
            self.may_install_blankly |= _PACKAGE in plain[0]
            return
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            package = Requirement(line.value[:_LONGEST_REQUIREMENT]).name
        except (InvalidRequirement, RecursionError):
            self._report_invalid(line)
        else:
            self.may_install_blankly |= _PACKAGE in package.lower()

    def _report_invalid(self, line: Line) -> None:
        if _LEGACY.match(line.value[:_LONGEST_REQUIREMENT]):
            self.may_install_blankly |= line.value.lower().startswith(_PACKAGE)
            message = "Only pip up to 24.0 can read this version: it does not follow PEP 440."
            hint = "Write a version such as ==1.2.3 or >=1.2."
            self._report(line, message, hint, Severity.WARNING)
            return
        message = "pip cannot read this line: it is not a requirement."
        self._report(line, message, _hint_for(line.value))


def plain_requirement(text: str) -> tuple[str, str] | None:
    """Return the canonical name and the version of the plainest requirements, None for others.

    Most models have no others, and then no library has to be loaded to read them.
    """
    plain = _PLAIN.fullmatch(text)
    return plain and (re.sub(r"[-_.]+", "-", plain["name"]).lower(), plain["version"])


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):  # a line of prose may be too long for a path
        return False
    return True


def _hint_for(requirement: str) -> str:
    words = requirement.lower().split()
    if "install" in words[:4]:
        return "Write the package alone, without the command that installs it."
    if re.match(r"[\w.-]+\s*=\s*[\d.\"']", requirement):
        return "Write two equals signs before a version: name==1.2.3."
    return "Write one package a line, such as blankly, and # before a comment."


def _what_is_asked(option: str, text: str) -> tuple[str, str]:
    """Return the canonical name of what a line asks for, and the rest of the requirement."""
    public = _without_credentials(text)
    if option or is_url(text) or looks_like_path(text):
        return _name_in_address(public), f"{option} {public}".lstrip()
    if plain := plain_requirement(text):
        return plain
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requirement = Requirement(text[:_LONGEST_REQUIREMENT])
    except (InvalidRequirement, RecursionError):  # a version in a legacy form, or a variable
        end = _NO_NAME.search(public)
        name, rest = (public[: end.start()], public[end.start() :]) if end else (public, "")
        return canonicalize_name(name) if _NAME.fullmatch(name) else name, rest.strip()
    return canonicalize_name(requirement.name), _how(requirement)


def _how(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    # Lower bounds first: the written order has no meaning.
    versions = sorted(map(str, requirement.specifier), key=lambda one: (one.startswith("<"), one))
    address = f" @ {_without_credentials(requirement.url)}" if requirement.url else ""
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{extras}{','.join(versions)}{address}{marker}".strip()


def _without_credentials(text: str) -> str:
    """Remove users, passwords and queries (they may be signatures) from the addresses in a text."""
    return _ADDRESS.sub(_public_address, text)


def _public_address(match: re.Match[str]) -> str:
    host, path, fragment = match[1].rpartition("@")[2], match[2], match[3] or ""
    # A password that has a slash or a number sign is parsed as another part of the address.
    if not _HOST.fullmatch(host) or "@" in fragment:
        return "://…"
    return f"://{host}{path}{fragment}"


def _name_in_address(text: str) -> str:
    """Return the package's name in an address or path, else its last part."""
    from packaging.utils import canonicalize_name

    if egg := _EGG.search(text):
        return canonicalize_name(egg[1])
    path = re.split(r"[\[;#]", text)[0].strip().rpartition("://")[2]
    # `@` comes before a branch or tag of a repository.
    last = path.partition("@")[0].rstrip("/").rpartition("/")[2].removesuffix(".git")
    if last.endswith(".whl"):
        last = last.partition("-")[0]
    elif found := re.fullmatch(rf"({_NAME.pattern})-\d.*", last):
        last = found[1]  # name-1.2.tar.gz
    return canonicalize_name(last) if _NAME.fullmatch(last) else last or path
