"""Operations that upload a model's bundle, or backtest one that was uploaded."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, Self

from deploy_action.platform.api.credentials import GivenVariables
from deploy_action.platform.api.fields import KEY_HEADER, MOST_WINDOWS
from deploy_action.platform.api.operations.documents import (
    DeployDocument,
    Empty,
    Pending,
    UploadedDocument,
    upload_document,
)
from deploy_action.platform.api.operations.live_documents import iso
from deploy_action.platform.api.operations.plans import BACKTEST_PLAN
from deploy_action.platform.api.operations.targets import (
    Access,
    Target,
    check_bundle,
    check_type,
    find_model,
)
from deploy_action.platform.api.operations.uploads import (
    Upload,
    read_archive,
    read_target,
    read_upload,
    require_file,
    skips_unchanged,
    with_origin,
)
from deploy_action.platform.api.request import FILE_FIELD, ApiError, Request
from deploy_action.platform.live.models import LiveModels
from deploy_action.platform.live.wishes import wish_deploy
from deploy_action.platform.runs.backtests import Backtests
from deploy_action.platform.runs.model_run import BacktestRequest
from deploy_action.platform.storage.kept_prices import store_keys
from deploy_action.platform.storage.records import (
    SCREENER,
    Beside,
    Life,
    Model,
    State,
    Version,
    VersionStatus,
    Wanted,
    WindowPlace,
)
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.figures import Figures
from deploy_action.platform.storage.transaction import Transaction
from deploy_action.records import dataclass, field, replace
from deploy_action.text.harmless import cut

_DAY: Final = 86_400
_SHORT: Final = 7  # of a commit
_LONGEST_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a request says about a backtest, whatever is backtested.

    `now` is in seconds since 1970, and `environment` are variables of the model's process; None is
    what the request does not say.
    """

    args: Mapping[str, object]
    description: str
    price_scope: str
    now: float | None
    environment: Mapping[str, str] | None = field(repr=False)
    is_ephemeral: bool
    window: WindowPlace | None
    beside: Beside | None

    @classmethod
    def read(cls, request: Request, *, is_ephemeral: bool = False) -> Self:
        return cls(
            args=request.backtest_args(),
            now=request.backtest_now(),
            environment=request.environment(),
            description=request.text("backtestDescription"),
            price_scope=request.text("priceScope"),
            is_ephemeral=is_ephemeral,
            window=None,
            beside=None,
        )

    @classmethod
    def read_all(cls, request: Request) -> Self:
        """Read also what is said of backtests that belong together."""
        asked = cls.read(request, is_ephemeral=request.flag("ephemeral"))
        window, beside = _read_window(request), _read_beside(request)
        if window is not None and asked.is_ephemeral:
            raise ApiError("Both windowOf and ephemeral were given: pass one of them.")
        return replace(asked, window=window, beside=None if window else beside)


class _StoredBeforeError(Exception):
    """The upload was stored already, and is sent a second time."""

    def __init__(self, version: Version, environment: Mapping[str, str], *, runs: bool) -> None:
        super().__init__(version.id)
        self.version = version
        self.environment = environment
        self.runs = runs

    def is_same(self, target: Target, upload: Upload) -> bool:
        """Whether an upload asks for what was stored before."""
        version = self.version
        model_id = version.model_id if target.is_new else target.model_id
        return (
            upload.is_same_as(version, self.environment)
            and (target.project_id, model_id) == (version.project_id, version.model_id)
            and (upload.description, upload.commit) == (version.description, version.commit)
        )


