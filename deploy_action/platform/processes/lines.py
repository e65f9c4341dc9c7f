"""Lines out of what a process writes, whatever its bytes are."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Final

# Characters. Longer lines are passed on in pieces of this length. A secret that is cut at the end
# of a piece would not be masked, so pieces are long.
_LONGEST_LINE: Final = 1 << 20
_LINE_END: Final = re.compile(r"\r\n|\n|\r(?!$)")


class Lines:
    """Decodes bytes into lines; a carriage return also ends a line, as in progress bars."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Take what was read, and pass on the lines that are complete."""
        *lines, rest = _LINE_END.split(self._rest + self._decoder.decode(data))
        for line in lines:
            self._on_line(line)
        while len(rest) > _LONGEST_LINE:
            self._on_line(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._rest = rest

    def finish(self) -> None:
        """Pass on the last line if it has no line ending."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        if rest:
            self._on_line(rest.rstrip("\r"))
