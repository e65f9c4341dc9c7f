"""One run of the action: builds the parts, runs the mode, reports, and picks the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from deploy_action.console import Console
from deploy_action.errors import (
    DeployActionError,
    InterruptedRunError,
    InvalidInputError,
    Problem,
    RefusedError,
    Severity,
)
from deploy_action.inputs.definitions import LOCAL, Mode, read_inputs
from deploy_action.inputs.parsing import parse_constraints
from deploy_action.inputs.secrets import secrets_of
from deploy_action.inputs.settings import Settings, comment_wanted, parse_settings
from deploy_action.interruption import Deadline, deadline_as_error, signals_as_errors
from deploy_action.outcome.record import RunRecord, Status
from deploy_action.platform.processes.hardening import harden_process

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.deployment_api.client import DeploymentApi
    from deploy_action.spectator import Spectator
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.stages.preparation import PreparedModel
    from deploy_action.stages.submission import Submitter

_DONE: Final = 0
_REFUSED: Final = 1
_INVALID: Final = 2
_SIGNALLED: Final = 128
# Seconds.
_MOST_FOR_COMMENT: Final = 30.0
_LEAST_FOR_COMMENT: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Target:
    """A server to speak to, and the refresh token for it."""

    url: str
    token: str | None = field(repr=False)
    is_embedded: bool = False


@dataclass(frozen=True, slots=True)
class _Task:
    """What a run is to do, once it is known: nothing of it changes any more."""

    settings: Settings
    model: PreparedModel
    base: PreparedBase | None
    deadline: Deadline
    stack: ExitStack


@dataclass(slots=True)
class Run:
    """One run of the action in one environment."""

    environ: Mapping[str, str]
    stream: TextIO
    for_runner: bool
    inputs: Mapping[str, str] | None = None
    width: int = 96  # of the summary as text, in columns
    record: RunRecord = field(default_factory=RunRecord)
    console: Console = field(init=False)
    # Known when the inputs are, and where the embedded platform keeps its data.
    deadline: Deadline | None = field(default=None, init=False)
    platform_data: Path = field(default=Path(), init=False)
    _spectator: Spectator | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Build the console first: what is secret is hidden before anything is printed."""
        self.console = Console(
            stream=self.stream,
            for_runner=self.for_runner,
            verbose=self.environ.get("RUNNER_DEBUG") == "1",
        )

    def main(self) -> int:
        """Run the mode, report, and return the exit code. A traceback from here is a bug."""
        if self.inputs is None:
            self.inputs = read_inputs(self.environ)
        self.console.mask(secrets_of(self.inputs))
        with signals_as_errors() as ignore_signals:
            exit_code = self._guarded(self.inputs, ignore_signals)
            ignore_signals()
            try:
                shown = self._report()
                if exit_code < _SIGNALLED:  # the runner gives a cancelled step a few seconds
                    self._comment(shown)
            except InterruptedRunError as error:
                exit_code = exit_code_of(error)
            except Exception as error:  # noqa: BLE001  # what is left is the summary
                self.console.problem(self._bug(error))
                exit_code = exit_code or _REFUSED
        return exit_code

    def _guarded(self, inputs: Mapping[str, str], ignore_signals: Callable[[], None]) -> int:
        """Run the mode; whatever goes wrong becomes problems and an exit code."""
        try:
            self._run(inputs, ignore_signals)
        except DeployActionError as error:
            self.record.problems += error.problems
            self.record.is_unsent = isinstance(error, InvalidInputError)
            exit_code = exit_code_of(error)
        except OSError as error:
            self.record.problems.append(_system_problem(error))
            exit_code = _REFUSED
        except Exception as error:  # noqa: BLE001  # the outputs say `failed` on a bug, too
            self.record.problems.append(self._bug(error))
            exit_code = _REFUSED
        else:
            exit_code = _DONE
        return exit_code

    def _bug(self, error: Exception) -> Problem:
        """Print the traceback, which only a bug has."""
        import traceback

        self.console.info("".join(traceback.format_exception(error)))
        return Problem(
            message=f"This is a bug in the action: {type(error).__name__}.",
            hint="Please report it with the traceback in the log.",
        )

    def _run(self, inputs: Mapping[str, str], ignore_signals: Callable[[], None]) -> None:
        self.record.mode = inputs.get("mode", Mode.DEPLOY).strip()
        self.record.model_path = inputs.get("model-path", "")
        # Known from here on, whatever comes: a failure has outputs, too.
        self.record.project_id = inputs.get("project-id", "").strip()
        self.record.model_id = inputs.get("model-id", "").strip()
        settings = parse_settings(inputs)
        self.record.problems += settings.warnings
        self.platform_data = self._find_platform_data(settings)
        self.record.server = settings.api_url if settings.mode is not Mode.VALIDATE else ""
        deadline = self.deadline = Deadline.after(settings.timeout_minutes)
        with ExitStack() as stack, deadline_as_error(deadline):
            model, base = self._prepare(settings, stack)
            task = _Task(settings, model, base, deadline, stack)
            if settings.mode is Mode.VALIDATE:
                self.record.status = Status.VALID
            elif settings.dry_run:
                self._rehearse(task)
            else:
                self._submit(task)
            # What is done is done: neither a signal nor the deadline ends the tidying up.
            ignore_signals()

    def _prepare(
        self, settings: Settings, stack: ExitStack
    ) -> tuple[PreparedModel, PreparedBase | None]:
        from tempfile import TemporaryDirectory

        from deploy_action.github.event import read_event
        from deploy_action.stages.preparation import Places, Preparation

        temporary = self._temporary_directory()
        scratch = stack.enter_context(
            TemporaryDirectory(prefix="blankly-deploy-", dir=temporary, ignore_cleanup_errors=True)
        )
        workspace = Path(self.environ.get("GITHUB_WORKSPACE") or ".")
        excluded = (temporary, Path(scratch), self.platform_data)
        preparation = Preparation(
            settings=settings,
            event=read_event(self.environ),
            places=Places(workspace=workspace, scratch=Path(scratch), excluded=excluded),
            record=self.record,
            on_secrets=self.console.mask,
            redact=self.console.redact,
            on_packing=self.console.progress("Packing"),
        )
        with self.console.group("Check and pack the model"):
            model = preparation.run()
            self._say(model.name, model.bundle)
        if settings.compare_with is None:
            return model, None
        from deploy_action.stages.base_model import prepare_base

        with self.console.group(f"Check and pack the model of {settings.compare_with}"):
            base = prepare_base(preparation, model, settings.compare_with)
            self._say(f"{model.name} at {base.commit}", base.bundle, base.reason)
        return model, base

    def _say(self, name: str, bundle: Bundle | None, reason: str = "") -> None:
        """Say what was packed, or why it was not, on a runner: elsewhere the summary is next."""
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
        """Return where the bundle is packed: never in the workspace, where a key could be left."""
        import tempfile

        if given := self.environ.get("RUNNER_TEMP"):
            Path(given).mkdir(parents=True, exist_ok=True)
            return Path(given)
        found = Path(tempfile.gettempdir())
        if found == Path.cwd():  # what Python falls back to
            raise RefusedError(
                Problem(
                    message="There is no directory for temporary files that can be written.",
                    hint="Name one in the variable RUNNER_TEMP, or mount one at /tmp.",
                ),
            )
        return found

    def _rehearse(self, task: _Task) -> None:
        """Make the requests that change nothing, if there is a server and a token for it."""
        settings, submission = task.settings, None
        submitter = self._submitter(task, _Target(settings.api_url, settings.token))
        if not settings.is_local and settings.token is not None:
            with self.console.group(f"Ask {settings.api_url}"):
                submission = submitter.look_up()
        self.record.would_do = submitter.plan_ahead(submission)
        if self.for_runner:
            for step in self.record.would_do:
                self.console.info(f"Would {step}")
        self.record.status = Status.DRY_RUN

    def _submit(self, task: _Task) -> None:
        """Backtest or deploy; deploy what is to be tested first only when nothing refuses it."""
        settings = task.settings
        target = self._open_target(task)
        submitter = self._submitter(task, target)
        if settings.mode is Mode.BACKTEST:
            with self.console.group(f"Backtest on {_server_name(settings)}"):
                self._try(task, submitter, target)
            self.record.status = Status.BACKTESTED
            return
        submission = None
        if settings.tests_first and not settings.is_local:
            # What it refuses is better known before a long backtest.
            with self.console.group(f"Look up on {_server_name(settings)}"):
                submission = submitter.look_up()
        if settings.tests_first:
            self._test_first(task, target)
        with self.console.group(f"Deploy to {_server_name(settings)}"):
            submission = submitter.create_missing(submission or submitter.look_up())
            submitter.deploy(submission, self.console.progress("Uploading"))

    def _test_first(self, task: _Task, target: _Target) -> None:
        """Backtest on the embedded platform what is to be deployed.

        Raises:
            RefusedError: it may not be deployed.
        """
        from deploy_action.stages.preparation import DEFAULT_PLAN

        with self.console.group("Backtest on the embedded platform"):
            local = target if task.settings.is_local else self._start_platform(task)
            # What is made there for the backtest is not what is deployed to: a record of its own.
            tested = replace(
                task,
                settings=replace(task.settings, mode=Mode.BACKTEST, api_url=LOCAL),
                # Those of another server mean nothing here.
                model=replace(task.model, plan=DEFAULT_PLAN),
            )
            self._try(task, self._submitter(tested, local, RunRecord()), local)
        packed, ran = task.model.bundle.sha256, self.record.tested_sha256
        now = task.model.bundle.sha256_now()
        if not packed == ran == now:
            raise RefusedError(
                Problem(
                    message="The bundle was changed since it was packed, and was not deployed. "
                    f"SHA-256 when it was packed: {packed}; when it was backtested: "
                    f"{ran or 'unknown'}; now: {now}.",
                    hint="Look for what writes into the directory for temporary files, such as "
                    "the model itself.",
                ),
            )

    def _try(self, task: _Task, submitter: Submitter, target: _Target) -> None:
        """Have the model backtested, beside its base where there is one, and judge it."""
        from deploy_action.stages.trial import Trial

        spectator = self._spectator
        trial = Trial(
            submitter=submitter,
            base=task.base,
            record=self.record,
            open_api=lambda: self._open_api(task, target),
            deadline=task.deadline,
            when_candidate_runs=spectator.when_candidate_runs if spectator else None,
            on_candidate_done=spectator.go_on_to_base if spectator else _do_nothing,
        )
        trial.run(self.console.progress("Uploading"))

    def _submitter(
        self, task: _Task, target: _Target, record: RunRecord | None = None
    ) -> Submitter:
        from deploy_action.stages.submission import Submitter

        api = self._open_api(task, target)
        task.stack.callback(api.transport.close)
        return Submitter(
            api=api, settings=task.settings, model=task.model, record=record or self.record
        )

    def _open_api(self, task: _Task, target: _Target) -> DeploymentApi:
        """Return a connection to a server of its own: none is used by two threads."""
        from deploy_action.deployment_api.client import DeploymentApi
        from deploy_action.deployment_api.transport import Transport
        from deploy_action.http_exchange import Retries

        transport = Transport(
            base_url=target.url,
            retries=Retries(task.deadline, on_retry=self.console.info),
            # A proxy must not stand between us and ourselves.
            use_environment=not target.is_embedded,
        )
        return DeploymentApi(
            transport,
            target.token or "",
            on_secret=lambda secret: self.console.mask([secret]),
            redact=self.console.redact,
        )

    def _open_target(self, task: _Task) -> _Target:
        """Return the server that is named, or the embedded one, started."""
        settings = task.settings
        if settings.is_local:
            return self._start_platform(task)
        return _Target(settings.api_url, settings.token)

    def _start_platform(self, task: _Task) -> _Target:
        """Start the embedded platform; the token it takes is good for this run."""
        from secrets import token_urlsafe

        from deploy_action.platform.server import BacktestSettings, PlatformServer
        from deploy_action.spectator import Spectator

        token = token_urlsafe(32)
        self.console.mask([token])
        self._spectator = Spectator(self.console, task.model.bundle)
        server = PlatformServer(
            self.platform_data,
            refresh_token=token,
            strict=False,
            on_error=self.console.info,
            running=BacktestSettings(
                environ=self.environ,
                observer=self._spectator,
                use_constraints=parse_constraints(self.environ),
            ),
        )
        if task.settings.is_backtested:
            harden_process()
        task.stack.enter_context(server)
        return _Target(server.url, token, is_embedded=True)

    def _find_platform_data(self, settings: Settings) -> Path:
        if settings.platform_data:
            return Path(os.path.expanduser(settings.platform_data)).absolute()  # noqa: PTH111  # Path's raises for a user who does not exist
        if temporary := self.environ.get("RUNNER_TEMP"):
            return Path(temporary) / "blankly-platform"
        from platformdirs import user_data_path

        return user_data_path("blankly-deploy", appauthor=False) / "platform"

    def _report(self) -> RunRecord:
        """Show problems, outputs and summary: on success, on failure, and when interrupted.

        Returns the record without secrets, as it was shown.
        """
        from deploy_action.github import commands
        from deploy_action.report.document import to_markdown, to_text
        from deploy_action.report.summary import build_summary

        record = self.record.redacted(self.console.redact)
        self.console.problem_prefix = record.path_prefix
        summary_path = self.environ.get("GITHUB_STEP_SUMMARY")
        if self.for_runner or summary_path:
            # Elsewhere the summary that is printed below names them.
            for problem in record.problems:
                self.console.problem(problem)
        try:
            if record.backtest is not None:
                self._write_report(record)
        finally:
            if output_path := self.environ.get("GITHUB_OUTPUT"):
                outputs = record.outputs()
                self._write(output_path, lambda path: commands.write_outputs(path, outputs))
        document = build_summary(record)
        if summary_path:
            markdown = self.console.redact(to_markdown(document))
            self._write(summary_path, lambda path: commands.write_summary(path, markdown))
        else:
            self.console.info(to_text(document, width=self.width).rstrip())
            if record.report_path:
                self.console.info(f"\nThe whole result: {record.report_path}")
        return record

    def _comment(self, record: RunRecord) -> None:
        """Keep the comment on the pull request up to date; whatever comes of it fails nothing.

        Raises:
            InterruptedRunError: a signal ended it.
        """
        wanted = comment_wanted(self.inputs or {})
        if wanted is None:
            return
        from deploy_action.github.comment import LARGEST_BODY, keep_comment
        from deploy_action.github.event import read_event
        from deploy_action.github.pull_request import find_place
        from deploy_action.report.document import to_markdown
        from deploy_action.report.summary import build_comment

        event = read_event(self.environ)
        place = find_place(self.environ, event.payload)
        if isinstance(place, Problem):
            self.console.problem(place)
            return
        document = build_comment(record, event.run_url)
        body = self.console.redact(to_markdown(document, largest=LARGEST_BODY))
        with self.console.group("Comment on the pull request"):
            with signals_as_errors():
                seconds = self._seconds_for_comment()
                outcome = keep_comment(place, wanted.token, wanted.key, body, seconds=seconds)
            if outcome.problem is not None:
                self.console.problem(outcome.problem)
            elif outcome.url:
                self.console.info(outcome.url)

    def _seconds_for_comment(self) -> float:
        """Return what the deadline leaves, and a few seconds where it passed, to say that."""
        deadline = self.deadline
        left = _MOST_FOR_COMMENT if deadline is None else deadline.at - deadline.clock()
        return min(_MOST_FOR_COMMENT, max(_LEAST_FOR_COMMENT, left))

    def _write_report(self, record: RunRecord) -> None:
        """Keep the result of a backtest as a file, and its path as the output names it."""
        import re
        from secrets import token_hex

        from deploy_action.platform.storage.data_directory import REPORTS
        from deploy_action.report.json_report import build_report

        # What another server calls a backtest may be anything.
        is_harmless = re.fullmatch(r"[A-Za-z0-9-]{1,64}", record.backtest_id)
        name = f"{record.backtest_id if is_harmless else token_hex(16)}.json"
        temporary = self.environ.get("RUNNER_TEMP") if self.for_runner else None
        root = Path(temporary) if temporary else self.platform_data
        path = root / REPORTS / name
        # A later step of a workflow is another user; on a terminal it is nobody else's business.
        mode = 0o755 if temporary else 0o700

        def write(path: Path) -> None:
            path.parent.mkdir(mode, parents=True, exist_ok=True)
            path.write_text(build_report(record), encoding="utf-8")
            record.report_path = str(path.relative_to(root) if temporary else path)

        self._write(str(path), write)

    def _write(self, path: str, write: Callable[[Path], None]) -> None:
        try:
            write(Path(path))
        except OSError as error:
            self.console.problem(
                Problem(
                    message=f"{path} cannot be written: {error.strerror}.",
                    hint="An output of this step is missing; its exit code holds.",
                    severity=Severity.WARNING,
                ),
            )


def _do_nothing() -> None:
    pass


def _server_name(settings: Settings) -> str:
    return "the embedded platform" if settings.api_url == LOCAL else settings.api_url


def exit_code_of(error: DeployActionError) -> int:
    """Return the exit code of a failure, by the table in the README."""
    if isinstance(error, InterruptedRunError):
        return _SIGNALLED + error.signal_number
    return _INVALID if isinstance(error, InvalidInputError) else _REFUSED


def _system_problem(error: OSError) -> Problem:
    place = f" ({error.filename})" if error.filename else ""
    return Problem(
        message=f"The system said no: {error.strerror or error}{place}.",
        hint="Look at the disk's free space and at the permissions of that path.",
    )
