"""Backtests on the platform: their answers, several at once, stopped, after a crash."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import socket
import sqlite3
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from deploy_action.errors import Problem, Severity
from deploy_action.platform.assembly import BacktestSettings
from deploy_action.platform.runs import backtests
from deploy_action.platform.runs.endings import ModelStoppedError
from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.transaction import Transaction
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import TIMEOUT, Platform, make_bundle
from tests.support.scripted_runner import RESULT, ScriptedRunner, finished
from tests.support.serving_process import serving
from tests.support.waiting import wait_for

_CRASH = Problem(
    message="KeyError: 'BTC'.", hint="Name a symbol that there is.", path="bot.py", line=12
)
_WARNING = Problem(message="Python 3.11 instead.", severity=Severity.WARNING)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def start(
    start_platform: StartPlatform, runner: ScriptedRunner, **settings: float
) -> tuple[Platform, str]:
    running = BacktestSettings(runner=runner, **settings)  # type: ignore[arg-type]  # by name
    platform = start_platform(running=running)
    return platform, platform.create_model()


def test_the_answer_has_the_result_and_how_it_was_run(start_platform: StartPlatform) -> None:
    outcome = Outcome(result=finished().result, problems=(_WARNING,), facts={"python": "3.11.7"})
    platform, model_id = start(start_platform, ScriptedRunner(outcome))
    bundle = make_bundle()
    answer = platform.backtest(model_id, bundle).json()
    run = {
        "python": "3.11.7",
        "bundleSha256": hashlib.sha256(bundle).hexdigest(),
        "problems": [_WARNING.document()],
        "variables": {"names": [], "digest": ""},
    }
    told = answer["run"]
    assert told.pop("parallel") >= 1
    assert (answer["status"], answer["result"], told) == ("success", RESULT, run)
    (listed,) = platform.backtests(model_id)
    assert (listed["status"], listed["result"], listed["run"]) == ("finished", RESULT, run)


def test_the_runner_gets_the_bundle_and_the_arguments(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    platform, model_id = start(start_platform, runner)
    bundle = make_bundle(**{"bot.py": "print()"})
    answer = platform.backtest(model_id, bundle, pythonVersion="3.9").json()
    (request,) = runner.requests
    assert request.backtest_id == answer["backtestId"]
    assert request.bundle.read_bytes() == bundle
    assert request.bundle_sha256 == hashlib.sha256(bundle).hexdigest()
    assert (request.python_version, request.args) == ("3.9", {"to": "1y"})


@pytest.mark.parametrize("strict", [True, False])
def test_a_model_keeps_its_prices_apart_and_those_of_a_pull_request(
    start_platform: StartPlatform, *, strict: bool
) -> None:
    """Ids of models are new in each job of a lenient platform, their names are not."""
    runner = ScriptedRunner()
    platform = start_platform(running=BacktestSettings(runner=runner), strict=strict)
    same, other = platform.create_model(), platform.create_model()
    platform.backtest(same)
    platform.backtest(same, priceScope="")
    platform.backtest(same, priceScope="pull/7")
    platform.backtest(other)
    first, second, scoped, others = (request.prices for request in runner.requests)
    assert len(first) == 1
    assert first == second == scoped[1:]
    assert (others == first) is not strict
    assert scoped[0] not in {*first, *others}


def test_a_backtest_that_failed_is_an_error_with_its_place(start_platform: StartPlatform) -> None:
    """With status 200, like late errors of the original server."""
    outcome = Outcome(result=None, problems=(_WARNING, _CRASH), facts={"python": "3.11.7"})
    platform, model_id = start(start_platform, ScriptedRunner(outcome))

    answer = platform.backtest(model_id)

    body = answer.json()
    assert answer.status_code == 200
    assert (body["status"], body["error"]) == ("failed", "bot.py:12: KeyError: 'BTC'.")
    assert "result" not in body
    assert body["run"]["python"] == "3.11.7"
    assert body["run"]["bundleSha256"] == hashlib.sha256(make_bundle()).hexdigest()
    assert body["run"]["problems"][1] == {
        "severity": "error",
        "message": "KeyError: 'BTC'.",
        "hint": "Name a symbol that there is.",
        "path": "bot.py",
        "line": 12,
        "column": None,
    }
    (listed,) = platform.backtests(model_id)
    assert (listed["status"], listed["result"]) == ("failed", None)
    assert listed["backtestId"] == body["backtestId"]


def test_a_result_is_kept_when_the_script_failed_after_it(start_platform: StartPlatform) -> None:
    """The client gets both, and so does who asks later, from a platform that was restarted."""
    outcome = Outcome(result=finished().result, problems=(_CRASH,), facts={"python": "3.11.7"})
    platform, model_id = start(start_platform, ScriptedRunner(outcome))

    body = platform.backtest(model_id).json()

    assert (body["status"], body["error"]) == ("failed", "bot.py:12: KeyError: 'BTC'.")
    assert body["result"] == RESULT
    (listed,) = platform.backtests(model_id)
    assert (listed["status"], listed["result"]) == ("failed", RESULT)


def test_a_bug_of_ours_is_reported_and_logged(start_platform: StartPlatform) -> None:
    platform, model_id = start(start_platform, ScriptedRunner(ZeroDivisionError("ours")))
    answer = platform.backtest(model_id)
    assert (answer.status_code, answer.json()["error"]) == (
        200,
        "The platform failed; its log says why.",
    )
    assert "ZeroDivisionError: ours" in "".join(platform.errors)
    assert [each["status"] for each in platform.backtests(model_id)] == ["failed"]


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what, once it is set, keeps the end of every backtest out of the store."""
    is_full = threading.Event()
    end = Transaction.end_backtest

    def fail(self: Transaction, *facts: Any) -> bool:
        if is_full.is_set():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return end(self, *facts)

    monkeypatch.setattr(Transaction, "end_backtest", fail)
    monkeypatch.setattr(backtests, "_PAUSE_SECONDS", 0.01)
    return is_full


