"""A deploy of several models, beside zip with curl, the package's client, and the floor."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.benchmarks.context import BLANKLY_PYTHON, NO_BLANKLY, Context
from tools.benchmarks.deploys import floor
from tools.benchmarks.deploys.data_sets import DataSet, data_sets
from tools.benchmarks.deploys.sink import Sink, running_sink
from tools.benchmarks.measure import (
    BrokenError,
    Command,
    Took,
    cpu_seconds_of,
    peak_bytes_of,
    run_command,
    seconds_of,
)
from tools.benchmarks.rows import Row, Target

FLOOR = "the floor"
BY_HAND = "zip -r and curl"
PACKAGE = "the package's client"

_MOST_SECONDS = 900.0
_MOST_MEMORY = 80e6
_LARGE = 50_000_000
_HOPELESS = 1_000_000_000
_HEADROOM = 3
_BY_HAND = """
rm -f "$2" && cd "$1/.." && zip -q -r "$2" "$(basename "$1")"
curl --silent --show-error --fail -o /dev/null -H "token: any" -F "model=@$2" \\
    -F modelId=model -F projectId=user -F type=strategy -F plan=nano \\
    -F pythonVersion=3.11 -F versionDescription=bench "$3/model/deploy"
"""
_PACKAGE = """
import sys
from blankly.deployment.api import API
from blankly.deployment.deploy import zip_dir

model, url = sys.argv[1:]
path = zip_dir(model, ["price_caches", ".git", ".idea", ".vscode"])
answer = API("any", override_url=url).deploy(path, "model", "bench", "3.11", "strategy", "nano")
assert answer["status"] == "success", answer
"""


@dataclass(slots=True)
class _Contender:
    """A way to deploy, what its runs took, the sizes of its uploads, and the server's own time."""

    name: str
    command: Command
    environ: Mapping[str, str]
    rounds: int
    took: list[Took] = field(default_factory=list)
    uploaded: int = 0
    served: list[float] = field(default_factory=list)

    def run(self, sink: Sink, cwd: Path) -> None:
        sink.seen()
        environ = {**self.environ, "TMPDIR": str(cwd)}
        took = run_command(self.command, cwd=cwd, environ=environ, most_seconds=_MOST_SECONDS)
        self.took.append(took)
        seen = sink.seen()
        self.uploaded = seen.uploaded
        self.served.append(seen.cpu_seconds)


def measure(context: Context) -> Iterator[Row]:
    """Deploy every data set in turn; what was written for it is removed at once."""
    with running_sink(context.environ, context.scratch) as sink:
        for data in data_sets(is_quick=context.is_quick):
            free = shutil.disk_usage(context.scratch).free
            if free < _HEADROOM * data.bytes:
                remark = f"{free / 1e9:.0f} GB of disk are free, too little for it and its zips"
                yield Row(f"Deploy {data.name}", remark=remark)
                continue
            place = context.scratch / "deploys"
            place.mkdir()
            try:
                yield from _rows(data, _deployed(context, data, sink, place))
            finally:
                shutil.rmtree(place)
    if not _by_hand_is_possible():
        yield Row("Deploy, beside zip and curl", remark="zip or curl is not installed")
    if not BLANKLY_PYTHON.exists():
        yield Row("Deploy, beside the package", remark=NO_BLANKLY)


def _deployed(context: Context, data: DataSet, sink: Sink, place: Path) -> list[_Contender]:
    """Let everybody deploy it, one after the other, forwards and backwards."""
    model = place / "bench-model"
    data.write(model)
    contenders = list(_contenders(context, data, sink, model))
    for number in range(context.rounds(data.rounds)):
        due = [one for one in contenders if number < context.rounds(one.rounds)]
        for contender in reversed(due) if number % 2 else due:
            contender.run(sink, place)
    for contender in contenders:
        if not data.least_share * data.bytes < contender.uploaded < data.bytes * 1.2 + 100_000:
            raise BrokenError(
                f"{data.name}: {contender.name} uploaded {contender.uploaded:,} of {data.bytes:,}"
            )
    return contenders


def _by_hand_is_possible() -> bool:
    return all(map(shutil.which, ("bash", "zip", "curl")))


def _contenders(context: Context, data: DataSet, sink: Sink, model: Path) -> Iterator[_Contender]:
    # Any token will do for this server.
    environ = {**context.environ, "INPUT_TOKEN": secrets.token_urlsafe()}
    programs, place = context.programs, model.parent
    ours: Command = [programs / "blankly-deploy", "deploy", model]
    options: Command = ["--api-url", sink.url, "--model-id", "m"]
    yield _Contender("ours", [*ours, *options], environ, data.rounds)
    host, _, port = sink.url.removeprefix("http://").partition(":")
    bare: Command = [programs / "python", "-I", floor.__file__, model, host, port, place]
    yield _Contender(FLOOR, bare, context.environ, data.rounds)
    if _by_hand_is_possible():
        script: Command = ["bash", "-euc", _BY_HAND, "by-hand", model, place / "hand.zip", sink.url]
        yield _Contender(BY_HAND, script, context.environ, data.slow_rounds)
    if BLANKLY_PYTHON.exists() and data.bytes < _HOPELESS:
        package: Command = [BLANKLY_PYTHON, "-c", _PACKAGE, model, sink.url]
        yield _Contender(PACKAGE, package, context.environ, data.slow_rounds)


def _rows(data: DataSet, contenders: Sequence[_Contender]) -> Iterator[Row]:
    ours, *others = contenders
    mine = seconds_of(ours.took)
    for peer in others:
        yield Row(
            f"Deploy {data.name}",
            mine,
            peer=peer.name,
            theirs=seconds_of(peer.took),
            target=_target(data, peer.name),
            remark=f"sent {_megabytes(ours.uploaded)} / {_megabytes(peer.uploaded)} MB; "
            f"the server took {max(ours.served):.2f} / {max(peer.served):.2f} s of a core",
        )
    if BLANKLY_PYTHON.exists() and data.bytes >= _HOPELESS:
        remark = "skipped: it would take minutes, and as much memory as the zip has bytes"
        yield Row(f"Deploy {data.name}", peer=PACKAGE, remark=remark)
    # The floor shares its work among processes: none of them shows all of the memory.
    for number, peer in enumerate(one for one in others if one.name != FLOOR):
        yield from _costs(ours, peer, None if number else Target(_MOST_MEMORY, of_peer=False))


def _costs(ours: _Contender, peer: _Contender, target: Target | None) -> Iterator[Row]:
    """Yield the rows on time of all processors, and on memory."""
    spent, theirs = cpu_seconds_of(ours.took), cpu_seconds_of(peer.took)
    yield Row("- CPU time", spent, peer=peer.name, theirs=theirs)
    yield Row(
        "- peak memory",
        peak_bytes_of(ours.took),
        "B",
        peer=peer.name,
        theirs=peak_bytes_of(peer.took),
        target=target,
        remark="of the largest process",
    )


def _target(data: DataSet, peer: str) -> Target | None:
    """Return the target of a data set beside a peer."""
    if data.name.startswith("1,500"):
        return Target(1.3) if peer == FLOOR else Target(0.1)
    return Target(1.0) if peer == BY_HAND and "tiny" in data.name else None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}" if size < _LARGE else f"{size / 1e6:.0f}"
