"""What many tests share: a model on the disk, and the action run as the runner would run it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from deploy_action.run import Run
from tests.support.isolated import allowed_by_this_machine
from tests.support.runner_protocol import read_entries
from tests.support.scripted_server import ScriptedServer


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set up what tests need of this process.

    Under root, models run as other users, and pytest's usual directory lets nobody else in. A shell
    lets what it starts in the background ignore the keyboard's signals, and so do its children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if os.geteuid() == 0 and config.option.basetemp is None:
        directory = Path(tempfile.mkdtemp(prefix="blankly-tests-"))
        config.option.basetemp = directory / "all"
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))


def let_all_pass(directory: Path) -> Path:
    """Let every user enter a directory of a test, and those above it."""
    for each in (directory, *directory.parents):
        if each.stat().st_uid == os.geteuid() and not each.stat().st_mode & 0o001:
            each.chmod(each.stat().st_mode | 0o011)
    return directory


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Return pytest's directory, which every user may enter."""
    return let_all_pass(tmp_path)


# A slow machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

MANIFEST: Mapping[str, object] = {
    "main_script": "./bot.py",
    "python_version": "3.10",
    "requirements": "./requirements.txt",
    "working_directory": ".",
    "ignore_files": ["price_caches"],
    "backtest_args": {"to": "1y"},
    "type": "strategy",
}


def write_model(directory: Path, **changes: object) -> Path:
    """Write a model without faults; `changes` go into `blankly.json`, None removes a key."""
    directory.mkdir(parents=True, exist_ok=True)
    merged = {**MANIFEST, **changes}
    manifest = {key: value for key, value in merged.items() if value is not None}
    (directory / "blankly.json").write_text(json.dumps(manifest, indent=2))
    (directory / "bot.py").write_text("import blankly\n\nprint(blankly)\n")
    (directory / "requirements.txt").write_text("blankly\n")
    (directory / "settings.json").write_text('{"settings": {}}\n')
    (directory / "backtest.json").write_text('{"settings": {"GUI_output": false}}\n')
    return directory


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and all it left behind."""

    code: int
    log: str
    outputs: Mapping[str, str]
    summary: str

    @property
    def annotations(self) -> list[str]:
        """Return the lines of the log that are errors, warnings or notices."""
        kinds = ("::error", "::warning", "::notice")
        return [line for line in self.log.splitlines() if line.startswith(kinds)]


def _at_once(_seconds: float) -> None:
    """Do not wait for a forge: the tests' shows at once what was written."""


@dataclass(slots=True)
class Runner:
    """Stands in for the runner: its variables, its files, its directories."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the directories a runner mounts, and a model in the workspace."""
        for name in ("workspace", "temp", "home"):
            (self.root / name).mkdir()
        write_model(self.workspace)
        self.environ |= {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            **allowed_by_this_machine(),
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(self.root / "output"),
            "GITHUB_STEP_SUMMARY": str(self.root / "summary.md"),
            "GITHUB_SERVER_URL": "https://forge.example",
            "GITHUB_REPOSITORY": "trader/models",
            "GITHUB_SHA": "c0ffee" * 6 + "c0ff",
            "GITHUB_WORKFLOW": "Deploy",
            "GITHUB_RUN_NUMBER": "7",
            "RUNNER_TEMP": str(self.root / "temp"),
            "HOME": str(self.root / "home"),
        }

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    def on(self, event: str, payload: object) -> None:
        """Let an event have triggered the run."""
        path = self.root / "event.json"
        path.write_text(json.dumps(payload))
        self.environ |= {"GITHUB_EVENT_NAME": event, "GITHUB_EVENT_PATH": str(path)}

    def variables(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a step with these inputs, `api_url` for `api-url`."""
        named = {f"INPUT_{name.replace('_', '-').upper()}": value for name, value in inputs.items()}
        return {**self.environ, **named}

    def run(self, **inputs: str) -> Ended:
        for path in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            Path(self.environ[path]).unlink(missing_ok=True)
        stream = io.StringIO()
        environ = self.variables(inputs)
        code = Run(environ=environ, stream=stream, for_runner=True, pause=_at_once).main()
        return self.ended(code, stream.getvalue())

    def ended(self, code: int, log: str) -> Ended:
        summary = Path(self.environ["GITHUB_STEP_SUMMARY"])
        return Ended(
            code=code,
            log=log,
            outputs=read_entries(Path(self.environ["GITHUB_OUTPUT"])),
            summary=summary.read_text() if summary.exists() else "",
        )


@pytest.fixture(scope="session")
def blankly_python() -> Path:
    """Return the Python of the environment with the real package, or skip; in CI, fail."""
    python = Path(__file__).parents[1] / ".venv-blankly" / "bin" / "python"
    if not python.exists():
        message = f"needs the real blankly package, and there is no {python}: `make setup-blankly`"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    return python


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the directory of a model without faults."""
    return write_model(tmp_path / "model")


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    """Return a function that starts servers with a script; they stop with the test."""
    started: list[ScriptedServer] = []

    def start(script: Mapping[str, object] | None = None) -> ScriptedServer:
        server = ScriptedServer(script)  # type: ignore[arg-type]  # a test writes any script
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()
