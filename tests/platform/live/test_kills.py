"""A server that is killed at any moment keeps what it told, whole and once, and nothing else."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.live_fleet import BOT, PROJECT, Fleet, read_marks, serving_fleet
from tests.support.platform_client import make_bundle
from tests.support.torture import Rounds
from tests.support.waiting import is_alive, wait_for

_OWNERS = 3
_FIELDS = {"projectId": PROJECT, "pythonVersion": "3.11", "type": "strategy", "plan": "large"}


@dataclass(frozen=True)
class Sent:
    """An upload: where it went, its bytes and fields, and its idempotency key, blank for none."""

    path: str
    bundle: bytes
    fields: dict[str, str]
    key: str

    @property
    def name(self) -> str:
        """What its version is called: each upload has a name of its own."""
        found = {"/model/backtest": "backtestDescription"}.get(self.path, "versionDescription")
        return self.fields[found]


@dataclass
class Owner:
    """Somebody with one model, who remembers what was sent, and what was told.

    `sent` are all uploads by name, `unsure` those without an answer. `wish` is what the model
    should do by the last wish that was answered, None after one that was not.
    """

    fleet: Fleet
    model: str
    chance: random.Random
    sent: dict[str, Sent] = field(default_factory=dict)
    unsure: list[Sent] = field(default_factory=list)
    told: dict[str, Sent] = field(default_factory=dict)
    results: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    wish: str | None = None
    has_version: bool = False
    fault: BaseException | None = None

    def act_until_the_end(self) -> None:
        """Do one thing after the other until the server is gone."""
        acts: list[Callable[[], None]] = [
            *(self.deploy, self.deploy, self.upload, self.backtest, self.backtest),
            *(self.stop, self.start, self.look, self.delete_another),
        ]
        try:
            while True:
                self.chance.choice(acts)()
        except requests.RequestException:
            return  # the server is gone
        except BaseException as error:  # noqa: BLE001  # raised where the test looks
            self.fault = error

    def send(self, sent: Sent) -> dict[str, Any]:
        """Send an upload; note that, and the answer."""
        self.sent[sent.name] = sent
        self.unsure.append(sent)
        answer = requests.post(
            f"{self.fleet.url}{sent.path}",
            headers={**self.fleet.headers, **({"Idempotency-Key": sent.key} if sent.key else {})},
            data=sent.fields,
            files={"model": ("model.zip", sent.bundle)},
            timeout=60,
        )
        document: dict[str, Any] = answer.json()
        assert answer.status_code == 200, answer.text
        self.unsure.remove(sent)
        self.told[document["versionId"]] = sent
        return document

    def make(self, path: str, description: str, *, key: bool = False) -> Sent:
        name = secrets.token_hex(6)
        script = BOT.replace("VERSION", repr(name)).replace("SLOWNESS", "0")
        noise = self.chance.randbytes(self.chance.choice((0, 5_000, 400_000)))
        fields = {**_FIELDS, "modelId": self.model, description: name}
        bundle = make_bundle(noise=noise, **{"bot.py": script})
        return Sent(path, bundle, fields, secrets.token_hex(8) if key else "")

    def deploy(self) -> None:
        wish, self.wish = self.wish, None
        self.send(self.make("/model/deploy", "versionDescription", key=True))
        # A stopped model stays stopped; the first version of one is run.
        self.wish = "running" if not self.has_version else wish
        self.has_version = True

    def upload(self) -> None:
        self.send(self.make("/model/upload", "versionDescription"))

    def backtest(self) -> None:
        sent = self.make("/model/backtest", "backtestDescription")
        seconds = self.chance.choice((0, 0, 0.3))
        arguments = {
            "backtestArgs": "{}",
            "environment": f'{{"BACKTEST_SECONDS": "{seconds}"}}',
        }
        document = self.send(Sent(sent.path, sent.bundle, sent.fields | arguments, sent.key))
        if document["status"] == "success":
            assert document["result"] is not None
            self.results.add(document["backtestId"])

    def stop(self) -> None:
        if self.has_version:
            self.wish = None
            self.fleet.stop(self.model)
            self.wish = "stopped"

    def start(self) -> None:
        versions = [key for key, sent in self.told.items() if sent.path != "/model/backtest"]
        if versions and self.has_version:
            self.wish = None
            self.fleet.run(self.model, self.chance.choice(versions))
            self.wish = "running"

    def look(self) -> None:
        """Read what there is: nothing half-made may be shown."""
        for version in self.details()["versions"]:
            sent = self.told.get(version["versionId"])
            if sent is not None:
                assert version["bundle"]["sha256"] == hashlib.sha256(sent.bundle).hexdigest()

    def details(self) -> dict[str, Any]:
        answer = self.fleet.post("/model/details", modelId=self.model, versions="1000")
        document: dict[str, Any] = answer.json()
        return document if "versions" in document else {**document, "versions": []}

    def delete_another(self) -> None:
        """Make a model that runs, and delete it."""
        name = f"passing-{secrets.token_hex(4)}"
        self.fleet.deploy(name)
        answer = self.fleet.post("/model/delete", modelId=name)
        assert answer.status_code == 200, answer.text
        self.deleted.add(name)


@dataclass
class Kept:
    """What is in a data directory: rows by their table, and files by their folder."""

    data: Path

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        url = f"file:{self.data}/platform.sqlite?mode=ro"
        with closing(sqlite3.connect(url, uri=True)) as found:
            return found.execute(query, values).fetchall()

    def names(self, folder: str) -> set[str]:
        place = self.data / folder
        return {path.name for path in place.iterdir()} if place.is_dir() else set()

    def make_old(self) -> None:
        """Let an hour pass for what a dead server left."""
        for name in ("incoming", "bundles", "results", "logs"):
            for path in (self.data / name).glob("*"):
                os.utime(path, (0, 0))

    def check_owners(self) -> None:
        """Check that each file belongs to something that exists, and is there if it must be."""
        versions = {row[0] for row in self.rows("SELECT id FROM versions")}
        places = {str(row[0]) for row in self.rows("SELECT number FROM places")}
        with_result = "SELECT id FROM backtests WHERE status IN ('finished', 'failed')"
        assert self.names("incoming") == set()
        assert self.names("bundles") == {f"{version}.zip" for version in versions}
        assert self.names("results") <= {f"{row[0]}.json" for row in self.rows(with_result)}
        assert self.names("logs") <= versions
        assert len(self.names("runs")) == 1  # of the server that runs
        for folder in ("state", "live/copies", "live/locks"):
            assert self.names(folder) <= places, folder
        assert self.names(".") <= {
            *("platform.sqlite", "platform.sqlite-wal", "platform.sqlite-shm", ".lock", ".server"),
            *("incoming", "bundles", "results", "logs", "runs", "state", "live"),
        }


def kill(fleet: Fleet, owners: list[Owner], chance: random.Random, kept: Kept) -> int:
    """Kill the server while all act, then maybe again while it starts, and start it.

    Returns how often it was killed.
    """
    threads = [threading.Thread(target=owner.act_until_the_end) for owner in owners]
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0.05, 2.0))
    fleet.end(signal.SIGKILL)
    for thread in threads:
        thread.join()
    for owner in owners:
        if owner.fault is not None:
            raise owner.fault
    is_killed_again = chance.random() < 0.3
    if is_killed_again:
        fleet.launch()
        time.sleep(chance.uniform(0, 1.5))
        fleet.end(signal.SIGKILL)
    kept.make_old()
    fleet.start()
    return 1 + is_killed_again


def check(owner: Owner, kept: Kept) -> int:
    """Check all that an owner was told, and return how many versions that were."""
    rows = kept.rows(
        "SELECT id, description, sha256 FROM versions WHERE model_id = ? ORDER BY number",
        owner.model,
    )
    assert len({name for _, name, _ in rows}) == len(rows), "a version is there twice"
    for version_id, name, sha256 in rows:  # also those of which nobody was told
        bundle = (kept.data / "bundles" / f"{version_id}.zip").read_bytes()
        assert hashlib.sha256(bundle).hexdigest() == sha256
        assert bundle == owner.sent[name].bundle
    assert set(owner.told) <= {version_id for version_id, _, _ in rows}
    backtests = {row[0]: row[1] for row in kept.rows("SELECT id, status FROM backtests")}
    assert not {"queued", "running"} & set(backtests.values())
    for backtest_id in owner.results:
        assert backtests[backtest_id] == "finished"
        assert (kept.data / "results" / f"{backtest_id}.json").stat().st_size > 0
    return len(rows)


def retry(owner: Owner) -> int:
    """Send again what was not answered, and some that was; return how many were sent again."""
    unsure, owner.unsure = [sent for sent in owner.unsure if sent.key], []
    again = [(key, sent) for key, sent in owner.told.items() if sent.key]
    again = owner.chance.sample(again, min(2, len(again)))
    for version_id, sent in again:
        assert owner.send(sent)["versionId"] == version_id
    for sent in unsure:
        owner.send(sent)
    if unsure:
        owner.has_version, owner.wish = True, None
    return len(again) + len(unsure)


def wait_for_the_wish(owner: Owner) -> None:
    """Wait until the model does what was wished for, in one process or none."""

    def is_so() -> bool:
        live = owner.details().get("live") or {}
        return live.get("state") == live.get("wanted") and not live.get("next")

    if not owner.has_version:
        return
    if owner.wish is None:  # it may have been heard, or not
        owner.wish = owner.chance.choice(("running", "stopped"))
        if owner.wish == "running":
            owner.start()
        else:
            owner.stop()
    wait_for(is_so, pause=0.1)
    assert owner.details()["live"]["state"] == owner.wish


def living(kept: Kept, model: str) -> int:
    place = kept.rows("SELECT number FROM places WHERE model_id = ?", model)[0][0]
    marks = read_marks(kept.data).get(str(place), [])
    assert not [one for one in marks if one.what == "twice"]
    return len([one for one in marks if one.what == "begin" and is_alive(one.pid)])


def delete_what_passes(fleet: Fleet, owners: list[Owner]) -> None:
    """Delete the models of which the server was killed before it could do that."""
    names = {model["id"] for model in fleet.post("/model/list").json()}
    assert not names & {name for owner in owners for name in owner.deleted}
    for name in names - {owner.model for owner in owners}:
        assert fleet.post("/model/delete", modelId=name).status_code == 200


@pytest.mark.torture(quick=2, weight=3)
def test_a_killed_server_keeps_what_it_told_and_nothing_else(
    tmp_path: Path, rounds: Rounds
) -> None:
    kept = Kept(tmp_path / "data")
    with serving_fleet(kept.data) as fleet:
        owners = [
            Owner(fleet, f"m{number}", random.Random(number))  # noqa: S311
            for number in range(_OWNERS)
        ]
        for chance in rounds:
            for owner in owners:
                owner.chance.seed(chance.getrandbits(64))
            rounds.count("kills", kill(fleet, owners, chance, kept))
            for owner in owners:
                check(owner, kept)
                rounds.count("sent again", retry(owner))
                wait_for_the_wish(owner)
                if owner.has_version:
                    assert living(kept, owner.model) == (owner.wish == "running"), owner.model
                rounds.count("versions checked", check(owner, kept))
            delete_what_passes(fleet, owners)
            kept.check_owners()
        rounds.count("versions told", sum(len(owner.told) for owner in owners))
        rounds.count("results told", sum(len(owner.results) for owner in owners))
        rounds.count("models deleted", sum(len(owner.deleted) for owner in owners))
