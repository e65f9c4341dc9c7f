"""An image registry on this machine's loopback: Debian's `docker-registry`, without a password."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "docker-registry"  # of the package of that name in Debian and Ubuntu
_PATIENCE = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that runs: its host and port, and the variables that let podman use it."""

    address: str
    environ: dict[str, str]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Registry]:
    """Run an empty registry until the block ends; what it keeps is in `folder`."""
    folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}}
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": storage,
        "http": {"addr": address},
    }
    # JSON is YAML.
    (folder / "config.yml").write_text(json.dumps(settings))
    # Without TLS, which podman must be told; and logins go where nobody else's are.
    conf = f'[[registry]]\nlocation = "{address}"\ninsecure = true\n'
    (folder / "registries.conf").write_text(conf)
    (folder / "auth.json").write_text("{}")
    environ = {
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        _wait(process, address, folder / "log")
        yield Registry(address, environ)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return once somebody listens there."""
    host, _, port = address.partition(":")
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{PROGRAM} does not listen on {address}: {log.read_text()[-500:]}")
