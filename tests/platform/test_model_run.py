"""A backtest from its bundle on: unpacked, run in a process, and whatever that process may do.

The environment is a stand-in whose Python is the test's own, and so is what runs the script: what
the real ones do is tested in `model_process` and in the tests of environments.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy_action.errors import Problem, Severity
from deploy_action.platform.archives import ArchiveError
from deploy_action.platform.environments import Environment, EnvironmentFailedError, Environments
from deploy_action.platform.model_run import BacktestRequest, ModelRunner, Outcome, memory_limit
from deploy_action.platform.processes import StoppedError
from deploy_action.platform.unpacking import UnusableModelError, read_layout, unpack

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


class StandInEnvironments(Environments):
    """Environments that give the test's own Python, or fail."""

    def __init__(self, directory: Path, failure: EnvironmentFailedError | None = None) -> None:
        """Keep how it fails."""
        super().__init__(directory, environ={})
        self._failure = failure

    @contextmanager
    def acquire(self, *_: Any, **__: Any) -> Iterator[Environment]:
        """Give it."""
        if self._failure is not None:
            raise self._failure
        warning = Problem(message="Another Python.", severity=Severity.WARNING)
        yield Environment(
            python=Path(sys.executable),
            python_version="3.11.7",
            blankly_version="1.18",
            constraints=("numpy<2",),
            was_made=True,
            problems=(warning,),
        )


@dataclass(slots=True)
class Spectator:
    """Notes what it sees."""

    sections: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def section(self, _: str, title: str) -> None:
        """Note a title."""
        self.sections.append(title)

    def line(self, _: str, text: str) -> None:
        """Note a line."""
        self.lines.append(text)

    def progress(self, _: str, share: float) -> None:
        """Note a share."""
        self.shares.append(share)


@dataclass(slots=True)
class Bench:
    """Runs scripts as models."""

    root: Path
    spectator: Spectator = field(default_factory=Spectator)
    failure: EnvironmentFailedError | None = None
    environ: dict[str, str] = field(default_factory=dict)
    largest_result: int = 1 << 20
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, script: str, manifest: str = "{}", **files: str) -> Outcome:
        """Run a script of a model."""
        bundle = make_bundle(self.root / "bundle.zip", {"bot.py": SAY + script, **files}, manifest)
        program = self.root / "program.py"
        program.write_text(STAND_IN)
        workplace = self.root / "runs"
        workplace.mkdir(exist_ok=True)
        runner = ModelRunner(
            workplace=workplace,
            environments=StandInEnvironments(self.root / "environments", self.failure),
            environ={"PATH": os.environ["PATH"], **self.environ},
            observer=self.spectator,
            program=program,
            largest_result=self.largest_result,
        )
        request = BacktestRequest(
            backtest_id="b", bundle=bundle, python_version="3.10", args={"to": "1y"}
        )
        try:
            return runner.run(request, self.stop)
        finally:
            assert list(workplace.iterdir()) == []


def make_bundle(path: Path, files: dict[str, str], manifest: str = "{}") -> Path:
    """Write a bundle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/blankly.json", manifest)
        for name, content in files.items():
            archive.writestr(f"model/{name}", content)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return what runs scripts."""
    return Bench(tmp_path)


def error_of(outcome: Outcome) -> Problem:
    """Return the one error of a backtest that failed."""
    assert outcome.result is None
    (error,) = (one for one in outcome.problems if one.severity is Severity.ERROR)
    return error


def test_a_result_comes_with_how_it_was_run(bench: Bench) -> None:
    """The environment, its warnings, what the process said; and somebody watched it."""
    script = (
        "print('hello'); say(event='progress', share=0.5); say(event='progress', share=7)\n"
        f"write({json.dumps(RESULT)!r})\n"
        "say(event='finished', problems=[], callback_calls=3, symbols=['A'],"
        "    exchanges=['keyless'], schedule=[])"
    )

    outcome = bench.run(script)

    assert outcome.result is not None
    assert json.loads(outcome.result) == RESULT
    assert [one.message for one in outcome.problems] == ["Another Python."]
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
    }
    assert bench.spectator.sections[-1] == "Output of bot.py"
    assert bench.spectator.lines[-1] == "hello"
    assert bench.spectator.shares == [0.5, 1.0]


def test_a_model_gets_the_platforms_environment_and_no_more(bench: Bench) -> None:
    """As the original had it, with the proxies of the machine, and a home of its own."""
    bench.environ = {"INPUT_TOKEN": "x", "GITHUB_TOKEN": "x", "https_proxy": "p", "TZ": "UTC"}
    script = "import os\nprint(json.dumps([dict(os.environ), os.getcwd()]))\n" + FINISH

    bench.run(script, '{"working_directory": "./work"}', **{"work/x": ""})

    environ, directory = json.loads(bench.spectator.lines[-1])
    model = bench.root / "runs" / "b" / "model"
    assert environ["PYTHONPATH"].split(":")[0] == str(model)
    assert directory == str(model / "work")
    assert environ["HOME"] == str(bench.root / "runs" / "b" / "home")
    assert (environ["BACKTESTING"], environ["BACKTESTING_ID"]) == ("1", "b")
    assert (environ["https_proxy"], environ["TZ"]) == ("p", "UTC")
    assert "INPUT_TOKEN" not in environ
    assert "GITHUB_TOKEN" not in environ


