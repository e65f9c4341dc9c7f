from __future__ import annotations

import pytest

from deploy_action.deployment_api.answers import time_of
from deploy_action.deployment_api.live import parse_model
from deploy_action.live.deployed import Standing
from tests.support.live_server import NEW, OLD, details, live, version

AT = 1_795_864_881.0


@pytest.mark.parametrize(
    "written",
    [
        1_795_864_881,
        AT,
        1_795_864_881_000,
        "2026-11-28T11:21:21+00:00",
        "2026-11-28T11:21:21Z",
        "2026-11-28T12:21:21.000+01:00",
        "2026-11-28T11:21:21",
    ],
)
def test_a_time_is_read_however_a_server_writes_it(written: object) -> None:
    assert time_of({"timestamp": written}, "at", "timestamp") == AT


@pytest.mark.parametrize("written", [None, True, "", "yesterday", [1], {"seconds": 1}])
def test_anything_else_is_no_time(written: object) -> None:
    assert time_of({"timestamp": written}, "timestamp") is None


NEXT = {"versionId": NEW, "state": "preparing"}


@pytest.mark.parametrize(
    ("living", "progress", "standing"),
    [
        (live("running", OLD, next=NEXT), "preparing", Standing.COMING),
        # What ran before may be asked to run again.
        (live("running", OLD, next=NEXT), "ran", Standing.COMING),
        (live("stopping", OLD, next=NEXT, wanted="running"), "preparing", Standing.COMING),
        (live("preparing"), "preparing", Standing.COMING),
        (live("preparing"), "starting", Standing.COMING),
        (live("running"), "ran", Standing.UP),
        (live("scheduled"), "ran", Standing.UP),
        (live("finished"), "ran", Standing.ENDED),
        (live("finished"), "failed", Standing.DOWN),
        (live("restarting"), "ran", Standing.DOWN),
        (live("failed"), "failed", Standing.DOWN),
        (live("failed"), "ran", Standing.DOWN),
        (live("stopping"), "ran", Standing.COMING),
        (live("stopped"), "cancelled", Standing.CANCELLED),
        (live("stopped"), "ran", Standing.CANCELLED),
        (live("stopped", None), "cancelled", Standing.CANCELLED),
        (live("stopped", OLD), "stored", Standing.STORED),
        (live("stopped"), "stored", Standing.STORED),
        (live("running", OLD), "failed", Standing.DOWN),
        (live("running", OLD), "superseded", Standing.SUPERSEDED),
        (live("running", OLD), "cancelled", Standing.CANCELLED),
        (live("running", OLD), "ran", Standing.SUPERSEDED),
        (None, "preparing", Standing.COMING),
        (None, "failed", Standing.DOWN),
        (live("a new state"), "a new word", Standing.COMING),
    ],
)
def test_what_became_of_a_version(
    living: dict[str, object] | None, progress: str, standing: Standing
) -> None:
    body = details(living, version(OLD, "ran"), version(NEW, progress)).body
    assert isinstance(body, dict)
    assert parse_model(body).standing(NEW) is standing


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"live": None},
        {"live": 7, "versions": 7},
        {"live": [], "versions": [None, 7, {}, {"versionId": ""}]},
        {"live": {"state": 7, "restarts": "x", "next": 7, "since": []}, "versions": {}},
        {"live": {"state": "running", "versionId": "\n", "callbackErrors": -1, "exitCode": True}},
    ],
)
def test_malformed_details_are_not_trusted(body: dict[str, object]) -> None:
    model = parse_model(body)
    assert model.tells_life == isinstance(body.get("live", 7), dict | None)
    assert model.versions == {}
    assert model.standing(NEW) is Standing.COMING
    if model.live is not None:
        assert model.live.restarts == model.live.callback_errors == 0
        assert model.live.exit_code is None
