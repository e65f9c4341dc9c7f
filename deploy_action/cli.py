"""The command line of `blankly-deploy`: its commands, their flags and their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn

from deploy_action import __version__
from deploy_action.inputs.defaults import HOSTED_APP_URL
from deploy_action.inputs.definitions import INPUTS, Comment, Input, Mode
from deploy_action.inputs.parsing import (
    BOOLEANS,
    BadValueError,
    parse_boolean,
    parse_minutes,
    parse_url,
)
from deploy_action.inputs.settings import Parsed

# After a boolean flag these are its value, and anything else is a path. A shell variable may be
# empty; a word such as `yes` is refused by name.
_VALUES: Final = frozenset({*BOOLEANS, *Comment, "", "yes", "no", "on", "off", "0", "1"})
_COMMAND_INPUT: Final = "mode"  # an input of the action, and the name of a command here
_MODES: Final = {
    Mode.DEPLOY: "check a model and deploy it as a new version",
    Mode.BACKTEST: "check a model and backtest it",
    Mode.VALIDATE: "check a model and send nothing",
    Mode.DISCOVER: "list the models below a directory",
    Mode.MERGE: "put the reports of all shards of a run together",
    Mode.COMMENT: "post the report of an earlier run on its pull request",
    Mode.START: "run the deployed model again",
    Mode.STOP: "stop the deployed model and keep it stopped",
    Mode.ROLLBACK: "run an earlier version of the deployed model",
}
SHELLS: Final = ("bash", "zsh", "fish")
_HOW_TO_COMPLETE: Final = """\
bash:  blankly-deploy completion bash > ~/.local/share/bash-completion/completions/blankly-deploy
zsh:   blankly-deploy completion zsh > DIR/_blankly-deploy, with DIR in $fpath
fish:  blankly-deploy completion fish > ~/.config/fish/completions/blankly-deploy.fish"""
# The headings of `--help`, and the inputs below each.
GROUPS: Final = {
    "model": (
        "model-path",
        "plan",
        "python-version",
        "model-env",
        "include",
        "ignore",
        "keys-json",
    ),
    "target": (
        "token",
        "api-url",
        "project-id",
        "project-name",
        "project-description",
        "model-id",
        "model-name",
        "general-description",
        "version-description",
        "create-new",
    ),
    "backtest": (
        "backtest-description",
        "backtest-args",
        "windows",
        "sweep",
        "shard",
        "gates",
        "compare-with",
        "platform-data",
    ),
    "discovery": ("changed-since",),
    "deployed model": ("version-id", "unchanged", "allow-older"),
    "report": ("app-url", "comment", "comment-key", "report-path", "github-token"),
    "run": ("timeout-minutes", "dry-run", "fail-on-warning"),
}
_LINES: Final = 100
_WHERE_VALUES_COME_FROM: Final = (
    "Each flag is the input of the action with the same name. If a flag is not given, its value is "
    "taken from the variable INPUT_NAME, such as INPUT_TOKEN. Use the variable for secrets: every "
    "user of the machine can read a command line."
)


def parse_command(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line; end the process with code 2 and the usage if it is wrong."""
    known = _commands()
    parser, commands = build_parsers(*[name for name in arguments[:1] if name in known])
    if not arguments:
        parser.exit(2, parser.format_help())
    name = arguments[0]
    if name not in known and not name.startswith("-"):
        parser.error(f"unknown command `{name}`{_meant(name, known)}")
    command, unknown = parser.parse_known_args(_spell_out_booleans(arguments))
    if unknown:
        commands[command.command].refuse(unknown)
    if getattr(command, "model_path", None) and getattr(command, "model-path"):
        commands[command.command].error("both MODEL_PATH and --model-path are given")
    return command


def inputs_of(command: argparse.Namespace) -> dict[str, str]:
    """Return the inputs given as flags; a blank one is unset."""
    flags: Mapping[str, str | list[str] | None] = {**vars(command), _COMMAND_INPUT: None}
    given = {one.name: flags.get(one.name) or "" for one in INPUTS}
    if command.model_path:
        given["model-path"] = command.model_path
    texts = {name: "\n".join(v) if isinstance(v, list) else v for name, v in given.items()}
    return {name: text for name, text in texts.items() if text.strip()}


