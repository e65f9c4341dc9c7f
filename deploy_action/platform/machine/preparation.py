"""A version that is ready to be started: its copy, its environment and its user."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from deploy_action.errors import Problem, read_problems
from deploy_action.platform.environments import Environment, EnvironmentFailedError, Environments
from deploy_action.platform.live.host import CannotPrepareError, Launch
from deploy_action.platform.machine.limits import Limiter
from deploy_action.platform.machine.places import Copy, Places
from deploy_action.platform.processes.child_process import (
    PASSED_ON,
    BoundedLog,
    SideChannel,
    StoppedError,
    run_process,
)
from deploy_action.platform.processes.confinement import Confinement
from deploy_action.platform.processes.directory_trees import size_of
from deploy_action.platform.processes.launching import Ended
from deploy_action.platform.processes.stragglers import end_stragglers
from deploy_action.platform.processes.unprivileged import NotIsolatedError
from deploy_action.platform.runs.endings import errors, explained, not_started
from deploy_action.platform.runs.isolation import Isolation
from deploy_action.platform.runs.pins import THREAD_VARIABLES
from deploy_action.platform.runs.unpacking import Layout, UnusableModelError, read_layout, unpack
from deploy_action.platform.storage.damage.bundles import check_bytes
from deploy_action.platform.storage.zip_reader import ArchiveError
from deploy_action.records import dataclass, field, replace
from deploy_action.text.strict_json import strict_loads

_SHOWN_LINES: Final = 5
_SHOWN_CHARACTERS: Final = 500  # of each of them
_MOST_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What versions are prepared with.

    `environ` are the variables of this process, of which models get few. `program` is the script
    that the model's Python runs, and `hooks` a directory in which it finds modules of ours.
    `disk_bytes` is what a model's files may take beside those of its bundle.
    """

    places: Places
    environments: Environments
    isolation: Isolation
    limiter: Limiter
    environ: Mapping[str, str]
    program: Path
    hooks: Path
    disk_bytes: int | None = None

    @property
    def needed(self) -> tuple[Path, ...]:
        """What a model has to read, beside its own copy and its Python."""
        return self.program, self.hooks


