"""The first stage: find the model, read, check and pack it. Nothing is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.period.asked import merge_arguments
from deploy_action.backtest.runs_on import RunsOn
from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.git.lacking import Checkout
from deploy_action.git.repository import may_be_tracked
from deploy_action.git.revision import read_checked_out_commit
from deploy_action.github.event import Event, describe
from deploy_action.inputs.defaults import DEFAULT_PLAN, DEFAULT_PYTHON, HOSTED_API_URL
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import UNWANTED_WARNINGS, Settings
from deploy_action.model.inspection import Inspection
from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_checks import check_backtest_args
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.outcome.prepared_model import DescribedModel, PreparedModel
from deploy_action.records import dataclass, field, replace
from deploy_action.stages.narrow import narrow
from deploy_action.text.harmless import tidy

if TYPE_CHECKING:
    from deploy_action.bundle.including import Include
    from deploy_action.bundle.selection import Selection
    from deploy_action.model.live.code import Code
    from deploy_action.text.located_json import JsonValue

# The versions that the service that was taken down had; other servers tell when they are asked.
# Where the runner mounts the checkout in a container: no name for a model.
_RUNNER_WORKSPACE: Final = Path("/github/workspace")
_MISSED: Final = "The comparison may miss what the pull request changed earlier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Directories of a run: `workspace` is only read, `scratch` is written to.

    `excluded` are paths that never belong in a bundle, even inside the model's directory.
    """

    workspace: Path
    scratch: Path
    excluded: tuple[Path, ...]


