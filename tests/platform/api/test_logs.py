"""The route of logs, over HTTP, while they are written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pytest
import requests

from deploy_action.platform.api.operations.logs import MOST_FOLLOWERS
from deploy_action.platform.storage.logs import Bounds, LogBook, VersionLog
from deploy_action.platform.storage.records import Wanted
from deploy_action.platform.storage.store import Store
from tests.support.platform_client import TIMEOUT, Platform
from tests.support.waiting import wait_for

FAST = Bounds(lines_a_second=10**9, bytes_a_second=10**12)


@dataclass(slots=True)
class Deployed:
    """A model with versions, and the logs and lives that a server would write."""

    platform: Platform
    store: Store
    model_id: str

    def deploy(self) -> str:
        version_id: str = self.platform.deploy(self.model_id).json()["versionId"]
        return version_id

    def take_over(self, version_id: str) -> None:
        """Note that a version is the model's current one."""
        with self.store.transaction() as transaction:
            project_id = self.platform.user_id
            life = transaction.live.life(project_id, self.model_id)
            life = life or transaction.live.new_life(project_id, self.model_id)
            transaction.live.keep(replace(life, version_id=version_id, wanted=Wanted.RUNNING))

    def log(self, version_id: str) -> VersionLog:
        return LogBook(self.platform.data / "logs", FAST, self.platform.clock).open(version_id)

    def read(self, **fields: str) -> requests.Response:
        project_id = self.platform.user_id
        return self.platform.post(
            "/model/logs", projectId=project_id, modelId=self.model_id, **fields
        )

    @contextmanager
    def follow(self, **fields: str) -> Iterator[Iterator[str]]:
        """Yield the lines of an answer that goes on."""
        fields |= {"projectId": self.platform.user_id, "modelId": self.model_id}
        url = f"{self.platform.server.url}/model/logs"
        with requests.post(
            url,
            headers=self.platform.headers,
            data={"follow": "true", **fields},
            stream=True,
            timeout=TIMEOUT,
        ) as answer:
            assert answer.status_code == 200, answer.text
            yield answer.iter_lines(chunk_size=1, decode_unicode=True)


@pytest.fixture
def deployed(platform: Platform) -> Iterator[Deployed]:
    store = Store(platform.data, platform.clock)
    yield Deployed(platform, store, platform.create_model())
    store.close()


TIME = "2023-11-14T22:13:20.000Z"


def test_the_log_of_the_current_version_is_plain_text(deployed: Deployed) -> None:
    first, second = deployed.deploy(), deployed.deploy()
    deployed.take_over(second)
    deployed.log(first).write("out", "old")
    for number in range(150):
        deployed.log(second).write("out", f"line {number} ü")
    answer = deployed.read()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.splitlines() == [f"{TIME} out line {n} ü" for n in range(50, 150)]
    assert deployed.read(lines="2").text == f"{TIME} out line 148 ü\n{TIME} out line 149 ü\n"
    assert deployed.read(lines="0").text == ""
    assert deployed.read(versionId=first).text == f"{TIME} out old\n"


def test_a_version_that_has_printed_nothing_has_an_empty_log(deployed: Deployed) -> None:
    deployed.take_over(deployed.deploy())
    assert deployed.read().text == ""


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"lines": "-1"}, "lines must be a number from 0 to 1000000"),
        ({"lines": "٣"}, "lines must be a number from 0 to 1000000"),
        ({"lines": "9" * 5_000}, "lines must be a number from 0 to 1000000"),
        ({"versionId": "../.."}, "This versionId was not found under this model."),
        ({"after": "../../1-0"}, "after is not a position in the log of this model"),
        ({"after": "1-0"}, "after is not a position in the log of this model"),
        ({"modelId": "x"}, "This modelId was not found under this project."),
    ],
)
def test_what_cannot_be_meant_is_refused(
    deployed: Deployed, fields: dict[str, str], error: str
) -> None:
    deployed.take_over(deployed.deploy())
    asked = {"projectId": deployed.platform.user_id, "modelId": deployed.model_id} | fields
    answer = deployed.platform.post("/model/logs", **asked)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_model_without_a_deploy_has_no_log(deployed: Deployed) -> None:
    answer = deployed.read()
    assert answer.status_code == 400
    assert answer.json()["error"] == "Nothing was deployed to this model, so it has no log."


def test_the_log_of_another_model_cannot_be_read(deployed: Deployed) -> None:
    version_id = deployed.deploy()
    deployed.log(version_id).write("out", "private")
    deployed.model_id = deployed.platform.create_model()
    deployed.take_over(deployed.deploy())
    assert deployed.read(versionId=version_id).status_code == 400
    assert deployed.read(after=f"{version_id}/1-0").status_code == 400


