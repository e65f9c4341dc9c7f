"""Everything before something is sent: the model is found, read, checked and packed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from deploy_action.bundle.bundle import Bundle
from deploy_action.bundle.selection import Selection
from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.git.repository import may_be_tracked
from deploy_action.git.revision import read_checked_out_commit
from deploy_action.github.event import Event, describe
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import UNWANTED_WARNINGS, Settings
from deploy_action.model.inspection import Inspection
from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_checks import check_backtest_args
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.text.harmless import tidy

if TYPE_CHECKING:
    from deploy_action.outcome.record import RunRecord
    from deploy_action.text.located_json import JsonValue

# The images that the original server has; others may have more.
_SERVER_PYTHONS: Final = ("3.7", "3.8", "3.9", "3.10")
DEFAULT_PLAN: Final = "nano"
# What the package writes into a new `blankly.json`.
_DEFAULT_PYTHON: Final = "3.7"
# Where the runner mounts the checkout in a container: its name says nothing.
_RUNNER_WORKSPACE: Final = Path("/github/workspace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Directories of a run: the workspace that is read, and the scratch space that is written.

    `excluded` is what never belongs in a bundle although it may lie in the model's directory.
    """

    workspace: Path
    scratch: Path
    excluded: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """A model that was checked and packed, with the inputs laid over the manifest.

    `directory` is absolute and without links. Ids that neither names, and the schedule of what is
    no screener, are blank.
    """

    directory: Path
    manifest: Manifest
    bundle: Bundle
    name: str
    origin: str
    project_id: str
    model_id: str
    schedule: str
    plan: str
    python_version: str
    backtest_args: Mapping[str, JsonValue]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Prepares one model; what it finds out goes into `record` at once."""

    settings: Settings
    event: Event
    places: Places
    record: RunRecord
    on_secrets: Callable[[tuple[str, ...]], None]
    redact: Callable[[str], str]
    on_packing: Callable[[int, int], None]

    def run(self) -> PreparedModel:
        """Return the prepared model.

        Raises:
            InvalidInputError: with every error that was found; warnings are in the record.
        """
        self._refuse_deletion()
        directory = self._find_directory()
        inspection = self.inspection_of(directory)
        manifest, selection = self._check(inspection)
        bundle = inspection.pack(selection, self.places.scratch / "model.zip", self.on_packing)
        self.record.bundle = bundle
        return PreparedModel(
            directory=directory,
            manifest=manifest,
            bundle=bundle,
            name=self.record.model_name,
            origin=self._origin(),
            project_id=self.record.project_id,
            model_id=self.record.model_id,
            schedule=self.record.schedule,
            plan=self.record.plan,
            python_version=self.record.python_version,
            backtest_args=backtest_args_of(self.settings, manifest),
            description=self.record.description,
        )

    def inspection_of(self, directory: Path, excluded: tuple[Path, ...] = ()) -> Inspection:
        """Return how this run reads a model's directory, which may be the one of its base."""
        return Inspection(
            settings=self.settings,
            directory=directory,
            excluded=(*self.places.excluded, *excluded),
            on_secrets=self.on_secrets,
            redact=self.redact,
            is_tracked=may_be_tracked,
        )

    def _check(self, inspection: Inspection) -> tuple[Manifest, Selection]:
        """Read and check everything, and return the manifest and the files to pack."""
        manifest, problems = inspection.read_manifest()
        self._add(*problems)
        if manifest is None:
            raise self._refusal()
        self._describe(inspection.directory, manifest)
        selection, found = inspection.select(manifest)
        self._add(*found, *self._check_run(manifest))
        if self._must_stop():
            raise self._refusal()
        return manifest, selection

    def _add(self, *problems: Problem) -> None:
        self.record.problems += problems

    def _must_stop(self) -> bool:
        if self.record.of(Severity.ERROR):
            return True
        if self.settings.fail_on_warning and self.record.of(Severity.WARNING):
            self._add(UNWANTED_WARNINGS)
            return True
        return False

    def _refusal(self) -> InvalidInputError:
        # The problems are in the record already, where warnings stand beside them.
        return InvalidInputError()

    def _find_directory(self) -> Path:
        """Return the model's directory, which may not lie outside the workspace."""
        workspace = self.places.workspace.resolve()
        try:
            directory = (workspace / self.settings.model_path).resolve()
            inside = directory.is_relative_to(workspace)
            exists = directory.is_dir()
        except (OSError, ValueError, RuntimeError):
            directory, inside, exists = workspace, True, False
        if not inside:
            raise InvalidInputError(
                Problem(
                    message=f"Input `model-path` is `{self.settings.model_path}`: it leads out of "
                    "the workspace.",
                    hint="Name a directory inside the repository, relative to its root.",
                ),
            )
        if not exists:
            raise InvalidInputError(
                Problem(
                    message=f"Input `model-path` is `{self.settings.model_path}`: there is no such "
                    "directory in the workspace.",
                    hint=_way_to(directory),
                ),
            )
        relative = PurePosixPath(directory.relative_to(workspace).as_posix())
        self.record.model_path = str(relative)
        return directory

    def _describe(self, directory: Path, manifest: Manifest) -> None:
        """Fill in what inputs, manifest and event say of this run."""
        settings, record = self.settings, self.record
        read_commit = cache(lambda: read_checked_out_commit(directory))
        record.model_name = tidy(
            settings.model_name or manifest.model_name or self._directory_name(directory)
        )
        # A project that an input names goes before the one that the manifest identifies.
        named = None if settings.project_name else manifest.project_id
        record.project_id = settings.project_id or named or ""
        record.model_id = settings.model_id or manifest.model_id or ""
        record.model_type = manifest.type
        record.plan = plan_of(settings, manifest)
        record.python_version = python_version_of(settings, manifest)
        record.schedule = schedule_of(manifest)
        record.commit = self.event.commit or (found.sha if (found := read_commit()) else "")
        record.commit_url = self.event.commit_url(record.commit)
        record.description = settings.description or describe(
            self.event,
            lambda: found.message if (found := read_commit()) else None,
        )
        if settings.is_backtested:
            record.backtest_args = backtest_args_of(self.settings, manifest)

    def _directory_name(self, directory: Path) -> str:
        """Return the directory's name; of a checkout that the runner mounts, the repository's."""
        if directory == _RUNNER_WORKSPACE and self.event.repository:
            return self.event.repository.rpartition("/")[2]
        return directory.name or "model"

    def _origin(self) -> str:
        """Say where the model comes from: its repository and directory, else its name."""
        if not self.event.repository:
            return self.record.model_name
        path = "" if self.record.model_path == "." else f"/{self.record.model_path}"
        return tidy(self.event.repository + path)

    def _check_run(self, manifest: Manifest) -> tuple[Problem, ...]:
        """Check what depends on what the run is to do."""
        checks = (
            self._check_type(manifest),
            self._check_python(manifest),
            self._check_ids(),
            self._check_encryption(),
        )
        found = tuple(problem for problem in checks if problem is not None)
        return (*found, *self._check_arguments(manifest))

    def _refuse_deletion(self) -> None:
        if self.event.is_deletion and self.settings.mode is not Mode.VALIDATE:
            raise InvalidInputError(
                Problem(
                    message=f"The push deleted `{self.event.ref}`: there is nothing of it left to "
                    f"{self.settings.mode}, and the files here are of another branch.",
                    hint="Let the job run only when `github.event.deleted` is false.",
                ),
            )

    def _check_type(self, manifest: Manifest) -> Problem | None:
        if not self.settings.is_backtested or manifest.type != "screener":
            return None
        hint = "Use mode `deploy` or `validate` for it"
        if self.settings.tests_first:
            hint = "Remove `gates` and `compare-with` to deploy it without a backtest"
        return _at(
            manifest,
            "type",
            Problem(
                message="The model is a screener, and only strategies can be backtested.",
                hint=f"{hint}.",
            ),
        )

    def _check_arguments(self, manifest: Manifest) -> tuple[Problem, ...]:
        """Check the merged arguments, where an input changed what the manifest says."""
        if not self.settings.backtest_args:
            return ()
        known = {problem.message for problem in self.record.problems}
        found = check_backtest_args(backtest_args_of(self.settings, manifest), redact=self.redact)
        way_out = (
            "A null in `backtest-args` removes an argument of `blankly.json`, as in `to: null`."
        )
        return tuple(
            replace(problem, hint=f"{problem.hint} {way_out}")
            for problem in found
            if problem.message not in known
        )

    def _check_python(self, manifest: Manifest) -> Problem | None:
        version = self.record.python_version
        if not self.settings.python_version and manifest.locate("python_version") is None:
            return Problem(
                message="Neither `python_version` of `blankly.json` nor the input "
                f"`python-version` says which Python the model needs: {version}, the package's "
                "old default, is assumed.",
                hint='Add `"python_version": "3.10"`, or the version you use, to `blankly.json`.',
                severity=Severity.WARNING,
                path=MANIFEST_NAME,
                line=1,
                column=1,
            )
        if self.settings.is_local or version in _SERVER_PYTHONS:
            return None
        problem = Problem(
            message=f"The model asks for Python {version}, and the original server runs only "
            f"{', '.join(_SERVER_PYTHONS)}.",
            hint="Ignore this where your server has that version; otherwise choose one of these.",
            severity=Severity.WARNING,
        )
        return problem if self.settings.python_version else _at(manifest, "python_version", problem)

    def _check_encryption(self) -> Problem | None:
        from ipaddress import ip_address
        from urllib.parse import urlsplit

        settings = self.settings
        parts = urlsplit(settings.api_url)
        if parts.scheme != "http" or settings.mode is Mode.VALIDATE:
            return None
        host = parts.hostname or ""
        try:
            is_here = ip_address(host).is_loopback
        except ValueError:
            is_here = host == "localhost"
        if is_here:
            return None
        return Problem(
            message=f"`api-url` is `{settings.api_url}`: the token and the bundle, with the "
            "exchange keys in it, travel unencrypted.",
            hint="Give the server a certificate, and use its `https://` address.",
            severity=Severity.WARNING,
        )

    def _check_ids(self) -> Problem | None:
        """Without a model's id, and without permission to create one, there is no way on."""
        settings = self.settings
        if self.record.model_id or settings.may_create or settings.mode is Mode.VALIDATE:
            return None
        # A dry run works before the model exists, and says what a real one would stumble over.
        return Problem(
            severity=Severity.WARNING if settings.dry_run else Severity.ERROR,
            message="It is not said which model to deploy to: neither the input `model-id` nor "
            "`model_id` of `blankly.json` is set.",
            hint="Set `model-id` to the id of an existing model, or allow this action to create "
            "one with `create-new: true`.",
        )


