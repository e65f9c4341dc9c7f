"""The action's cold start: its image built on a base that is there, and the same image pulled.

The registry is on this machine, so no time of a network is in it; the remark says how many bytes
go over.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from tools import registry
from tools.benchmarks.context import ROOT, Context
from tools.benchmarks.measure import (
    Command,
    Row,
    Took,
    alternate,
    in_megabytes,
    in_seconds,
    median_seconds,
    run_command,
)
from tools.benchmarks.models import EXAMPLE

# As the tests of the image have them: for hosts on which podman is itself in a container.
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", "--network=none")


def measure(context: Context) -> Iterator[Row]:
    missing = [name for name in ("podman", registry.PROGRAM) if not shutil.which(name)]
    if missing:
        remark = f"not installed: {', '.join(missing)}"
        yield Row("Cold start of the action's image", "skipped", remark=remark)
        return
    name = f"bench-{secrets.token_hex(4)}"
    with registry.running(context.scratch / "registry") as running:
        environ = {**context.environ, **running.environ, "ENGINE": "podman"}
        images = _Images(context.scratch, environ, name, f"{running.address}/{name}:1")
        try:
            yield from _rows(context, images)
        finally:
            images.remove()


def _rows(context: Context, images: _Images) -> Iterator[Row]:
    images.build()  # the base is there from here on
    images.push()
    # Built once a round, for it takes long; what is pulled is in an empty store each time.
    built, pulled = alternate(context.rounds(3), images.build, images.pull)
    compressed, layers = images.compressed_bytes()
    yield Row(
        "Cold start: image pulled",
        in_seconds(median_seconds(pulled)),
        f"{in_seconds(median_seconds(built))} built, base there",
        median_seconds(pulled) / median_seconds(built),
        f"{in_megabytes(compressed)} in {layers} layers, from this machine: without a network",
    )
    validate = partial(images.run, "--env=INPUT_MODE=validate", images.reference)
    bare = partial(images.run, "--entrypoint=python", images.reference, "-I", "-c", "pass")
    ours, python = alternate(context.rounds(9), validate, bare)
    yield Row(
        "Container: start to the end of validate",
        in_seconds(median_seconds(ours)),
        f"{in_seconds(median_seconds(python))} bare Python in it",
        median_seconds(ours) / median_seconds(python),
    )


@dataclass(frozen=True, slots=True)
class _Images:
    """The image under two names: as it was built, and as it is in the registry."""

    scratch: Path
    environ: Mapping[str, str]
    built: str
    reference: str

    @property
    def _store(self) -> list[str]:
        """Where pulled images are: nothing of what was built is there."""
        return [f"--root={self.scratch / 'store'}", f"--runroot={self.scratch / 'runroot'}"]

    def build(self) -> Took:
        name = f"localhost/{self.built}"
        return self._do([ROOT / "tools" / "image.sh", "build", name, "--no-cache"])

    def push(self) -> None:
        self._do(["podman", "push", "--quiet", f"localhost/{self.built}", self.reference])

    def pull(self) -> Took:
        self._do(["podman", *self._store, "rmi", "--all", "--force"])
        return self._do(["podman", *self._store, "pull", "--quiet", self.reference])

    def run(self, *arguments: str) -> Took:
        """Run the pulled image on the example; `arguments` are options, its name, and a command."""
        runtime = ["--runtime=runc"] if shutil.which("runc") else []
        place = [f"--volume={EXAMPLE}:/github/workspace:ro", "--workdir=/github/workspace"]
        podman = ["podman", *self._store, *runtime, "run", "--rm", *_LIMITS, *place]
        return self._do([*podman, *arguments])

    def compressed_bytes(self) -> tuple[int, int]:
        """Return what a pull transfers, in bytes, and in how many layers."""
        address, _, rest = self.reference.partition("/")
        name, _, tag = rest.partition(":")
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        url = f"http://{address}/v2/{name}/manifests/{tag}"
        layers = requests.get(url, headers=accept, timeout=30).json()["layers"]
        return sum(layer["size"] for layer in layers), len(layers)

    def remove(self) -> None:
        self._do(["podman", *self._store, "rmi", "--all", "--force"])
        self._do(["podman", "rmi", "--force", f"localhost/{self.built}"])

    def _do(self, command: Command) -> Took:
        return run_command(command, cwd=self.scratch, environ={**os.environ, **self.environ})
