"""One run of the action: builds the parts, runs the mode, reports, and picks the exit code."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from deploy_action.console import Console
from deploy_action.deadline import Deadline
from deploy_action.errors import (
    DeployActionError,
    InterruptedRunError,
    InvalidInputError,
    Problem,
    Severity,
)
from deploy_action.record import RunRecord, Status
from deploy_action.settings import (
    LOCAL,
    Mode,
    Settings,
    parse_settings,
    read_inputs,
    secrets_of,
)

if TYPE_CHECKING:
    from types import FrameType

    from deploy_action.preparation import PreparedModel
    from deploy_action.submission import Submitter

_DONE: Final = 0
_REFUSED: Final = 1
_INVALID: Final = 2
_SIGNALLED: Final = 128


@dataclass(slots=True)
class Run:
    """One run of the action in one environment."""

    environ: Mapping[str, str]
    stream: TextIO
    for_runner: bool
    inputs: Mapping[str, str] | None = None
    record: RunRecord = field(default_factory=RunRecord)
    console: Console = field(init=False)

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
        try:
            with signals_as_errors():
                exit_code = self._run(self.inputs)
        except DeployActionError as error:
            self.record.problems += error.problems
            self.record.is_unsent = isinstance(error, InvalidInputError)
            exit_code = exit_code_of(error)
        except OSError as error:
            self.record.problems.append(_system_problem(error))
            exit_code = _REFUSED
        except Exception as error:  # noqa: BLE001  # the outputs say `failed` on a bug, too
            self.console.info("".join(traceback.format_exception(error)))
            self.record.problems.append(_bug(error))
            exit_code = _REFUSED
        self._report()
        return exit_code

    def _run(self, inputs: Mapping[str, str]) -> int:
        self.record.mode = inputs.get("mode", Mode.DEPLOY).strip()
        settings = parse_settings(inputs)
        self.record.server = settings.api_url if settings.mode is not Mode.VALIDATE else ""
        deadline = Deadline.after(settings.timeout_minutes)
        with _alarm(deadline), ExitStack() as stack:
            model = self._prepare(settings, stack)
            if settings.mode is Mode.VALIDATE:
                self.record.status = Status.VALID
            elif settings.dry_run:
                self._rehearse(settings, model, deadline, stack)
            else:
                self._submit(settings, model, deadline, stack)
        return _DONE

    def _prepare(self, settings: Settings, stack: ExitStack) -> PreparedModel:
        from tempfile import TemporaryDirectory

        from deploy_action.event import read_event
        from deploy_action.preparation import Places, Preparation

        temporary = self.environ.get("RUNNER_TEMP") or None
        scratch = stack.enter_context(
            TemporaryDirectory(prefix="blankly-deploy-", dir=temporary, ignore_cleanup_errors=True)
        )
        workspace = Path(self.environ.get("GITHUB_WORKSPACE") or ".")
        excluded = (Path(temporary or scratch), Path(scratch), self._platform_data(settings))
        preparation = Preparation(
            settings=settings,
            event=read_event(self.environ),
            places=Places(workspace=workspace, scratch=Path(scratch), excluded=excluded),
            record=self.record,
            on_secrets=self.console.mask,
            on_packing=self.console.progress("Packing"),
        )
        with self.console.group("Check and pack the model"):
            model = preparation.run()
            bundle = model.bundle
            self.console.info(
                f"{model.name}: {bundle.file_count} files, {bundle.size} bytes, "
                f"SHA-256 {bundle.sha256}",
            )
            for name, size in bundle.largest:
                self.console.debug(f"{size:>12} {name}")
        return model

    def _rehearse(
        self, settings: Settings, model: PreparedModel, deadline: Deadline, stack: ExitStack
    ) -> None:
        """Make the requests that change nothing, if there is a server and a token for it."""
        submission = None
        submitter = self._submitter(settings, model, deadline, settings.api_url, settings.token)
        if not settings.is_local and settings.token is not None:
            stack.callback(submitter.api.transport.close)
            with self.console.group(f"Ask {settings.api_url}"):
                submission = submitter.look_up()
        self.record.would_do = submitter.plan_ahead(submission)
        for step in self.record.would_do:
            self.console.info(f"Would {step}")
        self.record.status = Status.DRY_RUN

    def _submit(
        self, settings: Settings, model: PreparedModel, deadline: Deadline, stack: ExitStack
    ) -> None:
        url, token = settings.api_url, settings.token
        if settings.is_local:
            url, token = self._start_platform(settings, stack)
        submitter = self._submitter(settings, model, deadline, url, token)
        stack.callback(submitter.api.transport.close)
        is_deploy = settings.mode is Mode.DEPLOY
        verb = "Deploy to" if is_deploy else "Backtest on"
        with self.console.group(f"{verb} {_server_name(settings)}"):
            submission = submitter.create_missing(submitter.look_up())
            call = submitter.api.deploy if is_deploy else submitter.api.backtest
            submitter.send(submission, call, self.console.progress("Uploading"))
        self.record.status = Status.DEPLOYED if is_deploy else Status.BACKTESTED

    def _submitter(
        self,
        settings: Settings,
        model: PreparedModel,
        deadline: Deadline,
        url: str,
        token: str | None,
    ) -> Submitter:
        from deploy_action.api import DeploymentApi
        from deploy_action.submission import Submitter
        from deploy_action.transport import Transport

        transport = Transport(
            base_url=url,
            deadline=deadline,
            # A proxy must not stand between us and ourselves.
            use_environment=not settings.is_local,
            on_retry=self.console.info,
        )
        api = DeploymentApi(
            transport, token or "", on_secret=lambda secret: self.console.mask([secret])
        )
        return Submitter(api=api, settings=settings, model=model, record=self.record)

    def _start_platform(self, settings: Settings, stack: ExitStack) -> tuple[str, str]:
        """Start the embedded platform; return its URL and the token it takes, good for this run."""
        from secrets import token_urlsafe

        from deploy_action.platform.server import PlatformServer

        token = token_urlsafe(32)
        self.console.mask([token])
        server = PlatformServer(self._platform_data(settings), refresh_token=token, strict=False)
        stack.enter_context(server)
        return server.url, token

    def _platform_data(self, settings: Settings) -> Path:
        if settings.platform_data:
            return Path(settings.platform_data).expanduser().absolute()
        if temporary := self.environ.get("RUNNER_TEMP"):
            return Path(temporary) / "blankly-platform"
        from platformdirs import user_data_path

        return user_data_path("blankly-deploy", appauthor=False) / "platform"

    def _report(self) -> None:
        """Show problems, outputs and summary: on success, on failure, and when interrupted."""
        from deploy_action import github
        from deploy_action.document import to_markdown, to_text
        from deploy_action.summary import build_summary

        record = self.record.redacted(self.console.redact)
        prefix = "" if record.model_path in {"", "."} else f"{record.model_path}/"
        self.console.problem_prefix = prefix
        document = build_summary(record)
        outputs = record.outputs()
        summary_path = self.environ.get("GITHUB_STEP_SUMMARY")
        if self.for_runner or summary_path:
            # Elsewhere the summary that is printed below names them.
            for problem in record.problems:
                self.console.problem(problem)
        if output_path := self.environ.get("GITHUB_OUTPUT"):
            self._write(output_path, lambda path: github.write_outputs(path, outputs))
        if summary_path:
            markdown = self.console.redact(to_markdown(document))
            self._write(summary_path, lambda path: github.write_summary(path, markdown))
        else:
            self.console.info(to_text(document).rstrip())

    def _write(self, path: str, write: Callable[[Path], None]) -> None:
        try:
            write(Path(path))
        except OSError as error:
            self.console.problem(
                Problem(
                    message=f"{path} cannot be written: {error.strerror}.",
                    hint="Outputs or summary of this step are missing; its exit code holds.",
                    severity=Severity.WARNING,
                ),
            )


def _server_name(settings: Settings) -> str:
    return "the embedded platform" if settings.api_url == LOCAL else settings.api_url


def exit_code_of(error: DeployActionError) -> int:
    """Return the exit code of a failure, by the table in the README."""
    if isinstance(error, InterruptedRunError):
        return _SIGNALLED + error.signal_number
    return _INVALID if isinstance(error, InvalidInputError) else _REFUSED


def _bug(error: Exception) -> Problem:
    return Problem(
        message=f"This is a bug in the action: {type(error).__name__}.",
        hint="Please report it with the traceback in the log.",
    )


def _system_problem(error: OSError) -> Problem:
    place = f" ({error.filename})" if error.filename else ""
    return Problem(
        message=f"The system said no: {error.strerror or error}{place}.",
        hint="Look at the disk's free space and at the permissions of that path.",
    )


@contextmanager
def signals_as_errors() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into an `InterruptedRunError`.

    The runner sends SIGINT, SIGTERM 7.5 s later, and kills what is left after 2.5 s more.

    Later ones are ignored, so that they cannot cut off the report.
    """
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for ignored in watched:
            signal.signal(ignored, signal.SIG_IGN)
        raise InterruptedRunError(
            number,
            Problem(message=f"The run was cancelled ({signal.Signals(number).name})."),
        )

    watched = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, interrupt) for number in watched]
    completed = False
    try:
        yield
        completed = True
    finally:
        if completed or signal.getsignal(signal.SIGINT) is interrupt:
            for number, handler in zip(watched, previous, strict=True):
                signal.signal(number, handler)


@contextmanager
def _alarm(deadline: Deadline) -> Iterator[None]:
    """Raise the deadline's error when it passes, whatever is going on then."""
    import signal
    import threading

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "setitimer"):
        yield
        return

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise deadline.error()

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, deadline.remaining())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
