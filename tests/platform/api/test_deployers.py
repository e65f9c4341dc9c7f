"""Who says to have deployed a version, and by which run."""

from __future__ import annotations

import pytest

from tests.support.platform_client import Platform

RUN = "https://forge.example:3000/trader/models/actions/runs/17"


def test_who_deployed_a_version_is_told(platform: Platform) -> None:
    model_id = platform.create_model()
    platform.deploy(model_id, deployedBy="  ada ", runUrl=RUN)
    platform.deploy(model_id)

    first, second = platform.versions(model_id)
    assert (first["deployedBy"], first["runUrl"]) == ("ada", RUN)
    assert (second["deployedBy"], second["runUrl"]) == (None, None)


def test_an_upload_tells_it_too(platform: Platform) -> None:
    model_id = platform.create_model()
    platform._upload(  # noqa: SLF001  # as `deploy` does
        "/model/upload",
        None,
        {"pythonVersion": "3.10", "versionDescription": "Kept", "projectId": platform.user_id,
         "modelId": model_id, "type": "strategy", "deployedBy": "ada", "runUrl": RUN},
    )  # fmt: skip

    (only,) = platform.versions(model_id)
    assert (only["deployedBy"], only["runUrl"]) == ("ada", RUN)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "//evil.example/x", "ftp://forge.example/x",
     "https://", "https://user:pass@forge.example/x", "https://forge.example\\@evil.example/",
     "https://forge.example/a b", "https://forge.example/\n", "HTTPS://forge.example/",
     f"https://forge.example/{'x' * 500}", "https://forge.example/\u202e"],
)  # fmt: skip
def test_the_page_of_a_run_is_a_web_address(platform: Platform, url: str) -> None:
    model_id = platform.create_model()
    answer = platform.deploy(model_id, runUrl=f"{url}x" if url.endswith("\n") else url)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("runUrl must be an address")
    assert platform.versions(model_id) == []


def test_the_name_of_a_deployer_is_short(platform: Platform) -> None:
    model_id = platform.create_model()

    assert platform.deploy(model_id, deployedBy="x" * 101).status_code == 400
    assert platform.deploy(model_id, deployedBy="x" * 100).status_code == 200
