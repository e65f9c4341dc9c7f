"""The stage that sends a model: find project and model on the server, create them, upload.

What is only read is read first, and everything that can be refused is refused before anything is
created: a run that fails here has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from deploy_action.deployment_api.answers import NO_PERMISSION, WebPageError
from deploy_action.deployment_api.bodies import Upload
from deploy_action.deployment_api.client import (
    LARGEST_RESULT,
    Accepted,
    Backtested,
    DeploymentApi,
    Model,
    Submission,
)
from deploy_action.deployment_api.history import History
from deploy_action.deployment_api.settling import Settling, UntoldError
from deploy_action.errors import (
    DeadlineError,
    DeployActionError,
    InterruptedRunError,
    Problem,
    RefusedError,
    Severity,
)
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import Settings
from deploy_action.outcome.target import Target
from deploy_action.records import dataclass, field, replace
from deploy_action.stages.finding import Finder, with_pages
from deploy_action.stages.listed_uploads import ListedUploads, list_uploads
from deploy_action.stages.options import check_options, upload_options
from deploy_action.text.quantities import count
from deploy_action.text.variables import named

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.outcome.prepared_model import PreparedModel

_DEAD: Final = frozenset({"failed", "error"})
_RESERVE: Final = 30.0  # seconds to find out what happened, before the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Sends one prepared model.

    `on_target` gets the target whenever more of it is known, so that a run that fails half-way can
    report it. `on_doubt` is called when nobody knows what the server did. `tested` are the figures
    of the backtest before a deploy, as JSON, blank if there was none.
    """

    api: DeploymentApi
    settings: Settings
    model: PreparedModel
    on_target: Callable[[Target], None]
    on_doubt: Callable[[], None]
    tested: str = field(default="", repr=False)

    @property
    def _finder(self) -> Finder:
        return Finder(self.api, self.settings, self.model.described)

    def look_up(self) -> Target:
        """Find project and model, and check the plan. These requests change nothing.

        A blank id in the target means that it has yet to be created.
        """
        self.api.sign_in()
        target = self._noted(Target(project_id=self._finder.project()))
        self._check_plan()
        check_options(self.api, self.settings)
        try:
            return self._find_model(target)
        except WebPageError:
            if self.api.description().document:
                raise
            # A server that has nothing but the documented routes may answer all others with a page.
            # It makes a model with the upload. Others refuse an upload without a model's id.
            return self._noted(replace(target, upload_creates=True))

    def create_missing(self, target: Target) -> Target:
        """Create the project and the model that `look_up` did not find."""
        if not target.project_id:
            target = self._create_project(target)
        is_ready = target.model_id or target.upload_creates
        return target if is_ready else self._create_model(target)

    def deploy(self, target: Target, on_progress: Callable[[int, int], None]) -> Target:
        """Upload the bundle as a new version, once."""
        from uuid import uuid4

        bundle, listed = self.model.bundle, self._listed(target)
        upload = Upload(
            bundle.path,
            bundle.sha256,
            on_progress,
            reserve=_RESERVE if listed.tells_versions else 0.0,
            key=str(uuid4()),
        )
        settling = Settling(
            retries=self.api.transport.retries,
            send=lambda: self.api.deploy(self.submission(target), upload),
            find=listed.new_version if listed.tells_versions else None,
            is_slow=listed.before.versions is None,
        )
        with self._doubting(target, "the new version", "a second upload makes a second one"):
            accepted, notice = settling.run()
            if notice is not None:
                target = self._with_notice(target, notice)
            if accepted.status in _DEAD:
                self._accepted(target, accepted)
                raise _died(accepted)
            is_same = accepted.is_unchanged
            target = replace(target, is_deployed=not is_same, is_unchanged=is_same)
            return self._accepted(target, accepted)

    def backtest(self, target: Target, on_progress: Callable[[int, int], None]) -> Backtested:
        """Upload the bundle for a backtest, once, and return the server's answer."""
        upload, listed = backtest_upload(self.model.bundle, on_progress), self._listed(target)
        settling = Settling(
            retries=self.api.transport.retries,
            send=lambda: self.api.backtest(self.submission(target), upload),
            find=listed.new_backtest if listed.tells_backtests else None,
        )
        with self._doubting(target, "the new backtest", "a second upload makes a second one"):
            backtested, notice = settling.run()
            self._accepted(target, backtested)
        if notice is not None:
            backtested = replace(backtested, problems=(*backtested.problems, notice))
        return backtested

    def _listed(self, target: Target) -> ListedUploads:
        """Return what the server lists before an upload."""
        bundle_sha256 = self.model.bundle.sha256
        if self.settings.is_local:  # it ends with this run, and loses no answers
            return ListedUploads(self.api, target, bundle_sha256, History())
        return list_uploads(self.api, target, bundle_sha256)

    def submission(self, target: Target) -> Submission:
        """Return the fields that go with the bundle."""
        described = self.model.described
        return Submission(
            project_id=target.project_id,
            model_id=target.model_id or None,
            model_name=described.name,
            model_type=described.type,
            general_description=self._general_description,
            description=described.description,
            runs_on=described.runs_on,
            price_scope=described.scope,
            environment=self.settings.model_env or {},
            options=upload_options(self.api, self.settings, described, self.tested),
        )

    def _noted(self, target: Target, backtest_id: str = "") -> Target:
        """Report the target as it is known by now, with its URLs."""
        target = with_pages(target, self.settings, self.api, backtest_id)
        self.on_target(target)
        return target

    def _accepted(self, target: Target, accepted: Accepted) -> Target:
        model_id = accepted.model_id or ""
        if model_id and not target.model_id:
            target = self._with_created(target, "model", model_id)
        target = replace(target, model_id=model_id, version_id=accepted.version_id or "")
        return self._noted(target, accepted.backtest_id or "")

    def plan_ahead(self, target: Target | None) -> tuple[str, ...]:
        """Return the steps of a real run; `target` is None if nothing was looked up."""
        settings, described, bundle = self.settings, self.model.described, self.model.bundle
        steps = []
        if target is None:
            model_id = described.model_id
            place = f"model {model_id}" if model_id else f'the model named "{described.name}"'
        else:
            if not target.project_id:
                steps.append(f'create the project "{settings.project_name}"')
            if not target.model_id:
                steps.append(f'create the model "{described.name}"')
            place = f"model {target.model_id or described.name}"
        size = f"{bundle.file_count} files, {bundle.size} bytes"
        action = "deploy a new version of" if settings.mode is Mode.DEPLOY else "backtest"
        last = f"{action} {place}: {size}, SHA-256 `{bundle.sha256}`"
        if settings.model_env:
            number = count(len(settings.model_env), "variable")
            last += f", with {number}: {named(settings.model_env)}"
        if settings.mode is Mode.DEPLOY:
            return (*self._plan_tests(), *steps, last)
        return (*steps, last, *self._plan_tests())

    def _plan_tests(self) -> list[str]:
        """Return the steps that test the model."""
        settings = self.settings
        steps = ["backtest it on the embedded platform"] if settings.tests_first else []
        if settings.compare_with:
            steps.append(f"backtest the model of `{settings.compare_with}`, too, and compare")
        if not settings.is_backtested:
            return steps
        if windows := settings.windows:
            number = windows if isinstance(windows, int) else len(windows)
            steps.append(f"backtest {count(number, 'window')}, too")
        if sweep := settings.sweep:
            steps.append(f"backtest {count(len(sweep), 'combination')} of values, too")
        if settings.shard is not None:
            steps.append(f"run only part {settings.shard} of these, and judge nothing")
            return steps
        if settings.gates:
            steps.append(f"check {count(len(settings.gates), 'gate')}, and stop if one fails")
        return steps

    def _find_model(self, target: Target) -> Target:
        """Return the target with the model's id; blank if the model has yet to be created.

        A model of the same name, type and description is the one an earlier run made: creating
        another would leave the first one trading. One with another description may be somebody
        else's, and a deploy would stop it.
        """
        described = self.model.described
        if described.model_id or not target.project_id:
            return self._noted(replace(target, model_id=described.model_id))
        listed = self._finder.models(target.project_id)
        models = [one for one in listed if one.name == described.name]
        same_type = [one for one in models if one.type in {"", described.type}]
        ours = [one.id for one in same_type if one.description in {"", self._general_description}]
        if not self.settings.is_local:
            self._refuse_others(models, same_type, ours)
            if ours:
                target = self._with_notice(target, self._found(ours[0]))
        return self._noted(replace(target, model_id=ours[0] if ours else ""))

    def _refuse_others(
        self, models: Sequence[Model], same_type: Sequence[Model], ours: Sequence[str]
    ) -> None:
        """Raise if it is unclear which of the models with this name is meant."""
        if len(ours) > 1:
            raise self._finder.ambiguous("model", self.model.described.name, ours)
        if models and not same_type:
            raise self._other_type(models[0])
        if same_type and not ours:
            raise self._other_description(same_type[0])

    @property
    def _general_description(self) -> str:
        """The description of a new model: the input, else the model's origin."""
        return self.settings.general_description or self.model.described.origin

    def _found(self, model_id: str) -> Problem:
        return Problem(
            message=f"No model id is set; the model named `{self.model.described.name}` is the one "
            "that was made for it.",
            hint=f"Set `model-id: {model_id}`, so that it is found whatever it is renamed to.",
            severity=Severity.NOTICE,
        )

    def _other_description(self, model: Model) -> RefusedError:
        return RefusedError.of(
            message=f"The project has a model named `{model.name}` already, which is described "
            f"as `{self._finder.said(model.description)}` and not as "
            f"`{self._general_description}`: it may be another one, and a deploy would replace "
            "what runs there.",
            hint=f"Set `model-id: {model.id}` if it is the one you mean; otherwise give this "
            "model another name with `model-name`.",
        )

    def _other_type(self, model: Model) -> RefusedError:
        return RefusedError.of(
            message=f"The model named `{model.name}` is a "
            f"{self._finder.said(model.type)} on the server, and "
            f"`blankly.json` says {self.model.described.type}.",
            hint="Correct `type` in `blankly.json`, or give the new model another name with "
            "`model-name`.",
        )

    def _check_plan(self) -> None:
        plan, plans = self.model.described.runs_on.plan, self.api.plans()
        if plans and plan not in plans:
            known = self._finder.enumerated(sorted(plans))
            raise RefusedError.of(
                message=f"The server has no plan `{plan}`. Its plans: {known}.",
                hint="Choose one of them in the input `plan` or in `plan` of `blankly.json`.",
            )

    def _create_project(self, target: Target) -> Target:
        name = self.settings.project_name or ""
        danger = "another run may create a second one"
        description = self.settings.project_description or name
        settling = Settling(
            retries=self.api.transport.retries,
            send=lambda: self.api.create_project(name, description).id,
            find=lambda: self._told(self._finder.project(), f"has the project `{name}` by now"),
        )
        where = "`GET /project/list`"
        with self._doubting(target, f"the project `{name}`", danger, where):
            project_id, notice = settling.run()
        target = self._with_created(target, "project", project_id, notice)
        return self._noted(replace(target, project_id=project_id))

    def _create_model(self, target: Target) -> Target:
        """Return the target with the new model; unchanged if only the upload can create it."""
        name, danger = self.model.described.name, "another run may create a second one"
        settling = Settling(
            retries=self.api.transport.retries,
            send=lambda: self.api.create_model(self.submission(target)),
            find=lambda: self._told(
                self._find_model(target).model_id, f"has the model `{name}` by now"
            ),
        )
        with (
            self._doubting(target, f"the model `{name}`", danger, "`POST /model/list`"),
            self._explaining_new_project(target),
        ):
            model_id, notice = settling.run()
            if model_id is None:
                # A page of success may come from a server that made the model.
                try:
                    found = self._find_model(target)
                    return self._noted(replace(found, upload_creates=not found.model_id))
                except RefusedError as error:
                    error.may_have_acted = True
                    raise
        target = self._with_created(target, "model", model_id, notice)
        return self._noted(replace(target, model_id=model_id))

    @contextmanager
    def _explaining_new_project(self, target: Target) -> Iterator[None]:
        """Explain why the project that this run made refuses its first model."""
        try:
            yield
        except RefusedError as error:
            is_new = f"project {target.project_id}" in target.created
            if is_new and NO_PERMISSION in str(error):
                raise RefusedError.of(
                    message=f"{self.settings.api_url} made the project "
                    f"`{self.settings.project_name}`, and takes no models in it: on this server, "
                    "they belong into the personal project or a team. The project stays there, "
                    "empty.",
                    hint="Remove `project-name` to use the personal project, or put a team's name "
                    "into it.",
                ) from error
            raise

    def _told(self, identifier: str, words: str) -> tuple[str, str]:
        """Return an id with words for it; that there is none yet does not prove anything."""
        if not identifier:
            raise UntoldError.of(message="The server does not list it.")
        return identifier, words

    def _with_created(
        self, target: Target, kind: str, identifier: str, notice: Problem | None = None
    ) -> Target:
        """Return the target with a note of what was created, and the advice to keep its id."""
        if notice is not None:
            return self._with_notice(target, notice)  # another run may have made it
        what = f"{kind} {identifier}"
        target = replace(target, created=(*target.created, what))
        if self.settings.is_local:
            return target
        hint = (
            f"Set `{kind}-id: {identifier}` so that later runs go to it, whatever it is renamed to."
        )
        return self._with_notice(
            target, Problem(message=f"Created the {what}.", hint=hint, severity=Severity.NOTICE)
        )

    def _with_notice(self, target: Target, notice: Problem) -> Target:
        return replace(target, problems=(*target.problems, notice))

    @contextmanager
    def _doubting(
        self, target: Target, what: str, danger: str, where: str = "`POST /model/details`"
    ) -> Iterator[None]:
        """If a failure leaves it open whether `what` exists, say so, and say where to look."""
        try:
            yield
        except DeployActionError as error:
            if isinstance(error, (DeadlineError, InterruptedRunError)):
                # It may have been raised after the answer arrived and before it was noted.
                error.may_have_acted |= self.api.transport.may_have_acted
            if self.settings.is_local and self.settings.mode is Mode.BACKTEST:
                # The embedded platform ends with this run, so nothing is left there.
                error.may_have_acted = False
            if error.may_have_acted and error.problems:
                page = target.url or target.project_url
                first, *others = error.problems
                doubt = replace(
                    first,
                    message=f"{first.message.removesuffix('.')}. It is not known whether {what} "
                    "was made: it may or may not exist.",
                    hint=f"Look at {f'{page}, or at ' if page else ''}what {where} of "
                    f"{self.settings.api_url} lists, before you run this again: {danger}.",
                )
                error.problems = (doubt, *others)
            if error.may_have_acted:
                self.on_doubt()
            raise
        except Exception:
            # A bug of ours does not tell what the server did.
            self.on_doubt()
            raise


def _died(accepted: Accepted) -> RefusedError:
    return RefusedError.of(
        message=f"The server lists the new version {accepted.version_id} as `{accepted.status}`.",
        hint="Look at the server's log for the reason.",
    )


def backtest_upload(bundle: Bundle, on_progress: Callable[[int, int], None]) -> Upload:
    """Return an upload whose answer may be as large as the result of a backtest."""
    return Upload(bundle.path, bundle.sha256, on_progress, LARGEST_RESULT)
