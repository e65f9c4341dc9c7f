"""Several simultaneous backtests on one platform, compared with a single one."""

from __future__ import annotations

import io
import json
import secrets
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.context import Context, tool
from tools.benchmarks.machine import cores
from tools.benchmarks.measure import BrokenError, Command, serving
from tools.benchmarks.models import example
from tools.benchmarks.rows import Row, Target

_MOST_SECONDS = 240


def measure(context: Context) -> Iterator[Row]:
    from deploy_action.platform.runs.backtests import default_parallel

    context.model_python()
    number = default_parallel()
    token = secrets.token_urlsafe()
    data = str(context.platform_data)
    command: Command = [tool("blankly-deploy"), "serve", "--data", data, "--port", "0"]
    environ = {**context.environ, "PLATFORM_TOKEN": token}
    alone: list[float] = []
    together: list[float] = []
    with serving(command, environ, context.scratch / "serve.log") as line:
        client = _Client.signed_in(
            line.rpartition(" ")[2], token, example(context.scratch).directory
        )
        client.backtest_at_once(1)  # what is loaded by the first request is loaded
        for _ in range(context.rounds(3)):
            alone.append(client.backtest_at_once(1))
            together.append(client.backtest_at_once(number))
    yield Row(
        f"{number} backtests at once on a server",
        tuple(together),
        peer="one alone",
        theirs=tuple(alone),
        # What all of them wait for, such as memory, is shared.
        target=Target(1.1) if number <= cores() else None,
        remark="each has a core of its own",
    )


@dataclass(frozen=True, slots=True)
class _Client:
    """A client of the platform, with one model."""

    url: str
    token: str
    project: str
    model: str
    bundle: bytes

    @classmethod
    def signed_in(cls, url: str, refresh_token: str, directory: Path) -> _Client:
        import requests

        answer = requests.post(
            f"{url}/auth/token", data={"refreshToken": refresh_token}, timeout=30
        ).json()
        token, project = answer["idToken"], answer["data"]["user_id"]
        fields = {"projectId": project, "type": "strategy", "name": "A", "description": "B"}
        created = requests.post(
            f"{url}/model/create-model", data=fields, headers={"token": token}, timeout=30
        ).json()
        return cls(url, token, project, created["modelId"], _bundle(directory))

    def backtest_at_once(self, number: int) -> float:
        """Return how many seconds `number` simultaneous backtests take."""
        with ThreadPoolExecutor(number) as pool:
            started = time.monotonic()
            for future in [pool.submit(self._backtest) for _ in range(number)]:
                future.result()
            return time.monotonic() - started

    def _backtest(self) -> None:
        import requests

        manifest = json.loads(zipfile.ZipFile(io.BytesIO(self.bundle)).read("model/blankly.json"))
        arguments = json.dumps(manifest["backtest_args"])
        fields = {
            "projectId": self.project,
            "modelId": self.model,
            "pythonVersion": manifest["python_version"],
            "type": "strategy",
            "plan": "nano",
            "backtestDescription": "bench",
            "backtestArgs": arguments,
            "backtestingArgs": arguments,
        }
        answer = requests.post(
            f"{self.url}/model/backtest",
            data=fields,
            files={"model": ("model.zip", self.bundle)},
            headers={"token": self.token},
            timeout=_MOST_SECONDS,
        ).json()
        if not answer.get("result", {}).get("trades"):
            raise BrokenError(f"a backtest failed: {answer.get('error')}")


def _bundle(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(directory.rglob("*")):
            if path.is_file() and "price_caches" not in path.parts:
                archive.write(path, f"model/{path.relative_to(directory)}")
    return buffer.getvalue()
