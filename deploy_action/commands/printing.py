"""Output of a command whose reader may have seen enough, as `head` has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def until_cut_off(stream: TextIO) -> Iterator[None]:
    """Print to a stream, and flush it; if nobody reads it any more, stop and throw away the rest.

    At exit, Python would fail to flush what is left in the buffer.
    """
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
