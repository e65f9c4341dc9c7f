"""A server that grows when it is told to.

    python -m tools.benchmarks.growth.server DATA model|version SOCKET

It prints `ready`. Each connection to SOCKET sends how many models, or versions of one model, it
should have, and gets a line of JSON when it has them. The models run nowhere. The refresh token is
that of the variable PLATFORM_TOKEN.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from deploy_action.platform.storage.records import State
from tests.support.scripted_live_server import LivePlatform, ServerParts


def main() -> None:
    """Serve until the process is ended."""
    data, of, place = sys.argv[1:]
    with (
        ServerParts(Path(data), os.environ["PLATFORM_TOKEN"]) as parts,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        platform = LivePlatform.of(parts)
        models = [_add_model(platform)]
        listener.bind(place)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rw") as file:
                wanted = int(file.readline())
                if of == "model":
                    models += [_add_model(platform) for _ in range(wanted - len(models))]
                else:
                    _add_versions(platform, models[0], wanted)
                found = {
                    "url": parts.url,
                    "pid": os.getpid(),
                    "project": platform.user_id,
                    "model": models[0],
                    "idToken": platform.id_token,
                }
                file.write(f"{json.dumps(found)}\n")


def _add_model(platform: LivePlatform) -> str:
    """Add a model with a version that ran, and that somebody stopped."""
    model_id = platform.create_model()
    platform.run_a_version(model_id)
    platform.post("/model/kill", projectId=platform.user_id, modelId=model_id).raise_for_status()
    platform.wait_for_state(model_id, State.STOPPED)
    return model_id


def _add_versions(platform: LivePlatform, model_id: str, wanted: int) -> None:
    """Add versions: they are stored and not run, for the model is stopped."""
    for number in range(wanted - len(platform.versions(model_id))):
        answer = platform.deploy(model_id, versionDescription=f"Version {number}")
        answer.raise_for_status()


if __name__ == "__main__":
    main()
