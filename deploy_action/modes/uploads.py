"""The modes for a model in the workspace: deploy, backtest and validate, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from deploy_action.errors import DeadlineError, RefusedError
from deploy_action.inputs.defaults import DEFAULT_PLAN
from deploy_action.inputs.definitions import LOCAL, Mode
from deploy_action.inputs.settings import UNWANTED_WARNINGS, Settings
from deploy_action.modes.tools import Tools
from deploy_action.outcome.ending import Ending, Status
from deploy_action.records import dataclass, replace
from deploy_action.servers import Server, server_name

if TYPE_CHECKING:
    from deploy_action.deployment_api.client import DeploymentApi
    from deploy_action.outcome.prepared_model import PreparedModel
    from deploy_action.outcome.target import Target
    from deploy_action.stages.base_model import PreparedBase
    from deploy_action.stages.submission import Submitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the run sends: a model, and the base that it is compared with."""

    settings: Settings
    model: PreparedModel
    base: PreparedBase | None


@dataclass(frozen=True, slots=True)
class Uploads:
    """The modes that read a model: deploy, backtest and validate."""

    tools: Tools

    def run(self, task: Task) -> Ending:
        """Deploy, backtest or validate a model."""
        if task.settings.mode is Mode.VALIDATE:
            return Ending(status=Status.VALID)
        if task.settings.dry_run:
            return self._rehearse(task)
        if task.settings.mode is Mode.BACKTEST:
            return self._backtest(task)
        return self._deploy(task)

    def _rehearse(self, task: Task) -> Ending:
        """Make the requests that change nothing, if there is a server and a token."""
        settings, target = task.settings, None
        submitter = self._submitter(task, self.tools.servers.named(settings))
        if not settings.is_local and settings.token is not None:
            with self.tools.console.group(f"Ask {settings.api_url}"):
                target = submitter.look_up()
        steps = submitter.plan_ahead(target)
        is_deploy = settings.mode is Mode.DEPLOY
        if is_deploy and target is not None and target.model_id:
            steps = (*steps, *self._foretell(task, submitter.api, target))
        return self.tools.would(steps)

    def _foretell(self, task: Task, api: DeploymentApi, target: Target) -> tuple[str, ...]:
        """Return what the server would make of the upload, or raise as it would."""
        from deploy_action.stages.live.forecast import foretell

        try:
            model = self.tools.follower(api, target).look().model
        except DeadlineError:
            raise
        except RefusedError:  # a server that does not tell
            return ()
        step = foretell(model, task.model, task.settings)
        return (step,) if step else ()

    def _backtest(self, task: Task) -> Ending:
        server = self._open(task)
        submitter = self._submitter(task, server)
        with self.tools.console.group(f"Backtest on {server_name(task.settings)}"):
            self._run_backtests(task, submitter, server)
        return Ending(status=Status.BACKTESTED)

    def _deploy(self, task: Task) -> Ending:
        """Deploy the model, after a backtest if it has to be tested first."""
        from deploy_action.stages.tested import figures_to_tell

        settings = task.settings
        server, target = self._open(task), None
        submitter = self._submitter(task, server)
        if settings.tests_first and not settings.is_local:
            # Learn before a long backtest whether the server would refuse the deploy.
            with self.tools.console.group(f"Look up on {server_name(settings)}"):
                target = submitter.look_up()
        if settings.tests_first:
            self._test_first(task, server)
            tested = figures_to_tell(self.tools.backtests(), submitter.api.redact)
            submitter = replace(submitter, tested=tested)
        with self.tools.console.group(f"Deploy to {server_name(settings)}"):
            target = submitter.create_missing(target or submitter.look_up())
            target = submitter.deploy(target, self.tools.console.progress("Uploading"))
        with self.tools.console.group("See whether it runs"):
            self._follow(submitter.api, target, settings)
        return Ending(status=Status.UNCHANGED if target.is_unchanged else Status.DEPLOYED)

    def _follow(self, api: DeploymentApi, target: Target, settings: Settings) -> None:
        """Wait until the new version runs, if the server tells."""
        follower = self.tools.follower(api, target)
        if not target.is_unchanged:
            if not target.version_id:
                self.tools.console.info("The server does not tell which version it made.")
                return
            life = follower.follow(target.version_id, after="")
            if settings.fail_on_warning and life.problems:
                raise RefusedError(UNWANTED_WARNINGS)
            return
        try:
            follower.look(target.version_id)
        except DeadlineError:
            raise
        except RefusedError:  # nothing was asked for, so nothing can have failed
            self.tools.console.info("The server does not tell what the model does.")

    def _test_first(self, task: Task, server: Server) -> None:
        """Backtest the model on the embedded platform before it is deployed.

        Raises:
            RefusedError: it may not be deployed.
        """
        described = task.model.described
        # The plans of another server mean nothing on the embedded platform.
        tested = replace(described, runs_on=replace(described.runs_on, plan=DEFAULT_PLAN))
        with self.tools.console.group("Backtest on the embedded platform"):
            local = server if task.settings.is_local else self._start_platform(task)
            local_task = replace(
                task,
                settings=replace(task.settings, mode=Mode.BACKTEST, api_url=LOCAL),
                model=replace(task.model, described=tested),
            )
            # The project and model on this platform are not those of the deploy.
            submitter = self._submitter(local_task, local, on_target=lambda _target: None)
            self._run_backtests(task, submitter, local)
        backtest = self.tools.backtests().run
        packed = task.model.bundle.sha256
        ran = "" if backtest is None else backtest.bundle_sha256
        now = task.model.bundle.sha256_now()
        if not packed == ran == now:
            raise RefusedError.of(
                message="The bundle was changed since it was packed, and was not deployed. "
                f"SHA-256 when it was packed: {packed}; when it was backtested: "
                f"{ran or 'unknown'}; now: {now}.",
                hint="Look for what writes into the directory for temporary files, such as "
                "the model itself.",
            )

    def _run_backtests(self, task: Task, submitter: Submitter, server: Server) -> None:
        """Backtest the model, beside its base if there is one, and judge it."""
        from threading import Thread

        from deploy_action.reporting import load_ahead
        from deploy_action.stages.backtests.candidate import CandidateBacktest

        progress = server.progress
        if progress is not None:
            ahead = Thread(target=load_ahead, name="ahead", daemon=True)
            progress.call_at_work(ahead.start)
        backtest = CandidateBacktest(
            submitter=submitter,
            model=task.model,
            base=task.base,
            deadline=self.tools.servers.deadline,
            open_api=lambda: self.tools.servers.connect(server),
            on_found=self.tools.on_backtests,
            on_began=progress.call_when_began if progress else None,
            on_work=progress.call_when_at_work if progress else None,
            on_candidate_done=progress.go_on_to_base if progress else _do_nothing,
            on_several=self.tools.console.share_progress(_several_in_words(task.settings)),
            earlier=self._earlier(task.settings),
        )
        self.tools.on_backtests(backtest.run(self.tools.console.progress("Uploading")))

    def _earlier(self, settings: Settings) -> Mapping[str, float]:
        """Return how long the backtests took in earlier runs, by which shares are balanced."""
        if settings.shard is None or settings.report_path is None:
            return {}
        from deploy_action.stages.reports.durations import read_durations
        from deploy_action.stages.reports.files import report_directory

        path = report_directory(settings.report_path, self.tools.servers.environ)
        earlier = read_durations(path)
        if not earlier:
            self.tools.console.info(
                f"{settings.report_path} holds no earlier report of a sweep: the shares are "
                "balanced by the length of the periods."
            )
        return earlier

    def _submitter(
        self, task: Task, server: Server, on_target: Callable[[Target], None] | None = None
    ) -> Submitter:
        from deploy_action.stages.submission import Submitter

        return Submitter(
            api=self.tools.connect(server),
            settings=task.settings,
            model=task.model,
            on_target=on_target or self.tools.on_target,
            on_doubt=self.tools.on_doubt if on_target is None else _do_nothing,
        )

    def _open(self, task: Task) -> Server:
        """Return the server that the inputs name; start the embedded platform if it is that one."""
        settings = task.settings
        return (
            self._start_platform(task) if settings.is_local else self.tools.servers.named(settings)
        )

    def _start_platform(self, task: Task) -> Server:
        return self.tools.servers.start_platform(task.model.bundle.sha256)


def _several_in_words(settings: Settings) -> str:
    """Return the title of the progress of windows and combinations."""
    return "Backtesting the windows" if settings.sweep is None else "Backtesting the sweep"


def _do_nothing() -> None:
    pass