def _lacks_nothing(_selection: Selection) -> tuple[Problem, ...]:
    """Return nothing: what is restored from git is whole."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Prepares the model of a run.

    `on_described` gets what is known of the model whenever that grows, so that a run that fails
    half-way can report it. `on_secrets` gets the secrets found in the model's files before anything
    is said about those files.
    """

    settings: Settings
    event: Event
    places: Places
    on_described: Callable[[DescribedModel], None]
    on_secrets: Callable[[tuple[str, ...]], None]
    redact: Callable[[str], str]
    on_packing: Callable[[int, int], None]
    now: float = field(default_factory=time.time)

    def run(self) -> PreparedModel:
        """Return the prepared model; its warnings are in `described.problems`.

        Raises:
            InvalidInputError: something is wrong with the model. Problems that `on_described` got
                are not repeated in it.
        """
        if self.settings.mode is not Mode.VALIDATE:
            refuse_deletion(self.event, self.settings.mode)
        checkout = Checkout(self.settings.for_runner)
        directory, path = find_directory(self.places.workspace, self.settings.model_path, checkout)
        self.on_described(DescribedModel(path=path))
        self._refuse_lacking_includes(checkout)
        inspection = self.inspection_of(
            self.places.workspace,
            directory,
            self.settings.include,
            self.places.excluded,
            lacks=checkout.lacks,
        )
        manifest, problems = inspection.read_manifest()
        if manifest is None:
            why = checkout.explain(directory / MANIFEST_NAME)
            raise InvalidInputError(*((why,) if why is not None else problems))
        described = self._describe(directory, path, manifest)
        self.on_described(replace(described, problems=problems))
        selection, code, found = inspection.select(manifest)
        found = (*found, *self._check_code(code, manifest, selection))
        described = replace(described, is_committed=self._is_committed(directory, selection))
        problems = (
            *problems,
            *found,
            *self._check_run(described, manifest, problems),
            *narrow(self.event, directory, "compare-with", self.settings.compare_with, _MISSED),
        )
        described = replace(described, problems=problems)
        self.on_described(described)
        self._stop_on(problems)
        return PreparedModel(
            described=described,
            directory=directory,
            files=selection.files,
            bundle=inspection.pack(selection, self.places.scratch / "model.zip", self.on_packing),
            requirements=self.requirements_of(manifest, selection),
        )

    def _is_committed(self, directory: Path, selection: Selection) -> bool:
        """Whether the model is that of its commit. People edit; a workflow has checked out."""
        if self.settings.for_runner or self.settings.mode is Mode.VALIDATE:
            return True
        from deploy_action.git.changes import is_committed

        return is_committed(directory, selection.places())

    def requirements_of(self, manifest: Manifest, selection: Selection) -> Mapping[str, str]:
        """Return the version specifier of each required package; empty without a comparison."""
        if self.settings.compare_with is None:
            return {}
        from deploy_action.model.requirements import read_requirements

        return read_requirements(selection.files, manifest.requirements)

    def inspection_of(
        self,
        workspace: Path,
        directory: Path,
        include: tuple[Include, ...],
        excluded: tuple[Path, ...],
        *,
        lacks: Callable[[Selection], tuple[Problem, ...]] = _lacks_nothing,
    ) -> Inspection:
        """Return how this run reads a model's directory: the candidate's, or the base's."""
        return Inspection(
            settings=self.settings,
            workspace=workspace,
            directory=directory,
            include=include,
            excluded=excluded,
            is_tracked=partial(may_be_tracked, for_runner=self.settings.for_runner),
            lacks=lacks,
            on_secrets=self.on_secrets,
            redact=self.redact,
        )

    def _refuse_lacking_includes(self, checkout: Checkout) -> None:
        """Raise if what is to be included is missing because the checkout lacks it."""
        workspace = self.places.workspace.resolve()
        paths = [workspace / one.source for one in self.settings.include]
        missing = [checkout.explain(path) for path in paths if not path.exists()]
        if found := [one for one in missing if one is not None]:
            raise InvalidInputError(*found)

    def _stop_on(self, problems: Iterable[Problem]) -> None:
        """Raise if there are errors, or warnings and `fail-on-warning` is set."""
        severities = {one.severity for one in (*self.settings.warnings, *problems)}
        if Severity.ERROR in severities:
            raise InvalidInputError
        if self.settings.fail_on_warning and Severity.WARNING in severities:
            raise InvalidInputError(UNWANTED_WARNINGS)

    def _describe(self, directory: Path, path: str, manifest: Manifest) -> DescribedModel:
        """Return what inputs, manifest, event and commit say about the model."""
        settings, event = self.settings, self.event
        read_commit = cache(lambda: read_checked_out_commit(directory))
        name = settings.model_name or manifest.model_name or directory_name(directory, event)
        name = tidy(name, self.redact)
        # The input `project-name` wins over the project id in the manifest.
        manifest_project = None if settings.project_name else manifest.project_id
        commit = event.commit or (found.sha if (found := read_commit()) else "")
        described = DescribedModel(
            path=path,
            name=name,
            type=manifest.type,
            origin=origin_of(event, name, path),
            project_id=settings.project_id or manifest_project or "",
            model_id=settings.model_id or manifest.model_id or "",
            runs_on=runs_on(settings, manifest),
            argument_sources=_sources(settings, manifest),
            included=settings.include,
            commit=commit,
            commit_url=event.commit_url(commit),
            scope=event.scope,
            deployed_by=event.actor if event.run_url else "",
            run_url=event.run_url,
            description=settings.description
            or describe(
                event, lambda: found.message if (found := read_commit()) else None, self.redact
            ),
        )
        is_sent = settings.mode is Mode.DEPLOY or not settings.is_local
        if not is_sent or (found := read_commit()) is None:
            return described
        return replace(
            described,
            checked_out=found.sha,
            committed_at=_iso(found.committed_at),
            repository=event.repository_url,
        )

    def _check_run(
        self, described: DescribedModel, manifest: Manifest, known: Iterable[Problem]
    ) -> Iterator[Problem]:
        """Check what depends on the mode and the inputs; do not repeat `known` problems."""
        checks = (
            self._check_type(manifest),
            self._check_python(described.runs_on.python_version, manifest),
            self._check_ids(described.model_id),
            self._check_encryption(),
        )
        yield from (problem for problem in checks if problem is not None)
        yield from self._check_arguments(manifest, known)

    def _check_code(
        self, code: Code, manifest: Manifest, selection: Selection
    ) -> Iterator[Problem]:
        """Check what the model will do when it runs. On the embedded platform none is deployed."""
        yield from self._check_variables(code, selection)
        settings = self.settings
        is_deploy = settings.mode is Mode.DEPLOY
        if not (is_deploy and not settings.is_local) and settings.mode is not Mode.VALIDATE:
            return
        from deploy_action.model.live.checks import Given, check_live

        given = Given(settings.keys_json is not None, settings.model_env or {}, is_deploy)
        yield from check_live(code, manifest, selection, given)

    def _check_variables(self, code: Code, selection: Selection) -> Iterator[Problem]:
        """Tell of variables that the model reads and does not get, or gets and does not read."""
        from deploy_action.model.live.variables import Given, check_variables, names_in_files

        settings = self.settings
        is_deployed = settings.mode is Mode.DEPLOY and not settings.is_local
        swept = _swept_variables(settings)
        given = Given(
            names=frozenset(settings.model_env or ()),
            is_run=is_deployed or settings.mode is Mode.BACKTEST,
            left_out=selection.left_out,
            in_files=names_in_files(selection),
            for_runner=settings.for_runner,
        )
        yield from check_variables(code, given)
        if settings.sweep is not None and swept:
            from deploy_action.stages.sweep_checks import check_variables as check_swept

            yield from check_swept(settings.sweep, selection)

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

    def _check_arguments(self, manifest: Manifest, known: Iterable[Problem]) -> Iterator[Problem]:
        """Check the merged arguments: their form if an input changed it, and what they mean."""
        yield from self._check_meaning(manifest)
        arguments = backtest_args_of(self.settings, manifest)
        if self.settings.sweep is not None and self.settings.is_backtested:
            from deploy_action.stages.sweep_checks import check_arguments, check_secrets

            yield from check_secrets(self.settings.sweep, self.redact)
            yield from check_arguments(self.settings.sweep, arguments, self.now, self.redact)
        if not self.settings.backtest_args:
            return
        said = {problem.message for problem in known}
        way_out = (
            "A null in `backtest-args` removes an argument of `blankly.json`, as in `to: null`."
        )
        for problem in check_backtest_args(arguments, redact=self.redact):
            if problem.message not in said:
                yield replace(problem, hint=f"{problem.hint} {way_out}")

    def _check_meaning(self, manifest: Manifest) -> Iterator[Problem]:
        """Check period and account of a backtest; they would fail after minutes, or mislead."""
        from deploy_action.backtest.period.checks import check_meaning

        if not self.settings.is_backtested and self.settings.mode is not Mode.VALIDATE:
            return
        arguments = {
            name: self.redact(value) if isinstance(value, str) else value
            for name, value in backtest_args_of(self.settings, manifest).items()
        }
        for one in check_meaning(arguments, self.now):
            problem = Problem(message=one.message, hint=one.hint, severity=one.severity)
            if self.settings.backtest_args.get(one.argument) is not None:
                yield replace(problem, message=f"Input `backtest-args`: {one.message}")
            else:
                yield _at(manifest, ("backtest_args", one.argument), problem)

    def _check_python(self, version: str, manifest: Manifest) -> Problem | None:
        if self.settings.python_version or manifest.locate("python_version") is not None:
            return None
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

    def _check_encryption(self) -> Problem | None:
        from urllib.parse import urlsplit

        from deploy_action.http.loopback import is_loopback

        settings = self.settings
        parts = urlsplit(settings.api_url)
        if parts.scheme != "http" or settings.mode is Mode.VALIDATE:
            return None
        if is_loopback(parts.hostname or ""):
            return None
        return Problem(
            message=f"`api-url` is `{settings.api_url}`: the token, the variables of "
            "`model-env`, and the bundle with the exchange keys in it travel unencrypted.",
            hint="Give the server a certificate, and use its `https://` address.",
            severity=Severity.WARNING,
        )

    def _check_ids(self, model_id: str) -> Problem | None:
        """Refuse a run that knows no model and may not create one."""
        settings = self.settings
        if model_id or settings.may_create or settings.mode is Mode.VALIDATE:
            return None
        if settings.api_url == HOSTED_API_URL:
            local = "`api-url: local`" if settings.for_runner else "`--api-url local`"
            return Problem(
                message="A token is set, and `api-url` names no other server, so Blankly's hosted "
                "service is meant, and it was taken down.",
                hint=f"For a backtest on this machine, add {local}. For a server of your own, name "
                "it in `api-url`.",
            )
        return Problem(
            message="The model to deploy to is unknown: neither the input `model-id` nor "
            "`model_id` of `blankly.json` is set.",
            hint="Set `model-id` to the id of an existing model, or `create-new: true`: then the "
            "model is found by its name, and made if there is none.",
        )


