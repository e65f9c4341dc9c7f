"""The composition root: the action's entry, and the commands of `blankly-deploy`.

Only this module and the run that it starts read the environment, print to the process's streams,
or pick an exit code.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO, cast

from deploy_action.console import Console
from deploy_action.errors import DeployActionError, InterruptedRunError
from deploy_action.inputs.defaults import HOSTED_API_URL, HOSTED_APP_URL
from deploy_action.inputs.definitions import LOCAL, Mode, read_inputs
from deploy_action.interruption import signals_as_errors
from deploy_action.run import Run, exit_code_of
from deploy_action.text.harmless import defused
from deploy_action.text.terminal import Terminal

if TYPE_CHECKING:
    from argparse import Namespace

    from deploy_action.commands.deployed import DeployedModel

_DONE: Final = 0
_REFUSED: Final = 1
# Python looks for objects that only hold each other whenever it has so many new ones: 700 by
# default. What we import and read stays to the end, and was looked through again and again.
_NEW_OBJECTS: Final = 50_000


def action() -> int:
    """Run as the runner starts the container; return the exit code."""
    gc.set_threshold(_NEW_OBJECTS)
    _defuse_stderr()
    fault = _trust_authorities(Path(os.environ.get("GITHUB_WORKSPACE") or "."))
    run = Run(environ=os.environ, stream=_utf8(sys.stdout), for_runner=True, fault=fault)
    return _finished(run)


def console() -> int:
    """Run as `blankly-deploy` on a terminal; return the exit code."""
    from deploy_action.cli import parse_command

    gc.set_threshold(_NEW_OBJECTS)
    errors = _defuse_stderr()
    stream = _utf8(sys.stdout)
    command = parse_command(sys.argv[1:])
    commands: dict[str, Callable[[Namespace, TextIO], int]] = {
        "init": _init,
        "serve": _serve,
        "login": _login,
        "schema": _print_schema,
        "completion": _print_completion,
        "logs": _show_log,
        "status": _show_status,
        "clean": _keep_data,
        "backup": _keep_data,
        "restore": _keep_data,
    }
    fault = _trust_authorities(Path.cwd())
    if command.command not in commands:
        return _run_mode(command, stream, fault)
    try:
        if fault is not None:
            raise fault
        with signals_as_errors():
            return commands[command.command](command, stream)
    except InterruptedRunError as error:
        return exit_code_of(error)
    except DeployActionError as error:
        for problem in error.problems:
            errors.problem(problem)
        return exit_code_of(error)
    except OSError as error:
        _abandon_stdout()
        print(f"error: {error.strerror or error}", file=sys.stderr)
        return _REFUSED


def _trust_authorities(workspace: Path) -> DeployActionError | None:
    """Make this process and its children trust the authorities that a variable names.

    Returns what is wrong with them. The variables of this process are changed, for its children.
    """
    from deploy_action.http.certificates import trusted_everywhere

    try:
        os.environ.update(trusted_everywhere(os.environ, workspace.absolute()))
    except DeployActionError as fault:
        return fault
    return None


def _finished(run: Run) -> int:
    """Run to the end and return the exit code, even if nobody reads the last lines."""
    exit_code = run.main()
    if run.console.is_cut_off:
        _abandon_stdout()
    gc.freeze()  # or Python looks through everything once more at its end
    return exit_code


def _abandon_stdout() -> None:
    """Throw away what is left in the buffer: at exit, Python would fail to flush it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _utf8(stream: TextIO | None) -> TextIO:
    """Make the stream take any text: a container has no locale, and names use any script."""
    if stream is None:  # closed before we started
        return Path(os.devnull).open("w", encoding="utf-8")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


class _Defused:
    """A stream in which a runner finds no workflow commands, whoever wrote the text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(defused(text))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _defuse_stderr() -> Console:
    """Make all that Python prints there harmless: the server's log, tracebacks, usage errors.

    Returns what prints problems there.
    """
    stream = _utf8(sys.stderr)
    if sys.stderr is not None:
        sys.stderr = cast("TextIO", _Defused(stream))
    return Console(stream, for_runner=False, terminal=_terminal(stream))


def _terminal(stream: TextIO) -> Terminal:
    """Return what is behind a stream of `blankly-deploy`; a runner's log has no terminal."""
    return Terminal() if _is_on_runner() else Terminal.of(stream, os.environ)


