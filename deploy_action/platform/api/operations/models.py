"""Operations on models."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from deploy_action.platform.api.fields import USUALLY_LISTED
from deploy_action.platform.api.operations.documents import (
    CreatedModelDocument,
    Details,
    Empty,
    ListedModelDocument,
    ModelDocument,
    Text,
    VersionDocument,
    backtest_document,
    version_document,
)
from deploy_action.platform.api.operations.live_documents import (
    idle_document,
    iso,
    lifecycle_document,
    live_document,
    reported_document,
)
from deploy_action.platform.api.operations.plans import LIVE_PLANS, check_plan
from deploy_action.platform.api.operations.targets import (
    Access,
    Target,
    check_bundle,
    check_type,
    find_model,
)
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.live.host import StillRunningError
from deploy_action.platform.live.models import LiveModels, NotKeptError
from deploy_action.platform.live.reports import read_reports
from deploy_action.platform.live.wishes import UnknownVersionError
from deploy_action.platform.storage.damage.results import is_json
from deploy_action.platform.storage.records import (
    Backtest,
    BacktestStatus,
    Model,
    Version,
    VersionStatus,
)
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import dataclass

_NOT_KEPT = (
    "The model is being stopped, but that cannot be stored, for example because the server's disk "
    "is full: a restart of the server would start it again. Make room, and stop it again."
)
_MAX_RESULT_BYTES = 32 << 20  # in the details of a model, unless one backtest is asked for
_NOTHING_RUNS = (
    "This server only stores models: it runs inside a job, and nothing runs after that. Deploy to a"
    " server that runs them, such as `blankly-deploy serve`."
)
_BY_API = "through the API"
BY_PAGE = "on a page"
_WITH_RESULT = (BacktestStatus.FINISHED, BacktestStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Models:
    """The operations on models."""

    store: Store
    access: Access
    live: LiveModels | None

    def create_model(self, request: Request) -> CreatedModelDocument:
        """Create a model."""
        target = Target(
            project_id=request.identifier("projectId"),
            model_id=str(uuid.uuid4()),
            model_type=request.text("type"),
            name=request.text("name"),
            description=request.text("description"),
            is_new=True,
        )
        with self.store.transaction() as transaction:
            model = self.access.resolve(transaction, target)
        return {"status": "success", "modelId": model.id}

    def list_models(self, request: Request) -> list[ListedModelDocument]:
        """List the models of a project."""
        project_id = request.identifier("projectId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            return [
                {"id": each.id, "name": each.name, "description": each.description,
                 "type": each.type}
                for each in snapshot.models(project_id)
            ]  # fmt: skip

    def describe_model(self, request: Request) -> Details:
        """Describe a model: what it does, its versions, its backtests, and what it reported.

        Versions and backtests become more with the years, so the newest are listed, 100 unless more
        are asked for, and those that are named: in the request, or in `live`.
        """
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        wanted = request.text("backtestId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            model = find_model(snapshot, project_id, model_id)
            backtests = _listed_backtests(snapshot, model, request)
            document = self._document(snapshot, model, backtests, request)
        return Details(document, self._results(backtests, wanted))

    def _document(
        self, snapshot: Transaction, model: Model, backtests: Sequence[Backtest], request: Request
    ) -> ModelDocument:
        key = model.project_id, model.id
        status = None if self.live is None else self.live.status(snapshot, *key)
        deployed = snapshot.uploaded.deployed(*key)
        live = None
        if status is not None:
            live, deployed = live_document(status, model.type), status.version or deployed
        elif self.live is None and deployed is not None:
            live = idle_document(deployed, model.type)
        wanted = request.text("backtestId")
        reported = read_reports(snapshot, *key, wanted)
        named = {deployed.id} if deployed else set[str]()
        if status is not None:
            named |= {
                each for each in (status.start_id, status.previous_id, status.next_id) if each
            }
        versions = _listed_versions(snapshot, model, request, named)
        tested = snapshot.live.versions({each.version_id for each in backtests})
        return {
            "id": model.id,
            "modelId": model.id,
            "projectId": model.project_id,
            "name": model.name,
            "description": model.description,
            "type": model.type,
            "createdAt": iso(model.created_at),
            "exists": True,
            "deployedVersion": deployed.id if deployed else None,
            "deployedAt": iso(deployed.created_at) if deployed else None,
            "deployedBy": self.store.user_id if deployed else None,
            "schedule": deployed.schedule if deployed else None,
            "lifecycleStatus": lifecycle_document(status, reported),
            "live": live,
            **reported_document(reported, wanted),
            "versions": [_version(snapshot, each, model) for each in versions],
            "backtests": [backtest_document(each, tested[each.version_id]) for each in backtests],
        }

    def run_version(self, request: Request, seen: str | None = None, way: str = _BY_API) -> Empty:
        """Run a version in place of the one that runs: a start, or a rollback.

        The answer comes at once, and `POST /model/details` tells what becomes of it. Of a screener
        that is scheduled, the current version is run now. Plan, type and schedule have to be those
        of the version; one that was uploaded without a plan gets it now.
        """
        live = self._require_live()
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        version_id, environment = request.identifier("versionId"), request.environment()
        with self.store.transaction() as transaction:
            self.access.check_readable(transaction, project_id)
            model = find_model(transaction, project_id, model_id)
            check_type(model, request.text("type", model.type))
            version = transaction.live.version(project_id, model_id, version_id)
            if version is None or version.status == VersionStatus.BACKTEST:
                raise _no_version()
            check_bundle(self.store.bundle_path(version_id))
            schedule = request.text("schedule")
            if schedule and schedule != version.schedule:
                raise _unlike("schedule", version.schedule or "none")
            if plan := request.text("plan"):
                check_plan(plan)
            if plan and not version.plan:
                transaction.set_plan(version_id, plan)
            elif plan and plan != version.plan:
                raise _unlike("plan", version.plan)
            elif not version.plan:
                plans = ", ".join(LIVE_PLANS)
                raise ApiError(f"The version was uploaded without a plan. The plans are: {plans}")
        try:
            live.run(project_id, model_id, version_id, environment, seen)
        except UnknownVersionError:
            raise _no_version() from None
        text = f"A start of version {version_id} was asked for {_asked(request, way)}."
        live.tell(project_id, model_id, text, version_id)
        return {}

    def stop_model(self, request: Request, way: str = _BY_API) -> Text:
        """Stop a model, and keep it stopped.

        The answer comes at once, and is empty. `POST /model/details` says `stopping` until nothing
        of the model runs any more, and then `stopped`.
        """
        live = self._require_live()
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            find_model(snapshot, project_id, model_id)
        try:
            live.stop(project_id, model_id)
        except NotKeptError as error:
            raise ApiError(_NOT_KEPT, HTTPStatus.INSUFFICIENT_STORAGE) from error
        live.tell(project_id, model_id, f"A stop was asked for {_asked(request, way)}.")
        return Text("")

    def delete_model(self, request: Request) -> Text:
        """Delete a model with its versions, backtests, logs, reports and state.

        It is stopped first, and the answer comes when nothing of it is left.
        """
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            find_model(snapshot, project_id, model_id)
        delete_model(self.store, self.live, project_id, model_id)
        return Text("")

    def _require_live(self) -> LiveModels:
        if self.live is None:
            raise ApiError(_NOTHING_RUNS)
        return self.live

    def _results(self, backtests: Sequence[Backtest], wanted: str) -> Mapping[str, Path]:
        """Return the paths of the results to send, by the id of their backtest.

        That is the wanted one, or else the latest ones that there is room for, without windows. One
        that was damaged on the disk is left out.
        """
        room = _MAX_RESULT_BYTES
        paths: dict[str, Path] = {}
        for each in reversed(backtests):
            path = self.store.result_path(each.id)
            is_sent = wanted == each.id or (not wanted and each.window is None)
            if each.status in _WITH_RESULT and is_sent and path.exists():
                size = path.stat().st_size
                if (wanted or size <= room) and is_json(path):
                    room -= size
                    paths[each.id] = path
        return paths

    def report_status(self, _: Request) -> Text:
        """Say that the server runs."""
        return Text("server is running")

    def list_starter_models(self, _: Request) -> list[ListedModelDocument]:
        """List the models to start from. There are none: the hosted service kept its own."""
        return []


def delete_model(store: Store, live: LiveModels | None, project_id: str, model_id: str) -> None:
    """Delete a model that exists, once nothing of it runs.

    Raises:
        ApiError: it cannot be stopped, and was not deleted.
    """
    try:
        delete = store.delete_model if live is None else live.delete
        is_deleted = delete(project_id, model_id)
    except StillRunningError as error:
        message = f"The model {model_id} still runs and cannot be ended, so it was not deleted."
        raise ApiError(message) from error
    if not is_deleted:
        message = f"The model {model_id} was started meanwhile, so it was not deleted."
        raise ApiError(message)


def _listed_backtests(snapshot: Transaction, model: Model, request: Request) -> list[Backtest]:
    """Return the backtests that a request asks for, the oldest first."""
    key, most = (model.project_id, model.id), request.number("backtests")
    if whole := request.text("windowOf"):
        found = snapshot.windows_of(*key, whole)
    else:
        found = snapshot.newest_backtests(*key, USUALLY_LISTED if most is None else most)
    wanted = request.text("backtestId")
    if wanted and wanted not in {each.id for each in found}:
        one = snapshot.backtest(*key, wanted)
        found = found if one is None else [*found, one]
    return sorted(found, key=lambda each: each.created_at)


def _listed_versions(
    snapshot: Transaction, model: Model, request: Request, named: set[str]
) -> list[Version]:
    """Return the versions that a request asks for, and those that are `named`, the oldest first."""
    key, most = (model.project_id, model.id), request.number("versions")
    newest = snapshot.uploaded.newest(*key, USUALLY_LISTED if most is None else most)
    older = (named | {request.text("versionId")}) - {each.id for each in newest}
    return [*snapshot.uploaded.named(*key, older), *reversed(newest)]


def _version(snapshot: Transaction, version: Version, model: Model) -> VersionDocument:
    return version_document(version, model, snapshot.live.environment(version.id))


def _asked(request: Request, way: str) -> str:
    """Say by which way something was asked for, and from where, where that is known."""
    return f"{way}, from {request.address}" if request.address else way


def _no_version() -> ApiError:
    return ApiError("This versionId was not found under this model.")


def _unlike(name: str, value: str) -> ApiError:
    return ApiError(
        f"The {name} of this version is {value}. Deploy it again to run it with another {name}."
    )