def test_problems_of_the_model_are_passed_on(bench: Bench) -> None:
    """With their places; what is no problem is left out."""
    problem = {"severity": "error", "message": "KeyError", "path": "bot.py", "line": 3, "hint": "h"}
    strange = [None, {"severity": "fatal", "message": "x"}, {"severity": "error"}, 7]

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
        ("write('{\"trades\": NaN}'); say(event='finished')", "NaN is no JSON"),
        ("write('[]'); say(event='finished')", "it has no account_values"),
        ("os.symlink('/etc/passwd', os.environ['RESULT']); say(event='finished')", "cannot be"),
        ("os.mkfifo(os.environ['RESULT']); say(event='finished')", "it is no file"),
        ("write('{'); say(event='finished')", "cannot be used"),
        ("write('{\"account_values\": 1, \"metrics\": 1}'); say(event='finished')", "no trades"),
    ],
)
def test_whatever_the_process_does_it_is_an_error_in_words(
    bench: Bench, script: str, words: str
) -> None:
    """Nothing that it says or leaves out is taken for a result."""
    assert words in error_of(bench.run(script)).message


def test_a_second_last_event_is_ignored(bench: Bench) -> None:
    """A model that finds our pipe cannot turn a failure into a success."""
    script = f"say(event='failed', problems=[])\n{FINISH}"

    assert bench.run(script).result is None


def test_running_out_of_memory_says_how_much_there_was(bench: Bench) -> None:
    """Where the model's process could say so itself."""
    problem = {"severity": "error", "message": "MemoryError"}

    error = error_of(bench.run(f"say(event='failed', problems=[{problem}])"))

    limit = memory_limit()
    assert limit is not None
    assert f"{limit >> 20} MiB" in error.hint


def test_a_large_result_is_refused(bench: Bench) -> None:
    """A model must not fill the platform's memory."""
    bench.largest_result = 10

    assert "larger than" in error_of(bench.run(FINISH)).message


def test_without_an_environment_the_model_does_not_start(bench: Bench) -> None:
    """The installer's problem is the backtest's."""
    problem = Problem(message="No such package.", path="requirements.txt")
    bench.failure = EnvironmentFailedError(problem)

    outcome = bench.run("print('started')" + FINISH)

    assert error_of(outcome) == problem
    assert "started" not in bench.spectator.lines


def test_a_bundle_that_is_damaged_is_an_error(bench: Bench) -> None:
    """Its names were checked at the upload; what is in its entries shows only now."""
    bundle = make_bundle(bench.root / "bundle.zip", {"bot.py": "print('hello')"})
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(b"print('hello')", b"print('HELLO')"))

    with pytest.raises(ArchiveError, match="not a sound zip file: Bad CRC-32"):
        unpack(bundle, bench.root / "out")


def test_files_are_unpacked_with_their_right_to_be_run(tmp_path: Path) -> None:
    """A model may start a program of its own; directories without files exist, too."""
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
        ('{"main_script": "none.py"}', "there is no such file"),
        ('{"main_script": "../bot.py"}', "outside the model"),
        ('{"main_script": "/etc/passwd"}', "outside the model"),
        ('{"main_script": 7}', "is not a path"),
        ('{"main_script": " "}', "is not a path"),
        ('{"requirements": "a\\u0000b"}', "is not a path"),
        ('{"working_directory": "none"}', "there is no such directory"),
        ('{"working_directory": "bot.py"}', "there is no such directory"),
    ],
)
def test_what_cannot_be_run_is_told_on_the_manifest(
    tmp_path: Path, manifest: str, words: str
) -> None:
    """Clients may send what ours refuses."""
    (tmp_path / "bot.py").touch()
    (tmp_path / "blankly.json").write_text(manifest)

    with pytest.raises(UnusableModelError, match=words) as raised:
        read_layout(tmp_path)

    assert raised.value.problem.path == "blankly.json"


def test_the_layout_has_the_packages_defaults(tmp_path: Path) -> None:
    """Paths are normalised, a byte-order mark is taken."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "bot.py").touch()
    (tmp_path / "blankly.json").write_text('\ufeff{"main_script": "./src//bot.py"}', "utf-8")

    layout = read_layout(tmp_path)

    assert layout.main_script == "src/bot.py"
    assert (layout.requirements, layout.working_directory) == ("requirements.txt", ".")


def test_stopping_leaves_nothing(bench: Bench) -> None:
    """No private copy, which may hold keys."""
    threading.Timer(0.2, bench.stop.set).start()

    with pytest.raises(StoppedError):
        bench.run("import time; time.sleep(60)")
