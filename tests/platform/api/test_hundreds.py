"""Hundreds of clients at once, honest, slow and broken ones: nothing is lost or doubled."""

from __future__ import annotations

import hashlib
import random
import secrets
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.live_fleet import PROJECT, Fleet, serving_fleet
from tests.support.platform_client import make_bundle
from tests.support.torture import Rounds
from tests.support.visitor import Visitor
from tests.support.waiting import wait_for

_MODELS = ("m1", "m2")
_SECONDS = 60  # for a request where hundreds wait
_FOR_SOCKETS = 2.0  # how long the clients that do not finish stay


Act = Callable[[random.Random], None]


@dataclass
class Crowd:
    """The clients of one server, and what they were told.

    `told` are the versions of each upload, by its idempotency key, with the digest of the bundle.
    """

    fleet: Fleet
    chance: random.Random
    reader: Visitor
    told: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def come(self, kinds: dict[Act, int]) -> None:
        """Have all clients act at once, each kind as many times as said; wait for their ends."""
        acts = [act for act, number in kinds.items() for _ in range(number)]
        self.chance.shuffle(acts)
        barrier = threading.Barrier(len(acts))

        def run(act: Act, chance: random.Random) -> None:
            try:
                barrier.wait()
                act(chance)
            except BaseException as error:  # noqa: BLE001  # raised where the test looks
                self.faults.append(error)

        threads = [
            threading.Thread(target=run, args=(act, random.Random(self.chance.getrandbits(64))))  # noqa: S311
            for act in acts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.faults:
            raise self.faults[0]

    def note(self, what: str) -> None:
        with self.lock:
            self.answers[what] += 1

    def deploy(self, chance: random.Random) -> None:
        """Deploy until there is an answer, as the client of the action does; sometimes twice."""
        key = secrets.token_hex(8)
        bundle = make_bundle(noise=chance.randbytes(chance.choice((100, 20_000, 300_000))))
        fields = {"projectId": PROJECT, "modelId": chance.choice(_MODELS), "type": "strategy"}
        fields |= {"pythonVersion": "3.11", "versionDescription": key, "plan": "nano"}
        for _ in range(chance.choice((1, 1, 2))):
            while not self._is_answered(key, bundle, fields):
                time.sleep(0.2)

    def _is_answered(self, key: str, bundle: bytes, fields: dict[str, str]) -> bool:
        try:
            answer = requests.post(
                f"{self.fleet.url}/model/deploy",
                headers={**self.fleet.headers, "Idempotency-Key": key},
                data=fields,
                files={"model": ("model.zip", bundle)},
                timeout=_SECONDS,
            )
        except requests.ConnectionError:
            self.note("sent again")
            return False
        if answer.status_code == 503:
            self.note("told to wait")
            return False
        assert answer.status_code == 200, answer.text
        digest = hashlib.sha256(bundle).hexdigest()
        with self.lock:
            self.told.setdefault(key, set()).add((answer.json()["versionId"], digest))
        self.note("deploys answered")
        return True

    def read(self, chance: random.Random) -> None:
        """Read what the API says, three times."""
        for _ in range(3):
            answer = self.fleet.post(
                "/model/details", modelId=chance.choice(_MODELS), versions="1000"
            )
            assert answer.status_code == 200, answer.text
            assert all(len(each["bundle"]["sha256"]) == 64 for each in answer.json()["versions"])
            self.note("reads answered")

    def look(self, chance: random.Random) -> None:
        """Look at a page, and at another one."""
        for path in ("/", f"/{PROJECT}/{chance.choice(_MODELS)}/overview"):
            page = requests.get(
                f"{self.fleet.url}{path}", cookies=self.reader.session.cookies, timeout=_SECONDS
            )
            assert page.status_code == 200, page.text
            self.note("pages answered")

    def guess(self, chance: random.Random) -> None:
        """Upload with a wrong token."""
        answer = requests.post(
            f"{self.fleet.url}/model/deploy",
            headers={"token": chance.randbytes(16).hex()},
            files={"model": make_bundle()},
            timeout=_SECONDS,
        )
        assert answer.status_code == 401
        self.note("wrong tokens refused")

    def dawdle(self, chance: random.Random) -> None:
        """Send the start of a request byte by byte, and go before its end."""
        with self._connect() as connection, suppress(OSError):
            until = time.monotonic() + _FOR_SOCKETS
            for byte in self._upload(chance):
                connection.send(bytes([byte]))
                if time.monotonic() > until:
                    break
                time.sleep(0.05)
        self.note("slow clients")

    def break_off(self, chance: random.Random) -> None:
        """Send some of an upload, with the right token, and reset the connection."""
        upload = self._upload(chance)
        with self._connect() as connection, suppress(OSError):
            connection.sendall(upload[: chance.randrange(len(upload))])
            time.sleep(chance.choice((0, 0.1, 1)))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.note("broken connections")

    def never_read(self, chance: random.Random) -> None:
        """Ask for much, and take none of the answer."""
        head = f"GET /openapi.json HTTP/1.1\r\nHost: x{chance.random()}\r\n\r\n".encode()
        with self._connect() as connection, suppress(OSError):
            for _ in range(20):
                connection.send(head)
            time.sleep(_FOR_SOCKETS)
        self.note("clients that read nothing")

    def _connect(self) -> socket.socket:
        address = urlsplit(self.fleet.url)
        return socket.create_connection((str(address.hostname), address.port or 0), _SECONDS)

    def _upload(self, chance: random.Random) -> bytes:
        body = b"--x\r\n" + make_bundle(noise=chance.randbytes(50_000)) + b"\r\n--x--\r\n"
        return (
            f"POST /model/deploy HTTP/1.1\r\nHost: x\r\ntoken: {self.fleet.headers['token']}\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


def check_versions(fleet: Fleet, told: dict[str, set[tuple[str, str]]]) -> None:
    """Check that each upload is one version, with its bytes, and that there is no other file."""
    found = {}
    for model in _MODELS:
        answer = fleet.post("/model/details", modelId=model, versions="10000").json()
        for version in answer["versions"]:
            found[version["versionId"]] = version["description"], version["bundle"]["sha256"]
    assert all(len(versions) == 1 for versions in told.values()), "a retry made another version"
    expected = {version: (key, sha) for key, pairs in told.items() for version, sha in pairs}
    assert {version: found.get(version) for version in expected} == expected
    assert len(found) == len(expected) + len(_MODELS)
    bundles = {path.stem: path for path in (fleet.data / "bundles").iterdir()}
    assert bundles.keys() == found.keys()
    for version, (_, sha256) in found.items():
        assert hashlib.sha256(bundles[version].read_bytes()).hexdigest() == sha256


@pytest.mark.torture(quick=1)
def test_hundreds_of_clients_lose_and_double_nothing(
    tmp_path: Path, rounds: Rounds, capfd: pytest.CaptureFixture[str]
) -> None:
    """A usual run has two hundred of them, `make torture` more with each round."""
    with serving_fleet(tmp_path / "data") as fleet:
        for model in _MODELS:  # to stopped models, a version is only stored
            fleet.deploy(model)
            fleet.stop(model)
        reader = Visitor(fleet.url)
        reader.sign_in(fleet.refresh_token)
        told: dict[str, set[tuple[str, str]]] = {}
        for chance in rounds:
            crowd, factor = Crowd(fleet, chance, reader, told), min(4, rounds.figures["rounds"])
            honest = {crowd.deploy: 30, crowd.read: 20, crowd.look: 10, crowd.guess: 20}
            others = {crowd.dawdle: 50, crowd.break_off: 50, crowd.never_read: 20}
            kinds: dict[Act, int] = {
                act: factor * number for act, number in (honest | others).items()
            }
            crowd.come(kinds)
            check_versions(fleet, told)
            wait_for(lambda: not list((fleet.data / "incoming").iterdir()))
            assert requests.get(f"{fleet.url}/healthz", timeout=_SECONDS).status_code == 200
            rounds.count("clients", sum(kinds.values()))
            for what, number in crowd.answers.items():
                rounds.count(what, number)
        rounds.count("versions", len(told))
    assert "Traceback" not in capfd.readouterr().err
