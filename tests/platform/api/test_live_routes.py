from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from deploy_action.platform.live.status import settings_digest
from deploy_action.platform.storage.records import State
from tests.support.platform_client import Platform, make_bundle
from tests.support.scripted_live_server import LivePlatform
from tests.support.waiting import wait_for

REPOSITORY = {"commitRepository": "https://example.com/mine"}


def _commit(day: int, **more: str) -> dict[str, str]:
    """Return the fields of a commit of a day in May."""
    committed_at = f"2024-05-{day:02}T12:00:00+02:00"
    return {"commit": f"{day:040}", "committedAt": committed_at, **REPOSITORY, **more}


def _run(live: LivePlatform, model_id: str, version_id: str, **fields: str) -> Any:
    return live.post(
        "/model/run", projectId=live.user_id, modelId=model_id, versionId=version_id, **fields
    )


def _kill(live: LivePlatform, model_id: str) -> None:
    answer = live.post("/model/kill", projectId=live.user_id, modelId=model_id)
    assert (answer.status_code, answer.content) == (200, b"")


def _upload(live: LivePlatform, model_id: str, **fields: str) -> Any:
    return live._upload(  # noqa: SLF001  # as `deploy` does
        "/model/upload",
        None,
        {"pythonVersion": "3.10", "versionDescription": "Kept", "projectId": live.user_id,
         "modelId": model_id, "type": "strategy", **fields},
    )  # fmt: skip


# ------------------------------------------------------------------ a deployed model


def test_a_deploy_runs_and_is_described(live: LivePlatform) -> None:
    """From `preparing` to `running`, with the keys of the contract."""
    model_id, bundle = live.create_model(), make_bundle()
    assert live.details(model_id)["live"] is None
    live.parts.host.may_prepare.clear()
    answer = live.deploy(model_id, bundle, **_commit(7)).json()
    assert (answer["status"], answer["state"]) == ("success", "preparing")
    described = live.live(model_id)
    assert (described["state"], described["versionId"]) == ("preparing", answer["versionId"])
    live.parts.host.may_prepare.set()
    wait_for(lambda: live.parts.host.instances)
    live.instance.report("starting")
    live.instance.report("started")
    live.wait_for_state(model_id, State.RUNNING)

    document = live.details(model_id)
    version = live.parts.store.snapshot
    with version() as snapshot:
        (stored,) = snapshot.versions(live.user_id, model_id)
    assert document["live"] == {
        "state": "running",
        "versionId": answer["versionId"],
        "since": "2023-11-14T22:13:20.000+00:00",
        "restarts": 0,
        "exitCode": None,
        "problem": None,
        "callbackErrors": 0,
        "lastOutputAt": None,
        "bundleSha256": hashlib.sha256(bundle).hexdigest(),
        "settingsSha256": settings_digest(stored, "strategy"),
        "commit": f"{7:040}",
        "wanted": "running",
        "startVersionId": answer["versionId"],
        "previousVersionId": None,
        "next": None,
        "nextRunAt": None,
        "strategyStarted": True,
        "callbacksFail": False,
        "callbacksFailSince": None,
    }
    assert document["deployedVersion"] == answer["versionId"]
    assert document["deployedBy"] == live.user_id
    assert document["lifecycleStatus"] == {
        "message": "Monitoring Active",
        "startAt": "2023-11-14T22:13:20+00:00",
        "endAt": None,
        "running": True,
    }
    (listed,) = live.versions(model_id)
    assert (listed["progress"], listed["problem"], listed["commit"]) == ("ran", None, f"{7:040}")


def test_a_next_version_is_prepared_while_the_old_one_runs(live: LivePlatform) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    live.parts.host.may_prepare.clear()
    second = live.deploy(model_id).json()["versionId"]
    described = live.live(model_id)
    assert (described["state"], described["versionId"]) == ("running", first)
    assert described["next"] == {"versionId": second, "state": "preparing"}
    live.parts.host.may_prepare.set()
    wait_for(lambda: live.live(model_id)["versionId"] == second)