@dataclass(slots=True, kw_only=True)
class PreparedCopy:
    """A version that can be started once; see `Prepared`."""

    launch: Launch
    workshop: Workshop
    copy: Copy
    model: Path
    layout: Layout
    environment: Environment
    user: int | None
    resources: ExitStack
    problems: tuple[Problem, ...]
    _closing: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        """Remove the copy, and release the environment. Does nothing the second time."""
        with self._closing:
            self.resources.close()

    def command(self, events: int, *options: str) -> list[str]:
        """Return the command that runs the model; `events` is the descriptor for its reports."""
        return [
            str(self.environment.python),
            *("-u", str(self.workshop.program)),
            *("--script", str(self.model / self.layout.main_script)),
            *("--root", str(self.model)),
            *("--events-fd", str(events)),
            *options,
        ]

    def bounded(self, confinement: Confinement) -> Confinement:
        """Return a confinement with the limit of the files that are in its copy and its state."""
        most, private = self.workshop.disk_bytes, self.copy.private
        if most is None:
            return confinement
        places = (str(private), str(self.workshop.places.state(self.launch.place)))
        return replace(confinement, disk_bytes=most + size_of(private), places=places)

    @property
    def working_directory(self) -> Path:
        """Where the model runs."""
        return self.model / self.layout.working_directory

    @property
    def state_variable(self) -> str:
        """The variable that only processes of this model have, as NAME=VALUE."""
        return state_variable(self.workshop.places, self.launch.place)

    def variables(self) -> dict[str, str]:
        """Return the variables of the model's processes."""
        environ, python = self.workshop.environ, self.environment.python
        # Libraries start a thread for each core of the machine, each with memory of its own: with
        # OpenBLAS 40 MB, so that `import blankly` would need more than the smallest plan has.
        threads = str(max(1, self.launch.cpu // 1000))
        return {
            **{name: environ[name] for name in PASSED_ON if name in environ},
            "PATH": f"{python.parent}{os.pathsep}{environ.get('PATH', os.defpath)}",
            "HOME": str(self.copy.private / "home"),
            "TMPDIR": str(self.copy.private / "tmp"),
            "PYTHONUNBUFFERED": "1",
            **dict.fromkeys(THREAD_VARIABLES, threads),
            **self.launch.environment,
            "PYTHONPATH": f"{self.model}{os.pathsep}{self.workshop.hooks}",
            "BLANKLY_STATE_DIR": str(self.workshop.places.state(self.launch.place)),
        }


def state_variable(places: Places, place: str) -> str:
    """Return the variable that the processes of a model have in common, as NAME=VALUE."""
    return f"BLANKLY_STATE_DIR={places.state(place)}"


def prepare(
    workshop: Workshop,
    launch: Launch,
    on_line: Callable[[str], None],
    stop: threading.Event,
    *,
    check: bool,
) -> PreparedCopy:
    """Prepare a version; see `Host.prepare`."""
    try:
        workshop.isolation.check(workshop.places.directory, workshop.needed)
        with ExitStack() as stack:
            prepared = _prepare(workshop, launch, on_line, stop, stack)
            if check:
                prepared.problems += _check(prepared, on_line, stop)
            if stop.is_set():
                raise StoppedError
            prepared.resources = stack.pop_all()
            return prepared
    except NotIsolatedError as error:
        message = f"The model is not run. As root it would not be isolated: {error.reason}."
        raise CannotPrepareError(Problem(message=message, hint=error.hint)) from error
    except ArchiveError as error:
        raise CannotPrepareError(Problem(message=f"{error}.")) from error
    except UnusableModelError as error:
        raise CannotPrepareError(error.problem) from error
    except EnvironmentFailedError as error:
        raise CannotPrepareError(*error.problems) from error


def _prepare(
    workshop: Workshop,
    launch: Launch,
    on_line: Callable[[str], None],
    stop: threading.Event,
    stack: ExitStack,
) -> PreparedCopy:
    copy = stack.enter_context(workshop.places.new_copy(launch.place))
    check_bytes(launch.bundle, launch.bundle_sha256)
    model = unpack(launch.bundle, copy.private)
    layout = read_layout(model)
    started = time.monotonic()
    with BoundedLog(on_line) as log:
        environment = stack.enter_context(
            workshop.environments.acquire(
                model,
                requirements=layout.requirements,
                python_version=launch.python_version,
                on_line=log.add,
                stop=stop,
                is_live=True,
                variables=launch.environment,
                isolate=workshop.isolation.give,
            )
        )
    made = "made" if environment.was_made else "reused"
    on_line(
        f"Python {environment.python_version}, blankly {environment.blankly_version} "
        f"({made}, {time.monotonic() - started:.1f} s)"
    )
    on_line(workshop.limiter.describe(launch))
    for name in ("home", "tmp"):
        (copy.private / name).mkdir(mode=0o700)
    user, isolation_problems = workshop.isolation.choose_user(
        copy.private, [*workshop.needed, environment.python]
    )
    return PreparedCopy(
        launch=launch,
        workshop=workshop,
        copy=copy,
        model=model,
        layout=layout,
        environment=environment,
        user=user,
        resources=stack,
        problems=(*environment.problems, *isolation_problems, *workshop.places.problems),
    )


def _check(
    prepared: PreparedCopy, on_line: Callable[[str], None], stop: threading.Event
) -> tuple[Problem, ...]:
    """Import the package and read the sources, and return what should be said of them.

    Raises:
        CannotPrepareError: that fails.
        StoppedError: `stop` was set.
    """
    launch, limiter = prepared.launch, prepared.workshop.limiter
    limits = limiter.make(launch, prepared.user, purpose="check")
    found: list[Problem] = []
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line[:_SHOWN_CHARACTERS])
        del lines[:-_SHOWN_LINES]
        log.add(line)

    try:
        with BoundedLog(on_line) as log, SideChannel(lambda line: _hear(line, found)) as side:
            ended = run_process(
                prepared.command(side.writer, "--check"),
                cwd=prepared.working_directory,
                # The state directory marks processes of the version that runs, to be ended with it.
                environ={
                    **prepared.variables(),
                    "BLANKLY_STATE_DIR": str(prepared.copy.private / "tmp"),
                },
                on_line=keep,
                stop=stop,
                side=side,
                confinement=prepared.bounded(limits.confinement),
            )
        no_memory = limits.group is not None and limits.group.ran_out_of_memory
    except OSError as error:
        raise CannotPrepareError(not_started(error)) from error
    finally:
        limiter.clear(launch.place, "check")
    if ended.left is None:
        home = f"HOME={prepared.copy.private / 'home'}"
        end_stragglers(prepared.copy.path, prepared.user, marker=home)
    memory = launch.memory << 20
    problems = tuple(explained(problem, memory or None) for problem in found)
    if no_memory:
        raise CannotPrepareError(_too_large(launch))
    if ended.code == 0 and not errors(problems):
        return problems
    if errors(problems):
        raise CannotPrepareError(*errors(problems))
    raise CannotPrepareError(_check_failed(ended, lines))


def _hear(line: str, found: list[Problem]) -> None:
    if len(found) >= _MOST_PROBLEMS:  # the check sends fewer, and the model can write to its pipe
        return
    try:
        event = strict_loads(line.encode("utf-8", "replace"))
    except ValueError:
        return
    if isinstance(event, dict):
        found += read_problems([event.get("problem")])


def _too_large(launch: Launch) -> Problem:
    return Problem(
        message=f"The package blankly cannot be imported: {launch.memory} MiB of memory, the limit "
        f"of the plan {launch.plan}, do not suffice.",
        hint="Choose a larger plan, or require fewer or smaller packages.",
    )


def _check_failed(ended: Ended, lines: list[str]) -> Problem:
    said = f" It said: {' '.join(lines)}" if lines else ""
    return Problem(
        message=f"The check of the model ended with code {ended.code}.{said}",
        hint="The check imports the package blankly and compiles the model's sources, with the "
        "model's Python and the limits of its plan.",
    )
