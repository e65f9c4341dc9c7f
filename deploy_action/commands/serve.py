"""`blankly-deploy serve`: the platform on its own, from its start to its graceful stop."""

from __future__ import annotations

import os
import shlex
import stat
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

from deploy_action.errors import InterruptedRunError, InvalidInputError
from deploy_action.inputs.parsing import CONSTRAINTS_VARIABLE, parse_disk, parse_switch
from deploy_action.interruption import signals_as_errors
from deploy_action.records import dataclass
from deploy_action.text.quantities import count

if TYPE_CHECKING:
    from deploy_action.errors import Problem
    from deploy_action.platform.runs.model_run import BacktestRequest
    from deploy_action.platform.server import PlatformServer

_TOKEN: Final = "PLATFORM_TOKEN"  # noqa: S105  the name of a variable
_NOTIFY: Final = "PLATFORM_NOTIFY"
_SHORTEST_TOKEN: Final = 16  # of base64, 96 bits: too many to try
_LOOK_SECONDS: Final = 1.0
_SIGNALLED: Final = 128  # plus the signal's number: the exit code of a shell's command


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What `serve` has of its process.

    `log` prints a line of the log, and `leave` ends the process at once with an exit code.
    """

    environ: Mapping[str, str]
    stream: TextIO
    log: Callable[[str], None]
    leave: Callable[[int], NoReturn]

    def announce(self, text: str) -> None:
        """Print a line for whoever started the server."""
        self.stream.write(f"{text}\n")
        self.stream.flush()

    def secret(self, name: str) -> str:
        """Return a variable, or what is in the file that the variable `name` + `_FILE` names.

        Container engines and systemd hand secrets over as files. Raises `InvalidInputError` when
        both are set, or the file cannot be read, or can be read by everybody.
        """
        given, path = self.environ.get(name, "").strip(), self.environ.get(f"{name}_FILE", "")
        if not path:
            return given
        if given:
            raise InvalidInputError.of(
                message=f"Both {name} and {name}_FILE are set.", hint="Set one of them."
            )
        try:
            with Path(path).open(encoding="utf-8") as file:
                is_open = os.fstat(file.fileno()).st_mode & stat.S_IROTH
                text = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
            raise InvalidInputError.of(
                message=f"{name}_FILE names {path}, which cannot be read: {reason}."
            ) from error
        if is_open:
            raise InvalidInputError.of(
                message=f"Every user may read {path}, which {name}_FILE names, and so may models.",
                hint=f"Run `chmod 600 {shlex.quote(path)}`.",
            )
        return text


def serve(command: Namespace, around: Surroundings) -> int:
    """Serve the Deployment API until a signal ends it; return the exit code.

    Raises `RefusedError` when another server serves this directory or listens on the address, and
    `InvalidInputError` when the directory or a variable cannot be used.
    """
    import sqlite3

    from deploy_action.platform.storage import data_directory

    data = Path(command.data)
    data_directory.prepare(data)
    with data_directory.only_server(data):
        server = _make_server(command, around, data)
        try:
            server.start()
        except (OSError, sqlite3.Error) as error:
            if (full := data_directory.lack_of_room(data, error)) is not None:
                raise full from error
            raise
        try:
            number = _serve_until_signal(server, around, command.host)
        except BaseException:
            server.close()
            raise
        _stop(server, around, number, command.stop_seconds)
    return _SIGNALLED + number


def _make_server(command: Namespace, around: Surroundings, data: Path) -> PlatformServer:
    import platform

    from deploy_action.platform.assembly import BacktestSettings, LiveSettings
    from deploy_action.platform.processes.confinement import DISK_VARIABLE, MOST_DISK_BYTES
    from deploy_action.platform.runs.isolation import ISOLATION_VARIABLE, AsRoot, Isolation
    from deploy_action.platform.server import PlatformServer
    from deploy_action.platform.upkeep.cleaning import Rules

    must_isolate = parse_switch(around.environ, ISOLATION_VARIABLE)
    return PlatformServer(
        data,
        refresh_token=_refresh_token(around, data),
        strict=True,
        address=(command.host, command.port),
        on_error=around.log,
        running=BacktestSettings(
            environ=around.environ,
            observer=_BacktestLog(around.log),
            use_constraints=parse_switch(around.environ, CONSTRAINTS_VARIABLE),
            parallel=command.parallel_backtests,
            most_seconds=command.backtest_minutes * 60,
            isolation=Isolation(AsRoot.REFUSED if must_isolate else AsRoot.ALLOWED),
            disk_bytes=parse_disk(around.environ, DISK_VARIABLE, MOST_DISK_BYTES),
        ),
        live=LiveSettings(
            stop_seconds=command.stop_seconds,
            restarts=command.restarts,
            account_seconds=command.account_minutes * 60,
            name=command.name or platform.node(),
            notify=(*(command.notify or ()), *around.secret(_NOTIFY).split()),
            rules=Rules(versions=command.keep_versions, days=command.keep_days),
            has_pages=True,
        ),
    )


def _refresh_token(around: Surroundings, data: Path) -> str:
    from deploy_action.platform.api.credentials import load_or_create_refresh_token

    if token := around.secret(_TOKEN):
        if len(token) < _SHORTEST_TOKEN:
            raise InvalidInputError.of(
                message=f"{_TOKEN} has {count(len(token), 'character')}, which can be guessed: it "
                f"takes at least {_SHORTEST_TOKEN}. Whoever has it can run code on this server.",
                hint="Make one with `head -c 32 /dev/urandom | base64`, or leave the variable out "
                "to have one made.",
            )
        return token
    token, is_new = load_or_create_refresh_token(data)
    if is_new:
        around.announce(f"refresh token, shown this once: {token}")
    return token


def _serve_until_signal(server: PlatformServer, around: Surroundings, host: str) -> int:
    """Return the number of the signal that asks the server to stop."""
    from deploy_action.http.loopback import is_loopback

    if not is_loopback(host):
        around.log(
            f"It listens on {host}, on plain HTTP: tokens and keys of exchanges can be read where "
            "they pass. Let only a proxy with TLS reach it."
        )
    if (most := server.most_connections) is not None:
        around.log(f"at most {most} connections at once, by the limit of open files (`ulimit -n`)")
    never = threading.Event()
    try:
        with signals_as_errors():
            around.announce(f"listening on {server.url}")
            while True:
                # Without an end, it would sleep through a signal that another thread takes.
                never.wait(_LOOK_SECONDS)
    except InterruptedRunError as error:
        return error.signal_number


def _stop(server: PlatformServer, around: Surroundings, number: int, seconds: float) -> None:
    """Stop the models, then the backtests and connections; at a second signal, leave at once."""
    name = Signals(number).name
    try:
        with signals_as_errors():
            around.log(
                f"{name}: stopping. Each model has {seconds:g} s for its teardown. At a second "
                "signal the server leaves at once."
            )
            server.close()
            around.log("stopped")
    except InterruptedRunError as again:
        around.log(
            "Left at once. Models that were not stopped yet get their teardown from the processes "
            "that watch over them, if these are left alone."
        )
        around.leave(_SIGNALLED + again.signal_number)


@dataclass(frozen=True, slots=True)
class _BacktestLog:
    """The log of backtests: each line starts with the id of its backtest."""

    log: Callable[[str], None]

    def began(self, backtest: BacktestRequest) -> None:
        """Print nothing: the first section follows at once."""

    def section(self, backtest: BacktestRequest, title: str) -> None:
        self.log(f"[{backtest.backtest_id}] == {title}")

    def line(self, backtest: BacktestRequest, text: str) -> None:
        self.log(f"[{backtest.backtest_id}] {text}")

    def stopped(self, backtest: BacktestRequest, place: Problem) -> None:
        """Ignore it: the answer to the client has it."""

    def progress(self, backtest: BacktestRequest, share: float) -> None:
        """Say nothing: several run at once, and nobody watches."""
