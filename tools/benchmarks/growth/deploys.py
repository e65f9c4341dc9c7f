"""How a deploy grows with the model's size, and with the number of its files."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.benchmarks.context import Context
from tools.benchmarks.deploys.data_sets import MEGABYTE, write_one_file, write_tiny
from tools.benchmarks.deploys.sink import running_sink
from tools.benchmarks.growth.sizes import at_all_sizes, sizes_up_to
from tools.benchmarks.measure import Command, Took, peak_bytes_of, run_command, seconds_of
from tools.benchmarks.rows import Curve

_MOST_MEGABYTES = 512
_MOST_FILES = 131_072
_ROUNDS = 3


def measure(context: Context) -> Iterator[Curve]:
    """Deploy one file of more and more bytes, and more and more tiny files."""
    yield from _deployed(context, "MB", _MOST_MEGABYTES, _write_megabytes)
    yield from _deployed(context, "file", _MOST_FILES, write_tiny)


def _write_megabytes(directory: Path, size: int) -> None:
    write_one_file(directory, size * MEGABYTE)


def _deployed(
    context: Context, of: str, largest: int, write: Callable[[Path, int], None]
) -> Iterator[Curve]:
    sizes = sizes_up_to(context, largest)
    place = context.scratch / "growing"
    place.mkdir()
    for size in sizes:
        write(place / str(size), size)
    # Any token will do for this server.
    environ = {**context.environ, "INPUT_TOKEN": secrets.token_urlsafe()}
    with running_sink(context.environ, context.scratch) as sink:

        def deploy(size: int) -> Took:
            program, model = context.programs / "blankly-deploy", place / str(size)
            command: Command = [program, "deploy", model, "--api-url", sink.url, "--model-id", "m"]
            return run_command(command, cwd=place, environ=environ)

        took = at_all_sizes(context, sizes, _ROUNDS, deploy)
    shutil.rmtree(place)
    yield Curve("deploy", of, sizes, tuple(map(seconds_of, took)))
    yield Curve("deploy", of, sizes, tuple(map(peak_bytes_of, took)), "B")