def refuse_deletion(event: Event, mode: Mode) -> None:
    """Refuse a run for a branch or tag that was deleted.

    Raises:
        InvalidInputError: it was.
    """
    if event.is_deletion:
        raise InvalidInputError.of(
            message=f"The push deleted `{event.ref}`: there is nothing of it left to {mode}, and "
            "the files here are of another branch.",
            hint="Let the job run only when `github.event.deleted` is false.",
        )


def find_directory(workspace: Path, model_path: str, checkout: Checkout) -> tuple[Path, str]:
    """Return a directory that the input `model-path` names: absolute, and in the workspace.

    Raises:
        InvalidInputError: there is none, or it is not in the workspace.
    """
    workspace = workspace.resolve()
    try:
        directory = (workspace / model_path).resolve()
        inside = directory.is_relative_to(workspace)
        exists = directory.is_dir()
    except (OSError, ValueError, RuntimeError):
        directory, inside, exists = workspace, True, False
    if not inside:
        raise InvalidInputError.of(
            message=f"Input `model-path` is `{model_path}`: it leads out of the workspace.",
            hint="Name a directory inside the repository, relative to its root.",
        )
    if not exists:
        message = (
            f"Input `model-path` is `{model_path}`: there is no such directory in the workspace."
        )
        if (why := checkout.explain(directory)) is not None:
            raise InvalidInputError(replace(why, message=f"{message} {why.message}", path=None))
        raise InvalidInputError.of(message, hint=_way_to(directory, checkout))
    return directory, directory.relative_to(workspace).as_posix()