@dataclass(frozen=True, slots=True)
class Versions:
    """The operations on versions; `told` says what may be told of variables."""

    store: Store
    access: Access
    backtests: Backtests
    live: LiveModels | None
    told: Callable[[Mapping[str, str]], GivenVariables]

    def deploy(self, request: Request) -> DeployDocument:
        """Deploy a bundle as the model's new version, which replaces the one that runs.

        The answer comes at once, and `POST /model/details` tells what becomes of the version. To a
        model that somebody stopped, it is only stored.
        """
        file = require_file(request)
        target = read_target(request)
        self._rehearse(target)
        upload = read_upload(request, file, target, VersionStatus.DEPLOYED)
        if skips_unchanged(request) and (same := self._same_that_runs(target, upload)):
            version, state = same
            return _deploy_document(version, "unchanged", state)
        try:
            with self._storing(target, upload, request.key) as (transaction, version):
                if upload.tested is not None:
                    # A client tests with the variables that it deploys with.
                    tested = {**upload.tested, "variables": self.told(upload.environment)}
                    told = Figures(version.id, None, transaction.now, tested)
                    transaction.figures.keep(told)
                runs = self.live is not None and wish_deploy(transaction, version)
        except _StoredBeforeError as before:
            version, runs = before.version, before.runs
            if not before.is_same(target, upload):
                message = f"Another upload was stored with this {KEY_HEADER}"
                raise ApiError(message) from None
        if self.live is not None:
            self.live.wake(version.project_id, version.model_id)
        return _deploy_document(version, "success", State.PREPARING if runs else State.STOPPED)

    def upload(self, request: Request) -> UploadedDocument:
        """Store a bundle as a version of the model, to be run later."""
        file = require_file(request)
        target = read_target(request)
        self._rehearse(target)
        upload = read_upload(request, file, target, VersionStatus.UPLOADED)
        with self._storing(target, upload) as (_, version):
            pass
        return {
            "status": "success",
            "versionId": version.id,
            "createdAt": iso(version.created_at),
            "projectId": version.project_id,
            "versionDescription": version.description,
            "modelId": version.model_id,
        }

    def _same_that_runs(self, target: Target, upload: Upload) -> tuple[Version, str] | None:
        """Return the version that runs, and its state, if an upload would change nothing.

        It counts as made from the upload's commit then, so that what is older than that is refused.
        """
        if self.live is None:
            return None
        with self.store.transaction() as transaction:
            model = self.access.resolve(transaction, target)
            _refuse_older(transaction, model, upload)
            tables = transaction.live
            life = tables.life(model.project_id, model.id)
            if life is None or not _stays_up(life):
                return None
            version = tables.version(model.project_id, model.id, str(life.version_id))
            if version is None or not upload.is_same_as(version, tables.environment(version.id)):
                return None
            if upload.committed_at is not None:
                transaction.note_commit(
                    version.id, upload.commit, upload.committed_at, upload.commit_repository
                )
            return version, life.state

    def backtest(self, request: Request) -> Pending:
        """Backtest a bundle or a stored version, and answer when the backtest has ended."""
        asked = _Asked.read_all(request)
        version_id = request.text("versionId")
        if version_id and request.file is not None:
            raise ApiError(f"Both {FILE_FIELD} and versionId were given: pass one of them.")
        if asked.window is not None and not version_id:
            raise ApiError("A windowOf needs the versionId of that backtest.")
        if version_id:
            return self._run(*self._ask_of_version(request, asked))
        with self.backtests.unpacking() as ahead:
            return self._run(*self._ask_of_upload(request, asked, ahead))

    def _ask_of_version(self, request: Request, asked: _Asked) -> tuple[Version, BacktestRequest]:
        """Return what is to be backtested of a version that is here."""
        replaced = None
        # An ephemeral one writes nothing, so it waits for no writer.
        stored = self.store.snapshot if asked.is_ephemeral else self.store.transaction
        with stored() as transaction:
            version = self._find_version(transaction, request)
            _refuse_other_python(version, request)
            if asked.window is not None:
                _refuse_no_whole(transaction, version, asked.window)
                replaced = transaction.windows.remove(asked.window)
            backtest = self._request(transaction, version, asked)
        if replaced is not None:
            self.backtests.forget(replaced)
        return version, backtest

    def _ask_of_upload(
        self, request: Request, asked: _Asked, ahead: Path | None
    ) -> tuple[Version, BacktestRequest]:
        """Store a bundle; return what is to be backtested, unpacked in `ahead` if that worked."""
        file = require_file(request)
        target = read_target(request)
        self._rehearse(target)
        _refuse_screener(target.model_type)
        upload = with_origin(
            Upload(
                file=file,
                archive=read_archive(file, ahead),
                status=VersionStatus.BACKTEST,
                description=asked.description,
                python_version=request.text("pythonVersion"),
                plan=BACKTEST_PLAN,
            ),
            request,
        )
        with self._storing(target, upload) as (transaction, version):
            backtest = self._request(transaction, version, asked)
        is_unpacked = ahead is not None and ahead.exists()
        return version, replace(backtest, unpacked=ahead if is_unpacked else None)

    def _run(self, version: Version, backtest: BacktestRequest) -> Pending:
        """Start a backtest, whose bundle stays here until it has ended."""
        held = self.store.hold_bundle(version.id) if backtest.is_ephemeral else None
        check_bundle(backtest.bundle)  # a held one stays, although no row says that it is needed
        job = self.backtests.start(backtest)
        if held is not None:
            job.ending.add_done_callback(lambda _: held.close())
        return Pending(job, {**upload_document(version), "backtestId": backtest.backtest_id})

    def backtest_uploaded_model(self, request: Request) -> Empty:
        """Backtest an uploaded version, and do not wait for the result."""
        asked = _Asked.read(request)
        with self.store.transaction() as transaction:
            version = self._find_version(transaction, request)
            backtest = self._request(transaction, version, asked)
        self.backtests.start(backtest)
        return {}

    def _find_version(self, transaction: Transaction, request: Request) -> Version:
        """Return the version of a strategy that a request names, whose bundle is here."""
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        version_id = request.identifier("versionId")
        self.access.check_readable(transaction, project_id)
        model = find_model(transaction, project_id, model_id)
        check_type(model, request.text("type", model.type))
        _refuse_screener(model.type)
        version = transaction.live.version(project_id, model_id, version_id)
        if version is None:
            raise ApiError("This versionId was not found under this model.")
        check_bundle(self.store.bundle_path(version_id))
        return version

    def _request(
        self, transaction: Transaction, version: Version, asked: _Asked
    ) -> BacktestRequest:
        """Return what is to be run, after adding it to the store unless it is ephemeral.

        A version that was deployed has variables of its own.
        """
        environment = asked.environment
        if environment is None:
            environment = transaction.live.environment(version.id)
        variables = self.told(environment)
        if asked.is_ephemeral:
            backtest_id = str(uuid.uuid4())
        else:
            backtest_id = transaction.add_backtest(
                version.id,
                args=asked.args,
                description=asked.description,
                workplace=self.store.workplace.id,
                variables=variables,
                window=asked.window,
                beside=asked.beside,
            )
        return BacktestRequest(
            backtest_id=backtest_id,
            bundle=self.store.bundle_path(version.id),
            bundle_sha256=version.sha256,
            python_version=version.python_version,
            args=asked.args,
            prices=self._price_stores(transaction, version, asked.price_scope),
            now=transaction.now // _DAY * _DAY if asked.now is None else asked.now,
            environment=environment,
            variables=variables,
            model=(version.project_id, version.model_id),
            version_id=version.id,
            is_ephemeral=asked.is_ephemeral,
        )

    def _price_stores(
        self, transaction: Transaction, version: Version, scope: str
    ) -> tuple[str, ...]:
        """Return where a version's model keeps prices.

        The id of a model that is created on use is another one in each job.
        """
        if self.access.is_strict:
            return store_keys(version.project_id, version.model_id, scope=scope)
        model = find_model(transaction, version.project_id, version.model_id)
        return store_keys(model.name, model.description, scope=scope)

    def _rehearse(self, target: Target) -> None:
        """Refuse a target before the bundle is looked at, as the original server does."""
        with self.store.rehearsal() as transaction:
            self.access.resolve(transaction, target)

    @contextmanager
    def _storing(
        self, target: Target, upload: Upload, key: str = ""
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
                environment = transaction.live.environment(before.id)
                life = transaction.live.life(before.project_id, before.model_id)
                runs = self.live is not None and life is not None and life.stored_id != before.id
                raise _StoredBeforeError(before, environment, runs=runs)
            model = self.access.resolve(transaction, target)
            _refuse_older(transaction, model, upload)
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
                commit=upload.commit,
                committed_at=upload.committed_at,
                commit_repository=upload.commit_repository,
                deployed_by=upload.deployed_by,
                run_url=upload.run_url,
            )
            transaction.add_version(version, key)
            if upload.environment:
                transaction.live.keep_environment(version.id, upload.environment)
            yield transaction, version