def test_a_model_is_stopped_and_stays_so(live: LivePlatform) -> None:
    """A deploy to it is stored, and its answer says so."""
    model_id = live.create_model()
    first = live.run_a_version(model_id)
    _kill(live, model_id)
    live.wait_for_state(model_id, State.STOPPED)
    answer = live.deploy(model_id).json()
    described = live.live(model_id)
    assert answer["state"] == "stopped"
    assert (described["state"], described["versionId"]) == ("stopped", first)
    assert described["startVersionId"] == answer["versionId"]
    assert live.parts.host.running == []


def test_what_happens_is_told_by_the_platform(live: LivePlatform) -> None:
    """A model cannot forge that, and its own flood does not displace it."""
    model_id = live.create_model()
    live.run_a_version(model_id)
    for _ in range(3_000):
        fields = {"message": "All is well"}
        live.parts.reports.take(live.user_id, model_id, "model/lifecycle", fields, 1.0)
    live.instance.end(3)
    live.wait_for_state(model_id, State.RESTARTING)
    wait_for(lambda: live.details(model_id)["reportsLost"])

    def told() -> list[str]:
        events: Any = live.details(model_id)["events"]
        return [event["text"] for event in events if event["source"] == "platform"]

    wait_for(lambda: any("ended" in text for text in told()))
    assert "All is well" not in told()
    events: Any = live.details(model_id)["events"]
    assert any(event["source"] == "model" for event in events)
    assert live.details(model_id)["lifecycleStatus"] == {
        "message": "Process Exited",
        "startAt": None,
        "endAt": "2023-11-14T22:13:20+00:00",
        "running": False,
    }


def test_an_earlier_version_runs_again(live: LivePlatform) -> None:
    model_id = live.create_model()
    first, second = live.run_a_version(model_id), live.run_a_version(model_id)
    assert live.live(model_id)["previousVersionId"] == first
    answer = _run(live, model_id, first, plan="nano", type="strategy", environment='{"A": "b"}')
    assert (answer.status_code, answer.json()) == (200, {})
    wait_for(lambda: live.instance.launch.version_id == first)
    assert live.instance.launch.environment == {"A": "b"}
    assert second in live.parts.host.asked


def test_a_scheduled_screener_is_run_now(live: LivePlatform) -> None:
    model_id = live.create_model("screener")
    answer = live.deploy(model_id, type="screener", schedule="0  0 1 1 *").json()
    live.wait_for_state(model_id, State.SCHEDULED)
    wait_for(lambda: live.live(model_id)["nextRunAt"] == "2024-01-01T00:00:00+00:00")
    assert live.details(model_id)["schedule"] == "0 0 1 1 *"
    before = len(live.parts.host.instances)
    assert _run(live, model_id, answer["versionId"], schedule="0 0 1 1 *").status_code == 200
    wait_for(lambda: len(live.parts.host.instances) > before)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"versionId": "none"}, "This versionId was not found under this model."),
        ({"modelId": "none"}, "This modelId was not found under this project."),
        ({"projectId": "none"}, "Invalid permission."),
        ({"type": "screener"}, "The specified type does not match the model type."),
        ({"plan": "giant"}, "There is no plan 'giant'."),
        ({"plan": "micro"}, "The plan of this version is nano."),
        ({"schedule": "* * * * *"}, "The schedule of this version is none."),
        ({"environment": '{"BLANKLY_X": "1"}'}, "BLANKLY_X"),
        ({"environment": "[]"}, "environment is not a JSON object"),
    ],
)
def test_nothing_else_is_run(live: LivePlatform, fields: dict[str, str], message: str) -> None:
    model_id = live.create_model()
    version_id = live.run_a_version(model_id)
    all_fields = {"projectId": live.user_id, "modelId": model_id, "versionId": version_id}
    answer = live.post("/model/run", **(all_fields | fields))
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert len(live.parts.host.instances) == 1


def test_a_version_of_a_backtest_is_not_run(live: LivePlatform) -> None:
    model_id = live.create_model()
    version_id = live.backtest(model_id).json()["versionId"]
    assert "versionId was not found" in _run(live, model_id, version_id).json()["error"]


