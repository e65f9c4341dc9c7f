"""Finds the project and the model that a run is about, by their ids and names; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from deploy_action.deployment_api.answers import WebPageError
from deploy_action.deployment_api.client import DeploymentApi, Model
from deploy_action.errors import Problem, RefusedError
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import Settings
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.outcome.target import Target
from deploy_action.pages.addresses import model_path, path_part
from deploy_action.records import dataclass, replace
from deploy_action.text.harmless import excerpt

_MOST_NAMED: Final = 10
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks up what `described` names on one server."""

    api: DeploymentApi
    settings: Settings
    described: DescribedModel

    def project(self) -> str:
        """Return the project's id; blank if the run may create it, and has yet to.

        Raises:
            RefusedError: the server has no such project, or several.
        """
        settings = self.settings
        if self.described.project_id:
            return self.described.project_id
        if settings.project_name is None:
            return self.api.personal_project_id()
        projects = self._projects(settings.project_name)
        named = [one for one, name in projects.items() if name == settings.project_name]
        if len(named) > 1:
            raise self.ambiguous("project", settings.project_name, named)
        may_create = settings.may_create and not settings.mode.is_control
        if not named and not may_create:
            known = self.enumerated(list(projects.values()))
            way = ""
            if not settings.mode.is_control:
                way = ", or allow this action to create the project with `create-new: true`"
            raise RefusedError.of(
                message=f"There is no project named `{settings.project_name}`. The projects "
                f"of this user: {known}.",
                hint=f"Correct `project-name`{way}.",
            )
        if not named and self.described.model_id and not settings.is_local:
            raise RefusedError.of(
                message=f"There is no project named `{settings.project_name}`, so the model "
                f"`{self.described.model_id}` cannot be in it.",
                hint="Correct `project-name`, or remove the model's id to have a new model "
                "made in a new project.",
            )
        return named[0] if named else ""

    def _projects(self, wanted: str) -> dict[str, str]:
        """Return the names of projects and teams by their ids, to find the one that is `wanted`."""
        projects = {one.id: one.name for one in self.api.projects()}
        try:
            return projects | {one.id: one.name for one in self.api.teams()}
        except WebPageError as error:
            # A server that does not describe itself may answer so to each route that it lacks.
            if wanted in projects.values() or not self.api.description().document:
                return projects
            raise _untold(error, f"team `{self.said(wanted)}`", "project-id") from error

    def models(self, project_id: str) -> tuple[Model, ...]:
        """Return the models of a project, to find the one that the run is about.

        Raises:
            WebPageError: the server sent a page instead. Nothing may be made on the strength of it.
        """
        try:
            return self.api.models(project_id)
        except WebPageError as error:
            raise _untold(error, f"model `{self.described.name}`", "model-id") from error

    def deployed_model(self, project_id: str) -> str:
        """Return the id of the model to stop or start: the known one, or the one of that name.

        Raises:
            RefusedError: there is none of that name, or several of which none was made for it.
        """
        described = self.described
        if described.model_id:
            return described.model_id
        models = self.models(project_id)
        named = [one for one in models if one.name == described.name]
        if len(named) > 1:
            ours = [one for one in named if one.description == described.origin]
            if len(ours) != 1:
                raise self.ambiguous("model", described.name, [one.id for one in named])
            named = ours
        if not named:
            known = self.enumerated([one.name for one in models])
            raise RefusedError.of(
                message=f"The project has no model named `{described.name}`. Its models: {known}.",
                hint="Set `model-id`, or correct `model-name` or the project.",
            )
        return named[0].id

    def ambiguous(self, kind: str, name: str, identifiers: Sequence[str]) -> RefusedError:
        """Return the error for a name that several projects or models have."""
        return RefusedError.of(
            message=f"{len(identifiers)} {kind}s are named `{name}`: "
            f"{self.enumerated(identifiers)}.",
            hint=f"Say which one with `{kind}-id`.",
        )

    def enumerated(self, names: Sequence[str]) -> str:
        """Return the first ten names for a message, and the number of others."""
        if not names:
            return "none"
        shown = ", ".join(f"`{self.said(name)}`" for name in names[:_MOST_NAMED])
        left = len(names) - _MOST_NAMED
        return f"{shown} and {left} more" if left > 0 else shown

    def said(self, text: str) -> str:
        """Return what the server says, redacted before it is cut."""
        return excerpt(self.api.redact(text), _LONGEST_NAME)


def _untold(error: WebPageError, what: str, option: str) -> WebPageError:
    """Return the error for a page where a list was asked for: it leaves open what there is."""
    message = f"{error} So it is not known whether there is a {what} already."
    hint = (
        "A proxy that wants a sign-in, or a server under maintenance, answers like this: run the "
        f"workflow again when it is over. If it stays like this, set `{option}`."
    )
    return WebPageError(Problem(message=message, hint=hint))


def with_pages(
    target: Target, settings: Settings, api: DeploymentApi, backtest_id: str = ""
) -> Target:
    """Return the target with its URLs: at `app-url`, else on the server if that has pages.

    `backtest_id` is that of a backtest that was made; only the server itself has a page of one.
    """
    if settings.is_local or not target.project_id:
        return target
    is_backtest = settings.mode is Mode.BACKTEST
    if settings.app_url:
        project = f"{settings.app_url}/{quote(target.project_id, safe='')}"
        page = "backtests" if is_backtest else "overview"
        url = f"{project}/{quote(target.model_id, safe='')}/{page}" if target.model_id else ""
        return replace(target, project_url=project, url=url)
    # A stop is in a hurry: it asks for nothing that it does not need.
    if not target.model_id or settings.mode is Mode.STOP or not _has_pages(api):
        return target
    model = f"{settings.api_url}{model_path(target.project_id, target.model_id)}"
    version = f"{model}/versions/{path_part(target.version_id)}" if target.version_id else ""
    if not is_backtest:
        return replace(target, url=f"{model}/overview", version_url=version)
    backtest = f"/{path_part(backtest_id)}" if backtest_id else ""
    return replace(target, url=f"{model}/backtests{backtest}", version_url=version)


def _has_pages(api: DeploymentApi) -> bool:
    try:
        return api.has_pages
    except RefusedError:
        return False  # nothing depends on it but links
