"""What each route of the Deployment API does."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from deploy_action.platform.api.request import ApiError, Request, StoredFile
from deploy_action.platform.runs.backtests import Backtests, Job, answer_of
from deploy_action.platform.runs.model_run import MAX_ARGUMENTS_BYTES, BacktestRequest
from deploy_action.platform.storage.archives import ArchiveError, ArchiveFacts, check_archive
from deploy_action.platform.storage.records import (
    Backtest,
    BacktestStatus,
    Model,
    Project,
    Version,
    VersionStatus,
)
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.transaction import Transaction

FILE_FIELD = "model"
STRATEGY = "strategy"
SCREENER = "screener"
LIVE_PLANS: Mapping[str, Mapping[str, int]] = {  # CPU in thousandths of a core, RAM in MiB
    "nano": {"cpu": 250, "ram": 256},
    "micro": {"cpu": 500, "ram": 512},
    "small": {"cpu": 1000, "ram": 1024},
    "medium": {"cpu": 2000, "ram": 2048},
    "large": {"cpu": 4000, "ram": 8192},
}
BACKTEST_PLAN = "slow"
_MOST_RESULT_BYTES = 32 << 20  # in the details of a model, unless one backtest is asked for
BACKTESTING_PLANS: Mapping[str, Mapping[str, int]] = {BACKTEST_PLAN: {"cpu": 1000, "ram": 1024}}
_PLANS = {"live": LIVE_PLANS, "backtesting": BACKTESTING_PLANS}


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method and path, and whether a model comes with the request."""

    handler: Callable[[Request], object]
    takes_file: bool = False


class PlainText(str):
    """An answer that is not JSON."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that a backtest has to end for; `document` is what is known before."""

    job: Job
    document: Mapping[str, object]

    def body(self) -> bytes:
        """Return it as JSON, once the job is done."""
        return answer_of(self.job.ending.result(0), self.document)


@dataclass(frozen=True, slots=True)
class _Target:
    """The model an upload names, or describes if it is to be made."""

    project_id: str
    model_id: str
    model_type: str
    name: str
    description: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Upload:
    """A bundle that passed the checks, and what was said of it."""

    file: StoredFile
    archive: ArchiveFacts
    status: VersionStatus
    description: str
    python_version: str
    plan: str
    schedule: str | None = None


