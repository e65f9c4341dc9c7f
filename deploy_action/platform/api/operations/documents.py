"""The JSON documents in the API's answers, of which `/openapi.json` gives the schemas.

Times are seconds since the epoch.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

from deploy_action.platform.api.operations.plans import BACKTEST_PLAN
from deploy_action.platform.runs.backtests import Job
from deploy_action.platform.storage.records import Backtest, BacktestStatus, Model, Project, Version


class Empty(TypedDict):
    """Nothing."""


class TokenData(TypedDict):
    """What Google's secure-token service says of a user, as far as clients read it."""

    user_id: str
    id_token: str
    token_type: str
    expires_in: str


class TokenDocument(TypedDict):
    """An idToken, which the header `token` takes for an hour; `data.user_id` is the user's id."""

    idToken: str
    status: Literal["success"]
    data: TokenData


class ProjectDocument(TypedDict):
    """A project."""

    projectId: str
    name: str
    description: str
    createdAt: float


class CreatedProjectDocument(ProjectDocument):
    """A project that was just created."""

    status: Literal["created"]


class TeamDocument(TypedDict):
    """A team: its id serves as a project's."""

    id: str
    name: str


class ProjectKeyDocument(TypedDict):
    """A new API key of a project; its password is not shown again."""

    apiKey: str
    apiPass: str


class CreatedModelDocument(TypedDict):
    """A model that was just created."""

    status: Literal["success"]
    modelId: str


class ListedModelDocument(TypedDict):
    """A model in the list of its project."""

    id: str
    name: str
    description: str
    type: str


class BundleDocument(TypedDict):
    """A version's files: the zip's SHA-256 in lower-case hex, its size, how many files it holds."""

    sha256: str
    bytes: int
    files: int


class VersionDocument(TypedDict):
    """A version that was deployed: the model's current one, or one that was replaced."""

    versionId: str
    status: str
    description: str
    createdAt: float
    pythonVersion: str
    plan: str
    schedule: str | None
    bundle: BundleDocument


class ProblemDocument(TypedDict):
    """An error or a warning, with its place in the model where that is known."""

    severity: str
    message: str
    hint: str
    path: str | None
    line: int | None
    column: int | None


class PinnedDocument(TypedDict):
    """What is the same in every run; `now` is where arguments such as `to` count back from."""

    hashSeed: int
    threads: int
    now: str
    randomSeed: int


class RunDocument(TypedDict):
    """How a backtest was run. Which facts there are depends on how far it came.

    `argumentSources` says of each of the `arguments` whether it was `given` in the request or is
    the `script`'s.
    """

    problems: list[ProblemDocument]
    bundleSha256: NotRequired[str]
    python: NotRequired[str]
    wantedPython: NotRequired[str]
    blankly: NotRequired[str | None]
    constraints: NotRequired[list[str]]
    environmentSeconds: NotRequired[float]
    modelSeconds: NotRequired[float]
    callbackCalls: NotRequired[Any]
    schedule: NotRequired[Any]
    exchanges: NotRequired[Any]
    symbols: NotRequired[Any]
    arguments: NotRequired[dict[str, Any]]
    argumentSources: NotRequired[dict[str, str]]
    pinned: NotRequired[PinnedDocument]


class BacktestDocument(TypedDict):
    """A backtest.

    `result` is the result as the `blankly` package reported it, null while there is none. One
    answer has the latest results, 32 MiB at most. With `backtestId`, it has the result of that
    backtest alone; with an id that no backtest has, no result.
    """

    backtestId: str
    versionId: str
    status: str
    description: str
    createdAt: float
    endedAt: float | None
    args: Mapping[str, Any]
    pythonVersion: str
    plan: str
    bundle: BundleDocument
    run: RunDocument
    result: dict[str, Any] | None


class ModelDocument(TypedDict):
    """A model, with its versions and backtests, the oldest first."""

    id: str
    modelId: str
    projectId: str
    name: str
    description: str
    type: str
    createdAt: float
    versions: list[VersionDocument]
    backtests: list[BacktestDocument]


