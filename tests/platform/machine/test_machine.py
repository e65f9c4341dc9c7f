"""This machine as a host: real processes, from their start to the end of the last of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_action.platform.environments import EnvironmentFailedError
from deploy_action.platform.live.host import CannotPrepareError, StillRunningError
from deploy_action.platform.machine import places
from deploy_action.platform.machine.places import Places
from deploy_action.platform.processes import launching
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.processes.unprivileged import NOBODYS_ID, NotIsolatedError
from deploy_action.platform.storage.records import StopReason
from tests.support.isolated import as_root
from tests.support.machines import STAND_IN, TRADER, Bench, Heard
from tests.support.waiting import is_alive, wait_for

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="orphans have another parent elsewhere"
)
ROOT = Path(__file__).parents[3]
TRADE = f"{TRADER}\ntrade()"
# Leaves the session and the group, and can be found by no variable, name, directory or descriptor.
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print("daemon", os.getpid(), flush=True)
    os.chdir("/")
    os.closerange(0, 100)
    os.execve("/bin/sleep", ["kworker/0:1", "60"], {})
"""

# Reports a process that it could not end, and stays until a file is there.
STAYING_LAUNCHER = """
import os, sys, time
os.write(int(sys.argv[2]), b'{{"code": -9, "left": 1}}\\n')
while not os.path.exists({over!r}): time.sleep(0.01)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.open()
    yield bench
    bench.machine.close()
    assert bench.errors == []
    assert bench.copies() == []


def test_a_model_runs_until_it_is_stopped_with_its_teardown(bench: Bench) -> None:
    instance, heard = bench.start(f"{TRADER}\nprint('oops', file=sys.stderr)\ntrade()")
    heard.wait_for_line("trading")
    instance.stop(StopReason.REPLACE)
    instance.stop(StopReason.STOP)
    assert heard.wait_for_end() == Ended(0)
    assert heard.lines == [("err", "oops"), ("out", "trading"), ("out", "teardown replace")]
    assert heard.events == [{"event": "started"}]
    start, process, teardown, same = bench.marks()
    assert (start, teardown, same) == ("start", "teardown-replace", process)


def test_a_model_that_ends_by_itself_is_heard_of_once(bench: Bench) -> None:
    instance, heard = bench.start("print('a'); print('b', end=''); raise SystemExit(3)")
    assert heard.wait_for_end() == Ended(3)
    assert heard.texts("out") == ["a", "b"]
    instance.stop(StopReason.STOP)
    wait_for(lambda: bench.copies() == [])
    assert len(heard.endings) == 1


def test_a_model_gets_only_the_variables_it_should(bench: Bench) -> None:
    bench.environ.update(
        HTTPS_PROXY="http://proxy", WEBSOCKET_CLIENT_CA_BUNDLE="/ca", TZ="UTC", SECRET="x"
    )
    script = "import json, os; print(json.dumps(dict(os.environ))); print(os.getcwd())"
    environment = {"KEY": "value", "TZ": "Asia/Tokyo"}
    _, heard = bench.start(script, environment=environment)
    heard.wait_for_end()
    variables, directory = heard.texts("out")
    found = json.loads(variables)
    threads = {name for name in found if name.endswith(("_NUM_THREADS", "_MAXIMUM_THREADS"))}
    for name in (*threads, "EVENTS", "REASON", "LC_CTYPE"):  # the last is Python's own
        found.pop(name, None)
    model = Path(directory)
    private = model.parent
    assert found == {
        "PATH": f"{bench.python.parent}:{os.environ['PATH']}",
        "HOME": str(private / "home"),
        "TMPDIR": str(private / "tmp"),
        "PYTHONPATH": f"{model}:{bench.root}",
        "PYTHONUNBUFFERED": "1",
        "BLANKLY_STATE_DIR": str(bench.root / "state" / "1"),
        "HTTPS_PROXY": "http://proxy",
        "WEBSOCKET_CLIENT_CA_BUNDLE": "/ca",
        **environment,
    }
    assert "OPENBLAS_NUM_THREADS" in threads


def test_state_survives_new_versions_and_the_working_directory_does_not(bench: Bench) -> None:
    script = """
import os
for place in (os.environ["BLANKLY_STATE_DIR"], ".", os.environ["HOME"], os.environ["TMPDIR"]):
    with open(place + "/kept", "a") as file:
        file.write("x")
    print(len(open(place + "/kept").read()))
