"""Checks the files of a model before a run fails because of them."""

from __future__ import annotations

import codecs
import json
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from unicodedata import normalize

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.model import pyproject
from deploy_action.model.live.code import Code
from deploy_action.model.manifest import MAX_FILE_BYTES, Manifest
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.model.requirements import (
    UNKNOWN,
    Installer,
    check_requirements,
    read_requirements,
)
from deploy_action.model.scripts import Scripts
from deploy_action.model.syntax import Wanted
from deploy_action.records import replace
from deploy_action.regular_files import SourceTree
from deploy_action.text.located_json import Redact, parse_json

SETTINGS_NAME = "settings.json"
BACKTEST_NAME = "backtest.json"

_IGNORED = "is ignored, so it is not in the bundle"
_OTHER_FORM = "does not exist: a file of that name has it in another Unicode form"
_SAME_FORM = (
    "Letters with accents can be written as one character (NFC) or as two (NFD, as macOS does). "
    "Name the file and write the name with plain letters, or copy the name from `ls`."
)
_UNIGNORE = (
    "A pattern in ignore_files or in the ignore input matches it, or it is in a directory that is "
    "never packed (.git, __pycache__, a virtual environment)."
)
_ModeTest = Callable[[int], bool]


def hint_to_add(name: str) -> str:
    """Return the hint for a file that is missing, by its name in the bundle."""
    return f"Add it: {name}."


def check_model_files(
    manifest: Manifest,
    selection: Selection,
    code: Code,
    wanted: Wanted,
    installer: Installer = UNKNOWN,
    redact: Redact = str,
) -> tuple[Problem, ...]:
    """Check the files that `blankly.json` names and those the package reads.

    `selection` is what goes into the bundle, `code` what of its scripts runs, `wanted` the Python
    that runs it, and `installer` who installs the requirements. Whatever messages quote from a file
    goes through `redact` before it is cut.
    """
    model = _Model(manifest, selection, Scripts(selection, wanted, redact), installer)
    return (
        *model.main_script_problems(code),
        *model.requirements_problems(),
        *model.working_directory_problems(),
        *model.settings_problems(),
    )


