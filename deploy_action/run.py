"""One run of the action: runs the mode stage by stage, reports, and picks the exit code."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from deploy_action.console import Console
from deploy_action.errors import (
    DeadlineError,
    DeployActionError,
    InterruptedRunError,
    InvalidInputError,
    Problem,
    RefusedError,
    Severity,
)
from deploy_action.github.runners import runner_of
from deploy_action.http.proxies import passwords_in
from deploy_action.inputs.definitions import Mode, read_inputs
from deploy_action.inputs.secrets import secrets_of
from deploy_action.inputs.settings import Settings, parse_settings
from deploy_action.interruption import Deadline, deadline_as_error, signals_as_errors
from deploy_action.modes.tools import Tools
from deploy_action.outcome.ending import Ending, Status
from deploy_action.outcome.request import Request
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.records import dataclass, field, replace
from deploy_action.reporting import Reporting
from deploy_action.servers import Servers
from deploy_action.text.terminal import Terminal

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.outcome.backtests import Backtests
    from deploy_action.outcome.discovery import Discovery
    from deploy_action.outcome.forwarding import Forwarding
    from deploy_action.outcome.life import Life
    from deploy_action.outcome.prepared_model import DescribedModel, PreparedModel
    from deploy_action.outcome.target import Target
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.stages.preparation import Places

_DONE: Final = 0
_REFUSED: Final = 1
_INVALID: Final = 2
_SIGNALLED: Final = 128


@dataclass(slots=True)
class Run:
    """One run of the action in one environment.

    `outcome` holds what the stages returned; a stage that can fail half-way reports what it found
    through a callback, so that a failure has outputs and a summary too.
    """

    environ: Mapping[str, str]
    stream: TextIO
    for_runner: bool
    inputs: Mapping[str, str] | None = None
    terminal: Terminal = Terminal()  # frozen
    fault: DeployActionError | None = None  # what is wrong with the environment
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep  # between requests about a comment, in seconds
    console: Console = field(init=False)
    outcome: RunOutcome = field(default_factory=RunOutcome, init=False)
    # Set once the inputs are parsed.
    deadline: Deadline | None = field(default=None, init=False)
    platform_data: Path = field(default=Path(), init=False)
    _started_at: float = field(default=0.0, init=False)
    # Where the model's script stood when the run was stopped.
    _place: Problem | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._started_at = self.clock()
        self.console = Console(
            stream=self.stream,
            for_runner=self.for_runner,
            terminal=self.terminal,
            verbose=self.environ.get("RUNNER_DEBUG") == "1",
            runner=runner_of(self.environ),
        )

    def main(self) -> int:
        """Run the mode, report, and return the exit code. A traceback from here is a bug."""
        if self.inputs is None:
            self.inputs = read_inputs(self.environ)
        # Secrets are hidden before anything is printed.
        self.console.mask([*secrets_of(self.inputs), *passwords_in(self.environ)])
        with signals_as_errors() as ignore_signals:
            exit_code = self._guarded(self.inputs, ignore_signals)
            ignore_signals()
            try:
                self._report(self.inputs, exit_code)
            except InterruptedRunError as error:
                exit_code = exit_code_of(error)
            except Exception as error:  # noqa: BLE001  # only the summary is missing
                self.console.problem(self._bug(error))
                if not self.outcome.target.is_deployed:
                    exit_code = exit_code or _REFUSED
        return exit_code

    def _report(self, inputs: Mapping[str, str], exit_code: int) -> None:
        reporting = Reporting(
            environ=self.environ,
            console=self.console,
            platform_data=self.platform_data,
            pause=self.pause,
        )
        self._add_excerpts()
        shown = reporting.report(self.outcome)
        if exit_code >= _SIGNALLED:  # the runner gives a cancelled step a few seconds
            return
        try:
            reporting.comment(shown, inputs, self.deadline)
        except InterruptedRunError:
            raise
        except Exception as error:  # noqa: BLE001  # without the comment, all else still holds
            self.console.problem(replace(self._bug(error), severity=Severity.WARNING))

    def _add_excerpts(self) -> None:
        """Read the lines of the model at which problems are."""
        is_elsewhere = self.outcome.request.mode == Mode.MERGE  # what is checked out may be another
        if is_elsewhere or not any(problem.line for problem in self.outcome.problems):
            return
        from deploy_action.bundle.including import place_includes
        from deploy_action.github.event import read_event
        from deploy_action.stages.excerpts import read_excerpts

        event = read_event(self.environ)
        model, bundle = self.outcome.model, self.outcome.bundle
        workspace = Path(self.environ.get("GITHUB_WORKSPACE") or ".")
        directory = workspace / self.outcome.model_path
        files, _ = place_includes(workspace, directory, model.included, ())
        excerpts = read_excerpts(
            files,
            None if bundle is None else bundle.scripts,
            self.outcome.problems,
            lambda file, line: event.line_url(file.commit, file.path, line),
            partial(self.console.redact, keep_lines=True),
        )
        self.outcome = replace(self.outcome, excerpts=excerpts)

    def _guarded(self, inputs: Mapping[str, str], ignore_signals: Callable[[], None]) -> int:
        """Run the mode; turn every failure into problems and an exit code."""
        try:
            self._run(inputs, ignore_signals)
            exit_code = _DONE
        except DeployActionError as error:
            if self._is_done:  # the deadline or a signal came after the last step
                exit_code = _DONE
            else:
                self._fail(*self._placed(error), is_unsent=isinstance(error, InvalidInputError))
                exit_code = exit_code_of(error)
        except OSError as error:
            self._fail(_system_problem(error))
            exit_code = _REFUSED
        except Exception as error:  # noqa: BLE001  # the outputs say `failed` on a bug, too
            self._fail(self._bug(error))
            exit_code = _REFUSED
        seconds = self.clock() - self._started_at
        self._keep_ending(replace(self.outcome.ending, seconds=seconds))
        return exit_code

    def _placed(self, error: DeployActionError) -> tuple[Problem, ...]:
        """Return the problems of a failure; what stopped the run is where the script stood."""
        place, problems = self._place, error.problems
        if place is None or not isinstance(error, DeadlineError | InterruptedRunError):
            return problems
        first, *others = problems
        hint = " ".join(filter(None, (place.hint, first.hint)))
        stopped = replace(place, message=f"{first.message} {place.message}", hint=hint)
        return stopped, *others

    def _keep_place(self, place: Problem) -> None:
        self._place = self._place or place

    @property
    def _is_done(self) -> bool:
        """Whether the mode did what it should; what follows only tidies up."""
        return self.outcome.ending.status is not Status.FAILED

    def _fail(self, *problems: Problem, is_unsent: bool = False) -> None:
        """Note why a run failed; what it had done by then keeps its status."""
        ending = replace(self.outcome.ending, problems=problems, is_unsent=is_unsent)
        # A version that the server has, and that does not run, is no deploy.
        life = self.outcome.life
        if self.outcome.target.is_deployed and (life.standing is None or life.is_done):
            ending = replace(ending, status=Status.DEPLOYED)
        self._keep_ending(ending)

    def _bug(self, error: Exception) -> Problem:
        """Print the traceback, which only a bug has."""
        import traceback

        self.console.info("".join(traceback.format_exception(error)))
        return Problem(
            message=f"This is a bug in the action: {type(error).__name__}.",
            hint="Please report it with the traceback in the log.",
        )

    def _run(self, inputs: Mapping[str, str], ignore_signals: Callable[[], None]) -> None:
        request = Request(
            mode=inputs.get("mode", Mode.DEPLOY).strip(),
            model_path=inputs.get("model-path", ""),
            project_id=inputs.get("project-id", "").strip(),
            model_id=inputs.get("model-id", "").strip(),
        )
        self.outcome = replace(self.outcome, request=request)
        if self.fault is not None:
            raise self.fault
        settings = parse_settings(inputs, for_runner=self.for_runner)
        if settings.mode.sends:
            request = replace(request, server=settings.api_url, is_local=settings.is_local)
        self.outcome = replace(self.outcome, request=request, warnings=settings.warnings)
        self.platform_data = self._find_platform_data(settings)
        deadline = self.deadline = Deadline.after(settings.timeout_minutes)
        with self._tidied(ignore_signals) as stack, deadline_as_error(deadline):
            servers = Servers(
                environ=self.environ,
                console=self.console,
                platform_data=self.platform_data,
                deadline=deadline,
                stack=stack,
                on_stopped=self._keep_place,
                now=_midnight(),
            )
            tools = Tools(
                servers=servers,
                console=self.console,
                on_target=self._keep_target,
                on_doubt=self._doubt_target,
                on_backtests=self._keep_backtests,
                on_life=self._keep_life,
                backtests=lambda: self.outcome.backtests,
            )
            self._keep_ending(self._do(tools, settings, stack))
            # The work is done: neither a signal nor the deadline may interrupt the tidying up.
            ignore_signals()

    @contextmanager
    def _tidied(self, ignore_signals: Callable[[], None]) -> Iterator[ExitStack]:
        """Yield what is closed at the end. A failure there changes neither exit code nor status."""
        stack = ExitStack()
        try:
            yield stack
        finally:
            # Whatever happened, it is over; a signal could only hide it.
            ignore_signals()
            try:
                stack.close()
            except Exception as error:  # noqa: BLE001  # also a bug changes nothing that was done
                self.console.problem(_untidy(error))

    def _do(self, tools: Tools, settings: Settings, stack: ExitStack) -> Ending:
        if settings.mode is Mode.DISCOVER:
            from deploy_action.modes.discovering import discover

            return discover(settings, self.environ, self._keep_discovery, self.console.redact)
        if settings.mode is Mode.COMMENT:
            from deploy_action.modes.commenting import Commenting

            return Commenting(
                settings=settings,
                environ=self.environ,
                console=self.console,
                deadline=tools.servers.deadline,
                pause=self.pause,
                on_forwarding=self._keep_forwarding,
            ).run()
        if settings.mode is Mode.MERGE:
            from deploy_action.modes.merging import Merging

            return Merging(
                settings=settings,
                environ=self.environ,
                console=self.console,
                on_merged=self._keep_merged,
            ).run()
        if settings.mode.is_control:
            from deploy_action.modes.commands import control

            return control(tools, settings, self._identify(settings))
        from deploy_action.modes.uploads import Task, Uploads

        model, base = self._prepare(settings, stack)
        return Uploads(tools).run(Task(settings=settings, model=model, base=base))

    def _identify(self, settings: Settings) -> DescribedModel:
        """Return which deployed model is meant. Its files may be broken, or not be there."""
        from deploy_action.github.event import read_event
        from deploy_action.stages.live.identity import identify

        workspace = Path(self.environ.get("GITHUB_WORKSPACE") or ".")
        model = identify(
            settings, read_event(self.environ), workspace, self.console.mask, self.console.redact
        )
        self._keep_model(model)
        return model

    def _prepare(
        self, settings: Settings, stack: ExitStack
    ) -> tuple[PreparedModel, PreparedBase | None]:
        from deploy_action.github.event import read_event
        from deploy_action.stages.preparation import Preparation

        preparation = Preparation(
            settings=settings,
            event=read_event(self.environ),
            places=self._places(stack),
            on_described=self._keep_model,
            on_secrets=self.console.mask,
            redact=self.console.redact,
            on_packing=self.console.progress("Packing"),
        )
        with self.console.group("Check and pack the model"):
            model = preparation.run()
            self.outcome = replace(self.outcome, model=model.described, bundle=model.bundle)
            self._say(model.described.name, model.bundle)
        if settings.compare_with is None:
            return model, None
        from deploy_action.stages.base_model import prepare_base

        with self.console.group(f"Check and pack the model of {settings.compare_with}"):
            base = prepare_base(preparation, model, settings.compare_with)
            self._say(f"{model.described.name} at {base.commit}", base.bundle, base.reason)
        return model, base

    def _places(self, stack: ExitStack) -> Places:
        from tempfile import mkdtemp

        from deploy_action.stages.preparation import Places

        temporary = self._temporary_directory()
        scratch = Path(mkdtemp(prefix="blankly-deploy-", dir=temporary))
        stack.callback(_remove, scratch)
        return Places(
            workspace=Path(self.environ.get("GITHUB_WORKSPACE") or "."),
            scratch=scratch,
            excluded=(temporary, scratch, self.platform_data),
        )

    def _keep_model(self, model: DescribedModel) -> None:
        self.outcome = replace(self.outcome, model=model)

    def _keep_discovery(self, discovery: Discovery) -> None:
        self.outcome = replace(self.outcome, discovery=discovery)

    def _keep_merged(self, merged: RunOutcome) -> None:
        request = replace(
            self.outcome.request, server=merged.request.server, is_local=merged.request.is_local
        )
        self.outcome = replace(merged, request=request, warnings=self.outcome.warnings)

    def _keep_target(self, target: Target) -> None:
        self.outcome = replace(self.outcome, target=target)

    def _doubt_target(self) -> None:
        self._keep_target(replace(self.outcome.target, is_in_doubt=True))

    def _keep_life(self, life: Life) -> None:
        self.outcome = replace(self.outcome, life=life)

    def _keep_forwarding(self, forwarding: Forwarding) -> None:
        self.outcome = replace(self.outcome, forwarding=forwarding)

    def _keep_ending(self, ending: Ending) -> None:
        self.outcome = replace(self.outcome, ending=ending)

    def _keep_backtests(self, backtests: Backtests) -> None:
        self.outcome = replace(self.outcome, backtests=backtests)

    def _say(self, name: str, bundle: Bundle | None, reason: str = "") -> None:
        """Print what was packed, or why not; a terminal gets that in the summary."""
        if not self.for_runner:
            return
        if bundle is None:
            self.console.info(f"{name}: {reason}")
            return
        size = f"{bundle.file_count} files, {bundle.size} bytes"
        self.console.info(f"{name}: {size}, SHA-256 {bundle.sha256}")
        for file, length in bundle.largest:
            self.console.debug(f"{length:>12} {file}")

    def _temporary_directory(self) -> Path:
        """Return where bundles are packed: never in the workspace, where keys could stay behind."""
        import tempfile

        if given := self.environ.get("RUNNER_TEMP"):
            Path(given).mkdir(parents=True, exist_ok=True)
            return Path(given)
        found = Path(tempfile.gettempdir())
        named = {self.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")}
        if found == Path.cwd() and str(found) not in {*named, "/tmp", "/var/tmp", "/usr/tmp"}:  # noqa: S108  # where Python looks before it takes the current directory
            raise RefusedError.of(
                message="There is no directory for temporary files that can be written.",
                hint="Name one in the variable RUNNER_TEMP, or mount one at /tmp.",
            )
        return found

    def _find_platform_data(self, settings: Settings) -> Path:
        if settings.platform_data:
            return Path(os.path.expanduser(settings.platform_data)).absolute()  # noqa: PTH111  # Path's raises for a user who does not exist
        if temporary := self.environ.get("RUNNER_TEMP"):
            return Path(temporary) / "blankly-platform"
        from deploy_action.platform.storage.users_place import of_user

        return of_user()


def _midnight() -> datetime:
    """Return the time from which dates of backtests count back: 00:00 UTC today.

    Counted from a time of day, a model is called between bars, where the package's next price is a
    later one; and the parts of a sweep, which run at different times, all have to mean the same.
    """
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def exit_code_of(error: DeployActionError) -> int:
    """Return the exit code of a failure, as docs/failures.md lists them."""
    if isinstance(error, InterruptedRunError):
        return _SIGNALLED + error.signal_number
    return _INVALID if isinstance(error, InvalidInputError) else _REFUSED


def _remove(directory: Path) -> None:
    """Remove a directory of any depth: exchange keys may be in it."""
    from deploy_action.platform.processes.directory_trees import remove_tree

    remove_tree(directory)
    if directory.exists():
        raise OSError(f"{directory} could not be removed")


def _untidy(error: Exception) -> Problem:
    return Problem(
        message=f"Tidying up failed: {type(error).__name__}: {error}".rstrip(": .") + ".",
        hint="The run's result is not affected; temporary files may be left behind.",
        severity=Severity.NOTICE,
    )


def _system_problem(error: OSError) -> Problem:
    place = f" ({error.filename})" if error.filename else ""
    return Problem(
        message=f"The operating system refused: {error.strerror or error}{place}.",
        hint="Look at the disk's free space and at the permissions of that path.",
    )