"""
    for count in (1, 2):
        _, heard = bench.start(script)
        assert heard.wait_for_end() == Ended(0)
        assert heard.texts("out") == [str(count), "1", "1", "1"]
    assert bench.places.state("1").stat().st_mode & 0o77 == 0
    bench.machine.forget("1")
    assert not bench.places.state("1").exists()


@as_root
def test_a_model_of_root_has_a_user_of_its_own(bench: Bench) -> None:
    """Its state is nobody's in between, and the reason of its stop cannot be changed by it."""
    (bench.root / "hard").write_text("root's")
    script = f"""
{TRADER}
print(os.getuid(), flush=True)
try:
    open(os.environ["REASON"], "w")
except PermissionError:
    print("refused", flush=True)
trade()
"""
    instance, heard = bench.start(script)
    heard.wait_for_line("trading")
    state = bench.places.state("1")
    user, refused, _ = heard.texts("out")
    assert refused == "refused"
    assert int(user) not in {0, NOBODYS_ID}
    assert state.stat().st_uid == int(user)
    (state / "planted").hardlink_to(bench.root / "hard")
    instance.stop(StopReason.STOP)
    heard.wait_for_end()
    assert state.stat().st_uid == (state / "marks").stat().st_uid == NOBODYS_ID
    assert (bench.root / "hard").stat().st_uid == 0


def test_models_elsewhere_are_told_where_their_state_is(tmp_path: Path) -> None:
    """Several servers may have theirs there."""
    assert Places.of(tmp_path, tmp_path).problems == ()
    first, second = (Places.of(tmp_path / name, tmp_path / "cache") for name in "ab")
    assert first.directory.parent == second.directory.parent == tmp_path / "cache"
    assert first.directory != second.directory
    (problem,) = first.problems
    assert f"is in {first.directory / 'state'}, and in no backup" in problem.message