def test_an_end_that_cannot_be_stored_is_stored_later(
    start_platform: StartPlatform, no_room: threading.Event
) -> None:
    platform, model_id = start(start_platform, ScriptedRunner())
    no_room.set()
    assert platform.backtest(model_id).json()["error"] == "The platform's disk is full."
    assert [each["status"] for each in platform.backtests(model_id)] == ["running"]
    assert "cannot be stored, and it is shown as running" in "".join(platform.errors)

    no_room.clear()
    wait_for(lambda: platform.backtests(model_id)[0]["status"] == "failed")
    assert "The platform's disk is full." in json.dumps(platform.backtests(model_id))


def test_an_end_that_was_never_stored_does_not_run_after_a_restart(
    start_platform: StartPlatform, no_room: threading.Event
) -> None:
    platform, model_id = start(start_platform, ScriptedRunner())
    no_room.set()
    platform.backtest(model_id)
    platform.server.close()
    again = start_platform()
    assert [each["status"] for each in again.backtests(model_id)] == ["stopped"]


def test_invalid_unicode_is_stored_and_reported(start_platform: StartPlatform) -> None:
    """A model may print half a character in its exception."""
    outcome = Outcome(result=None, problems=(Problem(message="half \ud800"),))
    platform, model_id = start(start_platform, ScriptedRunner(outcome))
    assert platform.backtest(model_id).json()["error"] == "half \ud800"
    assert platform.backtests(model_id)[0]["status"] == "failed"