class _Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated flags and suggests what was meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **options)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End the process with what is wrong about arguments that no flag takes."""
        flag = next((one.partition("=")[0] for one in unknown if one.startswith("-")), None)
        if flag is None:
            self.error(f"unexpected argument `{unknown[0]}`")
        flags = [option for action in self._actions for option in action.option_strings]
        self.error(f"unknown flag `{flag}`{_meant(flag, flags)}")


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps at the width of the terminal, and keeps names such as `create-new` whole."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        # argparse forgets that commands are indented, and breaks the line after the longest name.
        for command in self._iter_indented_subactions(action):
            length = len(command.metavar or "") + self._current_indent + self._indent_increment
            self._action_max_length = max(self._action_max_length, length)

    def _split_lines(self, text: str, width: int) -> list[str]:
        from textwrap import wrap

        return wrap(text, width, break_on_hyphens=False)


class _Once(argparse.Action):
    """Stores the value of a flag that may be given once."""

    _is_given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  # argparse's signature
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,  # noqa: ARG002  # as above
    ) -> None:
        if self._is_given:
            raise argparse.ArgumentError(self, "may be given only once")
        self._is_given = True
        setattr(namespace, self.dest, values)


def _meant(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def build_parsers(
    *names: str,
) -> tuple[argparse.ArgumentParser, Mapping[str, _Parser]]:
    """Return the parser of the command line, and those of its commands by name.

    With `names`, it knows only these commands: most of the time goes into the flags of all others.
    """
    parser = _Parser(
        prog="blankly-deploy",
        description="Check, backtest and deploy Blankly trading models.",
        epilog="`blankly-deploy COMMAND --help` lists the flags of a command.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="COMMAND",
        title="commands",
        prog=parser.prog,  # or argparse formats the whole usage to find it
    )
    known = _commands()
    for name in names or known:
        text, add_flags = known[name]
        add_flags(commands.add_parser(name, help=text))
    return parser, commands.choices


def _commands() -> Mapping[str, tuple[str, Callable[[_Parser], None]]]:
    """Return what each command does, and the function that adds its flags."""
    modes = {
        str(mode): (summary, partial(_add_inputs, mode=mode)) for mode, summary in _MODES.items()
    }
    return {
        "init": ("write the workflow for your models", _add_init_flags),
        **modes,
        "logs": ("print the log of the deployed model", _add_log_flags),
        "status": ("say what the deployed model does", partial(_add_inputs, mode=Mode.START)),
        "serve": ("serve the Deployment API", _add_serve_flags),
        "login": ("sign in and print the token", _add_login_flags),
        "clean": ("remove old data of the platform", _add_clean_flags),
        "backup": ("write a server's data to a file", _add_backup_flags),
        "restore": ("make a server's data from a backup", _add_backup_flags),
        "schema": ("print the JSON schema of blankly.json", lambda _parser: None),
        "completion": ("print a shell's completion", _add_completion_flags),
    }


def _add_inputs(parser: _Parser, mode: Mode) -> None:
    parser.usage = "%(prog)s [MODEL_PATH] [--INPUT VALUE]…"
    parser.epilog = _WHERE_VALUES_COME_FROM
    inputs = {one.name: one for one in INPUTS}
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        if title == "model":
            text = "Directory of the model. (default: .)"
            group.add_argument("model_path", nargs="?", metavar="MODEL_PATH", help=text)
        for name in names:
            one = inputs[name]
            group.add_argument(
                f"--{name}",
                dest=name,
                action="append" if one.lines else _Once,
                metavar="[true|false]" if one.boolean else "VALUE",
                help=_help_of(one, mode),
            )


def _help_of(one: Input, mode: Mode) -> str:
    default = one.default
    if one.name == "api-url" and mode is Mode.BACKTEST:
        default = "local, without a token"
    sentences = [
        one.description,
        "May be given several times." if one.lines else "",
        f"(default: {default})" if default else "",
    ]
    # argparse would take a `%` for a placeholder.
    return " ".join(sentence for sentence in sentences if sentence).replace("%", "%%")


def _add_flag(parser: _Parser, flag: str, text: str, **options: Any) -> None:
    parser.add_argument(flag, action=_Once, help=text, **options)


def _add_serve_flags(parser: _Parser) -> None:
    add = partial(_add_flag, parser)
    add("--host", "address to listen on (default: %(default)s)", default="127.0.0.1")
    add(
        "--port",
        "port, 0 for any free one (default: %(default)s)",
        type=_number(0, 65_535),
        default=9080,
    )
    add("--data", "directory that keeps the projects", required=True, metavar="DIR")
    add(
        "--parallel-backtests",
        "how many backtests run at once (default: one a core)",
        type=_number(1, 1_000),
        default=0,
        metavar="N",
    )
    add(
        "--backtest-minutes",
        "how long a backtest may take (default: %(default)s)",
        type=_checked(parse_minutes),
        default=60,
        metavar="MINUTES",
    )
    add(
        "--stop-seconds",
        "how long a model may take for its teardown (default: %(default)s)",
        type=_number(1, 3_600),
        default=30,
        metavar="SECONDS",
    )
    add(
        "--restarts",
        "how often in a row a model that ended unexpectedly is started again, 0 for never "
        "(default: %(default)s)",
        type=_number(0, 1_000),
        default=5,
        metavar="N",
    )
    add(
        "--account-minutes",
        "how often, at most, it is read what the accounts of running models are worth, 0 for never "
        "(default: %(default)s)",
        type=_number(0, 1_440),
        default=15,
        metavar="MINUTES",
    )
    _add_keep_flags(parser)
    add("--name", "what messages call this server (default: the machine's name)", metavar="NAME")
    parser.add_argument(
        "--notify",
        help="where to send messages about models, as an Apprise URL; may be given several times. "
        "Every user of the machine can read a command line: the variable PLATFORM_NOTIFY takes "
        "such URLs, too, one a line",
        action="append",
        metavar="URL",
    )


def _add_keep_flags(parser: _Parser) -> None:
    add = partial(_add_flag, parser)
    add(
        "--keep-versions",
        "of how many versions of each model bundles and logs are kept: the newest ones, those that "
        "run, and as many that ran before, for rollbacks (default: %(default)s)",
        type=_number(1, 1_000_000),
        default=20,
        metavar="N",
    )
    add(
        "--keep-days",
        "how long results, reports, prices and unused environments are kept (default: %(default)s)",
        type=_number(1, 36_500),
        default=90,
        metavar="DAYS",
    )


def _add_clean_flags(parser: _Parser) -> None:
    add = partial(_add_flag, parser)
    where = "directory of a server; by default, that of runs with `api-url: local` on a terminal"
    add("--data", where, metavar="DIR")
    _add_keep_flags(parser)
    _add_dry_run(parser, "only say what would be removed")


def _add_backup_flags(parser: _Parser) -> None:
    _add_flag(parser, "--data", "directory of the server", required=True, metavar="DIR")
    parser.add_argument("file", metavar="FILE", help="the backup, a tar file")


def _add_init_flags(parser: _Parser) -> None:
    parser.description = (
        "Write a workflow for the models in a directory and below it, and what they lack to be "
        "backtested. With --server, write the compose file of a server instead. No file is "
        "overwritten."
    )
    text = "Directory of the repository or of its models. (default: .)"
    parser.add_argument("path", nargs="?", metavar="PATH", default=".", help=text)
    text = "write the compose file of a server of your own"
    parser.add_argument("--server", action="store_true", help=text)
    _add_dry_run(parser, "only show what would be written")


def _add_dry_run(parser: _Parser, text: str) -> None:
    _add_flag(
        parser,
        "--dry-run",
        text,
        type=_checked(parse_boolean),
        default=False,
        metavar="[true|false]",
    )


def _add_completion_flags(parser: _Parser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.epilog = _HOW_TO_COMPLETE


def _add_log_flags(parser: _Parser) -> None:
    _add_inputs(parser, Mode.START)
    parser.add_argument(
        "--follow", action="store_true", help="go on with each new line, until Ctrl-C"
    )
    text = "how many of the last lines are printed first (default: %(default)s)"
    _add_flag(parser, "--lines", text, type=_number(0, 1_000_000), default=_LINES, metavar="N")


def _add_login_flags(parser: _Parser) -> None:
    add = partial(_add_flag, parser)
    url, minutes = _checked(parse_url), _checked(parse_minutes)
    where = "where to sign in (default: %(default)s)"
    add("--app-url", where, type=url, default=HOSTED_APP_URL, metavar="URL")
    where = "which server knows the user (default: that of the sign-in page)"
    add("--api-url", where, type=url, metavar="URL")
    wait = "how long to wait for the sign-in (default: %(default)s)"
    add("--timeout-minutes", wait, type=minutes, default=10, metavar="MINUTES")


def _checked(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """Let argparse report what an input's parser refuses."""

    def convert(text: str) -> Parsed:
        try:
            return parse(text)
        except BadValueError as wrong:
            raise argparse.ArgumentTypeError(str(wrong)) from wrong

    return convert


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"it takes a number from {lowest} to {highest}")
        return int(text)

    return convert


def _spell_out_booleans(arguments: Sequence[str]) -> list[str]:
    """Write a boolean flag without a value as `--dry-run=true`."""
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