def test_an_upload_is_stored_and_can_be_run(live: LivePlatform) -> None:
    """It gets its plan when it is run."""
    model_id = live.create_model()
    answer = _upload(live, model_id, environment='{"KEY": "secret-value"}').json()
    version_id = answer["versionId"]
    assert answer == {
        "status": "success",
        "versionId": version_id,
        "createdAt": "2023-11-14T22:13:20+00:00",
        "projectId": live.user_id,
        "versionDescription": "Kept",
        "modelId": model_id,
    }
    document = live.details(model_id)
    (listed,) = live.versions(model_id)
    assert (document["live"], document["deployedVersion"]) == (None, None)
    assert (listed["status"], listed["progress"]) == ("uploaded", "stored")
    assert listed["environment"] == ["KEY"]
    assert "secret-value" not in json.dumps(document)
    assert "without a plan" in _run(live, model_id, version_id).json()["error"]
    assert _run(live, model_id, version_id, plan="small").status_code == 200
    wait_for(lambda: live.parts.host.instances)
    launch = live.instance.launch
    assert (launch.plan, launch.cpu, launch.environment) == ("small", 1000, {"KEY": "secret-value"})


# ------------------------------------------------------------------ older, unchanged


def test_an_older_commit_is_refused(live: LivePlatform) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id, None, **_commit(7))
    answer = live.deploy(model_id, None, **_commit(6))
    assert answer.status_code == 400
    assert answer.json()["code"] == "older"
    assert "(0000000, of 2024-05-06T10:00:00+00:00) is older" in answer.json()["error"]
    assert len(live.versions(model_id)) == 1
    assert len(live.left_behind()) == 1


@pytest.mark.parametrize(
    "fields",
    [
        _commit(6, allowOlder="true"),
        _commit(6, commitRepository="https://example.com/other"),
        _commit(6, commitRepository=""),
        _commit(6, committedAt=""),
        _commit(7),
        _commit(8),
        {},
    ],
)
def test_what_is_not_known_to_be_older_is_deployed(
    live: LivePlatform, fields: dict[str, str]
) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id, None, **_commit(7))
    assert live.deploy(model_id, None, **fields).status_code == 200


def test_a_commit_may_not_be_older_than_one_that_waits(live: LivePlatform) -> None:
    """Than one that is being prepared, or was stored because the model is stopped."""
    model_id = live.create_model()
    live.run_a_version(model_id, None, **_commit(1))
    live.parts.host.may_prepare.clear()
    live.deploy(model_id, None, **_commit(9))
    assert live.deploy(model_id, None, **_commit(8)).json()["code"] == "older"
    _kill(live, model_id)
    assert live.deploy(model_id, None, **_commit(7)).json()["state"] == "stopped"
    assert live.deploy(model_id, None, **_commit(6)).json()["code"] == "older"
    live.parts.host.may_prepare.set()


def test_after_a_rollback_the_next_commit_is_deployed(live: LivePlatform) -> None:
    model_id = live.create_model()
    first = live.run_a_version(model_id, None, **_commit(1))
    live.run_a_version(model_id, None, **_commit(3))
    _run(live, model_id, first)
    wait_for(lambda: live.live(model_id)["versionId"] == first)
    assert live.deploy(model_id, None, **_commit(2)).status_code == 200


@pytest.mark.parametrize("bad", ["yesterday", "1715000000", "2024-05-06T10:00:00"])
def test_the_time_of_a_commit_has_a_zone(live: LivePlatform, bad: str) -> None:
    answer = live.deploy(live.create_model(), None, **_commit(1, committedAt=bad))
    assert "committedAt must be a time as in ISO 8601" in answer.json()["error"]


