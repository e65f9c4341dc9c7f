"""The composition root: the action's entry, and the commands of `blankly-deploy`.

Nothing but this module and the run it starts reads the environment, prints to the process's
streams, or picks an exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from deploy_action.errors import DeployActionError, InterruptedRunError
from deploy_action.run import Run, exit_code_of, signals_as_errors
from deploy_action.settings import read_inputs

if TYPE_CHECKING:
    from argparse import Namespace

_DONE: Final = 0


def action() -> int:
    """Run as the runner starts the container; return the exit code."""
    return Run(environ=os.environ, stream=_utf8(sys.stdout), for_runner=True).main()


def console() -> int:
    """Run as `blankly-deploy` on a terminal; return the exit code."""
    from deploy_action.cli import parse_command

    stream = _utf8(sys.stdout)
    command = parse_command(sys.argv[1:])
    commands: dict[str, Callable[[Namespace, TextIO], int]] = {
        "serve": _serve,
        "login": _login,
        "schema": _print_schema,
    }
    if command.command not in commands:
        return _run_mode(command, stream)
    try:
        with signals_as_errors():
            return commands[command.command](command, stream)
    except InterruptedRunError as error:
        return exit_code_of(error)  # how a server and a wait are ended
    except DeployActionError as error:
        for problem in error.problems:
            print(
                f"error: {problem.message} {problem.hint}".rstrip(), file=sys.stderr
            )  # the composition root prints
        return exit_code_of(error)


def _utf8(stream: TextIO) -> TextIO:
    """Make the stream take any text: a container has no locale, and a name may be in any script."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream


def _run_mode(command: Namespace, stream: TextIO) -> int:
    """Deploy, backtest or validate; flags go before the variables that the action reads."""
    from deploy_action.cli import inputs_of

    directory, here = Path(command.model_path or "."), Path.cwd()
    resolved = directory.resolve()
    # A terminal may name any directory; what lies below this one keeps its shorter name.
    workspace = here if resolved.is_relative_to(here) else resolved
    inputs = {
        **read_inputs(os.environ),
        **inputs_of(command),
        "mode": command.command,
        "model-path": str(resolved.relative_to(workspace)),
    }
    return Run(
        environ={**os.environ, "GITHUB_WORKSPACE": str(workspace)},
        stream=stream,
        for_runner=os.environ.get("GITHUB_ACTIONS") == "true",
        inputs={name: value for name, value in inputs.items() if value.strip()},
    ).main()


def _serve(command: Namespace, stream: TextIO) -> int:
    """Serve the Deployment API until a signal ends it."""
    import threading

    from deploy_action.platform.server import PlatformServer, load_or_create_refresh_token

    data = Path(command.data)
    token, is_new = os.environ.get("PLATFORM_TOKEN", "").strip(), False
    if not token:
        token, is_new = load_or_create_refresh_token(data)
    with PlatformServer(
        data, refresh_token=token, strict=True, host=command.host, port=command.port
    ) as server:
        if is_new:
            stream.write(f"refresh token, shown this once: {token}\n")
        stream.write(f"listening on {server.url}\n")
        stream.flush()
        threading.Event().wait()
    return _DONE


def _login(command: Namespace, stream: TextIO) -> int:
    """Sign in with a browser and print the token; it is stored nowhere."""
    import webbrowser

    from deploy_action.login import wait_for_token

    def announce(text: str) -> None:
        print(text, file=sys.stderr)  # as above: standard output holds the token alone

    token = wait_for_token(
        command.app_url,
        open_browser=webbrowser.open,
        announce=announce,
        timeout=command.timeout_minutes * 60,
    )
    stream.write(f"{token}\n")
    stream.flush()
    announce(
        "This is the refresh token; it was not stored. Keep it as a secret of the repository, for "
        "example with `gh secret set BLANKLY_TOKEN`, and pass it to the action as "
        "`token: ${{ secrets.BLANKLY_TOKEN }}`."
    )
    return _DONE


def _print_schema(_command: Namespace, stream: TextIO) -> int:
    """Print the JSON schema of `blankly.json`."""
    from deploy_action.manifest import schema_text

    stream.write(schema_text())
    return _DONE
