"""A backtest from its bundle on: unpacked, run in a process, and whatever that process may do.

The environment is a stand-in whose Python is the test's own, and so is what runs the script: what
the real ones do is tested in `model_process` and in the tests of environments.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import threading
import tracemalloc
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from deploy_action.errors import Problem, Severity
from deploy_action.platform.environments import Environment, EnvironmentFailedError
from deploy_action.platform.environments.builder import Isolate
from deploy_action.platform.processes.child_process import StoppedError
from deploy_action.platform.processes.memory import MEMORY
from deploy_action.platform.processes.unprivileged import NotIsolatedError, draw_user, hand_over
from deploy_action.platform.runs.endings import ModelStoppedError
from deploy_action.platform.runs.isolation import ISOLATED, AsRoot, Isolation
from deploy_action.platform.runs.model_run import BacktestRequest, ModelRunner, Outcome
from deploy_action.platform.runs.unpacking import UnusableModelError, read_layout, unpack
from deploy_action.platform.storage.zip_reader import ArchiveError
from tests.support.environments import OnePython
from tests.support.isolated import allowed_by_this_machine, as_root, python_for_all
from tests.support.waiting import is_alive, wait_for

# What stands in for `run_model.py`: it passes our pipe and paths to a script of the test.
STAND_IN = """
import os, runpy, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
os.environ["EVENTS"], os.environ["RESULT"] = arguments["--events-fd"], arguments["--result"]
runpy.run_path(arguments["--script"], run_name="__main__")
"""
RESULT: dict[str, object] = {"account_values": [], "metrics": {}, "trades": []}
SAY = """
import json, os
def say(**event): os.write(int(os.environ["EVENTS"]), (json.dumps(event) + "\\n").encode())
def write(text): open(os.environ["RESULT"], "w").write(text)
"""
FINISH = f"write({json.dumps(json.dumps(RESULT))}); say(event='finished', problems=[])"


class NewEnvironment(OnePython):
    """A Python whose packages are installed by a user without rights, or cannot be."""

    def __init__(self, python: Path, failure: EnvironmentFailedError | None) -> None:
        warning = Problem(message="Another Python.", severity=Severity.WARNING)
        super().__init__(python, constraints=("numpy<2",), was_made=True, problems=(warning,))
        self._python = python
        self._failure = failure

    @contextmanager
    def acquire(
        self, model: Path, *, isolate: Isolate = lambda *_: None, **_: Any
    ) -> Iterator[Environment]:
        if self._failure is not None:
            raise self._failure
        with TemporaryDirectory(dir=model.parents[1]) as home:
            isolate(Path(home), [self._python])
        with super().acquire() as environment:
            yield environment


@dataclass(slots=True)
class Spectator:
    sections: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    places: list[Problem] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)

    def began(self, backtest: BacktestRequest) -> None:
        assert not self.sections
        self.digests.add(backtest.bundle_sha256)

    def section(self, backtest: BacktestRequest, title: str) -> None:
        self.sections.append(title)
        self.digests.add(backtest.bundle_sha256)

    def line(self, backtest: BacktestRequest, text: str) -> None:
        self.lines.append(text)
        self.digests.add(backtest.bundle_sha256)

    def stopped(self, backtest: BacktestRequest, place: Problem) -> None:
        self.places.append(place)
        self.digests.add(backtest.bundle_sha256)

    def progress(self, backtest: BacktestRequest, share: float) -> None:
        self.shares.append(share)
        self.digests.add(backtest.bundle_sha256)


# A checkout in root's home is out of reach for other users.
ISOLATION = Isolation(
    AsRoot.ALLOWED if allowed_by_this_machine(python_for_all()) else AsRoot.REFUSED
)


@dataclass(slots=True)
class Bench:
    root: Path
    spectator: Spectator = field(default_factory=Spectator)
    failure: EnvironmentFailedError | None = None
    python: Path | None = None
    environ: dict[str, str] = field(default_factory=dict)
    largest_result: int = 1 << 20
    isolation: Isolation = ISOLATION
    program: Path | None = None
    variables: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    # Others', run at the same time, must not be taken for ours.
    backtest_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, script: str, manifest: str = "{}", **files: str) -> Outcome:
        """Run a script of a model, and check that nothing of it is left."""
        try:
            return self.run_once(script, manifest, **files)
        finally:
            assert list((self.root / "runs").iterdir()) == []

    def run_once(self, script: str, manifest: str = "{}", **files: str) -> Outcome:
        bundle = make_bundle(self.root / "bundle.zip", {"bot.py": SAY + script, **files}, manifest)
        program = (self.program or self.root) / "program.py"
        program.write_text(STAND_IN)
        workplace = self.root / "runs"
        workplace.mkdir(exist_ok=True)
        runner = ModelRunner(
            workplace=workplace,
            environments=NewEnvironment(self.python or python_for_all(), self.failure),
            environ={"PATH": os.environ["PATH"], **self.environ},
            observer=self.spectator,
            isolation=self.isolation,
            program=program,
            largest_result=self.largest_result,
            disk_bytes=20_000_000,
        )
        request = BacktestRequest(
            backtest_id=self.backtest_id,
            bundle=bundle,
            bundle_sha256=self.digest or hashlib.sha256(bundle.read_bytes()).hexdigest(),
            python_version="3.10",
            args={"to": "1y"},
            now=1_700_000_000.0,
            environment=self.variables,
        )
        return runner.run(request, self.stop)


def make_bundle(path: Path, files: dict[str, str], manifest: str = "{}") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/blankly.json", manifest)
        for name, content in files.items():
            archive.writestr(f"model/{name}", content)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def error_of(outcome: Outcome) -> Problem:
    assert outcome.result is None
    (error,) = (one for one in outcome.problems if one.severity is Severity.ERROR)
    return error


def test_a_result_comes_with_how_it_was_run(bench: Bench) -> None:
    script = (
        "print('hello'); say(event='progress', share=0.5); say(event='progress', share=7)\n"
        f"write({json.dumps(RESULT)!r})\n"
        "say(event='finished', problems=[], callback_calls=3, symbols=['A'],"
        "    exchanges=['keyless'], schedule=[],"
        "    arguments={'to': '1y'})"
    )

    outcome = bench.run(script)

    assert outcome.result is not None
    assert json.loads(outcome.result) == RESULT
    assert outcome.problems[0].message == "Another Python."
    facts = dict(outcome.facts)
    assert isinstance(facts.pop("environmentSeconds"), float)
    assert isinstance(facts.pop("modelSeconds"), float)
    assert facts == {
        "python": "3.11.7",
        "wantedPython": "3.10",
        "blankly": "1.18",
        "constraints": ["numpy<2"],
        "callbackCalls": 3,
        "schedule": [],
        "exchanges": ["keyless"],
        "symbols": ["A"],
        "arguments": {"to": "1y"},
        "pinned": {"hashSeed": 0, "threads": 1, "now": "2023-11-14T22:13:20Z", "randomSeed": 0},
    }
    assert bench.spectator.sections[-1] == "Output of bot.py"
    assert bench.spectator.lines[-1] == "hello"
    assert bench.spectator.shares == [0.5, 1.0, 1.0]
    digest = hashlib.sha256((bench.root / "bundle.zip").read_bytes()).hexdigest()
    assert bench.spectator.digests == {digest}


@pytest.mark.parametrize(
    ("ending", "shares"),
    [(f"write({json.dumps(RESULT)!r})\n{FINISH}", [0.7, 1.0]), ("sys.exit(1)", [0.7])],
    ids=["done", "failed"],
)
def test_only_a_backtest_that_is_done_is_done_to_100_per_cent(
    bench: Bench, ending: str, shares: list[float]
) -> None:
    bench.run(f"say(event='progress', share=0.7)\n{ending}")
    assert bench.spectator.shares == shares


@pytest.mark.parametrize("arguments", ["None", "7", "['to']", "{'to': 'x' * 65_536}"])
def test_odd_or_too_large_arguments_are_not_reported(bench: Bench, arguments: str) -> None:
    script = (
        f"write({json.dumps(RESULT)!r})\nsay(event='finished', problems=[], arguments={arguments})"
    )
    outcome = bench.run(script)
    assert outcome.result is not None
    assert "arguments" not in outcome.facts


def test_a_model_gets_the_platforms_environment_and_no_more(bench: Bench) -> None:
    bench.environ = {"INPUT_TOKEN": "x", "GITHUB_TOKEN": "x", "https_proxy": "p", "TZ": "UTC"}
    script = "import os\nprint(json.dumps([dict(os.environ), os.getcwd()]))\n" + FINISH
    bench.run(script, '{"working_directory": "./work"}', **{"work/x": ""})
    environ, directory = json.loads(bench.spectator.lines[-1])
    model = bench.root / "runs" / bench.backtest_id / "model"
    assert environ["PYTHONPATH"].split(":")[0] == str(model)
    assert directory == str(model / "work")
    assert environ["HOME"] == str(bench.root / "runs" / bench.backtest_id / "home")
    assert (environ["BACKTESTING"], environ["BACKTESTING_ID"]) == ("1", bench.backtest_id)
    assert (environ["https_proxy"], environ["TZ"]) == ("p", "UTC")
    assert "INPUT_TOKEN" not in environ
    assert "GITHUB_TOKEN" not in environ


def test_a_model_gets_its_variables_but_those_of_its_backtest(bench: Bench) -> None:
    """They win over the machine's; what is pinned in backtests stays, and so does the protocol."""
    bench.environ = {"https_proxy": "machine", "TZ": "UTC", "INPUT_TOKEN": "x"}
    given = {"KEY": "a=b", "https_proxy": "own", "HOME": "/own", "LD_PRELOAD": ""}
    bench.variables = {**given, "OMP_NUM_THREADS": "8", "PYTHONHASHSEED": "7", "EMPTY": ""}
    bench.run("import os\nprint(json.dumps(dict(os.environ)))\n" + FINISH)
    environ = json.loads(bench.spectator.lines[-1])
    assert environ.items() >= {**given, "TZ": "UTC", "EMPTY": ""}.items()
    assert (environ["OMP_NUM_THREADS"], environ["PYTHONHASHSEED"]) == ("1", "0")
    assert environ["BACKTESTING"] == "1"
    assert "INPUT_TOKEN" not in environ