def test_what_runs_unchanged_is_not_deployed_again(live: LivePlatform) -> None:
    """And it counts as the later commit from then on."""
    model_id, bundle = live.create_model(), make_bundle()
    environment = {"environment": '{"B": "2", "A": "1"}'}
    version_id = live.run_a_version(model_id, bundle, **environment, **_commit(3))
    environment = {"environment": '{"A": "1", "B": "2"}'}
    answer = live.deploy(model_id, bundle, unchanged="skip", **environment, **_commit(9)).json()
    assert (answer["status"], answer["versionId"]) == ("unchanged", version_id)
    assert answer["state"] == "running"
    assert len(live.versions(model_id)) == 1
    assert len(live.left_behind()) == 1
    assert live.live(model_id)["commit"] == f"{9:040}"
    answer = live.deploy(model_id, make_bundle(new=""), unchanged="skip", **_commit(5))
    assert answer.json()["code"] == "older"


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": '{"A": "2"}'},
        {"environment": "{}"},
        {"plan": "micro"},
        {"pythonVersion": "3.11"},
        {"unchanged": ""},
        {"unchanged": "deploy"},
    ],
)
def test_what_is_changed_is_deployed(live: LivePlatform, changes: dict[str, str]) -> None:
    model_id, bundle = live.create_model(), make_bundle()
    fields = {"environment": '{"A": "1"}', "unchanged": "skip"}
    live.run_a_version(model_id, bundle, **fields)
    answer = live.deploy(model_id, bundle, **(fields | changes)).json()
    assert (answer["status"], len(live.versions(model_id))) == ("success", 2)


def test_other_bytes_are_deployed(live: LivePlatform) -> None:
    model_id = live.create_model()
    live.run_a_version(model_id)
    assert live.deploy(model_id, make_bundle(a="b"), unchanged="skip").json()["status"] == "success"


def test_what_does_not_run_is_deployed_though_it_is_unchanged(live: LivePlatform) -> None:
    """Such as one that is stopped, and one that another version is about to replace."""
    model_id = live.create_model()
    first = make_bundle()
    live.run_a_version(model_id, first)
    live.parts.host.may_prepare.clear()
    live.deploy(model_id, make_bundle(a="b"))
    assert live.deploy(model_id, first, unchanged="skip").json()["status"] == "success"
    _kill(live, model_id)
    live.wait_for_state(model_id, State.STOPPED)
    answer = live.deploy(model_id, first, unchanged="skip").json()
    assert (answer["status"], answer["state"]) == ("success", "stopped")
    live.parts.host.may_prepare.set()


def test_unchanged_is_skip_or_deploy(live: LivePlatform) -> None:
    answer = live.deploy(live.create_model(), unchanged="maybe")
    assert answer.json()["error"] == "unchanged must be deploy or skip"


def test_an_upload_that_is_repeated_keeps_its_variables(live: LivePlatform) -> None:
    """With the same key but other variables, it is another upload."""
    model_id, bundle = live.create_model(), make_bundle()
    live.key = "k"
    first = live.deploy(model_id, bundle, environment='{"A": "1"}').json()
    assert live.deploy(model_id, bundle, environment='{"A": "1"}').json() == first
    assert (
        "Another upload" in live.deploy(model_id, bundle, environment='{"A": "2"}').json()["error"]
    )


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("path", ["/model/deploy", "/model/upload"])
@pytest.mark.parametrize("python", ["2.7", "4", "4.0", "3", "3.1", "3.6", "three", "", "3.10;x"])
def test_a_nonsensical_python_is_refused(live: LivePlatform, path: str, python: str) -> None:
    model_id = live.create_model()
    fields = {"pythonVersion": python}
    is_deploy = path == "/model/deploy"
    answer = (
        live.deploy(model_id, None, **fields) if is_deploy else _upload(live, model_id, **fields)
    )
    assert answer.status_code == 400
    assert "models run on Python 3.7 or later" in answer.json()["error"]
    assert live.versions(model_id) == []
    assert live.left_behind() == []


@pytest.mark.parametrize("python", ["3.7", "3.12", "3.10.4", " 3.11 "])
def test_a_python_that_may_not_be_here_is_another_matter(live: LivePlatform, python: str) -> None:
    assert live.deploy(live.create_model(), pythonVersion=python).status_code == 200


@pytest.mark.parametrize("path", ["/model/deploy", "/model/upload"])
@pytest.mark.parametrize(
    "schedule", ["hourly", "@daily", "61 * * * *", "* * * * * *", "x" * 5_000, "0 0 31 2 *x"]
)
def test_a_nonsensical_schedule_is_refused(live: LivePlatform, path: str, schedule: str) -> None:
    model_id = live.create_model("screener")
    fields = {"type": "screener", "schedule": schedule}
    is_deploy = path == "/model/deploy"
    answer = (
        live.deploy(model_id, None, **fields) if is_deploy else _upload(live, model_id, **fields)
    )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("The schedule '")
    assert len(answer.json()["error"]) < 300