class TestPreparing:
    def test_it_says_what_the_model_will_run_with(self, bench: Bench) -> None:
        said: list[str] = []
        launch = bench.launch("")
        prepared = bench.machine.prepare(launch, said.append, threading.Event(), check=True)
        assert said[0].startswith("Python 3.11.7, blankly 1.18 (reused, ")
        assert said[1].startswith("Plan nano: 256 MiB of memory ")
        assert said[2].startswith("checking as ")
        prepared.close()
        prepared.close()

    def test_sources_that_do_not_compile_are_refused(self, bench: Bench) -> None:
        with pytest.raises(CannotPrepareError) as raised:
            bench.prepare(bench.launch("x = (\n"), check=True)
        (problem,) = raised.value.problems
        assert problem.message == "'(' was never closed"
        assert (problem.path, problem.line) == ("bot.py", 1)

    def test_a_check_that_ends_without_a_word_is_refused(self, bench: Bench) -> None:
        bench.machine.close()
        bench.program = bench.root / "own.py"
        bench.program.write_text("print('odd'); raise SystemExit(4)")
        bench.open()
        with pytest.raises(CannotPrepareError) as raised:
            bench.prepare(bench.launch(""), check=True)
        assert "ended with code 4. It said: odd" in raised.value.problems[0].message

    def test_a_damaged_bundle_is_refused(self, bench: Bench) -> None:
        launch = bench.launch("")
        launch.bundle.write_bytes(launch.bundle.read_bytes() + b"x")
        with pytest.raises(CannotPrepareError) as raised:
            bench.prepare(launch)
        assert "damaged" in raised.value.problems[0].message

    def test_a_manifest_that_names_no_script_is_refused(self, bench: Bench) -> None:
        launch = bench.launch("", files={"blankly.json": '{"main_script": "none.py"}'})
        with pytest.raises(CannotPrepareError) as raised:
            bench.prepare(launch)
        assert raised.value.problems[0].path in {"blankly.json", None}

    def test_a_damaged_archive_is_refused(self, bench: Bench) -> None:
        launch = bench.launch("x" * 1_000)
        content = bytearray(launch.bundle.read_bytes())
        content[content.index(b"xxxx")] ^= 1
        launch.bundle.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        with pytest.raises(CannotPrepareError, match=r"bot\.py"):
            bench.prepare(replace(launch, bundle_sha256=digest))

    def test_an_environment_that_cannot_be_made_is_the_reason(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise EnvironmentFailedError.of("no such package")

        monkeypatch.setattr("tests.support.environments.OnePython.acquire", fail)
        with pytest.raises(CannotPrepareError, match="no such package"):
            bench.prepare(bench.launch(""))

    @as_root
    def test_a_model_that_cannot_be_isolated_is_refused(self, bench: Bench) -> None:
        bench.machine.close()
        hidden = bench.root / "hidden"
        hidden.mkdir(mode=0o700)
        bench.hooks = hidden
        bench.open()
        with pytest.raises(CannotPrepareError, match="As root it would not be isolated"):
            bench.prepare(bench.launch(""))

    def test_it_can_be_stopped(self, bench: Bench) -> None:
        bench.machine.close()
        bench.program = bench.root / "own.py"
        bench.program.write_text("import time; print('slow', flush=True); time.sleep(60)")
        bench.open()
        stop = threading.Event()

        def on_line(line: str) -> None:
            if line == "slow":
                stop.set()

        with pytest.raises(StoppedError):
            bench.machine.prepare(bench.launch(""), on_line, stop, check=True)

    def test_one_is_prepared_while_another_runs(self, bench: Bench) -> None:
        instance, heard = bench.start(TRADE)
        heard.wait_for_line("trading")
        prepared = bench.prepare(bench.launch(TRADE), check=True)
        with pytest.raises(StillRunningError):
            bench.machine.start(prepared, Heard())
        instance.stop(StopReason.REPLACE)
        heard.wait_for_end()
        second = Heard()
        bench.clear()
        instance = bench.machine.start(prepared, second)
        second.wait_for_line("trading")
        assert [word for word in bench.marks() if not word.isdecimal()] == [
            *("start", "teardown-replace", "start")
        ]


class TestEnding:
    """Nothing of a model outlives it, whatever it does."""

    def test_one_that_ignores_the_signal_is_killed_after_the_grace(self, bench: Bench) -> None:
        bench.machine.close()
        bench.grace_seconds = 0.3
        bench.open()
        script = (
            "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork();"
            "os.write(1, b'%d\\n' % os.getpid()); time.sleep(60)"
        )
        instance, heard = bench.start(script)
        wait_for(lambda: len(heard.lines) == 2)
        instance.stop(StopReason.STOP)
        assert heard.wait_for_end() == Ended(-signal.SIGKILL)
        assert not any(is_alive(int(line)) for line in heard.texts("out"))

    def test_a_daemon_ends_with_the_model(self, bench: Bench) -> None:
        instance, heard = bench.start(f"{TRADER}\n{DAEMON}\ntrade()")
        wait_for(lambda: len(heard.lines) == 2)
        instance.stop(StopReason.STOP)
        heard.wait_for_end()
        (daemon,) = (text.split()[1] for text in heard.texts("out") if "daemon" in text)
        assert not is_alive(int(daemon))

    def test_the_teardown_has_the_processes_that_the_model_started(self, bench: Bench) -> None:
        """Only the model itself gets the signal."""
        script = f"""
{TRADER}
import subprocess
helper = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def ask(*_):
    print("helper says", helper.communicate(b"hello")[0].decode(), flush=True)
    teardown()
teardown_, teardown = teardown, ask
signal.signal(signal.SIGTERM, ask)
def teardown(*_): teardown_()
mark("start"); print("trading", flush=True)
while True: time.sleep(60)
"""
        instance, heard = bench.start(script)
        heard.wait_for_line("trading")
        instance.stop(StopReason.STOP)
        heard.wait_for_end()
        assert heard.texts("out")[1:] == ["helper says hello", "teardown stop"]

    def test_one_that_closes_everything_is_still_watched(self, bench: Bench) -> None:
        instance, heard = bench.start(
            f"{TRADER}\nsignal.signal(15, lambda *_: (mark('end'), os._exit(5)))\n"
            "print(os.getpid(), flush=True); os.closerange(0, 1000); mark('closed')\n"
            "while True: time.sleep(60)"
        )
        wait_for(lambda: bench.marks()[:1] == ["closed"])
        assert heard.endings == []
        instance.stop(StopReason.STOP)
        assert heard.wait_for_end() == Ended(5)

    def test_one_that_kills_its_launcher_leaves_nothing(self, bench: Bench) -> None:
        if os.geteuid() == 0:
            _, heard = bench.start(TRADE)
            heard.wait_for_line("trading")
            process = int(bench.marks()[1])
            os.kill(parent_of(process), signal.SIGKILL)
        else:
            _, heard = bench.start(f"{TRADER}\nmark('start'); os.kill(os.getppid(), 9); trade()")
            heard.wait_for_end()
            process = int(bench.marks()[1])
        ended = heard.wait_for_end()
        assert (ended.code, ended.left) == (-signal.SIGKILL, 0)
        assert not is_alive(process)
        (said,) = heard.texts("platform")
        assert said == "The process that watches over the model was killed, by it or by the system."
        bench.clear()

    def test_a_check_of_the_next_version_outlives_it(self, bench: Bench) -> None:
        """Of one whose launcher was killed, processes are looked for by their variables."""
        bench.machine.close()
        go, checking = bench.root / "go", threading.Event()
        waiting = f"""
import os, sys, time
while "--check" in sys.argv and not os.path.exists({str(go)!r}):
    print("checks", flush=True)
    time.sleep(0.01)
"""
        bench.program = bench.root / "own.py"
        bench.program.write_text(waiting + STAND_IN)
        bench.open()
        _, heard = bench.start(TRADE)
        heard.wait_for_line("trading")
        with ThreadPoolExecutor() as pool:
            preparing = pool.submit(
                bench.machine.prepare,
                bench.launch(TRADE),
                lambda line: checking.set() if line == "checks" else None,
                threading.Event(),
                check=True,
            )
            try:
                assert checking.wait(20)
                os.kill(parent_of(int(bench.marks()[1])), signal.SIGKILL)
                heard.wait_for_end()
                bench.clear()
            finally:
                go.touch()
            preparing.result().close()

    def test_one_that_cannot_be_killed_is_not_doubled(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel may hold up a process for ever. Its launcher stays then, with the lock."""
        launcher = bench.root / "launcher.py"
        launcher.write_text(STAYING_LAUNCHER.format(over=str(bench.root / "over")))
        monkeypatch.setattr(launching, "_LAUNCHER", (sys.executable, "-I", str(launcher)))
        _, heard = bench.start(TRADE)
        assert heard.wait_for_end() == Ended(-9, left=1)
        prepared = bench.prepare(bench.launch(TRADE))
        with pytest.raises(StillRunningError):
            bench.machine.start(prepared, Heard())
        prepared.close()
        (bench.root / "over").touch()
        bench.clear()

    def test_a_service_manager_may_tell_the_launcher_itself(self, bench: Bench) -> None:
        instance, heard = bench.start(TRADE)
        heard.wait_for_line("trading")
        os.kill(parent_of(int(bench.marks()[1])), signal.SIGTERM)
        assert heard.wait_for_end() == Ended(0)
        instance.stop(StopReason.STOP)
        assert heard.texts("out")[1:] == ["teardown shutdown"]

    def test_a_python_that_cannot_be_started_is_said(self, bench: Bench) -> None:
        launch = bench.launch("")
        prepared = bench.prepare(launch)
        prepared.environment = prepared.environment.__class__(  # type: ignore[attr-defined]
            bench.root / "none", "3.11", "1", (), was_made=False, problems=()
        )
        heard = Heard()
        bench.machine.start(prepared, heard)
        assert heard.wait_for_end() == Ended(127)
        assert "cannot be started" in heard.texts("platform")[0]

    def test_closing_the_machine_stops_models_as_a_shutdown(self, bench: Bench) -> None:
        _, heard = bench.start(TRADE)
        heard.wait_for_line("trading")
        bench.machine.close()
        assert heard.wait_for_end() == Ended(0)
        assert bench.marks()[2] == "teardown-shutdown"
        bench.open()

    def test_one_without_its_directory_is_said_and_blocks_no_other(self, bench: Bench) -> None:
        prepared, heard = bench.prepare(bench.launch(TRADE)), Heard()
        shutil.rmtree(bench.copies()[0] / "private" / "model")
        bench.machine.start(prepared, heard)
        assert heard.wait_for_end() == Ended(127)
        assert "cannot be started" in heard.texts("platform")[0]
        _, heard = bench.start("print('x')")
        assert heard.wait_for_end() == Ended(0)

    def test_one_whose_start_fails_blocks_no_other(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared = bench.prepare(bench.launch(TRADE))
        with monkeypatch.context() as patch:
            patch.setattr(launching, "_LAUNCHER", (str(bench.root / "none"),))
            with pytest.raises(FileNotFoundError):
                bench.machine.start(prepared, Heard())
        prepared.close()
        _, heard = bench.start("print('x')")
        assert heard.wait_for_end() == Ended(0)

    def test_a_reason_that_cannot_be_written_does_not_keep_it_running(self, bench: Bench) -> None:
        instance, heard = bench.start(TRADE)
        heard.wait_for_line("trading")
        (copy,) = bench.copies()
        (copy / "stop-reason").unlink()
        (copy / "stop-reason").symlink_to("/dev/null")
        instance.stop(StopReason.REPLACE)
        assert heard.wait_for_end() == Ended(0)
        (said,) = heard.texts("platform")
        assert said.startswith("Its teardown is not told the reason (replace): Too many levels")

    def test_a_listener_that_fails_hears_of_the_end(self, bench: Bench) -> None:
        class Failing(Heard):
            def line(self, stream: str, text: str) -> None:  # noqa: ARG002  # of the protocol
                raise OSError(28, "No space left on device")

        heard = Failing()
        bench.machine.start(bench.prepare(bench.launch("print('x')")), heard)
        assert heard.wait_for_end() == Ended(0)
        assert "No space left" in bench.errors.pop()


def test_a_model_whose_state_takes_too_much_is_torn_down(tmp_path: Path) -> None:
    """What it left there counts at the next start, too."""
    bench = Bench(tmp_path, disk_bytes=20_000_000)
    bench.open()
    writes = """
path = os.environ["BLANKLY_STATE_DIR"]
for number in range(3):
    open(f"{path}/{number}", "wb").write(bytes(8_000_000))
trade()
"""
    try:
        _, heard = bench.start(f"{TRADER}{writes}")
        assert heard.wait_for_end() == Ended(0, out_of_disk=True)
        assert heard.texts("out") == ["trading", "teardown shutdown"]
        _, heard = bench.start(TRADE)
        assert heard.wait_for_end().out_of_disk
    finally:
        bench.machine.close()


class TestMemory:
    def test_using_up_the_memory_is_told(self, bench: Bench) -> None:
        _, heard = bench.start("x = bytearray(1 << 30)")
        assert heard.wait_for_end() == Ended(1, out_of_memory=True)
        assert heard.texts("err")[-1] == "MemoryError"

    def test_another_error_is_not_taken_for_that(self, bench: Bench) -> None:
        _, heard = bench.start("raise ValueError('MemoryError')")
        assert heard.wait_for_end() == Ended(1)

    def test_many_threads_fit_into_the_smallest_plan(self, bench: Bench) -> None:
        script = """
import threading
over = threading.Event()
threads = [threading.Thread(target=over.wait) for _ in range(60)]
for thread in threads: thread.start()
over.set()
print("all", len(threads))
"""
        _, heard = bench.start(script)
        assert heard.wait_for_end() == Ended(0)
        assert heard.texts("out") == ["all 60"]


class TestOutput:
    def test_a_flood_is_counted_and_its_end_is_kept(self, bench: Bench) -> None:
        """Meanwhile, others are read."""
        script = "for n in range(200_000): print('flood', n)\nprint('the end')"
        heard = Heard(most_lines=1_000)
        bench.machine.start(bench.prepare(bench.launch(script)), heard)
        _, other = bench.start("print('hello')", place="2")
        assert other.wait_for_end() == Ended(0)
        assert heard.wait_for_end() == Ended(0)
        assert heard.texts("out")[0] == "flood 0"
        assert heard.texts("out")[-1] == "the end"
        assert len(heard.lines) + heard.lost == pytest.approx(200_001, abs=2)
        assert heard.lost > 100_000
        assert heard.texts("platform") == []

    def test_events_come_whole_and_hostile_ones_are_ignored(self, bench: Bench) -> None:
        script = f"""
{TRADER}
for number in range(5_000):
    say(event="report", number=number)
os.write(int(os.environ["EVENTS"]), b'[]\\n"x"\\n{{"a": NaN}}\\n\\xff\\n' + b"[" * 100_000 + b"\\n")
say(event="last")
"""
        _, heard = bench.start(script)
        assert heard.wait_for_end() == Ended(0)
        assert [event.get("number") for event in heard.events] == [*range(5_000), None]


def parent_of(process: int) -> int:
    status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(status[1])


def killed_server(bench: Bench, script: str, grace: float = 10.0) -> int:
    """Run a model on a server that is killed then; return the model's process."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.machines", str(bench.root), str(grace), script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "trading\n"
        server.kill()
    return int(bench.marks()[1])


class TestAfterAKill:
    """The server gets SIGKILL: the next one finds or ends what is left, and starts no second."""

    def test_the_next_server_waits_for_the_teardown(self, bench: Bench) -> None:
        slow = TRADER.replace('    mark("teardown-"', '    time.sleep(1); mark("teardown-"')
        process = killed_server(bench, f"{slow}\ntrade()")
        bench.clear()
        assert bench.marks() == ["start", str(process), "teardown-shutdown", str(process)]
        assert not is_alive(process)
        assert bench.copies() == []
        _, heard = bench.start(TRADE)
        heard.wait_for_line("trading")

    def test_a_teardown_that_prints_much_neither_fails_nor_waits(self, bench: Bench) -> None:
        """Nobody reads any more."""
        loud = TRADER.replace(
            '    mark("teardown-"',
            '    print("x" * 3_000_000, flush=True); say(event="x" * 300_000)\n'
            '    mark("teardown-"',
        )
        process = killed_server(bench, f"{loud}\ntrade()")
        bench.clear()
        assert bench.marks() == ["start", str(process), "teardown-shutdown", str(process)]

    def test_one_without_a_teardown_is_killed(self, bench: Bench) -> None:
        deaf = TRADE.replace("SIGTERM, teardown", "SIGTERM, signal.SIG_IGN")
        process = killed_server(bench, deaf, grace=0.2)
        bench.clear()
        assert not is_alive(process)

    def test_a_killed_launcher_leaves_no_second_copy(self, bench: Bench) -> None:
        """Whoever is left is found by its user, its variables or its directory."""
        forks = f"""
{TRADER}
if os.fork() == 0:
    os.setsid()
    signal.signal(15, signal.SIG_IGN)
    mark("child")
    while True: time.sleep(60)
while not os.path.exists(marks): time.sleep(0.01)
trade()
"""
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.machines", str(bench.root), "10", forks],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "trading\n"
            wait_for(lambda: len(bench.marks()) == 4)
            marks = bench.marks()
            processes = {marks[n]: int(marks[n + 1]) for n in (0, 2)}
            launcher = parent_of(processes["start"])
            server.kill()
            os.kill(launcher, signal.SIGKILL)
        bench.clear()
        assert not any(map(is_alive, processes.values()))
        assert bench.copies() == []

    def test_who_looks_at_the_state_is_left_alone(self, bench: Bench) -> None:
        state = bench.places.state("1")
        state.mkdir()
        with subprocess.Popen(["/bin/sleep", "60"], cwd=state) as shell:
            bench.clear()
            assert shell.poll() is None
            shell.kill()

    def test_a_state_that_cannot_be_handed_over_is_an_error_of_the_host(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise NotIsolatedError("root may not", "Allow it.")

        bench.places.state("1").mkdir()
        monkeypatch.setattr(places, "is_root", lambda: True)
        monkeypatch.setattr(places, "hand_over", fail)
        with pytest.raises(PermissionError, match="root may not"):
            bench.clear()

    def test_one_that_does_not_end_in_time_is_not_doubled(self, bench: Bench) -> None:
        """Here another server runs it."""
        bench.machine.close()
        bench.grace_seconds = -9.9
        bench.open()
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.machines", str(bench.root), "10", TRADE],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "trading\n"
            process = int(bench.marks()[1])
            with pytest.raises(StillRunningError):
                bench.clear()
            with pytest.raises(StillRunningError):
                bench.machine.forget("1")
            stop = threading.Event()
            stop.set()
            assert is_alive(process)
            server.kill()
        bench.machine.close()
        bench.grace_seconds = 10
        bench.open()
        bench.clear()
        assert not is_alive(process)

    def test_waiting_can_be_stopped(self, bench: Bench) -> None:
        instance, heard = bench.start(TRADE)
        heard.wait_for_line("trading")
        stop = threading.Event()
        stop.set()
        with pytest.raises(StoppedError):
            bench.machine.clear("1", stop)
        instance.stop(StopReason.STOP)
        heard.wait_for_end()