class Routes:
    """The routes, over the store."""

    def __init__(self, store: Store, backtests: Backtests, *, strict: bool) -> None:
        """Unless `strict`, projects and models that are named and do not exist are made on use."""
        self._store = store
        self._backtests = backtests
        self._strict = strict

    def table(self) -> Mapping[tuple[str, str], Route]:
        """Return the route of each method and lower-case path."""
        backtest_uploaded_model = Route(self._backtest_uploaded_model)
        return {
            ("POST", "/project/create"): Route(self._create_project),
            ("GET", "/project/list"): Route(self._list_projects),
            ("POST", "/project/plans"): Route(self._list_plans),
            ("GET", "/project/teams"): Route(self._list_teams),
            ("POST", "/project/generate-project-token"): Route(self._generate_project_token),
            ("POST", "/model/create-model"): Route(self._create_model),
            ("POST", "/model/list"): Route(self._list_models),
            ("POST", "/model/details"): Route(self._describe_model),
            ("GET", "/model/status"): Route(self._report_status),
            ("GET", "/model/starter-models"): Route(self._list_starter_models),
            ("POST", "/model/deploy"): Route(self._deploy, takes_file=True),
            ("POST", "/model/backtest"): Route(self._backtest, takes_file=True),
            ("POST", "/model/backtest-uploaded-model"): backtest_uploaded_model,
            # What the client class of the `blankly` package calls the same.
            ("POST", "/model/backtestuploadedmodel"): backtest_uploaded_model,
        }

    # -------------------------------------------------------------- projects

    def _create_project(self, request: Request) -> object:
        request.require("name", "description")
        with self._store.transaction() as transaction:
            project = transaction.add_project(
                str(uuid.uuid4()),
                name=request.text("name"),
                description=request.text("description"),
            )
        return {**_project_document(project), "status": "created"}

    def _list_projects(self, _: Request) -> object:
        with self._store.snapshot() as snapshot:
            return [_project_document(project) for project in snapshot.projects()]

    def _list_plans(self, request: Request) -> object:
        request.require("type")
        return _PLANS.get(request.text("type"), {})

    def _list_teams(self, _: Request) -> object:
        """Every project but the personal one: a team's id serves as a project's."""
        with self._store.snapshot() as snapshot:
            return [
                {"id": project.id, "name": project.name}
                for project in snapshot.projects()
                if project.id != self._store.user_id
            ]

    def _generate_project_token(self, request: Request) -> object:
        request.require("projectId", "name", "autogenerated")
        project_id = request.identifier("projectId")
        api_key, api_pass = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
        with self._store.transaction() as transaction:
            self._require_project(transaction, project_id)
            transaction.add_project_key(
                project_id,
                name=request.text("name"),
                autogenerated=request.text("autogenerated"),
                api_key=api_key,
                pass_digest=hashlib.sha256(api_pass.encode()).hexdigest(),
            )
        return {"apiKey": api_key, "apiPass": api_pass}

    def _require_project(self, transaction: Transaction, project_id: str) -> None:
        if transaction.has_project(project_id):
            return
        if self._strict:
            raise ApiError("Invalid permission.")
        transaction.add_project(project_id, name=project_id, description="")

    # -------------------------------------------------------------- models

    def _create_model(self, request: Request) -> object:
        request.require("projectId", "type", "name", "description")
        target = _Target(
            project_id=request.identifier("projectId"),
            model_id=str(uuid.uuid4()),
            model_type=request.text("type"),
            name=request.text("name"),
            description=request.text("description"),
            is_new=True,
        )
        with self._store.transaction() as transaction:
            model = self._resolve(transaction, target)
        return {"status": "success", "modelId": model.id}

    def _list_models(self, request: Request) -> object:
        request.require("projectId")
        project_id = request.identifier("projectId")
        with self._store.snapshot() as snapshot:
            self._check_readable(snapshot, project_id)
            return [
                {"id": each.id, "name": each.name, "description": each.description,
                 "type": each.type}
                for each in snapshot.models(project_id)
            ]  # fmt: skip

    def _describe_model(self, request: Request) -> object:
        request.require("projectId", "modelId")
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        with self._store.snapshot() as snapshot:
            self._check_readable(snapshot, project_id)
            model = _find_model(snapshot, project_id, model_id)
            versions = snapshot.versions(project_id, model_id)
            backtests = snapshot.backtests(project_id, model_id)
        of_id = {each.id: each for each in versions}
        deployed = [each for each in versions if each.status != VersionStatus.BACKTEST]
        room = _MOST_RESULT_BYTES
        listed: list[dict[str, object]] = []
        for each in reversed(backtests):
            result = self._result(each, request.text("backtestId"), room)
            room -= len(result or b"")
            document = _backtest_document(each, of_id[each.version_id])
            listed.insert(0, document | {"result": result and json.loads(result)})
        return {
            **_model_document(model),
            "versions": [_version_document(each) for each in deployed],
            "backtests": listed,
        }

    def _result(self, backtest: Backtest, wanted: str, room: int) -> bytes | None:
        """Return the result of a backtest: the latest ones that there is room for, or the wanted.

        All of them could fill the memory: each holds an account's value at each bar.
        """
        if backtest.status != BacktestStatus.FINISHED or wanted not in {"", backtest.id}:
            return None
        path = self._store.result_path(backtest.id)
        return path.read_bytes() if wanted or path.stat().st_size <= room else None

    def _report_status(self, _: Request) -> object:
        return PlainText("server is running")

    def _list_starter_models(self, _: Request) -> object:
        """There are none: the hosted service kept its own."""
        return []

    def _check_readable(self, snapshot: Transaction, project_id: str) -> None:
        if self._strict and not snapshot.has_project(project_id):
            raise ApiError("Invalid permission.")

    def _resolve(self, transaction: Transaction, target: _Target) -> Model:
        """Return the model an upload is for, made if need be and allowed."""
        self._require_project(transaction, target.project_id)
        model = transaction.model(target.project_id, target.model_id)
        if model is None and (target.is_new or not self._strict):
            if target.model_type not in (STRATEGY, SCREENER):
                raise ApiError(f"The type of a model is {STRATEGY} or {SCREENER}.")
            model = transaction.add_model(
                target.project_id,
                target.model_id,
                model_type=target.model_type,
                name=target.name or target.model_id,
                description=target.description,
            )
        if model is None:
            raise _model_not_found()
        _check_type(model, target.model_type)
        return model

    # -------------------------------------------------------------- uploads

    def _deploy(self, request: Request) -> object:
        _require_upload_fields(
            request, "pythonVersion", "versionDescription", "projectId", "modelId", "type", "plan"
        )
        file = _require_file(request)
        target = _read_target(request)
        self._rehearse(target)
        schedule = request.text("schedule")
        if target.model_type == SCREENER and not schedule.strip():
            raise ApiError("Must pass schedule argument to run a screener")
        plan = request.text("plan")
        if plan not in LIVE_PLANS:
            raise ApiError(f"There is no plan {plan!r}. The plans are: {', '.join(LIVE_PLANS)}")
        upload = _Upload(
            file=file,
            archive=_check_archive(file),
            status=VersionStatus.DEPLOYED,
            description=request.text("versionDescription"),
            python_version=request.text("pythonVersion"),
            plan=plan,
            schedule=schedule or None,
        )
        with self._storing(target, upload) as (_, version):
            return {
                **_upload_document(version),
                "description": version.description,
                "createdAt": version.created_at,
            }

    def _backtest(self, request: Request) -> object:
        _require_upload_fields(
            request, "pythonVersion", "projectId", "modelId", "type", "plan", "backtestDescription"
        )
        args = _read_args(request)
        file = _require_file(request)
        target = _read_target(request)
        self._rehearse(target)
        _refuse_screener(target.model_type)
        upload = _Upload(
            file=file,
            archive=_check_archive(file),
            status=VersionStatus.BACKTEST,
            description=request.text("backtestDescription"),
            python_version=request.text("pythonVersion"),
            plan=BACKTEST_PLAN,
        )
        with self._storing(target, upload) as (transaction, version):
            backtest = self._add_backtest(transaction, version, args, version.description)
        job = self._run(backtest, version)
        return Pending(job, {**_upload_document(version), "backtestId": backtest.id})

    def _backtest_uploaded_model(self, request: Request) -> object:
        """Start a backtest and do not wait, as the original does: the model's details tell."""
        request.require("projectId", "modelId", "versionId", "backtestDescription")
        args = _read_args(request)
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        version_id = request.identifier("versionId")
        with self._store.transaction() as transaction:
            self._check_readable(transaction, project_id)
            model = _find_model(transaction, project_id, model_id)
            _check_type(model, request.text("type", model.type))
            _refuse_screener(model.type)
            versions = {each.id: each for each in transaction.versions(project_id, model_id)}
            if version_id not in versions:
                raise ApiError("This versionId was not found under this model.")
            backtest = self._add_backtest(
                transaction, versions[version_id], args, request.text("backtestDescription")
            )
        self._run(backtest, versions[version_id])
        return {}

    def _add_backtest(
        self,
        transaction: Transaction,
        version: Version,
        args: Mapping[str, object],
        description: str,
    ) -> Backtest:
        return transaction.add_backtest(
            version.id, args=args, description=description, workplace=self._store.workplace.id
        )

    def _run(self, backtest: Backtest, version: Version) -> Job:
        request = BacktestRequest(
            backtest_id=backtest.id,
            bundle=self._store.bundle_path(version.id),
            bundle_sha256=version.sha256,
            python_version=version.python_version,
            args=backtest.args,
        )
        return self._backtests.start(request)

    def _rehearse(self, target: _Target) -> None:
        """Refuse a target before the bundle is looked at, as the original server does."""
        with self._store.rehearsal() as transaction:
            self._resolve(transaction, target)

    @contextmanager
    def _storing(self, target: _Target, upload: _Upload) -> Iterator[tuple[Transaction, Version]]:
        """Add the version, and what the block adds to it: all of it or nothing."""
        version_id = str(uuid.uuid4())
        with (
            self._store.keeping(upload.file.path, version_id),
            self._store.transaction() as transaction,
        ):
            model = self._resolve(transaction, target)
            version = Version(
                id=version_id,
                project_id=model.project_id,
                model_id=model.id,
                status=upload.status,
                description=upload.description,
                python_version=upload.python_version,
                plan=upload.plan,
                schedule=upload.schedule,
                sha256=upload.file.sha256,
                bytes=upload.file.size,
                files=upload.archive.files,
                created_at=transaction.now,
            )
            transaction.add_version(version)
            yield transaction, version


