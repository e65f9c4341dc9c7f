"""The action's cold start: its image built on a base that is there, and the same image pulled.

The registry is on this machine, so no time of a network is in it; the remark says how many bytes
go over.
"""

from __future__ import annotations

import json
import os
import re
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
    BrokenError,
    Command,
    Took,
    alternate,
    run_command,
    seconds_of,
)
from tools.benchmarks.models import EXAMPLE
from tools.benchmarks.rows import Row, Target

# As the tests of the image have them: for hosts on which podman is itself in a container.
_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", "--network=none")

_BASE_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
_BASE = "its base, python:3.11-slim-bookworm"
_MOST_SECONDS = 0.4
_NOTHING = 10_000  # bytes: settings are layers without files
_NAMES = {
    "small-debian /": "Debian, as far as it is needed",
    "build /python": "Python",
    "build /uv": "uv",
    "build /packages": "the Python packages",
    "build /program": "this program",
}


def measure(context: Context) -> Iterator[Row]:
    missing = [name for name in ("podman", registry.PROGRAM) if not shutil.which(name)]
    if missing:
        remark = f"not installed: {', '.join(missing)}"
        yield Row("the action's image", remark=remark)
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
    built, pulled = alternate(context.rounds(2), images.build, images.pull)
    layers = images.layers()
    transferred = sum(layer.compressed for layer in layers)
    yield Row(
        "cold start: the image pulled",
        seconds_of(pulled),
        peer="built, on a base that is there",
        theirs=seconds_of(built),
        remark=f"{transferred / 1e6:.0f} MB in {len(layers)} layers, without a network between; "
        "the build fetches the Python packages",
    )
    validate = partial(images.run, "--env=INPUT_MODE=validate", images.reference)
    bare = partial(images.run, "--entrypoint=python", images.reference, "-I", "-c", "pass")
    ours, python = alternate(context.rounds(9), validate, bare)
    yield Row(
        "container: start to the end of validate",
        seconds_of(ours),
        peer="python -c pass in it",
        theirs=seconds_of(python),
        target=Target(_MOST_SECONDS, of_peer=False),
        remark="podman's own time is in both",
    )
    base, is_official = images.base()
    whole = float(sum(layer.unpacked for layer in layers))
    beyond = f"{(whole - base) / 1e6:.0f} MB more than its base, of which it keeps a part"
    if not is_official:
        beyond += "; here that is a stand-in, made of Debian and this machine's Python"
    yield Row("the image, unpacked", (whole,), "B", peer=_BASE, theirs=(base,), remark=beyond)
    for layer in layers:
        yield Row(
            f"- {layer.name}",
            (float(layer.unpacked),),
            "B",
            remark=f"{layer.compressed / 1e6:.1f} MB of them are pulled",
        )


def _copied() -> list[str]:
    """Return what the Dockerfile copies into the image, from where, in the order of the layers."""
    text = (ROOT / "Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2]
    return [
        " ".join(found) for found in re.findall(r"^COPY --from=(\S+) (\S+)", text, re.MULTILINE)
    ]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer, and its bytes: as they are pulled, and as they are on the disk."""

    name: str
    compressed: int
    unpacked: int


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

    def layers(self) -> list[_Layer]:
        """Return the layers, the lowest first."""
        address, _, rest = self.reference.partition("/")
        name, _, tag = rest.partition(":")
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        url = f"http://{address}/v2/{name}/manifests/{tag}"
        sent = requests.get(url, headers=accept, timeout=30).json()["layers"]
        command: Command = ["podman", "history", "--no-trunc", "--format=json"]
        history = json.loads(self._do([*command, f"localhost/{self.built}"]).output)
        made = [one["size"] for one in reversed(history) if one["size"] > _NOTHING]
        names = _copied()
        if not len(made) == len(sent) == len(names):
            raise BrokenError(f"{len(sent)} layers were sent, {len(made)} made, of {names}")
        return [
            _Layer(_NAMES.get(name, name), layer["size"], size)
            for name, layer, size in zip(names, sent, made, strict=True)
        ]

    def base(self) -> tuple[float, bool]:
        """Return the size of the base image, unpacked, and whether it is the official one.

        Where no registry can be reached, `tools/image.sh` builds on a stand-in.
        """
        command: Command = ["podman", "image", "inspect", _BASE_IMAGE]
        (found,) = json.loads(self._do(command).output)
        environ = found["Config"].get("Env") or []
        return float(found["Size"]), any(one.startswith("PYTHON_VERSION=") for one in environ)

    def remove(self) -> None:
        self._do(["podman", *self._store, "rmi", "--all", "--force"])
        self._do(["podman", "rmi", "--force", f"localhost/{self.built}"])

    def _do(self, command: Command) -> Took:
        return run_command(command, cwd=self.scratch, environ={**os.environ, **self.environ})