def test_values_of_variables_are_hidden_in_output_and_problems(bench: Bench) -> None:
    """Short ones stay: they are words."""
    key = secrets.token_hex(8)
    bench.variables = {"KEY": key, "MODE": "paper"}
    script = (
        "import os\nkey = os.environ['KEY']\nprint('paper', key)\nprint(key.encode().hex())\n"
        "problem = dict(severity='error', message='no ' + key, hint=key)\n"
        "problem.update(path=key + '.py', line=1)\n"
        "say(event='failed', problems=[problem, {**problem, 'severity': 'warning'}])"
    )
    outcome = bench.run(script)
    assert bench.spectator.lines[-2] == "paper ***"
    assert error_of(outcome) == Problem(message="no ***", hint="***", path="***.py", line=1)
    assert key not in repr(outcome)


def test_values_of_variables_are_hidden_where_a_run_is_stopped(bench: Bench) -> None:
    key = secrets.token_hex(8)
    bench.variables = {"KEY": key}
    script = (
        "import os, signal, time\n"
        "problem = dict(severity='notice', message='at ' + os.environ['KEY'])\n"
        "def stop(*_): say(event='stopped', problems=[problem]); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('ready')\ntime.sleep(60)"
    )

    def stop() -> None:
        wait_for(lambda: "ready" in bench.spectator.lines)
        bench.stop.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(ModelStoppedError) as stopped:
        bench.run(script)
    stopper.join()
    assert stopped.value.place is not None
    assert stopped.value.place.message == "at ***"
    assert [one.message for one in bench.spectator.places] == ["at ***"]


