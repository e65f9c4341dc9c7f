"""A live model's process: from its start to its own end, or to the end by SIGTERM."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, NoReturn, Sequence

from ..events import Events  # noqa: TID252  # `blankly_run` is not a package that is installed
from ..faults import ModelFiles, make_problem  # noqa: TID252  # as above
from ..script import (  # noqa: TID252  # as above
    UnusablePackageError,
    exit_code,
    leave,
    load_package,
    run_script,
    set_the_stage,
)
from .checking import compile_sources
from .errors import CallbackErrors, Faults, script_problem
from .imports import missing_imports
from .running import Running
from .stopping import HELD_SECONDS, Stopper

_NOT_STARTED = (
    "{} has ended without calling start() of a strategy that it made. Until something calls it, "
    "that strategy does not trade."
)
_NOT_STARTED_HINT = (
    "Call strategy.start() when the script runs live. Under the platform `blankly.is_deployed` is "
    'True; in a backtest os.environ.get("BACKTESTING") is "1".'
)


def main(argv: Sequence[str]) -> NoReturn:
    """Check or run a model, until it has ended."""
    options = _parse(argv)
    events = Events(options.events_fd, from_forks=True)
    files = ModelFiles(options.root, is_live=True)
    if options.check:
        _check(options, events, files)
    running = Running()
    stopper = Stopper(
        events, files, running, options.stop_reason, held_seconds=options.held_seconds
    )
    stopper.install()
    set_the_stage(options.script)
    try:
        reporter, version = load_package(files)
        _watch(events, files, running, reporter, version, options.account_seconds)
    except UnusablePackageError as error:
        events.send("fault", problem=error.problem)
        leave(1)
    crash = run_script(options.script)
    if events.is_our_process:
        name = os.path.relpath(options.script, options.root).replace(os.sep, "/")
        if crash is None:
            _end_of_script(events, running, name)
        else:
            events.send("fault", problem=script_problem(crash, files, name))
    # As in Python: the process lives on by its threads, and then ends with this code.
    stopper.end(exit_code(crash))


def _watch(
    events: Events,
    files: ModelFiles,
    running: Running,
    reporter: Any,
    version: str,
    account_seconds: float,
) -> None:
    # Imported late: it imports modules that a model may shadow with its own.
    from .patches import watch_package
    from .reports import Reports
    from .sampling import Sampler

    reports = Reports(events, files)
    errors = CallbackErrors(events, files)
    faults = Faults(events, files, errors)
    faults.watch_threads()
    running.on_start = Sampler(events, running, account_seconds).watch
    running.on_error = errors.add
    running.on_success = errors.note_success
    running.on_exit = faults.add_exit
    try:
        watch_package(events, running, reports, errors, faults)
    except (ImportError, AttributeError) as error:
        message = f"blankly {version} cannot run here: {error}."
        hint = "Require blankly 1.18, the version that is tested."
        raise UnusablePackageError(make_problem("error", message, hint)) from error
    reporter.live = reports


def _end_of_script(events: Events, running: Running, name: str) -> None:
    events.send("script_ended")
    if running.has_unstarted_strategy():
        message = _NOT_STARTED.format(name)
        events.send("warning", problem=make_problem("warning", message, _NOT_STARTED_HINT, name))


def _check(options: Any, events: Events, files: ModelFiles) -> NoReturn:
    """Import the package and read the sources; leave with 0, or with 1 after a fault."""
    set_the_stage(options.script)
    faults, warnings = compile_sources(options.script, files)
    version = "unknown"
    try:
        _, version = load_package(files)
    except UnusablePackageError as error:
        faults.append(error.problem)
    else:  # the package and what it imports are there now, and were not stopped by the model
        faults += missing_imports(options.script, files)
    for problem in faults:
        events.send("fault", problem=problem)
    for problem in warnings:
        events.send("warning", problem=problem)
    python = ".".join(map(str, sys.version_info[:3]))
    events.send("checked", python=python, blankly=version)
    leave(1 if faults else 0)


def _parse(argv: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--script", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--events-fd", required=True, type=int)
    parser.add_argument("--stop-reason")
    parser.add_argument("--held-seconds", type=float, default=HELD_SECONDS)  # for tests
    parser.add_argument("--account-seconds", type=float, default=0.0)
    parser.add_argument("--check", action="store_true")
    return parser.parse_args(argv)
