"""Checks that a model's scripts can start: that they are Python, and import what they mean to."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Collection, Iterator
from typing import Final

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.model.live.code import Code, Reach
from deploy_action.model.syntax import Wanted, syntax_problem
from deploy_action.records import dataclass, replace
from deploy_action.text.harmless import excerpt
from deploy_action.text.located_json import Redact

MAX_SCRIPT_BYTES: Final = 8 * 1024 * 1024
_MAX_CANDIDATES: Final = 200
_MAX_OTHERS: Final = 5
_NOTEBOOK: Final = ".ipynb"
# Python runs a script whatever its name, but one of another ending is another thing.
_ENDINGS: Final = frozenset({"", ".py", ".pyw", ".pyc", ".pyz"})
_SHEBANG: Final = lazy_regex(rb"#!(?!.*python)([^\r\n]+)")
_MAKES_STRATEGY: Final = lazy_regex(rb"\b(?:Strategy|FuturesStrategy|Screener)\s*\(")
# What the package (1.18.25b0) imports, and what that imports first.
_OF_PACKAGE_TEXT: Final = (
    "aiohttp alpaca_trade_api binance bokeh dateparser dateutil numpy pandas pytz questionary "
    "requests six tulipy typing_extensions tzlocal urllib3 websocket yaspin yaml"
)
_OF_PACKAGE: Final = frozenset(_OF_PACKAGE_TEXT.split())
# The modules of Python that `import blankly` imports, as of Python 3.11.
_OF_PYTHON_TEXT: Final = (
    "array ast asyncio base64 binascii bisect bz2 calendar cmath collections colorsys concurrent "
    "contextlib contextvars copy copyreg csv ctypes dataclasses datetime decimal difflib dis email "
    "enum fcntl fnmatch functools grp gzip hashlib heapq hmac html http importlib inspect "
    "ipaddress json keyword linecache locale logging lzma math mimetypes mmap multiprocessing "
    "netrc numbers opcode operator pathlib pickle platform pprint queue quopri random re reprlib "
    "runpy secrets select selectors shlex shutil signal smtplib socket socketserver ssl string "
    "stringprep struct subprocess sysconfig tarfile tempfile textwrap threading timeit token "
    "tokenize traceback types typing unicodedata urllib uuid warnings weakref webbrowser zipfile "
    "zlib zoneinfo"
)
_OF_PYTHON: Final = frozenset(_OF_PYTHON_TEXT.split())


@dataclass(frozen=True, slots=True)
class Scripts:
    """The scripts of a model, as far as they are in the bundle.

    `wanted` is the Python that runs them. What messages quote goes through `redact`.
    """

    selection: Selection
    wanted: Wanted
    redact: Redact

    def kind_fault(self, name: str) -> tuple[str, str] | None:
        """Return why a file is no script of Python, and what to do; None if it may be one.

        The first ends a sentence that begins with the name.
        """
        ending = posixpath.splitext(name)[1].lower()
        if ending == _NOTEBOOK or self._holds_notebook(name):
            return "is a notebook, which Python cannot run", _conversion(name)
        if ending not in _ENDINGS:
            hint = self.others(name, but=name)
            return f"is no Python script: its name ends in {self.redact(ending)[:20]}", hint
        shebang = None if ending else _SHEBANG.match(self._read(name) or b"")
        if shebang:
            program = excerpt(self.redact(shebang[1].decode("utf-8", "replace")), 60)
            return f"is for {program}, by its first line", self.others(name, but=name)
        return None

    def _holds_notebook(self, name: str) -> bool:
        """Whether a file has the contents of a notebook, under whatever name."""
        data = self._read(name) or b""
        return data.lstrip()[:1] == b"{" and b'"cells"' in data and b'"nbformat"' in data

    def problems(self, main: str, code: Code) -> Iterator[Problem]:
        """Yield what keeps the main script, or what it imports of the model, from starting."""
        if problem := self._syntax_problem(main):
            yield problem
        for name, reach in code.modules.items():
            problem = None if name == main else self._syntax_problem(name)
            if problem and reach is not Reach.AT_ONCE and problem.severity is Severity.ERROR:
                problem = replace(problem, severity=Severity.WARNING)
            if problem:
                yield problem

    def _syntax_problem(self, name: str) -> Problem | None:
        data = self._read(name)
        return None if data is None else syntax_problem(data, name, self.wanted, self.redact)

    def hiding(self, main: str, required: Collection[str]) -> Iterator[Problem]:
        """Yield files of the model that Python would import in place of packages.

        It looks into the directory of the script, and into the model's, before it looks for
        packages. `required` are the packages of the requirements.
        """
        modules = {*_OF_PACKAGE, *(name.lower().replace("-", "_") for name in required)}
        library = _OF_PYTHON - set(sys.builtin_module_names)
        for directory in dict.fromkeys((posixpath.dirname(main), "")):
            for module, name in self._importable(directory):
                if module == "blankly":
                    yield self._hides_blankly(name, is_main=name == main)
                elif module in modules or module in library:
                    yield _hides(module, name, is_library=module in library)

    def _importable(self, directory: str) -> Iterator[tuple[str, str]]:
        """Yield the modules that are right in a directory, each with its file."""
        start = f"{directory}/" if directory else ""
        for entry in self.selection.entries:
            if entry.is_directory or not entry.name.startswith(start):
                continue
            inner = entry.name[len(start) :]
            if inner.endswith("/__init__.py") and inner.count("/") == 1:
                yield inner.partition("/")[0], entry.name
            elif inner.endswith(".py") and "/" not in inner:
                yield inner.removesuffix(".py"), entry.name

    def _hides_blankly(self, name: str, *, is_main: bool) -> Problem:
        directory = posixpath.dirname(name)
        is_copy = name.endswith("/__init__.py") and (
            self.selection.includes(f"{directory}/exchanges")
        )
        if is_copy:
            return Problem(
                message=f"{directory} looks like a copy of the package blankly: Python takes it in "
                "place of the package that the requirements install.",
                hint="Remove it, unless you mean to run the model with it.",
                severity=Severity.WARNING,
                path=name,
            )
        what = "main_script of blankly.json too" if is_main else "what imports it"
        return Problem(
            message=f"{name} hides the package blankly: `import blankly` takes this file, and the "
            "model cannot start.",
            hint=f"Rename it, and {what}.",
            path=name,
        )

    def others(self, wanted: str, *, but: str = "") -> str:
        """Return a hint with the script that was most likely meant, and some others."""
        files = [entry.name for entry in self.selection.entries if not entry.is_directory]
        names = [name for name in files if name.endswith(".py") and name != but][:_MAX_CANDIDATES]
        if not names:
            notebooks = [name for name in files if name.endswith(_NOTEBOOK)]
            way = f" {_conversion(notebooks[0])}" if notebooks else ""
            return f"Add the script; there is no other Python file in the model.{way}"
        ranked = sorted(names, key=lambda name: self._likelihood(name, wanted), reverse=True)
        others = ", ".join(ranked[1 : _MAX_OTHERS + 1])
        hint = f'Did you mean "./{ranked[0]}"?'
        return f"{hint} Other Python files: {others}." if others else hint

    def _likelihood(self, name: str, wanted: str) -> tuple[bool, bool, bool, float, int]:
        """Rank a script: makes a strategy, at the root, uses blankly, similar name, not deep."""
        from difflib import SequenceMatcher

        source = self._read(name) or b""
        uses_package = b"blankly" in source
        makes_strategy = uses_package and _MAKES_STRATEGY.search(source) is not None
        names = (posixpath.basename(name).lower(), posixpath.basename(wanted)[:255].lower())
        likeness = SequenceMatcher(None, *names).ratio()
        is_at_root = makes_strategy and "/" not in name
        return makes_strategy, is_at_root, uses_package, likeness, -name.count("/")

    def _read(self, name: str) -> bytes | None:
        """Return a regular file of the model of up to 8 MiB; None for anything else."""
        try:
            return self.selection.files.read(name, MAX_SCRIPT_BYTES)
        except OSError:
            return None


def _conversion(notebook: str) -> str:
    script = posixpath.splitext(notebook)[0] + ".py"
    return (
        f"Convert it with `jupyter nbconvert --to script {posixpath.basename(notebook)}`, take out "
        f'its lines that begin with `!` or `%`, and set main_script to "./{script}".'
    )


def _hides(module: str, name: str, *, is_library: bool) -> Problem:
    what = "module of Python" if is_library else "package"
    return Problem(
        message=f"{name} hides the {what} `{module}`: whatever imports `{module}`, blankly and the "
        "packages it needs among them, gets this file.",
        hint="Rename it, and what imports it, unless it is meant to stand in for the original.",
        severity=Severity.WARNING,
        path=name,
    )
