"""A client of the embedded platform, and the zips it uploads."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import requests

from deploy_action.platform.server import PlatformServer

TIMEOUT = 120


def make_bundle(**files: str | bytes) -> bytes:
    """Return a bundle with `files`, named below the model's directory, and a manifest.

    The same files are the same bytes, whenever it is made.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {"blankly.json": '{"type": "strategy"}', **files}.items():
            entry = zipfile.ZipInfo(f"model/{name}")
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


@dataclass(slots=True, eq=False)  # one is itself only, and can be a key
class Clock:
    """A clock that the test sets."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Platform:
    """A running platform with a client that is signed in, and sends `key` with each request."""

    server: PlatformServer
    data: Path
    refresh_token: str
    clock: Clock
    errors: list[str] = field(default_factory=list)
    id_token: str = ""
    user_id: str = ""
    key: str = ""

    def sign_in(self) -> None:
        answer = requests.post(
            f"{self.server.url}/auth/token",
            data={"refreshToken": self.refresh_token},
            timeout=TIMEOUT,
        ).json()
        self.id_token = answer["idToken"]
        self.user_id = answer["data"]["user_id"]

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.server.url}{path}", headers=self.headers, timeout=TIMEOUT)

    def post(self, path: str, **fields: str) -> requests.Response:
        return requests.post(
            f"{self.server.url}{path}", headers=self.headers, data=fields, timeout=TIMEOUT
        )

    def post_json(self, path: str, **fields: object) -> requests.Response:
        return requests.post(
            f"{self.server.url}{path}", headers=self.headers, json=fields, timeout=TIMEOUT
        )

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers of every request except the token exchange."""
        key = {"Idempotency-Key": self.key} if self.key else {}
        return {"token": self.id_token, **key}

    def create_model(self, model_type: str = "strategy") -> str:
        """Return the id of a new model in the personal project."""
        answer = self.post(
            "/model/create-model",
            projectId=self.user_id,
            type=model_type,
            name="Golden cross",
            description="Buys",
        )
        model_id: str = answer.json()["modelId"]
        return model_id

    def deploy(
        self, model_id: str | None, bundle: bytes | None = None, **changes: str | None
    ) -> requests.Response:
        """Deploy a bundle; `changes` replace fields, None removes one."""
        fields = {
            "pythonVersion": "3.10",
            "versionDescription": "Raise the stop",
            "projectId": self.user_id,
            "modelId": model_id,
            "type": "strategy",
            "plan": "nano",
        }
        return self._upload("/model/deploy", bundle, fields | changes)

    def backtest(
        self, model_id: str | None, bundle: bytes | None = None, **changes: str | None
    ) -> requests.Response:
        """Backtest a bundle; `changes` replace fields, None removes one."""
        fields = {
            "pythonVersion": "3.10",
            "backtestDescription": "Raise the stop",
            "projectId": self.user_id,
            "modelId": model_id,
            "type": "strategy",
            "plan": "nano",
            "backtestArgs": '{"to": "1y"}',
            "backtestingArgs": '{"to": "1y"}',
        }
        return self._upload("/model/backtest", bundle, fields | changes)

    def _upload(
        self, path: str, bundle: bytes | None, fields: Mapping[str, str | None]
    ) -> requests.Response:
        return requests.post(
            f"{self.server.url}{path}",
            headers=self.headers,
            data={name: value for name, value in fields.items() if value is not None},
            files={"model": ("model.zip", make_bundle() if bundle is None else bundle)},
            timeout=TIMEOUT,
        )

    def versions(self, model_id: str) -> list[dict[str, object]]:
        document = self.details(model_id)
        found: list[dict[str, object]] = document["versions"]  # type: ignore[assignment]  # JSON
        return found

    def backtests(self, model_id: str, **asked: str) -> list[dict[str, object]]:
        document = self.details(model_id, **asked)
        found: list[dict[str, object]] = document["backtests"]  # type: ignore[assignment]  # JSON
        return found

    def with_windows(self, model_id: str) -> list[dict[str, object]]:
        """Return the backtests of a model, and then the windows of each."""
        wholes = self.backtests(model_id)
        windows = [self.backtests(model_id, windowOf=str(whole["backtestId"])) for whole in wholes]
        return [*wholes, *chain.from_iterable(windows)]

    def details(self, model_id: str, **asked: str) -> dict[str, object]:
        answer = self.post("/model/details", projectId=self.user_id, modelId=model_id, **asked)
        assert answer.status_code == 200, answer.text
        document: dict[str, object] = answer.json()
        return document

    def left_behind(self) -> list[str]:
        """Return the names of all uploaded files in the data directory."""
        return sorted(
            path.name for name in ("incoming", "bundles") for path in (self.data / name).iterdir()
        )
