"""The benchmarks, beside the peers and the floor, on this machine.

    python -m tools.bench [--quick] [--only SECTION,SECTION] [--results FOLDER] [--draw]

Each section that ends well takes its place in FOLDER/results.json, and RESULTS.md and the pictures
beside it are written again from all that is there. A quick run is kept only where a FOLDER is
named. It exits with 1 when something breaks or comes to a wrong result, and never because of a
time. Nothing leaves the machine but what uv fetches for environments, and podman for the image's
base. What stays on it is those, in uv's cache and podman's store, and the steps of podman's builds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tools.benchmarks.backtests import at_once, environment, overhead, reading, sweep, windows
from tools.benchmarks.context import ROOT, Context
from tools.benchmarks.deploys import measuring as deploys
from tools.benchmarks.growth import measuring as growth
from tools.benchmarks.machine import Watch, this_machine
from tools.benchmarks.measure import BrokenError
from tools.benchmarks.pages import measuring as pages
from tools.benchmarks.rows import Curve, Row, Section
from tools.benchmarks.server import fleet
from tools.benchmarks.start import container, startup
from tools.benchmarks.written import keeping
from tools.benchmarks.written.document import with_targets
from tools.benchmarks.written.terminal import table


class _Part(NamedTuple):
    """A section: its title, and what measures it."""

    title: str
    measure: Callable[[Context], Iterator[Row] | Iterator[Curve]]


SECTIONS = {
    "startup": _Part("Start-up", startup.measure),
    "deploy": _Part("Deploys", deploys.measure),
    "reading": _Part("Reading results", reading.measure),
    "overhead": _Part("Backtests beside the bare script", overhead.measure),
    "environment": _Part("Environments of models", environment.measure),
    "windows": _Part("Windows and the base", windows.measure),
    "at-once": _Part("Several backtests at once", at_once.measure),
    "sweep": _Part("Sweeps", sweep.measure),
    "growth": _Part("Growth", growth.measure),
    "fleet": _Part("A server with many models", fleet.measure),
    "pages": _Part("The server's pages", pages.measure),
    "image": _Part("The action's image", container.measure),
}
TITLES = {name: part.title for name, part in SECTIONS.items()}
RESULTS = ROOT / "benchmarks"


def main(arguments: Sequence[str]) -> int:
    """Run all sections, even if one fails; return 1 if any failed."""
    parsed = _parse(arguments)
    folder: Path | None = parsed.results or (None if parsed.quick else RESULTS)
    if parsed.draw:
        keeping.write(folder or RESULTS, TITLES)
        return 0
    signal.signal(signal.SIGTERM, _leave)
    found: dict[str, Section] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        Path(scratch).chmod(0o755)  # models run as users of their own
        context = Context(Path(scratch), is_quick=parsed.quick)
        for name in parsed.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            if (section := _measured(name, context)) is None:
                continue
            found[name] = section
            if folder is not None:
                keeping.replace(folder, name, section, TITLES)
    print(table(found))
    print(_footer(found, time.monotonic() - started, folder, parsed.only))
    return int(len(found) < len(parsed.only))


def _measured(name: str, context: Context) -> Section | None:
    """Return what a section measures; say why, and return None, if it is broken."""
    watch, load = Watch(), os.getloadavg()[0]
    try:
        found = list(SECTIONS[name].measure(context))
    except BrokenError as error:
        print(f"{name} is broken: {error}", file=sys.stderr)
        return None
    except Exception:  # noqa: BLE001  # the others are still worth their time
        print(f"{name} is broken:", file=sys.stderr)
        traceback.print_exc()
        return None
    return Section(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        seconds=time.monotonic() - watch.started,
        load=load,
        others=watch.others(),
        is_quick=context.is_quick,
        machine=this_machine(),
        rows=tuple(one for one in found if isinstance(one, Row)),
        curves=tuple(one for one in found if isinstance(one, Curve)),
    )


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
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help=f"where to keep them: {RESULTS.name}/"
    )
    parser.add_argument(
        "--draw", action="store_true", help="measure nothing: write what is kept again"
    )
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


def _footer(
    found: Mapping[str, Section], seconds: float, folder: Path | None, sections: Sequence[str]
) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    skipped = [name for name in SECTIONS if name not in sections]
    rows = with_targets(list(found.values()))
    met = sum((row.distance or 0) <= 1 for row in rows)
    curves = [curve for section in found.values() for curve in section.curves]
    fine = sum(curve.is_fine for curve in curves)
    parts = [
        f"{met} of {len(rows)} targets met.",
        *([f"{fine} of {len(curves)} curves no worse than n log n."] if curves else []),
        f"Medians. {os.cpu_count()} cores, load {load} (1, 5, 15 minutes), {seconds:.0f} s in all.",
        *([f"Not asked for: {', '.join(skipped)}."] if skipped else []),
        "A quick run: nothing of it is kept." if folder is None else f"Kept in {folder}.",
    ]
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