def test_problems_of_the_model_are_passed_on(bench: Bench) -> None:
    problem = {"severity": "error", "message": "KeyError", "path": "bot.py", "line": 3, "hint": "h"}
    unhashable = {"severity": [], "message": "x"}
    strange = [None, {"severity": "fatal", "message": "x"}, {"severity": "error"}, 7, unhashable]
    outcome = bench.run(f"say(event='failed', problems={[problem, *strange]!r})")
    assert error_of(outcome) == Problem(message="KeyError", path="bot.py", line=3, hint="h")
    assert outcome.facts["python"] == "3.11.7"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("os._exit(3)", "ended its own process (exit code 3)"),
        ("os.kill(os.getpid(), 9)", "was killed (SIGKILL)"),
        ("os.close(int(os.environ['EVENTS']))", "ended its own process (exit code 0)"),
        ("os.write(int(os.environ['EVENTS']), b'{\\xff\\n[]\\n7\\n')", "ended its own process"),
        ("say(event='failed', problems=[])", "The backtest failed"),
        ("say(event='failed', problems='no list')", "The backtest failed"),
        ("say(event='finished')", "cannot be used"),
        ("write('{\"trades\": NaN}'); say(event='finished')", "it is not JSON: invalid"),
        ("write('[]'); say(event='finished')", "it has no account_values"),
        ("write('[1e999]'); say(event='finished')", "a number that is too large"),
        ("write('[' + '9' * 400 + ']'); say(event='finished')", "a number that is too large"),
        ("write('[' * 100_000); say(event='finished')", "nested too deep"),
        ("write('\ufeff[]'); say(event='finished')", "cannot be used"),
        ("os.symlink('/etc/passwd', os.environ['RESULT']); say(event='finished')", "cannot be"),
        ("os.mkfifo(os.environ['RESULT']); say(event='finished')", "it is not a regular file"),
        ("write('{'); say(event='finished')", "cannot be used"),
        ("write('{\"account_values\": 1, \"metrics\": 1}'); say(event='finished')", "no trades"),
    ],
)
def test_every_wrong_end_of_the_process_is_an_error(bench: Bench, script: str, words: str) -> None:
    assert words in error_of(bench.run(script)).message