class UploadDocument(TypedDict):
    """A bundle that was stored as a version."""

    timestamp: float
    modelId: str
    versionId: str
    status: Literal["success"]
    projectId: str


class DeployDocument(UploadDocument):
    """A version that was deployed."""

    description: str
    createdAt: float


class BacktestAnswerDocument(TypedDict):
    """A backtest that has ended: `result` when its status is `success`, and else `error`.

    One whose script failed after the backtest was over has both.
    """

    timestamp: float
    modelId: str
    versionId: str
    status: Literal["success", "failed", "stopped"]
    projectId: str
    backtestId: str
    run: RunDocument
    result: NotRequired[dict[str, Any]]
    error: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON."""

    text: str
    status: int = 200


def error_page(message: str) -> str:
    """Return the page that Express shows for an error."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Error</title>\n</head>\n<body>\n<pre>{html.escape(message)}</pre>\n"
        "</body>\n</html>\n"
    )


# A part of an answer: bytes, or the path of a file that holds them.
Part = bytes | Path


@dataclass(frozen=True, slots=True)
class Pending:
    """A `BacktestAnswerDocument` that is complete when its job is done.

    `result` is the path of the result, if the backtest has one then.
    """

    job: Job
    document: Mapping[str, object]
    result: Path

    def parts(self) -> Iterator[Part]:
        """Yield the document as JSON, once the job is done."""
        ending = self.job.ending.result(0)
        answer = {**self.document, "run": ending.run_document()}
        if ending.status is not BacktestStatus.FINISHED:
            answer |= {"status": ending.status, "error": ending.error}
        if ending.has_result:
            yield from _with_file({**answer, "result": None}, self.result)
        else:
            yield encode(answer)


@dataclass(frozen=True, slots=True)
class Details:
    """A `ModelDocument`, whose results are in files: all of them would fill the memory."""

    document: ModelDocument
    results: Mapping[str, Path]

    def parts(self) -> Iterator[Part]:
        """Yield the document as JSON."""
        yield encode({**self.document, "backtests": []}).removesuffix(b"]}")
        separator = b""
        for backtest in self.document["backtests"]:
            yield separator
            yield from _with_file(backtest, self.results.get(backtest["backtestId"]))
            separator = b","
        yield b"]}"


def _with_file(document: Mapping[str, object], path: Path | None) -> Iterator[Part]:
    """Yield a document as JSON; its last member is null, and is replaced by the file."""
    if path is None:
        yield encode(document)
        return
    yield encode(document).removesuffix(b"null}")
    yield path
    yield b"}"


def encode(value: object) -> bytes:
    """Return JSON in ASCII."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def project_document(project: Project) -> ProjectDocument:
    """Return a project as the API shows it."""
    return {
        "projectId": project.id,
        "name": project.name,
        "description": project.description,
        "createdAt": project.created_at,
    }


def upload_document(version: Version) -> UploadDocument:
    """Return what the API answers to an upload."""
    return {
        "timestamp": version.created_at,
        "modelId": version.model_id,
        "versionId": version.id,
        "status": "success",
        "projectId": version.project_id,
    }


def model_document(
    model: Model, versions: list[VersionDocument], backtests: list[BacktestDocument]
) -> ModelDocument:
    """Return a model as the API shows it."""
    return {
        "id": model.id,
        "modelId": model.id,
        "projectId": model.project_id,
        "name": model.name,
        "description": model.description,
        "type": model.type,
        "createdAt": model.created_at,
        "versions": versions,
        "backtests": backtests,
    }


def version_document(version: Version) -> VersionDocument:
    """Return a deployed version as the API shows it."""
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


def backtest_document(backtest: Backtest, version: Version) -> BacktestDocument:
    """Return a backtest of a version as the API shows it, without its result."""
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
        "run": cast("RunDocument", backtest.run),
        "result": None,
    }


def _bundle_document(version: Version) -> BundleDocument:
    return {"sha256": version.sha256, "bytes": version.bytes, "files": version.files}