def test_as_many_run_at_once_as_were_allowed(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    runner.gate.clear()
    platform, model_id = start(start_platform, runner, parallel=2)
    with ThreadPoolExecutor(5) as threads:
        answers = [threads.submit(platform.backtest, model_id) for _ in range(5)]
        wait_for(lambda: len(platform.backtests(model_id)) == 5)
        wait_for(lambda: len(runner.requests) == 2)
        states = sorted(str(each["status"]) for each in platform.backtests(model_id))
        runner.gate.set()
    assert states == ["queued"] * 3 + ["running"] * 2
    assert [answer.result().json()["status"] for answer in answers] == ["success"] * 5
    assert runner.most_at_once == 2


def test_a_waiting_client_gets_signs_of_life(start_platform: StartPlatform) -> None:
    """Blanks before the JSON keep proxies from closing the connection."""
    runner = ScriptedRunner()
    runner.gate.clear()
    platform, model_id = start(start_platform, runner)
    fields = {
        "pythonVersion": "3.10", "backtestDescription": "", "projectId": platform.user_id,
        "modelId": model_id, "type": "strategy", "plan": "nano", "backtestArgs": "{}",
    }  # fmt: skip

    with requests.post(
        f"{platform.server.url}/model/backtest",
        headers=platform.headers,
        data=fields,
        files={"model": ("m.zip", make_bundle())},
        stream=True,
        timeout=TIMEOUT,
    ) as answer:
        content = answer.iter_content(1)
        first = [next(content), next(content)]
        runner.gate.set()
        rest = b"".join(content)

    assert first == [b" ", b" "]
    assert json.loads(rest)["status"] == "success"


def test_a_client_that_leaves_stops_its_backtest(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    runner.gate.clear()
    platform, model_id = start(start_platform, runner)
    request = requests.Request(
        "POST",
        f"{platform.server.url}/model/backtest",
        headers=dict(platform.headers),
        data={
            "pythonVersion": "3.10", "backtestDescription": "", "projectId": platform.user_id,
            "modelId": model_id, "type": "strategy", "plan": "nano", "backtestArgs": "{}",
        },
        files={"model": ("m.zip", make_bundle())},
    ).prepare()  # fmt: skip
    assert isinstance(request.body, bytes)
    address = urlsplit(platform.server.url)
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((str(address.hostname), address.port or 0)) as connection:
        head = f"POST /model/backtest HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        connection.sendall(head.encode() + request.body)
        wait_for(lambda: runner.requests)

    wait_for(lambda: platform.backtests(model_id)[0]["status"] == "stopped")
    (listed,) = platform.backtests(model_id)
    assert "the client that asked for it is gone" in str(listed["run"])


def test_a_backtest_ends_after_its_time(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    runner.gate.clear()
    platform, model_id = start(start_platform, runner, most_seconds=0.1)
    body = platform.backtest(model_id).json()
    assert body["status"] == "stopped"
    assert "the most this platform allows" in body["error"]


def test_a_backtest_that_was_stopped_says_where_its_script_stood(
    start_platform: StartPlatform,
) -> None:
    place = Problem(message="The script stood here.", hint="Go on.", path="bot.py", line=12)
    runner = ScriptedRunner(ModelStoppedError(0, place))
    platform, model_id = start(start_platform, runner)
    (problem,) = platform.backtest(model_id).json()["run"]["problems"]
    assert problem["message"].startswith("The backtest was stopped: ")
    assert problem["message"].endswith(". The script stood here.")
    assert (problem["path"], problem["line"], problem["hint"]) == ("bot.py", 12, "Go on.")


def test_closing_the_platform_stops_what_runs_and_what_waits(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    runner.gate.clear()
    platform, model_id = start(start_platform, runner, parallel=1)
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(platform.backtest, model_id) for _ in range(2)]
        wait_for(lambda: len(platform.backtests(model_id)) == 2 and runner.requests)
        platform.server.close()
        bodies = [answer.result().json() for answer in answers]

    assert {body["error"] for body in bodies} == {
        "The backtest was stopped: the platform was stopped."
    }
    again = start_platform()
    assert [each["status"] for each in again.backtests(model_id)] == ["stopped"] * 2
    assert len(list((platform.data / "runs").iterdir())) == 1


def test_an_uploaded_version_is_backtested_in_the_background(start_platform: StartPlatform) -> None:
    runner = ScriptedRunner()
    runner.gate.clear()
    platform, model_id = start(start_platform, runner)
    version_id = platform.deploy(model_id).json()["versionId"]

    answer = platform.post(
        "/model/backtest-uploaded-model",
        projectId=platform.user_id,
        modelId=model_id,
        versionId=version_id,
        backtestArgs="{}",
        backtestDescription="Again",
    )

    assert answer.json() == {}
    wait_for(lambda: platform.backtests(model_id)[0]["status"] == "running")
    runner.gate.set()
    wait_for(lambda: platform.backtests(model_id)[0]["status"] == "finished")
    assert platform.backtests(model_id)[0]["result"] == RESULT


def test_many_backtests_leave_no_connection_open(start_platform: StartPlatform) -> None:
    """Each thread has a connection to the database."""
    platform, model_id = start(start_platform, ScriptedRunner())
    platform.backtest(model_id)
    before = open_files()
    for _ in range(20):
        platform.backtest(model_id)
    assert open_files() < before + 10


def test_arguments_too_large_for_a_variable_are_refused(start_platform: StartPlatform) -> None:
    """A model gets them in a variable; Linux limits its size."""
    platform, model_id = start(start_platform, ScriptedRunner())
    answer = platform.backtest(model_id, backtestArgs=json.dumps({"to": "x" * 70_000}))
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "backtestArgs is larger than 64 KiB"},
    )


def test_a_platform_that_was_killed_leaves_no_backtest_running(
    start_platform: StartPlatform, tmp_path: Path
) -> None:
    """The next start ends it, and removes the private copy, which may contain keys."""
    data, refresh_token = tmp_path / "killed", secrets.token_hex(16)

    with serving(data, refresh_token) as (url, pid):
        token = requests.post(
            f"{url}/auth/token", data={"refreshToken": refresh_token}, timeout=TIMEOUT
        ).json()
        fields = {
            "pythonVersion": "3.10", "backtestDescription": "", "modelId": "m",
            "type": "strategy", "projectId": token["data"]["user_id"], "plan": "nano",
            "backtestArgs": "{}",
        }  # fmt: skip

        def backtest() -> None:
            with pytest.raises(requests.RequestException):
                requests.post(
                    f"{url}/model/backtest",
                    headers={"token": token["idToken"]},
                    data=fields,
                    files={"model": ("m.zip", make_bundle())},
                    timeout=TIMEOUT,
                )

        client = threading.Thread(target=backtest)
        client.start()
        rows = sqlite3.connect(data / "platform.sqlite")
        running = "SELECT count(*) FROM backtests WHERE status = 'running'"
        wait_for(lambda: rows.execute(running).fetchone()[0])
        rows.close()
        (workplace,) = (data / "runs").iterdir()
        (workplace / "keys.json").write_text("{}")
        os.kill(pid, signal.SIGKILL)
        client.join()

    platform = start_platform(data=data)

    assert not workplace.exists()
    answer = platform.post("/model/details", projectId=fields["projectId"], modelId="m").json()
    assert [each["status"] for each in answer["backtests"]] == ["stopped"]


def test_details_have_the_latest_results_within_a_limit(start_platform: StartPlatform) -> None:
    large = json.dumps({**RESULT, "indicators": ["x" * 1_000] * (20 << 10)}).encode()
    platform, model_id = start(
        start_platform, ScriptedRunner(Outcome(result=large, problems=(), facts={}))
    )
    first = platform.backtest(model_id).json()["backtestId"]
    second = platform.backtest(model_id).json()["backtestId"]
    listed = platform.backtests(model_id)
    answer = platform.post(
        "/model/details", projectId=platform.user_id, modelId=model_id, backtestId=first
    ).json()
    assert [each["backtestId"] for each in listed] == [first, second]
    assert [each["result"] is None for each in listed] == [True, False]
    assert [each["result"] is None for each in answer["backtests"]] == [False, True]
    answer = platform.post(
        "/model/details", projectId=platform.user_id, modelId=model_id, backtestId="none"
    ).json()
    assert [each["result"] for each in answer["backtests"]] == [None, None]


def test_results_go_from_the_disk_to_the_client_in_blocks(start_platform: StartPlatform) -> None:
    """As values, and all at once, they would take gigabytes."""
    large = json.dumps({**RESULT, "indicators": [[]] * (3 << 20)}).encode()
    platform, model_id = start(
        start_platform, ScriptedRunner(Outcome(result=large, problems=(), facts={}))
    )
    fields = {"projectId": platform.user_id, "modelId": model_id}

    def read(_: int) -> int:
        url = f"{platform.server.url}/model/details"
        with requests.post(
            url, fields, headers=platform.headers, timeout=30, stream=True
        ) as answer:
            return sum(map(len, answer.iter_content(1 << 16)))

    for _ in range(2):
        assert platform.backtest(model_id).content.endswith(b',"result":' + large + b"}")
    assert read(0) > 2 * len(large)
    tracemalloc.start()
    try:
        with ThreadPoolExecutor(8) as clients:
            sizes = set(clients.map(read, range(8)))
        assert tracemalloc.get_traced_memory()[1] < len(large)
    finally:
        tracemalloc.stop()
    assert len(sizes) == 1


@pytest.mark.parametrize("problems", [(), (_CRASH,)])
def test_results_without_a_backtest_are_removed(
    start_platform: StartPlatform, problems: tuple[Problem, ...]
) -> None:
    """They were written just before a crash."""
    outcome = Outcome(result=finished().result, problems=problems)
    platform, model_id = start(start_platform, ScriptedRunner(outcome))
    platform.backtest(model_id)
    kept = [path.name for path in (platform.data / "results").iterdir()]
    platform.server.close()
    for name in ("lost.json", *kept):
        path = platform.data / "results" / name
        path.touch()
        os.utime(path, (0, 0))
    start_platform()
    assert [path.name for path in (platform.data / "results").iterdir()] == kept