def test_a_script_may_fail_after_its_backtest(bench: Bench) -> None:
    problem = {"severity": "error", "message": "KeyError", "path": "bot.py", "line": 3}
    outcome = bench.run(
        f"write({json.dumps(json.dumps(RESULT))}); say(event='finished', problems=[{problem!r}])"
    )
    assert outcome.result is not None
    assert outcome.has_failed
    assert outcome.problems[-1] == Problem(message="KeyError", path="bot.py", line=3)


TELL = (
    f"open(os.environ['RESULT'] + '.strategy', 'w').write({json.dumps(json.dumps(RESULT))})\n"
    "say(event='result', callback_calls=7, problems=[{'severity': 'warning', 'message': 'w'}])\n"
)


@pytest.mark.parametrize(
    ("script", "severity", "words"),
    [
        ("os._exit(0)", Severity.NOTICE, "bot.py ended its own process (exit code 0) after its"),
        ("os._exit(3)", Severity.ERROR, "bot.py ended its own process (exit code 3) after its"),
        ("os.kill(os.getpid(), 9)", Severity.ERROR, "was killed (SIGKILL) after its backtest."),
    ],
)
def test_a_process_may_end_after_its_backtest(
    bench: Bench, script: str, severity: Severity, words: str
) -> None:
    outcome = bench.run(TELL + script)
    assert outcome.result is not None
    assert outcome.facts["callbackCalls"] == 7
    *_, problem, warning = outcome.problems
    assert words in problem.message
    assert problem.severity is severity
    assert outcome.has_failed is (severity is Severity.ERROR)
    assert warning.message == "w"


