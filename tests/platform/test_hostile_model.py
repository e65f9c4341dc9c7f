"""A model that tries everything gets nothing, in a backtest and deployed, where root serves."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy_action.platform.processes.unprivileged import NOBODYS_ID, is_transient
from tests.support.attacks import HOSTILE, successes, told, words_after
from tests.support.isolated import as_root
from tests.support.isolated_server import Served, isolated_server
from tests.support.waiting import is_alive, wait_for

ROOT = Path(__file__).parents[2]
VICTIM = """
import os, time
open(os.path.join(os.environ["BLANKLY_STATE_DIR"], "notes"), "w").write("PRIVATE")
report("started")
print("victim", os.getpid(), flush=True)
while True:
    time.sleep(60)
"""
GOES_ON = """
import time
report("started")
print("over", flush=True)
while True:
    time.sleep(60)
"""
FINISHES = """
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
outbox = words.get("--prices", "/nowhere")
for name in ("../../../refresh-token", "/etc/passwd", "0" * 64 + ".json", "..", "link0"):
    report("prices", keep=name, drop=name)
with open(words["--result"], "w") as file:
    json.dump({"account_values": [], "metrics": {}, "trades": []}, file)
report("finished", problems=[])
"""
# As its result, it gives files that it may not read, and one that never ends.
TEMPTS = """
import os, sys
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
data = words["--root"]
for _ in range(4):
    data = os.path.dirname(data)
RESULT
report("finished", problems=[])
"""
# What a root without isolation cannot do either on some machines, or what has no meaning for it.
MAY_FAIL = frozenset(
    {
        *("changes_the_reason_of_its_stop", "writes_to_stores_of_prices", "writes_to_the_runner"),
        *("opens_the_terminal", "has_descriptors_of_others", "asks_the_server_without_a_token"),
        *("mounts", "makes_devices", "takes_descriptors", "traces", "uses_programs_of_root"),
        *(
            "forks_without_bound",
            "leaves_its_memory",
            "writes_files_without_bound",
            "reads_memory_at_once",
        ),
    }
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with isolated_server(tmp_path) as found:
        yield found


def check(text: str, served: Served) -> None:
    """Check that no attack got anything, and that nothing is left of the model."""
    assert successes(text) == {}
    (user,) = map(int, words_after(text, "USER"))
    assert is_transient(user)
    for secret in (served.token, served.secret):
        assert secret not in text
    (daemon,) = map(int, words_after(text, "DAEMON"))
    wait_for(lambda: not is_alive(daemon))
    left = words_after(text, "LEFT")
    assert left
    wait_for(lambda: not any(Path(path).exists() for path in left))
    assert Path("/etc/passwd").stat().st_uid == 0
    assert Path("/etc").stat().st_uid == 0


@as_root
def test_a_backtested_model_gets_nothing(served: Served) -> None:
    served.backtest("report('finished', problems=[])")  # something is kept of another one
    answer = served.backtest(HOSTILE + FINISHES)
    assert "account_values" in json.dumps(answer), answer
    check(served.log.read_text(), served)
    assert not [path for path in served.data.glob("runs/*/*") if not path.name.startswith(".")]
    assert not [path for path in served.data.glob("prices/*/*") if path.is_file()]


@as_root
def test_a_result_that_is_no_file_of_the_model_is_not_read(served: Served) -> None:
    for result in (
        'os.symlink(data + "/platform.sqlite", words["--result"])',
        'os.symlink("/etc/passwd", words["--result"])',
        'os.mkfifo(words["--result"])',
        'os.mkdir(words["--result"])',
        'open(words["--result"], "w").truncate(1 << 30)',
    ):
        answer = json.dumps(served.backtest(TEMPTS.replace("RESULT", result)))
        assert "cannot be used" in answer
        assert "root:" not in answer


@as_root
def test_a_deployed_model_gets_nothing(served: Served) -> None:
    victim, hostile = served.platform.create_model(), served.platform.create_model()
    served.deploy(victim, VICTIM, **{"keys.json": '{"KEY": "PRIVATE"}'})
    (process,) = words_after(served.wait_for_line(victim, "victim"), "victim")
    served.deploy(hostile, HOSTILE + GOES_ON)
    text = served.wait_for_line(hostile, "over")
    served.platform.post(
        "/model/kill", projectId=served.platform.user_id, modelId=hostile
    ).raise_for_status()
    wait_for(lambda: served.platform.details(hostile)["live"]["state"] == "stopped")  # type: ignore[index]  # JSON

    check(text, served)
    assert is_alive(int(process))
    states = {path.stat().st_uid: path for path in (served.data / "state").iterdir()}
    parked = states.pop(NOBODYS_ID)
    (running,) = states.values()
    assert (running / "notes").read_text() == "PRIVATE"
    for path in parked.iterdir():
        status = path.lstat()
        assert status.st_uid in {0, NOBODYS_ID}, path
        assert not stat.S_IMODE(status.st_mode) & (stat.S_ISUID | stat.S_ISGID), path
    assert parked.joinpath("shell").stat().st_uid == NOBODYS_ID
    wait_for(lambda: len(list(served.data.glob("live/copies/*/*"))) == 1)  # the victim's


@as_root
def test_these_attacks_succeed_where_nothing_is_isolated(tmp_path: Path) -> None:
    """Otherwise their failure would mean nothing. Two processes in between are there to attack."""
    private, state = tmp_path / "data" / "runs" / "1", tmp_path / "data" / "state" / "1"
    for place in (private / "home", private / "tmp", state):
        place.mkdir(parents=True)
    (tmp_path / "data" / "platform.sqlite").write_text("x")
    script = tmp_path / "bot.py"
    script.write_text(HOSTILE.replace("\nmain()\n", "\nleave_things_behind = print\nmain()\n"))
    inner = [sys.executable, str(script)]
    between = f"import subprocess, sys; sys.exit(subprocess.call({inner!r}))"
    outer = (
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {between!r}]))"
    )
    places = {"HOME": private / "home", "TMPDIR": private / "tmp", "BLANKLY_STATE_DIR": state}
    done = subprocess.run(
        [sys.executable, "-c", outer],
        env={"PATH": os.environ["PATH"], **{name: str(path) for name, path in places.items()}},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    failed = {name for name, one in told(done.stdout).items() if not one["got"]}
    assert failed <= MAY_FAIL
