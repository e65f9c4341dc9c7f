"""Starts, stops and rolls back a deployed model. It creates nothing, and needs no files of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deploy_action.deployment_api.client import DeploymentApi
from deploy_action.deployment_api.live import MOST_LISTED, LiveApi
from deploy_action.deployment_api.settling import Settling, UntoldError
from deploy_action.errors import (
    DeadlineError,
    DeployActionError,
    InterruptedRunError,
    Problem,
    RefusedError,
    Severity,
)
from deploy_action.inputs.defaults import DEFAULT_PLAN
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import UNWANTED_WARNINGS, Settings
from deploy_action.live.deployed import DeployedModel, DeployedVersion, Live
from deploy_action.outcome.life import Life
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.outcome.target import Target
from deploy_action.records import dataclass, replace
from deploy_action.stages.finding import Finder, with_pages
from deploy_action.stages.live.following import Follower, short, warnings_of
from deploy_action.stages.options import check_options
from deploy_action.text.quantities import moment
from deploy_action.text.variables import replaced

_ENDED: Final = frozenset({"finished", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Carries out one of the modes `start`, `stop` and `rollback`.

    `on_target` and `on_life` get what is known as soon as it is. Once the server may have taken an
    order, that is nothing until it tells again. `on_doubt` is called when nobody knows what it did.
    `follower` returns what watches a model.
    """

    api: DeploymentApi
    settings: Settings
    described: DescribedModel
    on_target: Callable[[Target], None]
    on_life: Callable[[Life], None]
    on_doubt: Callable[[], None]
    follower: Callable[[Target], Follower]

    def look_up(self) -> Target:
        """Find the project and the model. These requests change nothing."""
        self.api.sign_in()
        finder = Finder(self.api, self.settings, self.described)
        target = Target(project_id=finder.project())
        self.on_target(target)
        target = replace(target, model_id=finder.deployed_model(target.project_id))
        target = with_pages(target, self.settings, self.api)
        self.on_target(target)
        if self.settings.mode is not Mode.STOP:
            check_options(self.api, self.settings)
        return target

    def run(self, target: Target) -> None:
        """Do what the mode says, and wait until it is done."""
        is_stop = self.settings.mode is Mode.STOP
        life = self._stop(target) if is_stop else self._run_version(target)
        if self.settings.fail_on_warning and life.problems:
            raise RefusedError(UNWANTED_WARNINGS)

    def plan_ahead(self, target: Target | None) -> tuple[str, ...]:
        """Return what would be done; `target` is None if nothing was looked up."""
        mode = self.settings.mode
        if target is None:
            name = self.described.model_id or f'named "{self.described.name}"'
            return (f"{mode} the model {name}",)
        model = self.follower(target).look(listed=self._given).model
        state = "" if model.live is None else f", which is {model.live.state}"
        if mode is Mode.STOP:
            return (f"stop the model {target.model_id}{state}",)
        version_id = self._wanted(model)
        return (f"run version {version_id} of the model {target.model_id}{state}",)

    @property
    def _given(self) -> str:
        """The version to go back to, if the inputs name one."""
        return (self.settings.version_id or "") if self.settings.mode is Mode.ROLLBACK else ""

    def _stop(self, target: Target) -> Life:
        # The order goes out before anything else is asked: nothing may keep it from working.
        follower = self.follower(target)
        try:
            follower.live.stop()
        except DeployActionError as error:
            first, *others = error.problems
            words = "The model may still run."
            error.problems = (replace(first, message=f"{first.message} {words}"), *others)
            raise
        life = follower.follow_stop()
        self.on_target(replace(target, version_id=life.version_id))
        return life

    def _run_version(self, target: Target) -> Life:
        follower = self.follower(target)
        model = follower.look(listed=self._given).model
        version_id = self._wanted(model)
        target = replace(target, version_id=version_id)
        self.on_target(target)
        has_variables = self.settings.model_env is not None  # the server knows whether they are new
        if _is_running(model.live, version_id) and not has_variables:
            life = Life(model=model, version_id=version_id, was_up=True)
            life = replace(life, problems=warnings_of(life))
            self.on_life(life)
            return life
        after, live = None, model.live
        if not _is_coming(live, version_id) or has_variables:
            replacement = self._replacement(model, version_id)
            after = follower.last_line(version_id)
            self._order(follower.live, model, version_id)
            if replacement is not None:
                self.on_target(replace(target, problems=(replacement,)))
        else:
            self.on_life(Life.unknown(version_id, model.name))
        if live is not None and _is_between_runs(live, version_id) and not has_variables:
            return follower.follow_run(version_id, after=after, before=model)
        return follower.follow(version_id, after=after, before=model)

    def _replacement(self, model: DeployedModel, version_id: str) -> Problem | None:
        """Return which variables `model-env` replaces, a warning if some are gone then.

        Raises:
            RefusedError: such a warning is not wanted; nothing was changed.
        """
        version, variables = model.versions.get(version_id), self.settings.model_env
        if version is None or variables is None or not (version.environment or variables):
            return None
        is_loss = not set(version.environment) <= set(variables)
        problem = Problem(
            message=f"Of version {short(version_id)}, {replaced(version.environment, variables)}.",
            hint="`model-env` takes the place of all variables of a version: to keep one, give it "
            "again.",
            severity=Severity.WARNING if is_loss else Severity.NOTICE,
        )
        if is_loss and self.settings.fail_on_warning:
            words = problem.message.replace(" replaced by ", " to be replaced by ")
            raise RefusedError(replace(problem, message=words, severity=Severity.ERROR))
        return problem

    def _order(self, live: LiveApi, model: DeployedModel, version_id: str) -> None:
        """Ask for a version to run, once; if the answer is lost, see whether it was asked for."""
        version = model.versions.get(version_id) or DeployedVersion(id=version_id)
        plan = self.settings.plan or version.plan or DEFAULT_PLAN
        version, unknown = replace(version, plan=plan), Life.unknown(version_id, model.name)

        def find() -> tuple[None, str] | None:
            now = live.describe(version_id).live
            if now is None or self.settings.model_env is not None:  # names of variables alone
                raise UntoldError.of(message="The server does not tell.")
            if now.is_kept_stopped or version_id not in {now.version_id, now.next_id}:
                return None
            if model.live is not None and _is_unchanged(model.live, now):
                if now.state in _ENDED:
                    return None
                raise UntoldError.of(message="It was to run before the order, too.")
            return None, f"has version {version_id} to run by now"

        settling = Settling(
            retries=self.api.transport.retries,
            send=lambda: live.run(version, model.type, self.settings.model_env),
            find=find,
        )
        try:
            settling.run()
            self.on_life(unknown)
        except DeployActionError as error:
            if isinstance(error, (DeadlineError, InterruptedRunError)):
                error.may_have_acted |= self.api.transport.may_have_acted
            if error.may_have_acted:
                first, *others = error.problems
                words = f"It is not known whether version {version_id} will run."
                error.problems = (replace(first, message=f"{first.message} {words}"), *others)
                self.on_doubt()
                self.on_life(unknown)
            raise
        except Exception:
            # A bug of ours does not tell what the server did.
            self.on_doubt()
            self.on_life(unknown)
            raise

    def _wanted(self, model: DeployedModel) -> str:
        """Return the version to run.

        Raises:
            RefusedError: there is none.
        """
        live, mode = model.live, self.settings.mode
        if mode is Mode.START:
            version_id = model.current_id if live is None else live.start_id or live.version_id
            if version_id:
                return version_id
            raise RefusedError.of(
                message="There is no version to start: the model was never deployed, or the "
                "server does not tell.",
                hint="Deploy a version first, with `mode: deploy`.",
            )
        if given := self._given:
            if model.versions and given not in model.versions:
                raise _unknown(given, model)
            return given
        if live is not None and live.previous_id:
            return live.previous_id
        told = "No earlier version of the model ran, so there is nothing to go back to."
        if not model.tells_life:
            told = "The server does not tell which version ran before."
        raise RefusedError.of(
            message=told, hint=f"Set `version-id` to the one to run. {_ids(model)}"
        )