def test_a_result_that_was_told_but_cannot_be_read_is_an_error(bench: Bench) -> None:
    outcome = bench.run("say(event='result')\nos._exit(3)")
    assert outcome.result is None
    vanished, unusable = (one for one in outcome.problems if one.severity is Severity.ERROR)
    assert "exit code 3" in vanished.message
    assert "cannot be used" in unusable.message


@pytest.mark.parametrize("share", ["1e999", "9" * 400, "NaN", "null", "true", '"half"'])
def test_an_invalid_progress_is_ignored(bench: Bench, share: str) -> None:
    line = f'{{"event": "progress", "share": {share}}}\n'.encode()
    script = f"os.write(int(os.environ['EVENTS']), {line!r})\n{FINISH}"
    assert bench.run(script).result is not None
    assert set(bench.spectator.shares) <= {1.0}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_all_processes_of_a_run_are_ended(bench: Bench) -> None:
    """A process with a session of its own leaves the model's process group."""
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"print(child.pid)\n{FINISH}"
    )
    assert bench.run(script).result is not None
    wait_for(lambda: not is_alive(int(bench.spectator.lines[-1])))


def test_a_model_that_ends_its_launcher_has_no_result(bench: Bench) -> None:
    """It can if it runs as the same user; what it left may not be found then."""
    bench.isolation = Isolation(AsRoot.ALLOWED)
    bench.program = bench.root / "only ours"
    bench.program.mkdir(mode=0o700)
    error = error_of(bench.run(f"{FINISH}\nos.kill(os.getppid(), 9)\nimport time; time.sleep(60)"))
    assert "watches over the model was killed" in error.message
    assert "may still run" in error.hint


def test_without_isolation_root_runs_no_model(bench: Bench) -> None:
    bench.isolation = ISOLATED
    bench.program = bench.root / "only ours"
    bench.program.mkdir(mode=0o700)
    outcome = bench.run(f"print('started')\n{FINISH}")
    if os.geteuid() == 0:
        assert "As root it would not be isolated: a model's" in error_of(outcome).message
        assert bench.spectator.sections == []  # nor was an environment made for it
    else:
        assert "the rights of the user" in outcome.problems[-1].message


@as_root
def test_a_python_that_only_root_reaches_is_refused_before_anything_is_installed(
    bench: Bench,
) -> None:
    bench.isolation = ISOLATED
    hidden = bench.root / "only ours"
    hidden.mkdir(mode=0o700)
    bench.python = hidden / "python"
    bench.python.touch(mode=0o755)
    error = error_of(bench.run(FINISH))
    assert f"a model's own user may not enter {hidden}" in error.message
    assert bench.spectator.lines == []  # such as that an environment was made


def test_an_unreadable_directory_of_a_model_is_removed(bench: Bench) -> None:
    """It may contain keys; `Bench.run` checks that it is gone."""
    script = f"os.mkdir('a'); os.mkdir('a/b'); os.chmod('a', 0o500); os.chmod('.', 0)\n{FINISH}"
    bench.run(script)


def test_a_very_deep_directory_is_removed(bench: Bench) -> None:
    script = (
        "here = os.getcwd()\nfor _ in range(1_500):\n    os.mkdir('d')\n    os.chdir('d')\n"
        f"os.chdir(here)\n{FINISH}"
    )
    assert bench.run(script).result is not None


@pytest.mark.parametrize(
    "event", ['{"event": []}', '{"event": {}}', "7", "[]", '{"event": "progress"}']
)
def test_an_unknown_event_is_ignored(bench: Bench, event: str) -> None:
    script = f"os.write(int(os.environ['EVENTS']), {event.encode()!r} + b'\\n')\n{FINISH}"
    assert bench.run(script).result is not None


def test_a_full_disk_or_an_unwritable_directory_is_reported(bench: Bench) -> None:
    (bench.root / "runs" / bench.backtest_id).mkdir(parents=True)
    error = error_of(bench.run_once("print()"))
    assert error.message.startswith("The operating system refused: File exists (")


