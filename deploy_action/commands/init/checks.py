"""What would stop the first run of a model: what `validate` says, and what git leaves out."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from os.path import exists
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy_action.bundle.bundle import ignore_progress
from deploy_action.commands.init.repository import FoundModel
from deploy_action.console import Console
from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.git.branches import find_ignored
from deploy_action.github.event import Event
from deploy_action.inputs.settings import parse_settings
from deploy_action.model.files import BACKTEST_NAME, SETTINGS_NAME
from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.outcome.prepared_model import DescribedModel
from deploy_action.records import dataclass
from deploy_action.stages.preparation import Places, Preparation


@dataclass(frozen=True, slots=True)
class Checks:
    """Checks the models of a repository whose workspace is `root`. Nothing is sent."""

    root: Path
    event: Event
    console: Console

    def problems(self, model: FoundModel) -> tuple[Problem, ...]:
        """Return all problems that a model has with what it imports from outside of it."""
        path, manifest = model.path, model.manifest
        found = self._of_validate(path, "\n".join(model.include))
        if manifest is None:
            return tuple(found)
        return (
            *found,
            *self._ignored(self.root / path, manifest),
            *_ids(manifest),
            *_root(path, manifest),
        )

    def _of_validate(self, path: str, include: str) -> Sequence[Problem]:
        inputs = {"mode": "validate", "model-path": path, "include": include}
        given = {name: value for name, value in inputs.items() if value}
        settings = parse_settings(given, for_runner=False)
        described = [DescribedModel()]
        with TemporaryDirectory(prefix="blankly-deploy-") as scratch:
            places = Places(workspace=self.root, scratch=Path(scratch), excluded=(Path(scratch),))
            preparation = Preparation(
                settings=settings,
                event=self.event,
                places=places,
                on_described=described.append,
                on_secrets=self.console.mask,
                redact=self.console.redact,
                on_packing=ignore_progress,
            )
            try:
                return preparation.run().described.problems
            except InvalidInputError as error:
                return (*described[-1].problems, *error.problems)

    def _ignored(self, directory: Path, manifest: Manifest) -> Iterator[Problem]:
        settings = [
            posixpath.join(manifest.working_directory, name)
            for name in (SETTINGS_NAME, BACKTEST_NAME)
        ]
        names = (MANIFEST_NAME, manifest.main_script, manifest.requirements, *settings)
        paths = {directory / posixpath.normpath(name): name for name in names if name}
        # That of `Path` raises for a name that is too long.
        there = [path for path in paths if exists(path)]  # noqa: PTH110
        for path in sorted(find_ignored(self.root, there)):
            yield Problem(
                message=f"{posixpath.normpath(paths[path])} is ignored by git, so a workflow's "
                "checkout lacks it.",
                hint="Add it all the same, with `git add --force`, or mend `.gitignore`.",
                severity=Severity.WARNING,
            )


def _ids(manifest: Manifest) -> Iterator[Problem]:
    """Tell of ids that only the server that gave them knows."""
    named = [name for name in ("project_id", "model_id") if getattr(manifest, name) is not None]
    if not named:
        return
    line, column = manifest.locate(named[-1]) or (None, None)
    yield Problem(
        message=f"Only the server that gave {' and '.join(named)} knows it. Blankly's own was "
        "taken down.",
        hint="Remove it, unless your server has it: the first deploy creates the model there.",
        severity=Severity.NOTICE,
        path=MANIFEST_NAME,
        line=line,
        column=column,
    )


def _root(path: str, manifest: Manifest) -> Iterator[Problem]:
    """Tell of what is packed with a model that is a whole repository."""
    if path != "." or any(".github" in pattern for pattern in manifest.ignore_files):
        return
    yield Problem(
        message="The model is the whole repository, so `.github`, READMEs and tests are in its "
        "bundle. A push that changes only these is a new version, too, and restarts a bot.",
        hint='Name them in `ignore_files` of `blankly.json`, such as ".github" and "*.md".',
        severity=Severity.NOTICE,
    )
