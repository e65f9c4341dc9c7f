"""Checks the files of a model before a run fails because of them."""

from __future__ import annotations

import codecs
import json
import os
import posixpath
import re
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.model import pyproject
from deploy_action.model.manifest import MAX_FILE_BYTES, Manifest
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.model.requirements import UNKNOWN, Installer, check_requirements
from deploy_action.regular_files import SourceTree
from deploy_action.text.harmless import is_placeholder
from deploy_action.text.located_json import JsonValue, LocatedJson, Redact, parse_json
from deploy_action.text.redaction import key_lines, redacted

KEYS_NAME = "keys.json"
SETTINGS_NAME = "settings.json"
BACKTEST_NAME = "backtest.json"

_MAX_SCRIPT_BYTES = 8 * 1024 * 1024
_MAX_CANDIDATES = 200
_MAX_OTHERS = 5

_IGNORED = "is ignored, so it is not in the bundle"
_UNIGNORE = (
    "A pattern in ignore_files or in the ignore input matches it, or it is in a directory that is "
    "never packed (.git, __pycache__, a virtual environment)."
)
_NOTEBOOK_HINT = (
    "Lines that begin with `!` or `%` work in notebooks only: take them out, and write the "
    "packages that they install into the requirements."
)
_STRING_VALUE = re.compile(r':\s*+"((?:[^"\\\r\n]|\\.)*+)"')

_ModeTest = Callable[[int], bool]


def check_model_files(
    manifest: Manifest,
    selection: Selection,
    *,
    keys_injected: bool,
    is_tracked: Callable[[Path], bool],
    installer: Installer = UNKNOWN,
    redact: Redact = str,
) -> tuple[Problem, ...]:
    """Check the files that `blankly.json` names and those the package reads.

    `selection` is what goes into the bundle. `keys_injected` says that its `keys.json` does not
    come from the repository, whose own is not used then. `is_tracked` says whether git has a file,
    `installer` who installs the requirements.
    Whatever messages quote from a file goes through `redact` before it is cut.
    """
    model = _Model(manifest, selection, installer, redact)
    return (
        *model.main_script_problems(),
        *model.requirements_problems(),
        *model.working_directory_problems(),
        *model.settings_problems(),
        *model.keys_problems(is_tracked, keys_injected=keys_injected),
    )


def find_leaked_keys(files: SourceTree) -> tuple[str, ...]:
    """Return the values in a model's `keys.json` that look like keys, tracked by git or not.

    They are to be masked. Other values are not: whoever writes the file, such as the author of a
    pull request, could mask words of what is printed, and of later steps.
    """
    document = _read_json(files, KEYS_NAME)
    if document is None:
        return ()
    found = [value for _, value in _real_values(document.value)]
    if not document.readable:
        found = _STRING_VALUE.findall(document.text)
    return key_lines(found)