def _deploy_document(
    version: Version, status: Literal["success", "unchanged"], state: str
) -> DeployDocument:
    return {
        **upload_document(version),
        "status": status,
        "description": version.description,
        "createdAt": iso(version.created_at),
        "state": state,
    }


def _stays_up(life: Life) -> bool:
    """Whether a version runs, and nothing else is wished for."""
    return (
        life.wanted == Wanted.RUNNING
        and life.state in {State.RUNNING, State.SCHEDULED}
        and life.next_id is None
    )


def _refuse_older(transaction: Transaction, model: Model, upload: Upload) -> None:
    """Refuse a commit that is older than that of the version that runs, or is about to."""
    if upload.allows_older or upload.committed_at is None or not upload.commit_repository:
        return
    life = transaction.live.life(model.project_id, model.id)
    current_id = life and (life.next_id or life.stored_id or life.version_id)
    for version in transaction.versions(model.project_id, model.id):
        is_current = version.id == current_id if life else version.status == VersionStatus.DEPLOYED
        if (
            is_current
            and version.commit_repository == upload.commit_repository
            and version.committed_at is not None
            and upload.committed_at < version.committed_at
        ):
            mine = f"{upload.commit[:_SHORT]}, of {iso(upload.committed_at)}"
            current = f"{version.commit[:_SHORT]}, of {iso(version.committed_at)}"
            message = (
                f"This commit ({mine}) is older than that of the current version ({current})."
                " Nothing was deployed."
            )
            raise ApiError(message, code="older")


