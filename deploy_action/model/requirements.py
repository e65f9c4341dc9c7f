"""What pip would make of a requirements file, without installing anything.

It reads the file and those it includes, each line as pip would. Problems never show a line: a URL
may hold a password.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.model.manifest_checks import path_fault
from deploy_action.text.located_json import Redact
from deploy_action.text.requirements import (
    EDITABLE,
    INCLUDING,
    UnreadableTextError,
    first_word,
    has_variable,
    is_url,
    logical_lines,
    looks_like_path,
    option_of,
    read_text,
    without_options,
)

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PACKAGE = "blankly"
_MAX_PROBLEMS = 5
_LONGEST_REQUIREMENT = 1000
_COMPARISON = r"(?:===|==|~=|!=|<=|>=|<|>)\s*[^\s=<>!~,;]+"
# What setuptools took for a version, and pip took before 24.1: `name>=1.*`, `name==1.0-final-2`.
_LEGACY = re.compile(
    rf"[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\])?\s*{_COMPARISON}(?:\s*,\s*{_COMPARISON})*\s*(?:;.*)?$",
)
_OTHER_OPTIONS = frozenset(
    {
        "-f",
        "-i",
        "--extra-index-url",
        "--find-links",
        "--index-url",
        "--no-binary",
        "--no-index",
        "--only-binary",
        "--pre",
        "--prefer-binary",
        "--pypi-url",
        "--require-hashes",
        "--trusted-host",
        "--use-feature",
    }
)


_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")
_EGG = re.compile(rf"[#&]egg=({_NAME.pattern})")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^:]*)(?::\d*)?")
_ADDRESS = re.compile(r"://([^/?#\s]*)([^?#\s]*)(?:\?[^#\s]*)?(#\S*)?")
_NO_NAME = re.compile(r"[\s=<>!~;@\[]")


def check_requirements(
    model_dir: Path, name: str, selection: Selection, redact: Redact = str
) -> tuple[Problem, ...]:
    """Check a requirements file of the model and those it includes.

    `name` is its POSIX path relative to the model, normalised; the file exists. Lines that pip
    cannot read are errors; that nothing installs blankly is a warning. What messages show of a line
    goes through `redact` before it is cut.
    """
    reader = _Reader(model_dir, selection.includes, redact)
    reader.read_all(name)
    if not reader.problems and not reader.installs_anything:
        return (_lacking(name, f"{name} names no package, so blankly is not installed."),)
    if not reader.problems and not reader.may_install_blankly:
        return (_lacking(name, f"{name} does not name blankly, which the model needs."),)
    return tuple(reader.problems)


def read_requirements(model_dir: Path, name: str) -> Mapping[str, str]:
    """Return what a requirements file of the model and those it includes ask of each package.

    By canonical name, in order: versions, extras, address and marker, blank where any version will
    do; several lines are joined by ` | `. What is given by its address alone has the name that
    this ends in. Addresses are without credentials and queries. A file that is not there, not in
    the model, or cannot be read asks for nothing.
    """

    def is_there(path: str) -> bool:
        return _is_file_within(model_dir, path)

    reader = _Reader(model_dir, is_there, most_problems=sys.maxsize)
    start = posixpath.normpath(name)
    if path_fault(start) is None and is_there(start):
        reader.read_all(start)
    asked: dict[str, set[str]] = {}
    for option, text in reader.asked:
        package, what = _what_is_asked(option, text)
        asked.setdefault(package, set()).add(what)
    return {package: " | ".join(sorted(asked[package])) for package in sorted(asked)}


def _is_file_within(model_dir: Path, name: str) -> bool:
    """Whether it is a file, and no link leads out of the model: a past one may hold any."""
    try:
        path = (model_dir / name).resolve()
        return path.is_relative_to(model_dir.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # a circle of links, for one
        return False


def _lacking(name: str, message: str) -> Problem:
    hint = f"Add a line with {_PACKAGE}."
    return Problem(message=message, hint=hint, severity=Severity.WARNING, path=name, line=1)


@dataclass(slots=True)
class _Reader:
    """Follows a requirements file through those it includes, each once.

    A list of what is left to read, for a recursion would end at the stack's limit.
    """

    model_dir: Path
    is_included: Callable[[str], bool]
    redact: Redact = str
    most_problems: int = _MAX_PROBLEMS  # of one file
    # What is to be installed: the option before it, `-e` or `-r` for one that is elsewhere, and it.
    asked: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    installs_anything: bool = False
    may_install_blankly: bool = False
    _left: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def read_all(self, name: str) -> None:
        self._include(name)
        while self._left:
            self._read(self._left.pop(0))

    def _include(self, name: str) -> None:
        if name not in self._seen:
            self._seen.add(name)
            self._left.append(name)

    def _read(self, name: str) -> None:
        before = len(self.problems)
        for number, line in logical_lines(self._text(name)):
            self._read_line(name, number, line)
            if len(self.problems) - before >= self.most_problems:
                message = f"There may be more lines in {name} that pip cannot read."
                self._report(name, number, message, "Correct these first.", Severity.NOTICE)
                return

    def _report(
        self,
        name: str,
        line: int,
        message: str,
        hint: str,
        severity: Severity = Severity.ERROR,
    ) -> None:
        self.problems.append(
            Problem(message=message, hint=hint, severity=severity, path=name, line=line, column=1)
        )

    def _text(self, name: str) -> str:
        """Decode a file as pip does; "" when that fails, which is reported."""
        try:
            text, _ = read_text(self.model_dir / name, name)
        except UnreadableTextError as error:
            self.problems.append(error.problem)
            return ""
        return text

    def _read_line(self, name: str, number: int, line: str) -> None:
        if line.startswith("-"):
            self._read_option(name, number, line)
            return
        self.installs_anything = True
        requirement = without_options(line)
        self.asked.append(("", requirement))
        if has_variable(requirement) or is_url(requirement):
            self.may_install_blankly = True
        elif looks_like_path(requirement):
            self._read_path(name, number, requirement)
        else:
            self._read_requirement(name, number, requirement)

    def _read_option(self, name: str, number: int, line: str) -> None:
        option, value = option_of(line)
        if option in INCLUDING:
            self._follow(name, number, option, value)
        elif option in EDITABLE:
            self.asked.append(("-e", without_options(value)))
            self.installs_anything = self.may_install_blankly = True
        elif option.startswith("--") and option not in _OTHER_OPTIONS:
            shown = self.redact(option)[:40]
            message = f"pip may not know the option {shown} in a requirements file."
            self._report(name, number, message, "Check its spelling.", Severity.WARNING)
        elif option not in _OTHER_OPTIONS:
            hint = "Write one package a line, without a bullet before it."
            self._report(name, number, "pip cannot read this line: it is no option.", hint)

    def _follow(self, name: str, number: int, option: str, value: str) -> None:
        """Read an included file; constraints only have to exist, for they install nothing."""
        written = first_word(value)
        if has_variable(written) or is_url(written):
            if INCLUDING[option]:
                self.asked.append(("-r", written))
            self.installs_anything = self.may_install_blankly = True
            return
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), written))
        fault = self._fault_of(written, target)
        if fault:
            hint = f"Correct the path after {option}, which is relative to this file."
            shown = self.redact(written)[:60] or "this"
            self._report(name, number, f"pip cannot read {shown}: it {fault}.", hint)
        elif INCLUDING[option]:
            self._include(target)

    def _fault_of(self, written: str, target: str) -> str | None:
        if not written:
            return "names no file"
        if fault := path_fault(written if written.startswith("/") else target):
            return fault
        if not _exists(self.model_dir / target):
            return "does not exist"
        return None if self.is_included(target) else "is not in the bundle"

    def _read_path(self, name: str, number: int, requirement: str) -> None:
        """Look for a path that pip would install from, relative to the model's root."""
        path = re.split(r"[\[;]", requirement)[0].strip()
        if path.startswith("/") or _exists(self.model_dir / path):
            self.may_install_blankly = True
            return
        message = "pip cannot read this line: it takes it for a path, and there is no such file."
        self._report(name, number, message, _hint_for(requirement))

    def _read_requirement(self, name: str, number: int, requirement: str) -> None:
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            package = Requirement(requirement[:_LONGEST_REQUIREMENT]).name
        except (InvalidRequirement, RecursionError):
            self._read_invalid(name, number, requirement)
        else:
            self.may_install_blankly |= _PACKAGE in package.lower()

    def _read_invalid(self, name: str, number: int, requirement: str) -> None:
        if _LEGACY.match(requirement[:_LONGEST_REQUIREMENT]):
            self.may_install_blankly |= requirement.lower().startswith(_PACKAGE)
            message = "pip reads this version up to pip 24.0 only: it is not as PEP 440 has it."
            hint = "Write a version such as ==1.2.3 or >=1.2."
            self._report(name, number, message, hint, Severity.WARNING)
            return
        message = "pip cannot read this line: it is no requirement."
        self._report(name, number, message, _hint_for(requirement))


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):  # a line that is no path may be too long for one
        return False
    return True