@as_root
def test_under_root_each_model_has_its_own_user(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert 61_184 < draw_user([Path("/usr/bin/env")]) < 65_520
    with pytest.raises(NotIsolatedError) as raised:
        draw_user([Path("/usr/bin/env"), closed / "python"])
    assert raised.value.reason == f"a model's own user may not enter {closed}"
    assert f"`chmod o+x {closed}`" in raised.value.hint


@as_root
def test_changing_the_owner_follows_no_links(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.touch()
    theirs = tmp_path / "theirs"
    (theirs / "deep").mkdir(parents=True)
    (theirs / "deep" / "file").touch()
    (theirs / "link").symlink_to(ours)
    hand_over(theirs, 61_200)
    for path in (theirs, *theirs.rglob("*")):
        assert path.lstat().st_uid == path.lstat().st_gid == 61_200
    assert ours.stat().st_uid == 0


def test_a_second_last_event_is_ignored(bench: Bench) -> None:
    """A model that finds our pipe cannot turn a failure into a success."""
    script = f"say(event='failed', problems=[])\n{FINISH}"
    assert bench.run(script).result is None


WRITES = f"""
import time
for number in range(COUNT):
    open(f"{{os.environ['TMPDIR']}}/{{number}}", "wb").write(bytes(8_000_000))
time.sleep(SECONDS)
{FINISH}
"""


def test_files_that_take_too_much_end_the_run_and_name_the_limit(bench: Bench) -> None:
    error = error_of(bench.run(WRITES.replace("COUNT", "3").replace("SECONDS", "60")))
    assert "took more than 20.0 MB" in error.message
    assert "BLANKLY_DEPLOY_MODEL_DISK" in error.hint


def test_what_is_in_the_bundle_is_not_what_the_model_wrote(bench: Bench) -> None:
    script = WRITES.replace("COUNT", "2").replace("SECONDS", "1")
    assert bench.run(script, large="x" * 15_000_000).result is not None


def test_running_out_of_memory_names_the_limit(bench: Bench) -> None:
    problem = {"severity": "error", "message": "MemoryError"}
    error = error_of(bench.run(f"say(event='failed', problems=[{problem}])"))
    limit = MEMORY.limit()
    assert limit is not None
    assert f"{limit >> 20} MiB" in error.hint


def test_a_large_result_is_refused(bench: Bench) -> None:
    bench.largest_result = 10
    assert "larger than" in error_of(bench.run(FINISH)).message


def test_a_result_is_checked_in_a_small_multiple_of_its_memory(bench: Bench) -> None:
    bench.largest_result = 8 << 20
    content = '{"account_values": [], "metrics": {}, "trades": [[]%s]}'
    script = f"write({content!r} % (',[]' * 2_000_000)); say(event='finished', problems=[])"
    tracemalloc.start()
    try:
        outcome = bench.run(script)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.result is not None
    assert peak < 2 * len(outcome.result) + (8 << 20)


def test_facts_that_are_too_large_are_left_out(bench: Bench) -> None:
    script = f"write({json.dumps(RESULT)!r})\n"
    script += "say(event='finished', problems=[], symbols=['A' * 70_000], exchanges=['keyless'])"
    facts = bench.run(script).facts
    assert facts["exchanges"] == ["keyless"]
    assert "symbols" not in facts


def test_without_an_environment_the_model_does_not_start(bench: Bench) -> None:
    problem = Problem(message="No such package.", path="requirements.txt")
    bench.failure = EnvironmentFailedError(problem)
    outcome = bench.run("print('started')" + FINISH)
    assert error_of(outcome) == problem
    assert "started" not in bench.spectator.lines


def test_a_bundle_that_is_damaged_is_an_error(bench: Bench) -> None:
    """The disk may have damaged it since it was uploaded."""
    bundle = make_bundle(bench.root / "bundle.zip", {"bot.py": "print('hello')"})
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(b"print('hello')", b"print('HELLO')"))
    with pytest.raises(ArchiveError, match=r"'model/bot\.py' is damaged: its checksum"):
        unpack(bundle, bench.root / "out")


def test_a_bundle_that_is_another_one_is_not_run(bench: Bench) -> None:
    """It may be sound, and yet not what was uploaded."""
    bench.digest = "0a" * 32
    error = error_of(bench.run("print('started')" + FINISH))
    assert "is damaged: it is not what was uploaded. Deploy that commit again" in error.message
    assert "started" not in bench.spectator.lines


def test_files_are_unpacked_with_their_executable_bit(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, mode in (("run.sh", 0o100755), ("data.csv", 0o100644)):
            entry = zipfile.ZipInfo(f"model/{name}")
            entry.external_attr = mode << 16
            archive.writestr(entry, name)
        archive.writestr("model/empty/", b"")
    model = unpack(bundle, tmp_path / "out")
    assert model == tmp_path / "out" / "model"
    assert os.access(model / "run.sh", os.X_OK)
    assert not (model / "data.csv").stat().st_mode & 0o111
    assert (model / "empty").is_dir()


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ('{"main_script": "none.py"}', "does not exist"),
        ('{"main_script": "../bot.py"}', "outside the model"),
        ('{"main_script": "/etc/passwd"}', "outside the model"),
        ('{"main_script": 7}', "is not a path"),
        ('{"main_script": " "}', "is not a path"),
        ('{"requirements": "a\\u0000b"}', "is not a path"),
        ('{"working_directory": "none"}', "there is no such directory"),
        ('{"working_directory": "bot.py"}', "there is no such directory"),
    ],
)
def test_a_model_that_cannot_run_has_a_problem_in_the_manifest(
    tmp_path: Path, manifest: str, words: str
) -> None:
    """Clients may send what ours refuses."""
    (tmp_path / "bot.py").touch()
    (tmp_path / "blankly.json").write_text(manifest)
    with pytest.raises(UnusableModelError, match=words) as raised:
        read_layout(tmp_path)
    assert raised.value.problem.path == "blankly.json"


