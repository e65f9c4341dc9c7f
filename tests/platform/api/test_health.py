"""What a monitor is told, and what a client is told when the disk is full."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
import requests

from deploy_action.platform.api.operations.health import Health
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.storage.store import Store
from tests.support.platform_client import TIMEOUT, Clock, Platform, make_bundle
from tests.support.serve_command import serve_command


def test_a_platform_that_works_says_so_to_anybody(platform: Platform) -> None:
    answer = requests.get(f"{platform.server.url}/healthz", timeout=TIMEOUT)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_store_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    store = Store(tmp_path / "data", Clock())
    store.close()  # the next reader connects anew
    (tmp_path / "data" / "platform.sqlite").write_bytes(secrets.token_bytes(8192))
    with pytest.raises(ApiError, match="the store cannot be read: file is not a database"):
        Health(store).report_health(Request({}))


def test_what_another_part_tells_is_the_reason(tmp_path: Path) -> None:
    store = Store(tmp_path / "data", Clock())
    with pytest.raises(ApiError, match="the reconciler has stopped") as raised:
        Health(store, [lambda: "the reconciler has stopped"]).report_health(Request({}))
    assert raised.value.status == 503
    store.close()


def test_many_who_ask_at_once_cost_one_look(tmp_path: Path) -> None:
    looks: list[None] = []
    store = Store(tmp_path / "data", Clock())
    health = Health(store, [lambda: looks.append(None)])
    for _ in range(3):
        health.report_health(Request({}))
    assert len(looks) == 1
    store.close()


def test_an_upload_that_does_not_fit_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    """The limit on the size of files stands in for a full disk."""
    data, token = tmp_path / "data", secrets.token_hex(16)
    with serve_command(
        data, environ={"PLATFORM_TOKEN": token}, most_kibibytes_per_file=1024
    ) as served:
        platform = Platform(served, data, token, Clock())  # type: ignore[arg-type]  # has a URL
        platform.sign_in()
        model_id = platform.create_model()
        small, large = (make_bundle(noise=os.urandom(size)) for size in (1 << 10, 2 << 20))
        full = platform.deploy(model_id, large)
        assert full.status_code == 507
        assert full.json()["error"].startswith("The disk of the server is full, so nothing was")
        assert platform.versions(model_id) == []
        assert platform.left_behind() == []
        assert platform.deploy(model_id, small).status_code == 200