def test_a_strategy_has_no_schedule(live: LivePlatform) -> None:
    model_id = live.create_model()
    live.deploy(model_id, schedule="nonsense")
    assert live.versions(model_id)[0]["schedule"] is None


# ------------------------------------------------------------------ deletion


def test_a_deleted_model_is_stopped_and_gone(live: LivePlatform) -> None:
    model_id, other = live.create_model(), live.create_model()
    version_id = live.run_a_version(model_id, environment='{"A": "1"}')
    live.backtest(model_id)
    live.backtest(other)
    live.parts.store.logs.open(version_id).write("out", "hello")
    answer = live.post("/model/delete", projectId=live.user_id, modelId=model_id)
    assert (answer.status_code, answer.content) == (200, b"")
    assert live.parts.host.running == []
    assert live.parts.host.forgotten == ["1"]
    answer = live.post("/model/details", projectId=live.user_id, modelId=model_id)
    assert "not found" in answer.json()["error"]
    assert len(live.left_behind()) == 1
    assert version_id not in live.parts.store.logs.versions()
    assert len(list((live.data / "results").iterdir())) == 1
    with closing(sqlite3.connect(live.data / "platform.sqlite")) as connection:
        for table in ("lives", "ran", "environments", "reports"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table  # noqa: S608  # names
    assert len(live.backtests(other)) == 1


def test_a_project_is_deleted_with_its_models(live: LivePlatform) -> None:
    project_id = live.post("/project/create", name="Fund", description="").json()["projectId"]
    fields = {"projectId": project_id, "name": "n", "description": "d", "type": "strategy"}
    model_id = live.post("/model/create-model", **fields).json()["modelId"]
    live.deploy(model_id, projectId=project_id)
    live.post("/project/generate-project-token", **fields)
    wait_for(lambda: live.parts.host.instances)
    answer = live.post("/project/delete", projectId=project_id)
    assert (answer.status_code, answer.content) == (200, b"")
    assert live.parts.host.running == []
    assert len(live.get("/project/list").json()) == 1
    assert live.left_behind() == []


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/model/kill", {"projectId": "none", "modelId": "m"}, "Invalid permission."),
        ("/model/kill", {"modelId": "m"}, "This modelId was not found"),
        ("/model/delete", {"projectId": "none", "modelId": "m"}, "Invalid permission."),
        ("/model/delete", {"modelId": "m"}, "This modelId was not found"),
        ("/project/delete", {"projectId": "none"}, "Invalid permission."),
        ("/project/delete", {}, "The personal project cannot be deleted."),
    ],
)
def test_what_is_not_there_is_neither_stopped_nor_deleted(
    live: LivePlatform, path: str, fields: dict[str, str], message: str
) -> None:
    answer = live.post(path, **({"projectId": live.user_id} | fields))
    assert answer.status_code == 400
    assert message in answer.json()["error"]


# ------------------------------------------------------------------ where nothing runs


def test_a_platform_inside_a_job_says_that_nothing_runs(lenient: Platform) -> None:
    answer = lenient.deploy("m").json()
    assert answer["state"] == "stopped"
    live = lenient.details("m")["live"]
    assert isinstance(live, dict)
    assert (live["state"], live["wanted"]) == ("stopped", "stopped")
    assert (live["versionId"], live["startVersionId"]) == (answer["versionId"], None)
    assert live["problem"] == "nothing runs here after the job"


@pytest.mark.parametrize("path", ["/model/run", "/model/kill"])
def test_a_platform_inside_a_job_starts_and_stops_nothing(lenient: Platform, path: str) -> None:
    version_id = lenient.deploy("m").json()["versionId"]
    fields = {"projectId": lenient.user_id, "modelId": "m", "versionId": version_id}
    answer = lenient.post(path, **fields)
    assert answer.status_code == 400
    assert "it runs inside a job, and nothing runs after that" in answer.json()["error"]


def test_a_platform_inside_a_job_deletes(lenient: Platform) -> None:
    lenient.deploy("m")
    assert lenient.post("/model/delete", projectId=lenient.user_id, modelId="m").status_code == 200
    assert lenient.left_behind() == []
