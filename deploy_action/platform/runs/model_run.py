"""One backtest of one bundle: unpack it, make its environment, run the model in a process.

The model's code is not trusted: it runs in a private copy, without our environment variables, and
what it prints and reports is treated as untrusted input.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deploy_action.errors import Problem, read_problems
from deploy_action.http.proxies import passwords_in
from deploy_action.platform.environments import EnvironmentFailedError
from deploy_action.platform.processes.child_process import (
    PASSED_ON,
    BoundedLog,
    SideChannel,
    StoppedError,
    run_process,
)
from deploy_action.platform.processes.confinement import Confinement
from deploy_action.platform.processes.directory_trees import remove_tree, size_of
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.processes.memory import MEMORY
from deploy_action.platform.processes.stragglers import end_stragglers
from deploy_action.platform.processes.unprivileged import NotIsolatedError
from deploy_action.platform.runs.endings import (
    ModelStoppedError,
    errors,
    explained,
    left_running,
    not_started,
    out_of_disk,
    unwatched,
    vanished,
)
from deploy_action.platform.runs.isolation import ISOLATED, Isolation
from deploy_action.platform.runs.pins import PINNED_VARIABLES, pinned_facts
from deploy_action.platform.runs.reported import read_facts, read_result
from deploy_action.platform.runs.unpacking import Layout, UnusableModelError, read_layout, unpack
from deploy_action.platform.storage.archives import ROOT
from deploy_action.platform.storage.damage.bundles import check_bytes
from deploy_action.platform.storage.zip_reader import ArchiveError
from deploy_action.records import dataclass, field, replace
from deploy_action.text.redaction import redacted
from deploy_action.text.strict_json import strict_loads
from deploy_action.text.variables import hidden_in

if TYPE_CHECKING:
    from deploy_action.platform.environments import Environment, Environments
    from deploy_action.platform.runs.unpacked import UnpackedBundles
    from deploy_action.platform.storage.kept_prices import KeptPrices, Outbox

_MODEL_PROCESS = Path(__file__).parents[1] / "model_process"
_HOOKS = _MODEL_PROCESS / "hooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRequest:
    """A backtest to run: the bundle, and the arguments of `Strategy.backtest()`.

    `bundle_sha256` is the bundle's digest in lower-case hex. `version_id` is that of the version
    which it is the bundle of. `now` is the time from which an
    argument such as `to: 1y` counts back, in seconds since 1970. `prices` are the names of the
    stores of downloaded prices (`store_keys`), blank for a backtest that keeps none. `environment`
    are variables for the model's process, which may be secrets, and `variables` is what may be told
    of them, None if that is nothing. `model` are the ids of the project and the model.
    `passwords` are others that the model gets, those of proxies. `is_ephemeral` says that nothing
    of it is kept once its answer was sent. `unpacked` is a directory in the workplace with what is
    in the bundle, which the run takes for its private copy.
    """

    backtest_id: str
    bundle: Path
    bundle_sha256: str
    python_version: str
    args: Mapping[str, object]
    now: float
    prices: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    passwords: tuple[str, ...] = field(default=(), repr=False)
    variables: Mapping[str, object] | None = None
    model: tuple[str, str] = ("", "")
    version_id: str = ""
    is_ephemeral: bool = False
    unpacked: Path | None = None

    def without_secrets(self, text: str) -> str:
        """Return a text without the secrets that the model gets."""
        return redacted(text, (*hidden_in(self.environment), *self.passwords))


class Observer(Protocol):
    """Gets the progress of backtests, on the thread of each."""

    def began(self, backtest: BacktestRequest) -> None:
        """Note that the backtest has left the queue and runs."""

    def section(self, backtest: BacktestRequest, title: str) -> None:
        """Begin a section of the output."""

    def line(self, backtest: BacktestRequest, text: str) -> None:
        """Take a line that an installer or a model wrote."""

    def progress(self, backtest: BacktestRequest, share: float) -> None:
        """Take the share of the backtest's period that is done, from 0 to 1."""

    def stopped(self, backtest: BacktestRequest, place: Problem) -> None:
        """Take the place in the model where its script stood when it was stopped."""