def _hint_for(requirement: str) -> str:
    words = requirement.lower().split()
    if "install" in words[:4]:
        return "Write the package alone, without the command that installs it."
    if re.match(r"[\w.-]+\s*=\s*[\d.\"']", requirement):
        return "Write two equals signs before a version: name==1.2.3."
    return "Write one package a line, such as blankly, and # before what is a comment."


def _what_is_asked(option: str, text: str) -> tuple[str, str]:
    """Return the name of what a line asks for, and how it asks."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    public = _without_credentials(text)
    if option or is_url(text) or looks_like_path(text):
        return _name_in_address(public), f"{option} {public}".lstrip()
    try:
        requirement = Requirement(text[:_LONGEST_REQUIREMENT])
    except (InvalidRequirement, RecursionError):  # a version of old, or a variable
        end = _NO_NAME.search(public)
        name, rest = (public[: end.start()], public[end.start() :]) if end else (public, "")
        return canonicalize_name(name) if _NAME.fullmatch(name) else name, rest.strip()
    return canonicalize_name(requirement.name), _how(requirement)


def _how(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    # Lower bounds first: the order in which they were written says nothing.
    versions = sorted(map(str, requirement.specifier), key=lambda one: (one.startswith("<"), one))
    address = f" @ {_without_credentials(requirement.url)}" if requirement.url else ""
    marker = f"; {requirement.marker}" if requirement.marker else ""
    return f"{extras}{','.join(versions)}{address}{marker}".strip()


def _without_credentials(text: str) -> str:
    """Cut users, passwords and queries, which may be a signature, out of what holds addresses."""
    return _ADDRESS.sub(_public_address, text)


def _public_address(match: re.Match[str]) -> str:
    host, path, fragment = match[1].rpartition("@")[2], match[2], match[3] or ""
    # A password with a slash or a number sign in it ends up in another part.
    if not _HOST.fullmatch(host) or "@" in fragment:
        return "://…"
    return f"://{host}{path}{fragment}"


def _name_in_address(text: str) -> str:
    """Return the name that a public address or a path gives, as far as it gives one."""
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
