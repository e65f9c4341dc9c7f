"""The commands of `blankly-deploy` on a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from deploy_action import __version__
from deploy_action.inputs.definitions import HOSTED_APP_URL, INPUTS, Mode
from deploy_action.inputs.parsing import BOOLEANS, BadValueError, parse_minutes, parse_url
from deploy_action.inputs.settings import Parsed

_LARGEST_PORT: Final = 65_535
_MOST_BACKTESTS: Final = 1_000
# What is meant as the value of a boolean flag and not as a path: a shell variable may be empty, and
# a word that is no boolean is refused by name.
_VALUES: Final = frozenset({*BOOLEANS, "", "yes", "no", "on", "off", "0", "1"})
_COMMAND_INPUT: Final = "mode"  # an input of the action, and the name of a command here


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="blankly-deploy",
        description="Check, backtest and deploy Blankly trading models.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for mode, help_text in _MODES.items():
        _add_mode(commands.add_parser(mode, help=help_text, allow_abbrev=False))
    serve = commands.add_parser("serve", help="serve the Deployment API", allow_abbrev=False)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=_port, default=9080, help="port, 0 for any (%(default)s)")
    serve.add_argument("--data", required=True, metavar="DIR", help="where projects are kept")
    serve.add_argument(
        "--parallel-backtests",
        type=_count,
        default=0,
        metavar="N",
        help="how many backtests run at once (one a core)",
    )
    serve.add_argument(
        "--backtest-minutes",
        type=_checked(parse_minutes),
        default=60,
        metavar="MINUTES",
        help="how long a backtest may take (%(default)s)",
    )
    login = commands.add_parser("login", help="sign in and print the token", allow_abbrev=False)
    login.add_argument(
        "--app-url",
        type=_checked(parse_url),
        default=HOSTED_APP_URL,
        help="where to sign in (%(default)s)",
    )
    login.add_argument(
        "--timeout-minutes",
        type=_checked(parse_minutes),
        default=10,
        help="how long to wait for it (%(default)s)",
    )
    commands.add_parser("schema", help="print the JSON schema of blankly.json", allow_abbrev=False)
    return parser


_MODES: Final = {
    Mode.DEPLOY.value: "check a model and deploy it as a new version",
    Mode.BACKTEST.value: "check a model and backtest it",
    Mode.VALIDATE.value: "check a model and send nothing",
}


def _checked(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """Let argparse report what an input's parser refuses."""

    def convert(text: str) -> Parsed:
        try:
            return parse(text)
        except BadValueError as wrong:
            raise argparse.ArgumentTypeError(str(wrong)) from wrong

    return convert


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {_LARGEST_PORT}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_BACKTESTS:
        raise argparse.ArgumentTypeError(f"a number from 1 to {_MOST_BACKTESTS}")
    return int(text)


def _add_mode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model_path", nargs="?", metavar="MODEL_PATH", help="directory of the model (.)"
    )
    parser.epilog = (
        "Each flag is the input of the same name of the action. One that is not given is taken "
        "from the variable INPUT_NAME, such as INPUT_TOKEN: a secret on the command line can be "
        "read by every user of the machine."
    )
    for one in INPUTS:
        if one.name != _COMMAND_INPUT:
            parser.add_argument(
                f"--{one.name}",
                dest=one.name,
                metavar="[true|false]" if one.boolean else "VALUE",
                help=f"{one.description} ({one.default})" if one.default else one.description,
            )


def parse_command(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line; ends the process with code 2 and a usage when it is wrong."""
    return build_parser().parse_args(spell_out_booleans(arguments))


def inputs_of(command: argparse.Namespace) -> dict[str, str]:
    """Return the inputs that were given as flags; blank means unset, as everywhere."""
    flags: Mapping[str, object] = {**vars(command), _COMMAND_INPUT: None}
    given = {one.name: flags.get(one.name) for one in INPUTS}
    if command.model_path:
        given["model-path"] = command.model_path
    return {
        name: value for name, value in given.items() if isinstance(value, str) and value.strip()
    }


def spell_out_booleans(arguments: Sequence[str]) -> list[str]:
    """Give a boolean flag without a value the value `true`: `--dry-run` is `--dry-run=true`."""
    booleans = {f"--{one.name}" for one in INPUTS if one.boolean}
    spelled: list[str] = []
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        if argument in booleans:
            value = pending.pop(0) if pending and pending[0] in _VALUES else "true"
            argument = f"{argument}={value}"
        spelled.append(argument)
    return spelled
