"""From a prepared model to a submission: where it goes, and what has to be made for it first.

What is only read is read first, and everything that can be refused is refused before anything is
created: a run that fails here has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from deploy_action.deployment_api.bodies import Upload
from deploy_action.deployment_api.client import (
    LARGEST_RESULT,
    Accepted,
    Backtested,
    DeploymentApi,
    Model,
    Submission,
)
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
from deploy_action.outcome.record import Status
from deploy_action.text.harmless import excerpt
from deploy_action.text.quantities import count

if TYPE_CHECKING:
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.outcome.record import RunRecord
    from deploy_action.stages.preparation import PreparedModel

_PAGES: Final = {Mode.DEPLOY: "overview", Mode.BACKTEST: "backtests"}
_MOST_NAMED: Final = 10
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Sends one prepared model; what it finds out goes into `record` at once."""

    api: DeploymentApi
    settings: Settings
    model: PreparedModel
    record: RunRecord

    def look_up(self) -> Submission:
        """Find project and model, and check the plan: only reading requests.

        Returns the submission as far as it is known: an id that is blank is still to be made.
        """
        self.api.sign_in()
        project_id = self._find_project()
        self.record.project_id = project_id
        self._check_plan()
        model_id = self._find_model(project_id)
        self._know_model(model_id)
        model = self.model
        return Submission(
            project_id=project_id,
            model_id=model_id or None,
            model_name=model.name,
            model_type=model.manifest.type,
            general_description=self._general_description,
            description=model.description,
            plan=model.plan,
            python_version=model.python_version,
            schedule=model.schedule or None,
            backtest_args=model.backtest_args,
        )

    def create_missing(self, submission: Submission) -> Submission:
        """Create the project and the model that `look_up` did not find."""
        if not submission.project_id:
            submission = replace(submission, project_id=self._create_project())
        if submission.model_id is None:
            submission = replace(submission, model_id=self._create_model(submission))
        return submission

    def deploy(self, submission: Submission, on_progress: Callable[[int, int], None]) -> None:
        """Upload the bundle as a new version, once, and note what became of it."""
        bundle = self.model.bundle
        upload = Upload(bundle.path, bundle.sha256, on_progress)
        with self._doubting("the new version", "a second upload makes a second one"):
            self._note(submission, self.api.deploy(submission, upload))
            self.record.status = Status.DEPLOYED

    def backtest(
        self, submission: Submission, on_progress: Callable[[int, int], None]
    ) -> Backtested:
        """Have the bundle backtested, once, and return what the server found out."""
        with self._doubting("the new backtest", "a second upload makes a second one"):
            backtested = self.api.backtest(
                submission, backtest_upload(self.model.bundle, on_progress)
            )
            self._note(submission, backtested)
            self.record.backtest_id = backtested.backtest_id or ""
        return backtested

    def _note(self, submission: Submission, accepted: Accepted) -> None:
        self.record.version_id = accepted.version_id or ""
        if submission.model_id is None and accepted.model_id:
            self._note_created(f"model {accepted.model_id}", "model-id", accepted.model_id)
        self._know_model(accepted.model_id or "")

    def plan_ahead(self, submission: Submission | None) -> list[str]:
        """Say what a run would do that is not dry; without a submission nothing was looked up."""
        settings, record = self.settings, self.record
        steps = []
        if submission is None:
            target = self.model.model_id
            place = f"model {target}" if target else f'the model named "{record.model_name}"'
        else:
            if not submission.project_id:
                steps.append(f'create the project "{settings.project_name}"')
            if submission.model_id is None:
                steps.append(f'create the model "{record.model_name}"')
            place = f"model {submission.model_id or record.model_name}"
        size = f"{self.model.bundle.file_count} files, {self.model.bundle.size} bytes"
        action = "deploy a new version of" if settings.mode is Mode.DEPLOY else "backtest"
        last = f"{action} {place}: {size}, SHA-256 {self.model.bundle.sha256}"
        if settings.mode is Mode.DEPLOY:
            return [*self._plan_tests(), *steps, last]
        return [*steps, last, *self._plan_tests()]

    def _plan_tests(self) -> list[str]:
        """Say what would be tested: before a deploy, or in a backtest."""
        settings = self.settings
        steps = ["backtest it on the embedded platform"] if settings.tests_first else []
        if settings.compare_with:
            steps.append(f"backtest the model of `{settings.compare_with}`, too, and compare")
        if settings.gates:
            steps.append(f"check {count(len(settings.gates), 'gate')}, and stop if one fails")
        return steps

    def _find_project(self) -> str:
        """Return the project's id; blank when it is named and is to be created."""
        settings = self.settings
        if self.model.project_id:
            return self.model.project_id
        if settings.project_name is None:
            return self.api.personal_project_id()
        projects = self.api.projects()
        named = [project.id for project in projects if project.name == settings.project_name]
        if len(named) > 1:
            raise _ambiguous_name("project", settings.project_name, named)
        if not named and not settings.may_create:
            known = _enumerate([project.name for project in projects])
            raise RefusedError(
                Problem(
                    message=f"There is no project named `{settings.project_name}`. The projects "
                    f"of this user: {known}.",
                    hint="Correct `project-name`, or allow this action to create the project "
                    "with `create-new: true`.",
                ),
            )
        if not named and self.model.model_id and not settings.is_local:
            raise RefusedError(
                Problem(
                    message=f"There is no project named `{settings.project_name}`, so the model "
                    f"`{self.model.model_id}` cannot be in it.",
                    hint="Correct `project-name`, or remove the model's id to have a new model "
                    "made in a new project.",
                ),
            )
        return named[0] if named else ""

    def _find_model(self, project_id: str) -> str:
        """Return the model's id; blank when it is to be created.

        A model of the same name, type and description is the one an earlier run made: creating
        another would leave the first one trading. One with another description may be somebody
        else's, and a deploy would stop it.
        """
        if self.model.model_id or not project_id:
            return self.model.model_id
        models = [one for one in self.api.models(project_id) if one.name == self.model.name]
        same_type = [one for one in models if one.type in {"", self.model.manifest.type}]
        ours = [one.id for one in same_type if one.description in {"", self._general_description}]
        if self.settings.is_local:
            return ours[0] if ours else ""
        if len(ours) > 1:
            raise _ambiguous_name("model", self.model.name, ours)
        if models and not same_type:
            raise self._other_type(models[0])
        if same_type and not ours:
            raise self._other_description(same_type[0])
        if ours:
            self._note_found(ours[0])
        return ours[0] if ours else ""

    @property
    def _general_description(self) -> str:
        """What describes a new model: the input, else where the model comes from."""
        return self.settings.general_description or self.model.origin

    def _note_found(self, model_id: str) -> None:
        self.record.problems.append(
            Problem(
                message=f"No model id is set; the model named `{self.model.name}` is the one that "
                "was made for it.",
                hint=f"Set `model-id: {model_id}`, so that it is found whatever it is renamed to.",
                severity=Severity.NOTICE,
            ),
        )

    def _other_description(self, model: Model) -> RefusedError:
        return RefusedError(
            Problem(
                message=f"The project has a model named `{model.name}` already, which is described "
                f"as `{excerpt(model.description, _LONGEST_NAME)}` and not as "
                f"`{self._general_description}`: it may be another one, and a deploy would replace "
                "what runs there.",
                hint=f"Set `model-id: {model.id}` if it is the one you mean; otherwise give this "
                "model another name with `model-name`.",
            ),
        )

    def _other_type(self, model: Model) -> RefusedError:
        return RefusedError(
            Problem(
                message=f"The model named `{model.name}` is a "
                f"{excerpt(model.type, _LONGEST_NAME)} on the server, and "
                f"`blankly.json` says {self.model.manifest.type}.",
                hint="Correct `type` in `blankly.json`, or give the new model another name with "
                "`model-name`.",
            ),
        )

    def _check_plan(self) -> None:
        plans = self.api.plans()
        if plans and self.model.plan not in plans:
            raise RefusedError(
                Problem(
                    message=f"The server has no plan `{self.model.plan}`. Its plans: "
                    f"{_enumerate(sorted(plans))}.",
                    hint="Choose one of them in the input `plan` or in `plan` of `blankly.json`.",
                ),
            )

    def _create_project(self) -> str:
        name = self.settings.project_name or ""
        with self._doubting(f"the project `{name}`", "another run may create a second one"):
            project = self.api.create_project(name, self.settings.project_description or name)
        self.record.project_id = project.id
        self._note_created(f"project {project.id}", "project-id", project.id)
        return project.id

    def _create_model(self, submission: Submission) -> str | None:
        """Return the new model's id; None where only the upload can create it."""
        with self._doubting(
            f"the model `{submission.model_name}`", "another run may create a second one"
        ):
            model_id = self.api.create_model(submission)
        if model_id is not None:
            self._know_model(model_id)
            self._note_created(f"model {model_id}", "model-id", model_id)
        return model_id

    def _note_created(self, what: str, input_name: str, identifier: str) -> None:
        self.record.created.append(what)
        if self.settings.is_local:
            return
        self.record.problems.append(
            Problem(
                message=f"Created the {what}.",
                hint=f"Set `{input_name}: {identifier}` so that later runs go to it, whatever "
                "it is renamed to.",
                severity=Severity.NOTICE,
            ),
        )

    def _know_model(self, model_id: str) -> None:
        """Keep the model's id, and where its pages are: the embedded platform has none."""
        self.record.model_id = model_id
        if self.settings.is_local or not self.record.project_id:
            return
        project = f"{self.settings.app_url}/{quote(self.record.project_id, safe='')}"
        self.record.project_url = project
        if model_id:
            page = _PAGES[self.settings.mode]
            self.record.url = f"{project}/{quote(model_id, safe='')}/{page}"

    @contextmanager
    def _doubting(self, what: str, danger: str) -> Iterator[None]:
        """Say, where a failure leaves it open, that `what` may exist, and where to look."""
        try:
            yield
        except DeployActionError as error:
            if isinstance(error, (DeadlineError, InterruptedRunError)):
                # It may have come in the moment between the answer and its being noted.
                error.may_have_acted |= self.api.transport.may_have_acted
            if self.settings.is_local and self.settings.mode is Mode.BACKTEST:
                # The platform ends with this run, and the model with it.
                error.may_have_acted = False
            if error.may_have_acted and error.problems:
                place = self.record.url or self.record.project_url or self.settings.api_url
                first, *others = error.problems
                doubt = replace(
                    first,
                    message=f"{first.message.removesuffix('.')}. It is not known whether {what} "
                    "was made: it may or may not exist.",
                    hint=f"Look at {place}, or at what `POST /model/details` of the server lists, "
                    f"before you run this again: {danger}.",
                )
                error.problems = (doubt, *others)
            self.record.is_in_doubt = error.may_have_acted
            raise
        except Exception:
            # A bug of ours, in the middle: it says nothing of what the server made of it.
            self.record.is_in_doubt = True
            raise


def backtest_upload(bundle: Bundle, on_progress: Callable[[int, int], None]) -> Upload:
    """Return the upload of a bundle that is answered with the result of its backtest."""
    return Upload(bundle.path, bundle.sha256, on_progress, LARGEST_RESULT)


def _ambiguous_name(kind: str, name: str, identifiers: Sequence[str]) -> RefusedError:
    return RefusedError(
        Problem(
            message=f"{len(identifiers)} {kind}s are named `{name}`: {_enumerate(identifiers)}.",
            hint=f"Say which one with `{kind}-id`.",
        ),
    )


def _enumerate(names: Sequence[str]) -> str:
    """List names for a message, the first ten of them."""
    if not names:
        return "none"
    shown = ", ".join(f"`{excerpt(name, _LONGEST_NAME)}`" for name in names[:_MOST_NAMED])
    left = len(names) - _MOST_NAMED
    return f"{shown} and {left} more" if left > 0 else shown