def _refuse_other_python(version: Version, request: Request) -> None:
    python = request.text("pythonVersion").strip()
    if python != version.python_version.strip():
        raise ApiError(
            f"The pythonVersion of this version is {cut(version.python_version, _LONGEST_SHOWN)}."
            " Upload it again to backtest it with another one."
        )


def _read_window(request: Request) -> WindowPlace | None:
    """Return which window is asked for, None if it is the whole period."""
    whole = request.text("windowOf")
    name, number = request.text("window").strip(), request.number("windowNumber") or 0
    if not whole:
        if name or number:
            raise ApiError("A window and a windowNumber need a windowOf.")
        return None
    if not name or not 0 < number <= MOST_WINDOWS:
        raise ApiError(f"A windowOf needs a window and a windowNumber from 1 to {MOST_WINDOWS}.")
    return WindowPlace(whole, number, cut(name, _LONGEST_SHOWN))


def _read_beside(request: Request) -> Beside | None:
    """Return how many backtests are beside one of the whole period, None if nobody says that."""
    windows, combinations = request.number("windows"), request.number("combinations")
    if windows is None and combinations is None:
        return None
    return Beside(windows or 0, combinations or 0)


def _refuse_no_whole(transaction: Transaction, version: Version, window: WindowPlace) -> None:
    """Refuse a window unless it is of a backtest of the whole period of the same version."""
    whole = transaction.backtest(version.project_id, version.model_id, window.whole)
    if whole is None or whole.window is not None or whole.version_id != version.id:
        raise ApiError("This windowOf is no backtest of the whole period of this version.")
    if whole.beside is not None and window.number > whole.beside.windows:
        raise ApiError(
            f"The windowNumber is {window.number}, and the run of this windowOf has"
            f" {whole.beside.windows} windows."
        )


def _refuse_screener(model_type: str) -> None:
    if model_type == SCREENER:
        raise ApiError("Only strategies can be backtested, and this model is a screener.")