def test_the_layout_has_the_packages_defaults(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "bot.py").touch()
    (tmp_path / "blankly.json").write_text('\ufeff{"main_script": "./src//bot.py"}', "utf-8")
    layout = read_layout(tmp_path)
    assert layout.main_script == "src/bot.py"
    assert (layout.requirements, layout.working_directory) == ("requirements.txt", ".")


def test_stopping_leaves_nothing(bench: Bench) -> None:
    """The private copy may contain keys."""
    threading.Timer(0.2, bench.stop.set).start()
    with pytest.raises(StoppedError):
        bench.run("import time; time.sleep(60)")


def test_a_stopped_run_says_where_it_stood(bench: Bench) -> None:
    place = {"severity": "error", "message": "Here.", "path": "bot.py", "line": 3}
    script = (
        "import signal, sys, time\n"
        f"def stop(*_): say(event='stopped', problems=[{place!r}]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "say(event='progress', share=0.5)\ntime.sleep(60)"
    )

    def stop_when_it_hangs() -> None:
        wait_for(lambda: bench.spectator.shares)
        bench.stop.set()

    threading.Thread(target=stop_when_it_hangs).start()

    with pytest.raises(ModelStoppedError) as stopped:
        bench.run(script)

    assert stopped.value.place == Problem(message="Here.", path="bot.py", line=3)
    assert bench.spectator.places == [stopped.value.place]


def test_a_stopped_run_shows_the_end_of_its_output(bench: Bench) -> None:
    flood = "import time\nfor number in range(6_000): print(number)\nprint('hangs', flush=True)\n"
    script = f"{flood}say(event='progress', share=0.5)\ntime.sleep(60)"

    def stop_when_it_hangs() -> None:
        wait_for(lambda: bench.spectator.shares)
        bench.stop.set()

    threading.Thread(target=stop_when_it_hangs).start()

    with pytest.raises(StoppedError):
        bench.run(script)

    assert bench.spectator.lines[-1] == "hangs"