def test_following_shows_each_line_and_the_version_that_takes_over(deployed: Deployed) -> None:
    first = deployed.deploy()
    deployed.take_over(first)
    log = deployed.log(first)
    log.write("out", "one")
    with deployed.follow() as lines:
        assert next(lines) == f"{TIME} out one"
        log.write("err", "two")
        assert next(lines) == f"{TIME} err two"
        second = deployed.deploy()
        deployed.log(second).write("platform", "prepared")
        deployed.take_over(second)
        log.write("platform", "stopped")
        assert next(lines) == f"{TIME} platform stopped"
        assert next(lines) == f"{TIME} platform from here on version {second}"
        assert next(lines) == f"{TIME} platform prepared"
        log.write("out", "late")
        deployed.take_over(first)  # a rollback goes on where its log was left
        assert next(lines) == f"{TIME} platform from here on version {first}"
        assert next(lines) == f"{TIME} out late"


def test_the_old_log_of_a_version_that_takes_over_is_not_repeated(deployed: Deployed) -> None:
    first, second = deployed.deploy(), deployed.deploy()
    deployed.log(second).write("out", "long ago")
    deployed.platform.clock.now += 3_600
    deployed.log(second).write("out", "now")
    deployed.take_over(first)
    deployed.platform.sign_in()
    with deployed.follow() as lines:
        deployed.take_over(second)
        assert next(lines).endswith(f"from here on version {second}")
        assert next(lines).endswith("out now")


def test_following_a_version_by_its_id_stays_with_it(deployed: Deployed) -> None:
    first, second = deployed.deploy(), deployed.deploy()
    deployed.take_over(second)
    with deployed.follow(versionId=first) as lines:
        deployed.log(second).write("out", "other")
        deployed.log(first).write("out", "one")
        assert next(lines) == f"{TIME} out one"


def test_who_goes_on_from_a_position_misses_and_repeats_nothing(deployed: Deployed) -> None:
    version_id = deployed.deploy()
    deployed.take_over(version_id)
    log = deployed.log(version_id)
    for number in range(30_000):  # two files
        log.write("out" if number % 2 else "err", f"{number} {'ü' * 20}")
        deployed.platform.clock.now += 0.01
    every = deployed.read(lines="1000000").text.splitlines()
    assert len(every) == 30_000
    for start in (0, 1, 12_345, 29_999):
        given = deployed.read(lines=str(30_000 - start), positions="true").text.splitlines()
        assert [line.split(" ", 1)[1] for line in given] == every[start:]
        position = given[0].split(" ", 1)[0]
        assert deployed.read(after=position).text.splitlines() == every[start + 1 :]


def test_followers_cost_no_threads_and_only_so_many_may_be(deployed: Deployed) -> None:
    version_id = deployed.deploy()
    deployed.take_over(version_id)
    deployed.log(version_id).write("out", "one")
    with ExitStack() as stack:
        followers = [stack.enter_context(deployed.follow()) for _ in range(10)]
        before = threading.active_count()
        more = MOST_FOLLOWERS - len(followers)
        followers += [stack.enter_context(deployed.follow()) for _ in range(more)]
        for lines in followers:
            next(lines)
        # Threads that worked while they came end later, with the next request.
        wait_for(lambda: deployed.read() and threading.active_count() <= before + 5, pause=0.5)
        answer = deployed.read(follow="true")
        assert answer.status_code == 503
        assert "100 others follow a log" in answer.json()["error"]
    # All have left.
    wait_for(lambda: _can_follow(deployed))


def _can_follow(deployed: Deployed) -> bool:
    url, project_id = deployed.platform.server.url, deployed.platform.user_id
    fields = {"projectId": project_id, "modelId": deployed.model_id, "follow": "true"}
    headers = deployed.platform.headers
    with requests.post(
        f"{url}/model/logs", headers=headers, data=fields, stream=True, timeout=TIMEOUT
    ) as answer:
        return answer.status_code == 200


def test_closing_the_server_ends_the_answers(deployed: Deployed) -> None:
    version_id = deployed.deploy()
    deployed.take_over(version_id)
    deployed.log(version_id).write("out", "one")
    with deployed.follow() as lines:
        next(lines)
        closing = threading.Thread(target=deployed.platform.server.close)
        closing.start()
        assert list(lines) == []  # the answer has its regular end
        closing.join()


def test_a_silent_log_shows_that_the_server_is_there(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy_action.platform.api.answers._SECONDS_OF_SILENCE", 0.5)
    deployed.take_over(deployed.deploy())
    with deployed.follow() as lines:
        assert next(lines) == ""
        assert next(lines) == ""
