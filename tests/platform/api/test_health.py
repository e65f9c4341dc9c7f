"""What a monitor is told."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import requests

from deploy_action.platform.api.operations.health import Health
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.storage.store import Store
from tests.support.platform_client import TIMEOUT, Clock, Platform


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
