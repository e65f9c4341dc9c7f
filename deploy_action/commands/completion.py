"""`blankly-deploy completion`: the script with which a shell completes its command lines."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Final

# By the name of the value in the help, or by the name of the input.
_DIRECTORIES: Final = frozenset({"MODEL_PATH", "DIR", "PATH", "model-path", "platform-data"})
_FILES: Final = frozenset({"FILE", "report-path", "include"})
_BOOLEAN: Final = "[true|false]"


def completion_script(parser: ArgumentParser, shell: str) -> str:
    """Return the script for bash, zsh or fish. The parser is of no use for parsing after that."""
    import shtab

    _teach(parser)
    return shtab.complete(parser, shell)


def _teach(parser: ArgumentParser) -> None:
    """Note for each argument what may stand there.

    Of its description, a shell has room for the first sentence.
    """
    import shtab

    for action in parser._actions:  # noqa: SLF001  # argparse has no other list
        if action.help:
            action.help = action.help.partition(". ")[0].removesuffix(".").replace("`", "")
        if isinstance(action.choices, Mapping):  # the commands
            for command in action.choices.values():
                _teach(command)
        elif action.metavar == _BOOLEAN:
            action.choices = ("true", "false")
        elif {action.metavar, action.dest} & _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab reads it
        elif {action.metavar, action.dest} & _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # as above
