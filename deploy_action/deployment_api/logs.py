"""The log of a deployed model, line by line, over as many connections as it takes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from typing import Final

from deploy_action.deployment_api.client import DeploymentApi
from deploy_action.deployment_api.retry_rules import (
    BrokenExchangeError,
    BusyError,
    NotConnectedError,
)
from deploy_action.errors import DeadlineError, RefusedError
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass, field

# In seconds. A log that is followed is asked for until the server is back.
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0)
_LAST_PAUSE: Final = 30.0
_LONGEST_LINE: Final = 1 << 20
_POSITIONED: Final = lazy_regex(rb"(\S{1,220}/[0-9]+-[0-9]+) (.*)", re.DOTALL)


@dataclass(slots=True)
class ModelLog:
    """The log of a model, or of one version of it.

    `say` gets a line for people when the connection breaks. Tests inject `pause`, which takes
    seconds.
    """

    api: DeploymentApi
    project_id: str
    model_id: str
    version_id: str = ""
    say: Callable[[str], None] = lambda _line: None
    pause: Callable[[float], None] = time.sleep
    _position: str = field(default="", init=False)

    def lines(self, last: int, *, follows: bool) -> Iterator[str]:
        """Yield the `last` lines, and then, if it `follows`, each new one.

        Where a connection breaks, another goes on after the last line that came: none is repeated,
        and none is lost unless the server has removed it, which a line then says.

        Raises:
            RefusedError: the server cannot be reached from the start, or has no such log (any
                more).
        """
        has_begun = False
        pauses = iter(_PAUSES)
        while True:
            reason = "The server ended the answer."
            try:
                for line in self._connect(last, follows=follows):
                    has_begun, pauses = True, chain(_PAUSES, repeat(_LAST_PAUSE))
                    if line is not None:
                        yield line
                if not follows:
                    return
            except DeadlineError:
                raise
            except (BrokenExchangeError, BusyError, NotConnectedError) as error:
                seconds = next(pauses, None)
                if seconds is None or getattr(error, "is_hopeless", False):
                    raise
                reason = str(error)
            else:
                seconds = _PAUSES[0]
            if has_begun or follows:
                self.say(f"{reason} Going on in {seconds:g} s.")
            self.pause(seconds)

    def _connect(self, last: int, *, follows: bool) -> Iterator[str | None]:
        """Yield the lines of one answer, and None at its beginning and for a sign of life."""
        with self.api.stream("/model/logs", self._fields(last, follows=follows)) as (reply, blocks):
            reply.check()
            if "text/plain" not in reply.answer.headers.get("Content-Type", ""):
                raise RefusedError(*reply.unexpected("it is not plain text").problems)
            yield None
            for line in _lines(blocks):
                positioned = _POSITIONED.fullmatch(line)
                text = positioned[2] if positioned else line
                if positioned:
                    self._position = positioned[1].decode("utf-8", "replace")
                yield self.api.redact(text.decode("utf-8", "replace")) if text else None

    def _fields(self, last: int, *, follows: bool) -> Mapping[str, str]:
        return {
            "projectId": self.project_id,
            "modelId": self.model_id,
            "positions": "true",
            **({"versionId": self.version_id} if self.version_id else {}),
            **({"follow": "true"} if follows else {}),
            **({"after": self._position} if self._position else {"lines": str(last)}),
        }


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield whole lines without their ends; what a broken connection cut off is left out."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            raise RefusedError.of(message="The server sends a line without an end as a log.")
