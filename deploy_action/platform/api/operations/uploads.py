"""What a request says about an upload: its bundle, its settings, its commit, who sends it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy_action.platform.api.fields import (
    LARGEST_TESTED,
    LONGEST_DEPLOYER,
    LONGEST_RUN_URL,
    MAX_ID_LENGTH,
    PYTHON_PATTERN,
    RUN_URL_PATTERN,
)
from deploy_action.platform.api.operations.plans import check_plan
from deploy_action.platform.api.operations.targets import Target
from deploy_action.platform.api.request import FILE_FIELD, ApiError, Request, StoredFile
from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.platform.runs.told_figures import read_told
from deploy_action.platform.runs.unpacking import unpack
from deploy_action.platform.storage.archives import (
    ArchiveFacts,
    check_archive,
    check_contents,
)
from deploy_action.platform.storage.records import SCREENER, STRATEGY, Version, VersionStatus
from deploy_action.platform.storage.zip_reader import ArchiveError
from deploy_action.records import dataclass, field, replace
from deploy_action.text.cron import cron_fault
from deploy_action.text.harmless import cut

_LONGEST_SHOWN: Final = 100
_LONGEST_REPOSITORY: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A bundle that passed the checks, and what the request says about it.

    `environment` are the variables of its process; `allows_older` says that its commit may be older
    than that of the current version. `deployed_by` and `run_url` are as in `Version`. `tested` are
    the figures that its client tells of a backtest.
    """

    file: StoredFile
    archive: ArchiveFacts
    status: VersionStatus
    description: str
    python_version: str
    plan: str
    schedule: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    commit: str = ""
    committed_at: float | None = None
    commit_repository: str = ""
    allows_older: bool = True
    deployed_by: str = ""
    run_url: str = ""
    tested: Mapping[str, object] | None = None

    def is_same_as(self, version: Version, environment: Mapping[str, str]) -> bool:
        """Whether a version has the same bytes, settings and variables."""
        return (self.file.sha256, self.python_version, self.plan, self.schedule) == (
            version.sha256,
            version.python_version,
            version.plan,
            version.schedule,
        ) and self.environment == environment


def read_upload(
    request: Request, file: StoredFile, target: Target, status: VersionStatus
) -> Upload:
    """Return what is to be stored, once everything about it was checked."""
    schedule, plan = _read_schedule(request, target), ""
    if status is VersionStatus.DEPLOYED:
        check_plan(plan := request.text("plan"))
    upload = Upload(
        status=status,
        schedule=schedule,
        plan=plan,
        python_version=_read_python(request),
        description=request.text("versionDescription"),
        environment=request.environment() or {},
        allows_older=status is not VersionStatus.DEPLOYED or request.flag("allowOlder"),
        deployed_by=_read_deployer(request),
        tested=_read_tested(request) if status is VersionStatus.DEPLOYED else None,
        file=file,
        archive=read_archive(file),  # last: it takes time
    )
    return with_origin(upload, request)


def with_origin(upload: Upload, request: Request) -> Upload:
    """Return an upload with the commit that it was made from, and the run that sends it."""
    return replace(
        upload,
        commit=request.text("commit")[:MAX_ID_LENGTH],
        committed_at=request.moment("committedAt"),
        commit_repository=request.text("commitRepository")[:_LONGEST_REPOSITORY],
        run_url=_read_run_url(request),
    )


def skips_unchanged(request: Request) -> bool:
    """Return whether an upload that would change nothing is not to be deployed."""
    unchanged = request.text("unchanged").strip()
    if unchanged not in {"", "deploy", "skip"}:
        raise ApiError("unchanged must be deploy or skip")
    return unchanged == "skip"


def _read_python(request: Request) -> str:
    """Return the Python that is asked for; whether there is one here is another matter."""
    version = request.text("pythonVersion").strip()
    if not re.fullmatch(PYTHON_PATTERN, version):
        raise ApiError(
            f"pythonVersion is {cut(version, _LONGEST_SHOWN)!r}, and models run on Python 3.7 or"
            ' later. Write it as "3.11", in quotes: 3.10 without them is the number 3.1.'
        )
    return version


def _read_schedule(request: Request, target: Target) -> str | None:
    """Return when a screener runs; a strategy has no schedule, whatever is said."""
    schedule = " ".join(request.text("schedule").split())
    if target.model_type != SCREENER:
        return None
    if not schedule:
        raise ApiError("Must pass schedule argument to run a screener")
    if fault := cron_fault(schedule):
        raise ApiError(f"The schedule {cut(schedule, _LONGEST_SHOWN)!r} {fault}.")
    return schedule


def _read_deployer(request: Request) -> str:
    name = " ".join(request.text("deployedBy").split())
    if len(name) > LONGEST_DEPLOYER:
        raise ApiError(f"deployedBy is longer than {LONGEST_DEPLOYER} characters")
    return name


def _read_run_url(request: Request) -> str:
    """Return the page of a run. People may follow it, so it can be nothing but a web address."""
    url = request.text("runUrl").strip()
    if not re.fullmatch(RUN_URL_PATTERN, url) or len(url) > LONGEST_RUN_URL:
        raise ApiError(
            f"runUrl must be an address that begins with https:// or http://, without a user's"
            f" name, and of at most {LONGEST_RUN_URL} characters"
        )
    return url


def _read_tested(request: Request) -> Mapping[str, object] | None:
    text = request.text("tested").strip()
    if not text:
        return None
    if len(text.encode()) > LARGEST_TESTED:
        raise ApiError(f"tested is larger than {LARGEST_TESTED >> 10} KiB")
    try:
        return read_told(text)
    except ValueError as error:
        raise ApiError(f"tested has no figures that can be read: {error}") from None


def require_file(request: Request) -> StoredFile:
    """Return the bundle that came with a request."""
    if request.file is None:
        raise ApiError(f"Missing required argument: {FILE_FIELD}")
    return request.file


def read_target(request: Request) -> Target:
    """Return the model that a request names, or describes."""
    is_new = request.creates_model
    return Target(
        project_id=request.identifier("projectId"),
        model_id=str(uuid.uuid4()) if is_new else request.identifier("modelId"),
        model_type=request.text("type", STRATEGY),
        name=request.text("name"),
        description=request.text("generalDescription"),
        is_new=is_new,
    )


def read_archive(file: StoredFile, ahead: Path | None = None) -> ArchiveFacts:
    """Return what a bundle holds, or refuse it.

    Its contents are checked by unpacking it: into the new directory `ahead`, if there is one and
    the disk has room for it, else to nowhere.
    """
    try:
        facts = check_archive(file.path)
        if ahead is None or not _unpack_ahead(file.path, ahead):
            check_contents(file.path)
    except ArchiveError as error:
        raise ApiError(str(error)) from error
    return facts


def _unpack_ahead(bundle: Path, ahead: Path) -> bool:
    """Unpack a bundle that will be run; return whether that worked: its run tries again if not."""
    try:
        ahead.mkdir(mode=0o700)
        unpack(bundle, ahead)
    except OSError:
        remove_tree(ahead)
        return False
    return True