def directory_name(directory: Path, event: Event) -> str:
    """Return the directory's name; for a checkout mounted by the runner, the repository's."""
    if directory == _RUNNER_WORKSPACE and event.repository:
        return event.repository.rpartition("/")[2]
    return directory.name or "model"


def origin_of(event: Event, name: str, path: str) -> str:
    """Return where the model comes from: its repository and directory, else its name."""
    if not event.repository:
        return name
    return tidy(event.repository + ("" if path == "." else f"/{path}"))


def runs_on(settings: Settings, manifest: Manifest) -> RunsOn:
    """Return what a model runs on: each value from the input, the manifest, or the default.

    A version of Python that cannot be read is blank.
    """
    python = "" if manifest.locate("python_version") else DEFAULT_PYTHON
    return RunsOn(
        plan=settings.plan or manifest.plan or DEFAULT_PLAN,
        python_version=settings.python_version or manifest.python_version or python,
        schedule=(manifest.schedule or "") if manifest.type == "screener" else "",
        arguments=backtest_args_of(settings, manifest) if settings.is_backtested else None,
    )


def backtest_args_of(settings: Settings, manifest: Manifest) -> Mapping[str, JsonValue]:
    """Return the arguments of a backtest: the input's win over the manifest's; nulls remove.

    The embedded platform has the default period itself, for scripts that name none.
    """
    own = manifest.backtest_args
    if manifest.locate("backtest_args") is None and (settings.is_local or settings.tests_first):
        own = {}
    return merge_arguments(own, settings.backtest_args)


def _swept_variables(settings: Settings) -> frozenset[str]:
    """Return the variables that every backtest of a sweep gets, but for the model's own setting."""
    if settings.sweep is None or not settings.is_backtested:
        return frozenset()
    return frozenset(axis.variable for axis in settings.sweep.axes if axis.variable is not None)


def _sources(settings: Settings, manifest: Manifest) -> Mapping[str, str]:
    """Return where each argument of a backtest comes from."""
    other = "blankly.json" if manifest.locate("backtest_args") else "default"
    return {
        name: "backtest-args" if name in settings.backtest_args else other
        for name in backtest_args_of(settings, manifest)
    }


def _iso(seconds: int) -> str:
    """Return a time in ISO 8601, blank if no calendar date has it: a commit may claim any."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return ""


def _way_to(missing: Path, checkout: Checkout) -> str:
    """Suggest a directory in place of a missing one."""
    from difflib import get_close_matches

    try:
        if missing.is_file():
            return "Name the directory that the file is in."
        names = [child.name for child in missing.parent.iterdir() if child.is_dir()]
    except OSError:
        names = []
    if near := get_close_matches(missing.name, names, n=1):
        return f"Did you mean `{near[0]}`?"
    return checkout.hint(
        "Check the path, and that `actions/checkout` runs before this step.",
        "Check the path, which is relative to where you are.",
    )


def _at(manifest: Manifest, key: str | tuple[str, ...], problem: Problem) -> Problem:
    """Return the problem, placed at a key of the manifest if the key is there."""
    place = manifest.locate(*([key] if isinstance(key, str) else key))
    if place is None:
        return replace(problem, path=MANIFEST_NAME)
    return replace(problem, path=MANIFEST_NAME, line=place[0], column=place[1])
