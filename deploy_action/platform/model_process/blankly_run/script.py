"""Runs a model's script as `python SCRIPT` would, with the platform's reporter in the package."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import types
import warnings
from contextlib import contextmanager, suppress
from typing import Any, Iterator, NoReturn

from .faults import ModelFiles, Problem, make_problem, without_own_frames

_PROCESS_DIRECTORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOOKS = os.path.join(_PROCESS_DIRECTORY, "hooks")
# What the package calls of Bokeh to draw charts of a backtest, and is told not to do. Importing it
# takes almost half of the time in which the package starts.
_CHARTS = {
    "bokeh.layouts": ("column",),
    "bokeh.models": ("HoverTool",),
    "bokeh.plotting": ("ColumnDataSource", "figure", "show"),
}
_kept: list[Any] = []  # our own `__main__`: its functions still run


class UnusablePackageError(Exception):
    """The package cannot be imported, or does not use our reporter."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem["message"])
        self.problem = problem


def set_the_stage(script: str) -> None:
    """Make `sys` look as under `python SCRIPT`, with our hooks at the end of the path."""
    sys.argv = [script]
    ours = {_PROCESS_DIRECTORY, HOOKS}
    kept = [entry for entry in sys.path if os.path.abspath(entry) not in ours]
    sys.path[:] = [os.path.dirname(os.path.realpath(script)), *kept, HOOKS]


def load_package(files: ModelFiles) -> tuple[Any, str]:
    """Import the package; return the reporter that it uses, which is ours, and its version.

    Raises:
        UnusablePackageError: it cannot be imported, or uses another reporter.
    """
    # The package itself calls what pandas deprecated, which adds four lines to each log.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"blankly\.")
    try:
        with _charts_put_off():
            blankly: Any = importlib.import_module("blankly")
    except BaseException as error:  # whatever the reason, the model cannot run
        print_traceback(error)
        fault = files.fault(error)
        message = f"The blankly package cannot be imported: {fault.words}."
        problem = make_problem("error", message, fault.hint, fault.path, fault.line)
        raise UnusablePackageError(problem) from error
    return _our_reporter(blankly, files), _version()


class _PutOff(types.ModuleType):
    """Stands for a module of Bokeh until something else of it is needed, or that is called."""

    def __getattr__(self, name: str) -> Any:
        if name in _CHARTS[self.__name__]:
            return functools.partial(self._call, name)
        if name.startswith("__"):
            raise AttributeError(name)
        return self._get(name)

    def _call(self, name: str, *positional: Any, **named: Any) -> Any:
        return self._get(name)(*positional, **named)

    def _get(self, name: str) -> Any:
        _put_off_no_more()
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _charts_put_off() -> Iterator[None]:
    """Import Bokeh later, if it is imported in here; the script gets the real one."""
    if importlib.util.find_spec("bokeh") is not None:
        sys.modules.update({name: _PutOff(name) for name in _CHARTS})
    try:
        yield
    finally:
        _put_off_no_more()


def _put_off_no_more() -> None:
    for name in _CHARTS:
        if isinstance(sys.modules.get(name), _PutOff):
            del sys.modules[name]


def _our_reporter(blankly: Any, files: ModelFiles) -> Any:
    hooks: Any = sys.modules.get("blankly_external")
    if hooks is not None and os.path.dirname(os.path.abspath(hooks.__file__)) == HOOKS:
        reporter = hooks.Reporter
        if getattr(blankly, "is_deployed", False) and blankly.reporter is reporter:
            return reporter
    if hooks is None and hasattr(blankly, "is_deployed"):
        message = "blankly did not load the platform's hooks."
        raise UnusablePackageError(make_problem("error", message))
    module = blankly if hooks is None else hooks
    path = files.relative(getattr(module, "__file__", None) or "<unknown>")
    message = f"{path or module.__name__} shadows a module of the platform."
    hint = f"Rename it: a file of the model cannot be named {module.__name__}."
    raise UnusablePackageError(make_problem("error", message, hint, path))


def _version() -> str:
    try:
        metadata: Any = importlib.import_module("importlib.metadata")
        return str(metadata.version("blankly"))
    except Exception:  # noqa: BLE001  # no version if it runs from its sources
        return "unknown"


def run_script(script: str) -> BaseException | None:
    """Run the script as `__main__`; return the exception that ended it, or None.

    The exception is printed as Python would, unless it is the ordinary end by `sys.exit()`.
    """
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=script, __builtins__=__builtins__, __cached__=None)
    loader = importlib.import_module("importlib.machinery").SourceFileLoader
    module.__loader__ = loader("__main__", script)
    _kept.append(sys.modules["__main__"])
    sys.modules["__main__"] = module
    try:
        with open(script, "rb") as file:
            code = compile(file.read(), script, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102  # the purpose of this process
    except BaseException as error:  # noqa: BLE001  # SystemExit and Ctrl-C too end a script
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return None
        print_end(error)
        return error
    return None


def print_end(error: BaseException) -> None:
    """Print what Python prints when this exception ends a script."""
    if not isinstance(error, SystemExit):
        print_traceback(error)
    elif error.code is not None and not isinstance(error.code, int):
        with suppress(Exception):  # the model may have closed the stream
            print(error.code, file=sys.stderr)  # noqa: T201  # to the log


def print_traceback(error: BaseException) -> None:
    """Print a traceback with `sys.excepthook`, which the model may have replaced."""
    with suppress(BaseException):  # the exception, the hook and the stream may be the model's own
        without_own_frames(error)
        sys.excepthook(type(error), error, error.__traceback__)


def exit_code(crash: BaseException | None) -> int:
    """Return the exit code of a script that ended so."""
    code = 1
    if crash is None:
        code = 0
    elif isinstance(crash, SystemExit) and (crash.code is None or isinstance(crash.code, int)):
        code = (crash.code or 0) & 0xFF
    return code


def leave(code: int) -> NoReturn:
    """End the process with an exit code, whatever threads it has."""
    flush()
    os._exit(code)


def flush() -> None:
    """Write out what the model has printed."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with suppress(Exception):  # the model may have closed or replaced it
            stream.flush()  # type: ignore[union-attr]  # None has no flush, as the line above expects
