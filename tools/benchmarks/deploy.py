"""A deploy of a large model, compared with zip and curl, and with the package's own client."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.context import BLANKLY_PYTHON, NO_BLANKLY, Context, tool
from tools.benchmarks.measure import (
    BrokenError,
    Command,
    Row,
    Took,
    alternate,
    in_megabytes,
    in_seconds,
    median_cpu_seconds,
    median_peak_bytes,
    median_seconds,
    own_peak_bytes,
    run_command,
)
from tools.benchmarks.models import with_large_files
from tools.benchmarks.upload_server import UploadServer

_BYTES = 200_000_000
_QUICK_BYTES = 2_000_000
_BY_HAND = """
rm -f "$2" && cd "$1/.." && zip -q -r "$2" "$(basename "$1")"
curl --silent --show-error --fail -o /dev/null -H "token: any" -F "model=@$2" \
    -F modelId=model -F projectId=user -F type=strategy -F plan=nano \
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
    """A way to deploy, and the sizes of its uploads."""

    name: str
    command: Command
    environ: Mapping[str, str]
    server: UploadServer
    cwd: Path
    uploaded: int = 0

    def run(self) -> Took:
        took = run_command(self.command, cwd=self.cwd, environ=self.environ)
        self.uploaded = self.server.take_uploaded_bytes()
        return took


def measure(context: Context) -> Iterator[Row]:
    size = _QUICK_BYTES if context.is_quick else _BYTES
    model = with_large_files(context.scratch, size)
    with UploadServer() as server:
        contenders = list(_contenders(context, model, server))
        runs: list[Callable[[], Took]] = [contender.run for contender in contenders]
        took = alternate(context.rounds(3), *runs)
        for contender in contenders:
            # Half of it is noise, which cannot be compressed.
            if not size * 2 // 5 < contender.uploaded < size * 11 // 10:
                raise BrokenError(f"{contender.name} uploaded {contender.uploaded:,} bytes")
    shutil.rmtree(model)
    yield from _rows(f"Deploy {in_megabytes(size)}", contenders, took)
    if not _by_hand_is_possible():
        yield Row("Deploy, beside zip and curl", "skipped", remark="zip or curl is not installed")
    if not BLANKLY_PYTHON.exists():
        yield Row("Deploy, beside the package", "skipped", remark=NO_BLANKLY)


def _by_hand_is_possible() -> bool:
    return all(map(shutil.which, ("bash", "zip", "curl")))


def _contenders(context: Context, model: Path, server: UploadServer) -> Iterator[_Contender]:
    # Any token will do for this server.
    environ = {**context.environ, "INPUT_TOKEN": secrets.token_urlsafe()}
    program, scratch = tool("blankly-deploy"), context.scratch
    ours: Command = [program, "deploy", model, "--api-url", server.url, "--model-id", "m"]
    yield _Contender("blankly-deploy", ours, environ, server, scratch)
    if _by_hand_is_possible():
        archive = scratch / "by-hand.zip"
        script: Command = ["bash", "-euc", _BY_HAND, "by-hand", model, archive, server.url]
        yield _Contender("zip -r and curl", script, context.environ, server, scratch)
    if BLANKLY_PYTHON.exists():
        package: Command = [BLANKLY_PYTHON, "-c", _PACKAGE, model, server.url]
        yield _Contender("the blankly package", package, context.environ, server, scratch)


def _rows(
    what: str, contenders: Sequence[_Contender], took: Sequence[Sequence[Took]]
) -> Iterator[Row]:
    ours, mine = contenders[0], took[0]
    for peer, its in zip(contenders[1:], took[1:], strict=True):
        for kind, median, show in (
            ("time", median_seconds, in_seconds),
            ("CPU time", median_cpu_seconds, in_seconds),
            ("peak memory", median_peak_bytes, in_megabytes),
        ):
            remark = ""
            if kind == "time":
                remark = f"uploaded {in_megabytes(ours.uploaded)} / {in_megabytes(peer.uploaded)}"
            elif kind == "peak memory":
                remark = (
                    f"of the largest process; {in_megabytes(own_peak_bytes())} is the least seen"
                )
            one, other = median(mine), median(its)
            yield Row(
                f"{what}: {kind}", show(one), f"{show(other)} {peer.name}", one / other, remark
            )
    if len(contenders) == 1:
        yield Row(f"{what}: time", in_seconds(median_seconds(mine)))