class _Model:
    """Checks one model against its manifest and its selection."""

    def __init__(
        self, manifest: Manifest, selection: Selection, scripts: Scripts, installer: Installer
    ) -> None:
        self._files = selection.files
        self._manifest = manifest
        self._selection = selection
        self._scripts = scripts
        self._installer = installer
        self._redact = scripts.redact
        self._working_directory = posixpath.normpath(manifest.working_directory)

    # What the manifest names

    def main_script_problems(self, code: Code) -> Iterator[Problem]:
        if not self._manifest.main_script:
            return  # blank, because its value was reported already
        name = posixpath.normpath(self._manifest.main_script)
        fault = self._fault_of(name, stat.S_ISREG)
        if fault is None:
            if kind := self._scripts.kind_fault(name):
                yield self._at_key("main_script", f"The main script {name} {kind[0]}.", kind[1])
                return
            yield from self._scripts.problems(name, code)
            required = read_requirements(self._files, self._manifest.requirements)
            yield from self._scripts.hiding(name, required)
            return
        hint = self._hint_for(fault) or self._scripts.others(name)
        shown = self._shown(self._manifest.main_script)
        yield self._at_key("main_script", f"The main script {shown} {fault}.", hint)

    def requirements_problems(self) -> Iterator[Problem]:
        if not self._manifest.requirements:
            return  # as above
        name = posixpath.normpath(self._manifest.requirements)
        if any(one == name for one, _ in self._files.made):
            yield from self._made_requirements_problems(name)
            return
        if any(one.path == pyproject.NAME for one in self._selection.problems):
            return  # what stands for the missing file was reported already
        if posixpath.basename(name) == pyproject.NAME:
            hint = "Remove the key: the dependencies there are used where no requirements.txt is."
            yield self._at_key("requirements", f"{name} is no list that pip can install.", hint)
            return
        fault = self._fault_of(name, stat.S_ISREG)
        if fault is None:
            yield from check_requirements(name, self._selection, self._installer, self._redact)
            return
        shown = self._shown(self._manifest.requirements)
        hint = f"Add {shown} with a line that says blankly, or correct the path."
        message = f"The requirements file {shown} {fault}."
        yield self._at_key("requirements", message, self._hint_for(fault) or hint)

    def _shown(self, path: str) -> str:
        """Return a path for a message. Without its double slashes a secret is not known again."""
        hidden = self._redact(path)
        return posixpath.normpath(path) if hidden == path else hidden

    def _made_requirements_problems(self, name: str) -> Iterator[Problem]:
        """Check requirements that were made of `pyproject.toml`, where their problems are."""
        yield Problem(
            message=f"There is no {name}: the bundle gets one, with the dependencies of "
            f"{pyproject.NAME}.",
            hint="Its versions are those of the day of the install, as far as they are not fixed.",
            severity=Severity.NOTICE,
            path=pyproject.NAME,
            line=1,
        )
        for one in check_requirements(name, self._selection, self._installer, self._redact):
            yield replace(one, path=pyproject.NAME, line=1, column=None)

    def working_directory_problems(self) -> Iterator[Problem]:
        name = self._working_directory
        if name == ".":
            return
        if fault := self._fault_of(name, stat.S_ISDIR):
            hint = self._hint_for(fault) or 'Correct the path, or set it to ".".'
            shown = self._shown(self._manifest.working_directory)
            yield self._at_key("working_directory", f"The working directory {shown} {fault}.", hint)
            return
        message = (
            f"working_directory is {name}: the documentation takes main_script and requirements "
            "from there, the server takes them from the model's root."
        )
        problem = self._at_key("working_directory", message, 'Set it to "." to be sure.')
        yield replace(problem, severity=Severity.WARNING)

    def _at_key(self, key: str, message: str, hint: str) -> Problem:
        """Return a problem at a value of the manifest, at its start if it lacks the key."""
        line, column = self._manifest.locate(key) or self._manifest.locate() or (None, None)
        return Problem(message=message, hint=hint, path=MANIFEST_NAME, line=line, column=column)

    def _fault_of(self, name: str, is_wanted: _ModeTest) -> str | None:
        """Return what is wrong with a path that the manifest names; None if nothing is."""
        path = self._files.path(name)
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return _OTHER_FORM if self._other_form(name) else "does not exist"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if not self._files.holds(os.path.realpath(path)):
            return "leads out of the model through a link"
        if not is_wanted(mode):
            return "is a directory" if stat.S_ISDIR(mode) else "is of the wrong kind"
        return None if self._selection.includes(name) else _IGNORED

    def _other_form(self, name: str) -> bool:
        """Whether the model has a file whose name is the same in another Unicode form."""
        wanted = normalize("NFC", name)
        return not name.isascii() and any(
            normalize("NFC", entry.name) == wanted for entry in self._selection.entries
        )

    @staticmethod
    def _hint_for(fault: str) -> str:
        """Return the way out of faults that any file may have; blank for others."""
        return {_IGNORED: _UNIGNORE, _OTHER_FORM: _SAME_FORM}.get(fault, "")

    # What the package reads in the working directory

    def settings_problems(self) -> Iterator[Problem]:
        if self._fault_of(self._working_directory, stat.S_ISDIR):
            return
        yield from self._settings_file(
            SETTINGS_NAME,
            f'the package stops with "Make sure a {SETTINGS_NAME} file is placed …"',
            Severity.WARNING,
        )
        arguments = self._manifest.backtest_args
        if self._manifest.type == "strategy" and not arguments.get("settings_path"):
            # A notice only: a deployed model runs without it.
            yield from self._settings_file(BACKTEST_NAME, "a backtest needs it", Severity.NOTICE)

    def _settings_file(self, file: str, effect: str, severity: Severity) -> Iterator[Problem]:
        name = posixpath.normpath(posixpath.join(self._working_directory, file))
        fault = self._fault_of(name, stat.S_ISREG)
        if fault:
            hint = _UNIGNORE if fault == _IGNORED else hint_to_add(name)
            message = f"{name} {fault}: {effect}."
            yield Problem(message=message, hint=hint, severity=severity)
            return
        yield from _json_problems(self._files, name, self._redact)


def _read_file(files: SourceTree, name: str, limit: int) -> bytes | None:
    """Return a regular file of the model of up to `limit` bytes; None for anything else."""
    try:
        return files.read(name, limit)
    except OSError:
        return None


def _json_problems(files: SourceTree, name: str, redact: Redact) -> Iterator[Problem]:
    """Yield the problems of a file that the package reads with `json.load`, laxer than ours."""
    data = _read_file(files, name, MAX_FILE_BYTES)
    if data is None:
        yield Problem(
            message=f"{name} is larger than 1 MiB, or cannot be read.",
            hint="Keep only the settings of the package in it, and make it readable.",
            path=name,
        )
        return
    if data.startswith(codecs.BOM_UTF8):
        yield Problem(
            message=f"{name} starts with a byte-order mark, which the package cannot read.",
            hint="Save the file as UTF-8 without a byte-order mark.",
            path=name,
            line=1,
            column=1,
        )
    document = parse_json(data, redact=redact)
    severity = Severity.WARNING if _is_lenient_json(data) else Severity.ERROR
    for problem in document.problems:
        yield replace(problem, path=name, severity=severity)
    if document.readable and not isinstance(document.value, dict):
        line, column = document.locate() or (None, None)
        yield Problem(
            message=f"{name} does not hold an object, which the package needs.",
            hint="Put an object there: {…}.",
            path=name,
            line=line,
            column=column,
        )


def _is_lenient_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
