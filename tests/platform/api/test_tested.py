"""The figures that a client tells of a backtest before its deploy."""

from __future__ import annotations

import json

import pytest

from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.figures import Figures
from tests.support.platform_client import Platform

TOLD = {
    "metrics": {"sharpe": 1.5, "sortino": None},
    "period": [1_677_628_800, 1_709_164_800],
    "tradesSha256": "a" * 64,
    "gates": ["sharpe >= 1"],
}


def kept(platform: Platform, model_id: str) -> list[Figures]:
    store = Store(platform.data, platform.clock)
    try:
        with store.snapshot() as snapshot:
            return snapshot.figures.latest(platform.user_id, model_id, 9)
    finally:
        store.close()


def test_they_are_kept_with_the_version(platform: Platform) -> None:
    model_id = platform.create_model()
    version = platform.deploy(model_id, tested=json.dumps(TOLD)).json()["versionId"]
    platform.deploy(model_id)
    platform.deploy(model_id, tested=" ")

    (figures,) = kept(platform, model_id)

    assert (figures.version_id, figures.backtest_id) == (version, None)
    assert figures.time == platform.clock.now
    for name, value in TOLD.items():
        assert figures.document[name] == value


def test_what_is_not_known_is_not_kept(platform: Platform) -> None:
    model_id = platform.create_model()
    told = {**TOLD, "problem": "x", "html": "<script>"}

    assert platform.deploy(model_id, tested=json.dumps(told)).status_code == 200

    assert not kept(platform, model_id)[0].document.keys() & {"problem", "html"}


@pytest.mark.parametrize(
    "told",
    [
        "no JSON",
        "[]",
        "{}",
        '{"metrics": {"sharpe": "high"}}',
        '{"metrics": {"sharpe": NaN}}',
        '{"metrics": {"sharpe": 1e999}}',
        '{"metrics": {}, "period": [1]}',
        '{"metrics": {}, "period": [1e300, 1e301]}',
        '{"metrics": {}, "covered": 7}',
        '{"metrics": {}, "tradesSha256": "<b>"}',
        '{"metrics": {}, "arguments": ' + '{"a":' * 2_000 + "1" + "}" * 2_000 + "}",
        json.dumps({**TOLD, "arguments": {"a": "x" * 17_000}}),
    ],
)
def test_what_are_no_figures_is_refused(platform: Platform, told: str) -> None:
    model_id = platform.create_model()

    answer = platform.deploy(model_id, tested=told)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("tested ")
    assert platform.versions(model_id) == []
    assert kept(platform, model_id) == []


def test_an_upload_that_is_sent_twice_is_told_once(platform: Platform) -> None:
    model_id = platform.create_model()
    platform.key = "once"

    first = platform.deploy(model_id, tested=json.dumps(TOLD)).json()
    again = platform.deploy(model_id, tested=json.dumps(TOLD)).json()

    assert first["versionId"] == again["versionId"]
    assert len(kept(platform, model_id)) == 1


def test_deleting_the_model_deletes_them(platform: Platform) -> None:
    model_id = platform.create_model()
    platform.deploy(model_id, tested=json.dumps(TOLD))

    answer = platform.post("/model/delete", projectId=platform.user_id, modelId=model_id)

    assert answer.status_code == 200
    assert kept(platform, model_id) == []