def plan_of(settings: Settings, manifest: Manifest) -> str:
    """Return the plan that a model runs on: the input's, else the manifest's, else the default."""
    return settings.plan or manifest.plan or DEFAULT_PLAN


def python_version_of(settings: Settings, manifest: Manifest) -> str:
    """Return the Python that runs a model: the input's, else the manifest's, else the default."""
    return settings.python_version or manifest.python_version or _DEFAULT_PYTHON


def schedule_of(manifest: Manifest) -> str:
    """Return when a screener runs, as a cron expression; blank for what is none."""
    return manifest.schedule or "" if manifest.type == "screener" else ""


def backtest_args_of(settings: Settings, manifest: Manifest) -> Mapping[str, JsonValue]:
    """Return the arguments of a backtest: the input's laid over the manifest's, nulls removed."""
    merged = {**manifest.backtest_args, **settings.backtest_args}
    removed = {name for name, value in settings.backtest_args.items() if value is None}
    return {name: value for name, value in merged.items() if name not in removed}


def _way_to(missing: Path) -> str:
    """Say which directory may have been meant instead of one that does not exist."""
    from difflib import get_close_matches

    try:
        if missing.is_file():
            return "Name the directory that the file is in."
        names = [child.name for child in missing.parent.iterdir() if child.is_dir()]
    except OSError:
        names = []
    if near := get_close_matches(missing.name, names, n=1):
        return f"Did you mean `{near[0]}`?"
    return "Check the path, and that `actions/checkout` runs before this step."


def _at(manifest: Manifest, key: str, problem: Problem) -> Problem:
    """Return the problem with the place of a key of the manifest, where it has one."""
    place = manifest.locate(key)
    if place is None:
        return replace(problem, path=MANIFEST_NAME)
    return replace(problem, path=MANIFEST_NAME, line=place[0], column=place[1])