class _Model:
    """Checks one model against its manifest and its selection."""

    def __init__(
        self, manifest: Manifest, selection: Selection, installer: Installer, redact: Redact
    ) -> None:
        self._files = selection.files
        self._manifest = manifest
        self._selection = selection
        self._installer = installer
        self._redact = redact
        self._working_directory = posixpath.normpath(manifest.working_directory)

    # What the manifest names

    def main_script_problems(self) -> Iterator[Problem]:
        if not self._manifest.main_script:
            return  # blank, because its value was reported already
        name = posixpath.normpath(self._manifest.main_script)
        fault = self._fault_of(name, stat.S_ISREG)
        if fault is None:
            yield from self._syntax_problems(name)
        elif fault == _IGNORED:
            yield self._at_key("main_script", f"The main script {name} {fault}.", _UNIGNORE)
        else:
            others = self._other_scripts(name)
            yield self._at_key("main_script", f"The main script {name} {fault}.", others)

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
        hint = f"Add {name} with a line that says blankly, or correct the path."
        message = f"The requirements file {name} {fault}."
        yield self._at_key("requirements", message, _UNIGNORE if fault == _IGNORED else hint)

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
            hint = _UNIGNORE if fault == _IGNORED else 'Correct the path, or set it to ".".'
            yield self._at_key("working_directory", f"The working directory {name} {fault}.", hint)
            return
        message = (
            f"working_directory is {name}: the documentation takes main_script and requirements "
            "from there, the server takes them from the model's root."
        )
        problem = self._at_key("working_directory", message, 'Set it to "." to be sure.')
        yield replace(problem, severity=Severity.WARNING)

    def _syntax_problems(self, name: str) -> Iterator[Problem]:
        data = _read_file(self._files, name, _MAX_SCRIPT_BYTES)
        problem = None if data is None else _compile(data, name, self._redact)
        if problem is None:
            return
        version, here = self._manifest.python_version or "", sys.version_info[:2]
        wanted = re.match(r"([0-9]{1,3})\.([0-9]{1,3})\b", version)
        if wanted and (int(wanted[1]), int(wanted[2])) > here:
            problem = replace(
                problem,
                message=f"{problem.message} It was checked as Python {here[0]}.{here[1]}.",
                hint=f"Ignore this if it is valid in Python {version}; otherwise correct it.",
                severity=Severity.WARNING,
            )
        yield problem

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
            return "does not exist"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        if not self._files.holds(os.path.realpath(path)):
            return "leads out of the model through a link"
        if not is_wanted(mode):
            return "is a directory" if stat.S_ISDIR(mode) else "is of the wrong kind"
        return None if self._selection.includes(name) else _IGNORED

    def _other_scripts(self, wanted: str) -> str:
        """Return a hint with the script that was most likely meant, and some others."""
        names = [
            entry.name
            for entry in self._selection.entries
            if entry.name.endswith(".py") and not entry.is_directory
        ][:_MAX_CANDIDATES]
        if not names:
            return "Add the script; there is no other Python file in the model."
        ranked = sorted(names, key=lambda name: self._likelihood(name, wanted), reverse=True)
        others = ", ".join(ranked[1 : _MAX_OTHERS + 1])
        hint = f'Did you mean "./{ranked[0]}"?'
        return f"{hint} Other Python files: {others}." if others else hint

    def _likelihood(self, name: str, wanted: str) -> tuple[bool, float, int]:
        """Rank a script: mentions blankly, then similarity of the name, then depth."""
        uses_package = b"blankly" in (_read_file(self._files, name, _MAX_SCRIPT_BYTES) or b"")
        names = (posixpath.basename(name).lower(), posixpath.basename(wanted)[:255].lower())
        return uses_package, SequenceMatcher(None, *names).ratio(), -name.count("/")

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
            hint = _UNIGNORE if fault == _IGNORED else f"Add it: {name}."
            message = f"{name} {fault}: {effect}."
            yield Problem(message=message, hint=hint, severity=severity)
            return
        yield from _json_problems(self._files, name, self._redact)

    # Keys of exchanges

    def keys_problems(
        self, is_tracked: Callable[[Path], bool], *, keys_injected: bool
    ) -> Iterator[Problem]:
        known = find_leaked_keys(self._files)
        document = _read_json(
            self._files, KEYS_NAME, lambda text: self._redact(redacted(text, known))
        )
        if document is None:
            return
        if document.problems and not keys_injected and self._selection.includes(KEYS_NAME):
            malformed = replace(document.problems[0], severity=Severity.WARNING, path=KEYS_NAME)
            yield malformed
        first = next(_real_values(document.value), None)
        if first is None or not is_tracked(self._files.path(KEYS_NAME)):
            return
        line, column = document.locate(*first[0]) or (None, None)
        yield Problem(
            message=f"{KEYS_NAME} is in the repository with real values: the keys are leaked to "
            "everyone who can read it, now or later.",
            hint="Revoke these keys at the exchange, remove the file from git and its history, and "
            "pass its contents as the secret keys-json.",
            severity=Severity.WARNING,
            path=KEYS_NAME,
            line=line,
            column=column,
        )


def _read_json(files: SourceTree, name: str, redact: Redact = str) -> LocatedJson | None:
    """Return a parsed JSON file of up to 1 MiB; None if there is none."""
    data = _read_file(files, name, MAX_FILE_BYTES)
    return None if data is None else parse_json(data, redact=redact)


def _read_file(files: SourceTree, name: str, limit: int) -> bytes | None:
    """Return a regular file of the model of up to `limit` bytes; None for anything else."""
    try:
        return files.read(name, limit)
    except OSError:
        return None


def _real_values(
    value: JsonValue, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield path and text of the strings that are not placeholders, in the document's order."""
    if isinstance(value, str) and not is_placeholder(value):
        yield path, value
    children = value.items() if isinstance(value, dict) else ()
    for key, child in children:
        yield from _real_values(child, (*path, key))
    for index, child in enumerate(value if isinstance(value, list) else ()):
        yield from _real_values(child, (*path, index))


def _compile(data: bytes, name: str, redact: Redact) -> Problem | None:
    from importlib.util import decode_source

    try:
        # Compiling bytes gives columns in bytes for some mistakes and in characters for others.
        source = decode_source(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        problem = _no_python(name, redact(error.msg), error.lineno, error.offset)
        is_notebooks = (error.text or "").lstrip().startswith(("!", "%"))
        return replace(problem, hint=_NOTEBOOK_HINT) if is_notebooks else problem
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _no_python(name, f"it is not encoded as {error.encoding}", line, None)
    except LookupError:  # Python has codecs that do not make text, such as hex
        return _no_python(name, "it declares an encoding that is not for text", None, None)
    except (ValueError, MemoryError, RecursionError) as error:
        return _no_python(name, str(error) or "it is nested too deep", None, None)
    return None


def _no_python(name: str, reason: str, line: int | None, column: int | None) -> Problem:
    message = f"{name} is not valid Python: {reason[:200]}."
    hint = "Correct the script; a run would stop there."
    return Problem(message=message, hint=hint, path=name, line=line or None, column=column or None)


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