def _is_on_runner() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _run_mode(command: Namespace, stream: TextIO, fault: DeployActionError | None) -> int:
    """Deploy, backtest or validate. A flag overrides the variable of its input."""
    from deploy_action.cli import inputs_of

    inputs = {**read_inputs(os.environ), **inputs_of(command), "mode": command.command}
    if command.command == Mode.BACKTEST and "token" not in inputs:
        # Every other server needs a token.
        inputs.setdefault("api-url", LOCAL)
    inputs, workspace = _located(inputs)
    run = Run(
        environ={**os.environ, "GITHUB_WORKSPACE": workspace},
        stream=stream,
        for_runner=_is_on_runner(),
        inputs=inputs,
        terminal=_terminal(stream),
        fault=fault,
    )
    return _finished(run)


def _located(inputs: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return the inputs with `model-path` below the workspace, and that workspace.

    On a terminal, any directory may be named. Names below the current one stay short.
    """
    directory, here = Path(inputs.get("model-path") or "."), Path.cwd()
    try:
        resolved = directory.resolve()
    except (OSError, RuntimeError):  # a link to itself; the run reports it
        resolved = directory.absolute()
    workspace = here if resolved.is_relative_to(here) else resolved
    inputs = {**inputs, "model-path": str(resolved.relative_to(workspace))}
    return {name: value for name, value in inputs.items() if value.strip()}, str(workspace)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _init(command: Namespace, stream: TextIO) -> int:
    """Write the workflow of a repository, or the compose file of a server."""
    from deploy_action.commands.init.command import init, init_server

    console = Console(stream, for_runner=False, terminal=_terminal(stream))
    directory = Path(command.path)
    if command.server:
        init_server(directory, console, dry_run=command.dry_run)
    else:
        init(directory, console, os.environ, dry_run=command.dry_run)
    return _DONE


def _serve(command: Namespace, stream: TextIO) -> int:
    """Serve the Deployment API until a signal ends it."""
    from deploy_action.commands.serve import Surroundings, serve

    return serve(command, Surroundings(environ=os.environ, stream=stream, log=_log, leave=os._exit))


def _keep_data(command: Namespace, stream: TextIO) -> int:
    """Clean, back up or restore a data directory."""
    from deploy_action.commands import upkeep

    do = {"clean": upkeep.clean, "backup": upkeep.back_up, "restore": upkeep.restore}
    do[command.command](command, stream)
    stream.flush()
    return _DONE


def _show_log(command: Namespace, stream: TextIO) -> int:
    from deploy_action.commands.logs import show_log

    return show_log(_deployed_model(command), command, stream, os.environ)


def _show_status(command: Namespace, stream: TextIO) -> int:
    from deploy_action.commands.status import show_status

    return show_status(_deployed_model(command), stream)


def _deployed_model(command: Namespace) -> DeployedModel:
    from deploy_action.cli import inputs_of
    from deploy_action.commands.deployed import DeployedModel

    inputs, workspace = _located({**read_inputs(os.environ), **inputs_of(command)})
    return DeployedModel(
        command.command, inputs, {**os.environ, "GITHUB_WORKSPACE": workspace}, _log
    )


def _login(command: Namespace, stream: TextIO) -> int:
    """Sign in with a browser and print the token. It is not stored."""
    import webbrowser

    from deploy_action.deployment_api.login import is_known_token, wait_for_token

    def announce(text: str) -> None:
        print(text, file=sys.stderr)  # standard output holds only the token

    is_hosted = command.app_url == HOSTED_APP_URL
    api_url = command.api_url or (HOSTED_API_URL if is_hosted else command.app_url)
    token = wait_for_token(
        command.app_url,
        open_browser=webbrowser.open,
        announce=announce,
        accepts=lambda token: is_known_token(api_url, announce, token) and _is_wanted(),
        timeout=command.timeout_minutes * 60,
    )
    stream.write(f"{token}\n")
    stream.flush()
    where = "" if api_url == HOSTED_API_URL else f", with `api-url: {api_url}`"
    announce(
        "This is the refresh token; it was not stored. Keep it as a secret of the repository, for "
        "example with `gh secret set BLANKLY_TOKEN`, and pass it to the action as "
        f"`token: ${{{{ secrets.BLANKLY_TOKEN }}}}`{where}."
    )
    return _DONE


def _is_wanted() -> bool:
    """Ask whether to use the token that was announced; without a terminal, nobody can say no."""
    if sys.stdin is None or not sys.stdin.isatty():
        return True
    print("Use it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    print("Still waiting …", file=sys.stderr)
    return False


def _print_schema(_command: Namespace, stream: TextIO) -> int:
    """Print the JSON schema of `blankly.json`."""
    from deploy_action.model.manifest_checks import schema_text

    stream.write(schema_text())
    return _DONE


def _print_completion(command: Namespace, stream: TextIO) -> int:
    """Print the script with which a shell completes our command lines."""
    from deploy_action.cli import build_parsers
    from deploy_action.commands.completion import completion_script

    parser, _ = build_parsers()
    stream.write(completion_script(parser, command.shell))
    return _DONE