# ------------------------------------------------------------------ reading requests


def _creates_model(request: Request) -> bool:
    """Tell whether an upload asks for a new model, in the documented way."""
    return request.flag("createNew") and not request.text("modelId")


def _require_upload_fields(request: Request, *names: str) -> None:
    """Refuse an upload that lacks a field; one that makes its model needs no id, nor a type."""
    spared = ("modelId", "type") if _creates_model(request) else ()
    request.require(*(name for name in names if name not in spared))


def _read_args(request: Request) -> Mapping[str, object]:
    args = request.backtest_args()
    if len(json.dumps(args)) > MAX_ARGUMENTS_BYTES:
        raise ApiError(f"backtestArgs is larger than {MAX_ARGUMENTS_BYTES >> 10} KiB")
    return args


def _refuse_screener(model_type: str) -> None:
    if model_type == SCREENER:
        raise ApiError("Only strategies can be backtested, and this model is a screener.")


def _require_file(request: Request) -> StoredFile:
    if request.file is None:
        raise ApiError(f"Missing required argument: {FILE_FIELD}")
    return request.file


def _read_target(request: Request) -> _Target:
    is_new = _creates_model(request)
    return _Target(
        project_id=request.identifier("projectId"),
        model_id=str(uuid.uuid4()) if is_new else request.identifier("modelId"),
        model_type=request.text("type", STRATEGY),
        name=request.text("name"),
        description=request.text("generalDescription"),
        is_new=is_new,
    )


