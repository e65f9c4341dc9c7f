"""The benchmarks, beside the peers, in one run on this machine: ratios, for machines are noisy.

    python -m tools.bench [--quick] [--only SECTION,SECTION]

It exits with 1 when something breaks or comes to a wrong result, and never because of a time.
Nothing leaves the machine but what uv fetches for the first environment; nothing stays on it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tools.benchmarks import (
    at_once,
    deploy,
    environment,
    fleet,
    image,
    overhead,
    reading,
    startup,
    sweep,
)
from tools.benchmarks.context import Context
from tools.benchmarks.measure import BrokenError, Row

# Memory comparisons first: Linux counts our own size at the start as a child's peak, and we grow.
SECTIONS: dict[str, Callable[[Context], Iterator[Row]]] = {
    "startup": startup.measure,
    "reading": reading.measure,
    "deploy": deploy.measure,
    "overhead": overhead.measure,
    "environment": environment.measure,
    "at-once": at_once.measure,
    "sweep": sweep.measure,
    "fleet": fleet.measure,
    "image": image.measure,
}


def main(arguments: Sequence[str]) -> int:
    """Run all sections, even if one fails; return 1 if any failed."""
    parsed = _parse(arguments)
    signal.signal(signal.SIGTERM, _leave)
    rows: list[Row] = []
    broken = False
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        context = Context(Path(scratch), is_quick=parsed.quick)
        for name in parsed.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                rows.extend(SECTIONS[name](context))
            except BrokenError as error:
                broken = True
                print(f"{name} is broken: {error}", file=sys.stderr)
            except Exception:  # noqa: BLE001  # the others are still worth their time
                broken = True
                print(f"{name} is broken:", file=sys.stderr)
                traceback.print_exc()
    print(_table(rows))
    print(_footer(parsed.only, time.monotonic() - started))
    return int(broken)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument(
        "--only",
        type=_section_names,
        default=list(SECTIONS),
        metavar="SECTIONS",
        help=f"of {','.join(SECTIONS)}",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once: does it work?")
    return parser.parse_args(arguments)


def _section_names(text: str) -> list[str]:
    """Return the selected sections in the order in which they run."""
    wanted = {name.strip() for name in text.split(",")}
    if unknown := wanted - SECTIONS.keys():
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return [name for name in SECTIONS if name in wanted]


def _leave(*_: object) -> None:
    """End as after an interrupt, so that processes are stopped and files removed."""
    sys.exit(128 + signal.SIGTERM)


def _table(rows: Sequence[Row]) -> str:
    """Return the rows as a table for a terminal."""
    cells = [("", "ours", "peer", "ours/peer", "")]
    cells += [(row.what, row.ours, row.peer, _ratio(row.ratio), row.remark) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"  # noqa: PLR2004  # two digits of it


def _footer(sections: Sequence[str], seconds: float) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    skipped = [name for name in SECTIONS if name not in sections]
    parts = [
        f"Medians. {os.cpu_count()} cores, load {load} (1, 5, 15 minutes), {seconds:.0f} s in all.",
        *([f"Not asked for: {', '.join(skipped)}."] if skipped else []),
    ]
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
