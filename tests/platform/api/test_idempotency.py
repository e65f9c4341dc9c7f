"""Uploads that are sent more than once with one key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.platform_client import Platform, make_bundle

BUNDLE = make_bundle()  # once: a zip holds the time when it was made


def deploy(
    platform: Platform, model_id: str | None, key: str, bundle: bytes = BUNDLE, **fields: str
) -> requests.Response:
    platform.key = key
    return platform.deploy(model_id, bundle, **fields)


def test_one_version_is_stored_for_one_key(platform: Platform) -> None:
    model_id = platform.create_model()
    answers = [deploy(platform, model_id, key) for key in ('"a"', "a", '"a"')]
    assert [one.status_code for one in answers] == [200, 200, 200]
    assert len({one.text for one in answers}) == 1
    assert len(platform.versions(model_id)) == 1
    assert platform.left_behind() == [f"{answers[0].json()['versionId']}.zip"]


def test_one_version_is_stored_for_simultaneous_uploads(platform: Platform) -> None:
    model_id = platform.create_model()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: deploy(platform, model_id, "k"), range(24)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["versionId"] for one in answers}) == 1
    assert len(platform.versions(model_id)) == 1
    assert len(platform.left_behind()) == 1


def test_one_model_is_created_for_one_key(platform: Platform) -> None:
    answers = [
        deploy(platform, None, "k", createNew="true", name="New", generalDescription="")
        for _ in range(2)
    ]
    assert len({one.json()["modelId"] for one in answers}) == 1
    assert len(platform.post("/model/list", projectId=platform.user_id).json()) == 1


def test_another_key_or_none_is_another_version(platform: Platform) -> None:
    model_id = platform.create_model()
    for key in ("a", "b", "", ""):
        assert deploy(platform, model_id, key).status_code == 200
    assert len(platform.versions(model_id)) == 4


def test_a_key_of_another_bundle_is_refused(platform: Platform) -> None:
    model_id = platform.create_model()
    deploy(platform, model_id, "k")
    answer = deploy(platform, model_id, "k", make_bundle(bot="other"))
    assert answer.status_code == 400
    assert answer.json() == {"error": "Another upload was stored with this Idempotency-Key"}
    assert len(platform.left_behind()) == 1


@pytest.mark.parametrize(
    "changes", [{"plan": "micro"}, {"pythonVersion": "3.9"}, {"versionDescription": "Other"}]
)
def test_a_key_of_another_request_is_refused(platform: Platform, changes: dict[str, str]) -> None:
    model_id = platform.create_model()
    deploy(platform, model_id, "k")
    assert platform.deploy(model_id, BUNDLE, **changes).status_code == 400


def test_a_key_of_another_model_is_refused(platform: Platform) -> None:
    one, other = platform.create_model(), platform.create_model()
    deploy(platform, one, "k")
    assert deploy(platform, other, "k").status_code == 400
    assert platform.versions(other) == []


def test_a_long_key_is_refused(platform: Platform) -> None:
    answer = deploy(platform, platform.create_model(), "k" * 201)
    assert answer.status_code == 400
    assert "longer than 200 characters" in answer.json()["error"]
    assert platform.left_behind() == []


def test_the_key_is_described(platform: Platform) -> None:
    document = platform.get("/openapi.json").json()
    (parameter,) = document["paths"]["/model/deploy"]["post"]["parameters"]
    assert (parameter["name"], parameter["in"]) == ("Idempotency-Key", "header")
