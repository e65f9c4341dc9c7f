"""`blankly-deploy logs`: prints the log of a deployed model."""

from __future__ import annotations

from argparse import Namespace
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, TextIO

from deploy_action.commands.deployed import DeployedModel
from deploy_action.commands.printing import until_cut_off
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.text.harmless import defused

_LINE: Final = lazy_regex(r"(\S+) (out|err|platform) (.*)")
# Of a terminal (ECMA-48, SGR): faint times, red errors, and what the platform says in cyan.
_FAINT, _RED, _CYAN, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[36m", "\x1b[0m"
_COLOURS: Final = {"out": "", "err": _RED, "platform": _CYAN}


def show_log(
    model: DeployedModel, command: Namespace, stream: TextIO, environ: Mapping[str, str]
) -> int:
    """Print the last lines of the log, and follow it if that is asked for; return the exit code.

    Unless it is followed, all of it has to come before the deadline. Whoever reads what is printed
    may take longer.

    Raises `RefusedError` when the server has no log of the model.
    """
    from deploy_action.deployment_api.logs import ModelLog

    is_coloured = stream.isatty() and not environ.get("NO_COLOR")

    def show(lines: Iterable[str]) -> None:
        with until_cut_off(stream):
            for line in lines:
                # A server is no more trusted with the terminal than the model.
                shown = defused(line).replace("\n", " ")
                stream.write(f"{_coloured(shown) if is_coloured else shown}\n")
                if command.follow:
                    stream.flush()

    with model.found(is_endless=command.follow) as (live, settings):
        log = ModelLog(
            live.api, live.project_id, live.model_id, settings.version_id or "", say=model.log
        )
        lines = log.lines(command.lines, follows=command.follow)
        if command.follow:
            show(lines)
            return 0
        found = deque(lines, command.lines)  # a server may send more than it was asked for
    show(found)
    return 0


def _coloured(line: str) -> str:
    found = _LINE.fullmatch(line)
    if found is None:
        return line
    time, stream, text = found.groups()
    return f"{_FAINT}{time}{_PLAIN} {_COLOURS[stream]}{stream} {text}{_PLAIN}"
