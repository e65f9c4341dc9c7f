"""Operations that upload a model's bundle, or backtest one that was uploaded."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from deploy_action.platform.api.fields import KEY_HEADER
from deploy_action.platform.api.operations.documents import (
    DeployDocument,
    Empty,
    Pending,
    upload_document,
)
from deploy_action.platform.api.operations.plans import BACKTEST_PLAN, LIVE_PLANS
from deploy_action.platform.api.operations.targets import (
    SCREENER,
    STRATEGY,
    Access,
    Target,
    check_type,
    find_model,
)
from deploy_action.platform.api.request import FILE_FIELD, ApiError, Request, StoredFile
from deploy_action.platform.runs.backtests import Backtests, Job
from deploy_action.platform.runs.model_run import BacktestRequest
from deploy_action.platform.runs.reported import MAX_ARGUMENTS_BYTES
from deploy_action.platform.storage.archives import (
    ArchiveFacts,
    check_archive,
    check_contents,
)
from deploy_action.platform.storage.kept_prices import store_keys
from deploy_action.platform.storage.records import Backtest, Version, VersionStatus
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.platform.storage.zip_reader import ArchiveError


@dataclass(frozen=True, slots=True)
class _Upload:
    """A bundle that passed the checks, and what the request says about it."""

    file: StoredFile
    archive: ArchiveFacts
    status: VersionStatus
    description: str
    python_version: str
    plan: str
    schedule: str | None = None


class _StoredBeforeError(Exception):
    """The upload was stored already, and is sent a second time."""

    def __init__(self, version: Version) -> None:
        super().__init__(version.id)
        self.version = version


@dataclass(frozen=True, slots=True)
class Versions:
    """The operations on versions."""

    store: Store
    access: Access
    backtests: Backtests

    def deploy(self, request: Request) -> DeployDocument:
        """Deploy a bundle as the model's new version."""
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
        try:
            with self._storing(target, upload, request.key) as (_, stored):
                version = stored
        except _StoredBeforeError as before:
            version = before.version
            if not _is_same(version, target, upload):
                message = f"Another upload was stored with this {KEY_HEADER}"
                raise ApiError(message) from None
        return {
            **upload_document(version),
            "description": version.description,
            "createdAt": version.created_at,
        }

    def backtest(self, request: Request) -> Pending:
        """Backtest a bundle, and answer when the backtest has ended."""
        args, now = _read_args(request), request.backtest_now()
        environment = request.environment() or {}
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
        job = self._run(request, backtest, version, now, environment)
        document = {**upload_document(version), "backtestId": backtest.id}
        return Pending(job, document, self.store.result_path(backtest.id))

    def backtest_uploaded_model(self, request: Request) -> Empty:
        """Backtest an uploaded version, and do not wait for the result."""
        args, now = _read_args(request), request.backtest_now()
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        version_id, environment = request.identifier("versionId"), request.environment()
        with self.store.transaction() as transaction:
            self.access.check_readable(transaction, project_id)
            model = find_model(transaction, project_id, model_id)
            check_type(model, request.text("type", model.type))
            _refuse_screener(model.type)
            versions = {each.id: each for each in transaction.versions(project_id, model_id)}
            if version_id not in versions:
                raise ApiError("This versionId was not found under this model.")
            backtest = self._add_backtest(
                transaction, versions[version_id], args, request.text("backtestDescription")
            )
            if environment is None:  # a version that was deployed has its own
                environment = transaction.live.environment(version_id)
        self._run(request, backtest, versions[version_id], now, environment)
        return {}

    def _add_backtest(
        self,
        transaction: Transaction,
        version: Version,
        args: Mapping[str, object],
        description: str,
    ) -> Backtest:
        return transaction.add_backtest(
            version.id, args=args, description=description, workplace=self.store.workplace.id
        )

    def _run(
        self,
        request: Request,
        backtest: Backtest,
        version: Version,
        now: float | None,
        environment: Mapping[str, str],
    ) -> Job:
        """Start a backtest whose dates count back from `now`, by default when it was asked for."""
        wanted = BacktestRequest(
            backtest_id=backtest.id,
            bundle=self.store.bundle_path(version.id),
            bundle_sha256=version.sha256,
            python_version=version.python_version,
            args=backtest.args,
            prices=self._price_stores(version, request.text("priceScope")),
            now=backtest.created_at if now is None else now,
            environment=environment,
        )
        return self.backtests.start(wanted)

    def _price_stores(self, version: Version, scope: str) -> tuple[str, ...]:
        """Return where a version's model keeps prices.

        The id of a model that is created on use is another one in each job.
        """
        if self.access.is_strict:
            return store_keys(version.project_id, version.model_id, scope=scope)
        with self.store.snapshot() as snapshot:
            model = find_model(snapshot, version.project_id, version.model_id)
        return store_keys(model.name, model.description, scope=scope)

    def _rehearse(self, target: Target) -> None:
        """Refuse a target before the bundle is looked at, as the original server does."""
        with self.store.rehearsal() as transaction:
            self.access.resolve(transaction, target)

    @contextmanager
    def _storing(
        self, target: Target, upload: _Upload, key: str = ""
    ) -> Iterator[tuple[Transaction, Version]]:
        """Add the version, and what the block adds to it: all of it or nothing.

        Raises `_StoredBeforeError` if there is a version with this idempotency key.
        """
        version_id = str(uuid.uuid4())
        with (
            self.store.keeping(upload.file.path, version_id),
            self.store.transaction() as transaction,
        ):
            if key and (before := transaction.version_with_key(key)):
                raise _StoredBeforeError(before)
            model = self.access.resolve(transaction, target)
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
            transaction.add_version(version, key)
            yield transaction, version


def _is_same(version: Version, target: Target, upload: _Upload) -> bool:
    """Whether an upload asks for what was stored before."""
    asked = replace(
        version,
        project_id=target.project_id,
        model_id=version.model_id if target.is_new else target.model_id,
        description=upload.description,
        python_version=upload.python_version,
        plan=upload.plan,
        schedule=upload.schedule,
        sha256=upload.file.sha256,
    )
    return asked == version


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


def _read_target(request: Request) -> Target:
    is_new = request.creates_model
    return Target(
        project_id=request.identifier("projectId"),
        model_id=str(uuid.uuid4()) if is_new else request.identifier("modelId"),
        model_type=request.text("type", STRATEGY),
        name=request.text("name"),
        description=request.text("generalDescription"),
        is_new=is_new,
    )


def _check_archive(file: StoredFile) -> ArchiveFacts:
    try:
        facts = check_archive(file.path)
        check_contents(file.path)
    except ArchiveError as error:
        raise ApiError(str(error)) from error
    return facts