class Unobserved:
    """An observer that ignores everything."""

    def began(self, backtest: BacktestRequest) -> None:
        """Ignore it."""

    def section(self, backtest: BacktestRequest, title: str) -> None:
        """Ignore it."""

    def line(self, backtest: BacktestRequest, text: str) -> None:
        """Ignore it."""

    def progress(self, backtest: BacktestRequest, share: float) -> None:
        """Ignore it."""

    def stopped(self, backtest: BacktestRequest, place: Problem) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a backtest.

    `result` is what the `blankly` package reported, as strict JSON, or None when the backtest
    failed: then a problem says why. A script may also fail after its backtest: then there are both
    a result and an error. `facts` describe the run (`run` in the API's answer). `peak_bytes` is the
    most memory that all processes of the model had at once, None if that is unknown.
    """

    result: bytes | None
    problems: tuple[Problem, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    peak_bytes: int | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the backtest failed, with a result or without one."""
        return self.result is None or bool(errors(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRunner:
    """Runs backtests; `workplace` holds the private copies of their models.

    `environ` is the environment of this process, of which models get little. `isolation` says what
    they must not reach. `prices` are those that models downloaded before. `bundles` fills private
    copies faster, where models cannot reach what it keeps. `program` is the script that the model's
    Python runs. `disk_bytes` is what a model's files may take beside those of its bundle.
    """

    workplace: Path
    environments: Environments
    environ: Mapping[str, str]
    observer: Observer = Unobserved()  # it has no state
    isolation: Isolation = ISOLATED
    prices: KeptPrices | None = None
    bundles: UnpackedBundles | None = None
    program: Path = _MODEL_PROCESS / "run_model.py"
    largest_result: int = 128 << 20
    disk_bytes: int | None = None
    clock: Callable[[], float] = time.monotonic

    def run(self, request: BacktestRequest, stop: threading.Event) -> Outcome:
        """Run a backtest to its end.

        Raises:
            StoppedError: `stop` was set; the run has left nothing behind.
        """
        request = replace(request, passwords=passwords_in(self.environ))
        self.observer.began(request)
        try:
            self.isolation.check(self.workplace, self.needed)
            with self._private_copy(request) as private:
                model = self._unpack(request, private)
                return self._run_model(request, private, model, read_layout(model), stop)
        except NotIsolatedError as error:
            message = f"The model was not run. As root it would not be isolated: {error.reason}."
            return _failed(Problem(message=message, hint=error.hint))
        except ArchiveError as error:
            return _failed(Problem(message=f"{error}."))
        except UnusableModelError as error:
            return _failed(error.problem)
        except EnvironmentFailedError as error:
            return _failed(*error.problems)
        except OSError as error:
            place = f" ({error.filename})" if error.filename else ""
            message = f"The operating system refused: {error.strerror or error}{place}."
            hint = "Check that there is room on the disk and that the path can be written to."
            return _failed(Problem(message=message, hint=hint))

    @property
    def needed(self) -> tuple[Path, ...]:
        """What a model has to read, beside its own copy and its Python."""
        return self.program, _HOOKS

    def _unpack(self, request: BacktestRequest, private: Path) -> Path:
        """Put the model into its private copy, unless it is there; return its root."""
        if request.unpacked is not None:
            if self.bundles is not None:
                self.bundles.note(request.bundle)
            return private / ROOT
        if self.bundles is not None:
            return self.bundles.fill(request.bundle, request.bundle_sha256, private)
        check_bytes(request.bundle, request.bundle_sha256)
        return unpack(request.bundle, private)

    @contextmanager
    def _private_copy(self, request: BacktestRequest) -> Iterator[Path]:
        """Yield a directory for one run, and remove it after: it may hold exchange keys."""
        private = self.workplace / request.backtest_id
        # The model's user becomes its owner, if that is another one.
        if request.unpacked is None:
            private.mkdir(mode=0o700)
        else:
            request.unpacked.rename(private)
        try:
            yield private
        finally:
            remove_tree(private)

    def _run_model(
        self,
        request: BacktestRequest,
        private: Path,
        model: Path,
        layout: Layout,
        stop: threading.Event,
    ) -> Outcome:
        watch = _Watch(self.observer, request)
        started = self.clock()
        watch.section(f"Environment: Python {request.python_version}, {layout.requirements}")
        with ExitStack() as stack:
            # Ends the output of the installer and of the build scripts that it started.
            with BoundedLog(watch.line) as log:
                environment = stack.enter_context(
                    self.environments.acquire(
                        model,
                        requirements=layout.requirements,
                        python_version=request.python_version,
                        variables=request.environment,
                        on_line=log.add,
                        stop=stop,
                        isolate=self.isolation.give,
                    )
                )
            ready = self.clock()
            watch.line(_describe(environment, ready - started))
            watch.section(f"Output of {layout.main_script}")
            process = _ModelProcess(self, request, private, model, layout, environment)
            outcome = process.run(watch, stop)
            ended = self.clock()
        facts = {
            "python": environment.python_version,
            "wantedPython": request.python_version,
            "blankly": environment.blankly_version,
            "constraints": list(environment.constraints),
            "environmentSeconds": round(ready - started, 3),
            "modelSeconds": round(ended - ready, 3),
            "pinned": pinned_facts(request.now),
            **outcome.facts,
        }
        problems = (*environment.problems, *outcome.problems)
        return replace(outcome, problems=problems, facts=facts)


def _describe(environment: Environment, seconds: float) -> str:
    made = "made" if environment.was_made else "reused"
    return (
        f"Python {environment.python_version}, blankly {environment.blankly_version} "
        f"({made}, {seconds:.1f} s)"
    )


@dataclass(frozen=True, slots=True)
class _Watch:
    """The observer of one backtest."""

    observer: Observer
    backtest: BacktestRequest

    def section(self, title: str) -> None:
        self.observer.section(self.backtest, title)

    def line(self, text: str) -> None:
        self.observer.line(self.backtest, self.backtest.without_secrets(text))

    def progress(self, share: float) -> None:
        self.observer.progress(self.backtest, share)

    def stopped(self, place: Problem) -> None:
        self.observer.stopped(self.backtest, place)


@dataclass(slots=True)
class _ModelProcess:
    """The process of a model, and the events that it reports."""

    runner: ModelRunner
    request: BacktestRequest
    private: Path
    model: Path
    layout: Layout
    environment: Environment
    last_event: Mapping[str, object] | None = None
    result_event: Mapping[str, object] | None = None
    place: Problem | None = None  # where the script stood when it was stopped
    outbox: Outbox | None = None  # for the prices that it downloads

    def run(self, watch: _Watch, stop: threading.Event) -> Outcome:
        for name in ("home", "tmp"):
            (self.private / name).mkdir(mode=0o700)
        if self.runner.prices is None or not self.request.prices:
            return self._run_as_user(watch, stop)
        with self.runner.prices.outbox(self.private / "prices", self.request.prices) as self.outbox:
            return self._run_as_user(watch, stop)

    def _run_as_user(self, watch: _Watch, stop: threading.Event) -> Outcome:
        needed = [*self.runner.needed, self.environment.python]
        user, problems = self.runner.isolation.choose_user(self.private, needed)
        confinement = Confinement(
            MEMORY.limit(),
            user,
            disk_bytes=self._disk_bytes,
            places=(str(self.private),),
        )
        try:
            ended = self._run(watch, stop, confinement)
        except StoppedError as stopped:
            left = stopped.left
            if left is None:
                left = end_stragglers(self.private, user)
            if self.place is not None:
                watch.stopped(self.place)
            raise ModelStoppedError(left, self.place) from None
        except OSError as error:
            outcome = _failed(not_started(error))
        else:
            outcome = replace(self._outcome(ended, confinement), peak_bytes=ended.peak_bytes)
            if not outcome.has_failed:
                watch.progress(1.0)  # the model tells it a few times a second only
        return replace(outcome, problems=(*problems, *outcome.problems))

    def _run(self, watch: _Watch, stop: threading.Event, confinement: Confinement) -> Ended:
        with (
            BoundedLog(watch.line) as log,
            SideChannel(lambda line: self._hear(line, watch)) as side,
        ):
            return run_process(
                self._command(side),
                cwd=self.model / self.layout.working_directory,
                environ=self._environ(self.runner.environ),
                on_line=log.add,
                stop=stop,
                side=side,
                confinement=confinement,
            )

    @property
    def _disk_bytes(self) -> int | None:
        """What all files of the run may take, with those of the bundle."""
        most = self.runner.disk_bytes
        return None if most is None else most + size_of(self.private)

    @property
    def _result(self) -> Path:
        return self.private / "result.json"

    def _command(self, side: SideChannel) -> list[str]:
        return [
            str(self.environment.python),
            *("-u", str(self.runner.program)),
            *("--script", str(self.model / self.layout.main_script)),
            *("--root", str(self.model)),
            *("--events-fd", str(side.writer)),
            *("--result", str(self._result)),
            *("--now", repr(self.request.now)),
            *(word for place in self._places_of_prices for word in ("--prices", str(place))),
        ]

    @property
    def _places_of_prices(self) -> tuple[Path, ...]:
        return () if self.outbox is None else self.outbox.places

    def _hear(self, line: str, watch: _Watch) -> None:
        """Handle one event line. Ignore anything else: the model may write to our pipe."""
        try:
            event = strict_loads(line.encode("utf-8", "replace"))
        except ValueError:
            return
        if not isinstance(event, dict):
            return
        share = event.get("share")
        if event.get("event") == "progress" and isinstance(share, int | float):
            watch.progress(float(min(1, max(0, share))))
        elif event.get("event") in ("finished", "failed") and self.last_event is None:
            self.last_event = event
        elif event.get("event") == "result" and self.result_event is None:
            self.result_event = event
        elif event.get("event") == "prices" and self.outbox is not None:
            self.outbox.hear(event)
        elif event.get("event") == "stopped":
            self.place = next(iter(self._told(event)), None)

    def _environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        python = self.environment.python
        arguments = json.dumps(dict(self.request.args), allow_nan=False).encode()
        return {
            **{name: environ[name] for name in PASSED_ON if name in environ},
            "PATH": f"{python.parent}{os.pathsep}{environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(python.parent.parent),
            "HOME": str(self.private / "home"),
            "TMPDIR": str(self.private / "tmp"),
            **self.request.environment,
            "PYTHONPATH": f"{self.model}{os.pathsep}{_HOOKS}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",  # the copy is thrown away
            **PINNED_VARIABLES,
            "BACKTESTING": "1",
            "BACKTESTING_ID": self.request.backtest_id,
            "BACKTESTING_ARGS": base64.b64encode(arguments).decode(),
            # There is no screen for plots.
            "MPLBACKEND": "agg",
            "BROWSER": "true",
            "BOKEH_BROWSER": "none",
        }

    def _outcome(self, ended: Ended, confinement: Confinement) -> Outcome:
        if ended.left is None:
            return _failed(unwatched(end_stragglers(self.private, confinement.user)))
        if ended.left:
            return _failed(left_running(ended.left))
        if ended.out_of_disk:
            return _failed(out_of_disk(self.runner.disk_bytes))
        event = self.last_event
        if event is None:
            return self._without_ending(ended.code, confinement)
        problems = self._problems(event, confinement)
        if event["event"] == "failed":
            nameless = Problem(message="The backtest failed. The model's output may say why.")
            return _failed(*problems) if errors(problems) else _failed(nameless, *problems)
        return self._with_result(self._result, event, problems)

    def _without_ending(self, code: int, confinement: Confinement) -> Outcome:
        """Return the outcome of a process that ended without its last event.

        If it had told of a result before that, its backtest was over.
        """
        if self.result_event is None:
            return _failed(vanished(code, self.layout.main_script))
        problem = vanished(code, self.layout.main_script, was_over=True)
        problems = (problem, *self._problems(self.result_event, confinement))
        path = self._result.with_name(f"{self._result.name}.strategy")
        return self._with_result(path, self.result_event, problems)

    def _problems(
        self, event: Mapping[str, object], confinement: Confinement
    ) -> tuple[Problem, ...]:
        return tuple(explained(one, confinement.memory_bytes) for one in self._told(event))

    def _told(self, event: Mapping[str, object]) -> tuple[Problem, ...]:
        return read_problems(event.get("problems"), self.request.without_secrets)

    def _with_result(
        self, path: Path, event: Mapping[str, object], problems: tuple[Problem, ...]
    ) -> Outcome:
        try:
            content = read_result(path, self.runner.largest_result)
        except (OSError, ValueError) as error:
            message = f"The result of the model's process cannot be used: {error}."
            return _failed(*errors(problems), Problem(message=message))
        return Outcome(result=content, problems=problems, facts=read_facts(event))


def _failed(*problems: Problem) -> Outcome:
    return Outcome(result=None, problems=problems)