def _is_running(live: Live | None, version_id: str) -> bool:
    """Whether nothing is left to do. A screener between its runs is asked to run now."""
    return (
        live is not None
        and live.version_id == version_id
        and live.state == "running"
        and (not live.next_id)
    )


def _is_unchanged(before: Live, now: Live) -> bool:
    """Whether a server tells the same of what runs, and since when."""
    told = [(one.state, one.version_id, one.next_id, one.since) for one in (before, now)]
    return told[0] == told[1]


def _is_between_runs(live: Live, version_id: str) -> bool:
    return live.version_id == version_id and live.state == "scheduled"


def _is_coming(live: Live | None, version_id: str) -> bool:
    """Whether the server is already about to run a version."""
    if live is None or live.is_kept_stopped:
        return False
    coming = live.next_id or (live.version_id if live.state == "preparing" else "")
    return coming == version_id


def _unknown(version_id: str, model: DeployedModel) -> RefusedError:
    return RefusedError.of(
        message=f"The model has no version `{version_id}`.",
        hint=f"Correct `version-id`. {_ids(model)}",
    )


def _ids(model: DeployedModel) -> str:
    """Name the latest versions, the newest first."""
    latest = list(model.versions.values())[-MOST_LISTED:][::-1]
    if not latest:
        return "The output `version-id` of earlier runs has the ids."
    named = (
        f"`{one.id}`" + (f" ({moment(one.created_at)} UTC)" if one.created_at is not None else "")
        for one in latest
    )
    return f"The latest versions: {', '.join(named)}."