def _check_archive(file: StoredFile) -> ArchiveFacts:
    try:
        return check_archive(file.path)
    except ArchiveError as error:
        raise ApiError(str(error)) from error


def _check_type(model: Model, model_type: str) -> None:
    if model.type != model_type:
        raise ApiError("The specified type does not match the model type.")


def _find_model(transaction: Transaction, project_id: str, model_id: str) -> Model:
    model = transaction.model(project_id, model_id)
    if model is None:
        raise _model_not_found()
    return model


def _model_not_found() -> ApiError:
    return ApiError("This modelId was not found under this project.")


# ------------------------------------------------------------------ writing answers


def _project_document(project: Project) -> dict[str, object]:
    return {
        "projectId": project.id,
        "name": project.name,
        "description": project.description,
        "createdAt": project.created_at,
    }


def _upload_document(version: Version) -> dict[str, object]:
    return {
        "timestamp": version.created_at,
        "modelId": version.model_id,
        "versionId": version.id,
        "status": "success",
        "projectId": version.project_id,
    }


def _model_document(model: Model) -> dict[str, object]:
    return {
        "id": model.id,
        "modelId": model.id,
        "projectId": model.project_id,
        "name": model.name,
        "description": model.description,
        "type": model.type,
        "createdAt": model.created_at,
    }


def _version_document(version: Version) -> dict[str, object]:
    return {
        "versionId": version.id,
        "status": version.status,
        "description": version.description,
        "createdAt": version.created_at,
        "pythonVersion": version.python_version,
        "plan": version.plan,
        "schedule": version.schedule,
        "bundle": _bundle_document(version),
    }


def _backtest_document(backtest: Backtest, version: Version) -> dict[str, object]:
    return {
        "backtestId": backtest.id,
        "versionId": version.id,
        "status": backtest.status,
        "description": backtest.description,
        "createdAt": backtest.created_at,
        "endedAt": backtest.ended_at,
        "args": backtest.args,
        "pythonVersion": version.python_version,
        "plan": BACKTEST_PLAN,
        "bundle": _bundle_document(version),
        "run": backtest.run,
    }


def _bundle_document(version: Version) -> dict[str, object]:
    return {"sha256": version.sha256, "bytes": version.bytes, "files": version.files}
