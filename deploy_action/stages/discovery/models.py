"""The stage that finds the models of a repository, and which of them changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.git.changes import Changes, find_changes, is_lost
from deploy_action.git.lacking import Checkout
from deploy_action.github.event import Event
from deploy_action.inputs.settings import Settings
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.model.manifest import Manifest, peek_manifest
from deploy_action.model.manifest_search import MANIFEST_NAME, find_models, missing_manifest
from deploy_action.outcome.discovery import Discovery, FoundModel
from deploy_action.records import dataclass, field, replace
from deploy_action.stages.discovery.imports import Imports
from deploy_action.stages.discovery.reasons import Reasons
from deploy_action.stages.narrow import narrow
from deploy_action.stages.preparation import directory_name, find_directory, refuse_deletion
from deploy_action.text.harmless import one_line, tidy

_INPUT: Final = "changed-since"
_MOST_NAMED: Final = 20
_ZEROS: Final = lazy_regex(r"0{40}|0{64}")


def discover_models(
    settings: Settings, event: Event, workspace: Path, redact: Callable[[str], str]
) -> Discovery:
    """Return the models below `model-path`; with `changed-since`, which of them changed.

    A model with a broken `blankly.json` is one, too: the run that is for it reports that. `redact`
    hides the secrets in a text.

    Raises:
        InvalidInputError: there is no model, or the checkout lacks the commit to compare with.
    """
    workspace = workspace.resolve()
    checkout = Checkout(settings.for_runner)
    refuse_deletion(event, settings.mode)
    root, _ = find_directory(workspace, settings.model_path, checkout)
    search = find_models(root)
    named = [one for one in search.models if _is_text(one, workspace)]
    nameless = tuple(_nameless(search.models, workspace))
    if nameless and not named:
        raise InvalidInputError(*nameless)
    models = [_Model.at(directory, workspace, event, redact) for directory in named]
    problems = (
        *(replace(one, severity=Severity.WARNING) for one in nameless),
        *_unreadable(search.unreadable, workspace),
        *checkout.left_out(root, MANIFEST_NAME),
    )
    compared = _compare(settings, event, root)
    if not isinstance(compared, Changes):
        if not models:
            raise InvalidInputError(missing_manifest(root, for_runner=settings.for_runner))
        return Discovery(
            models=tuple(one.found() for one in models), problems=(*compared, *problems)
        )
    gone = tuple(_gone(compared, root, workspace))
    if not models and not gone:
        raise InvalidInputError(missing_manifest(root, for_runner=settings.for_runner))
    reasons = Reasons.of(compared, settings, workspace)
    imports = Imports(reasons, search.models)
    found = [one.compared(reasons, imports) for one in models]
    consequence = "Models that the pull request changed may not be listed"
    missed = narrow(event, root, _INPUT, settings.changed_since, consequence)
    return Discovery(
        models=tuple(one for one in found if one.is_listed),
        unchanged=tuple(one for one in found if not one.is_listed),
        since=settings.changed_since or "",
        commit=compared.commit,
        commit_url=event.commit_url(compared.commit),
        gone=gone,
        problems=(*missed, *_lacking(found, settings), *problems),
    )


@dataclass(frozen=True, slots=True)
class _Model:
    """A model: its directory without links, and its path in the workspace."""

    directory: Path
    path: str
    name: str
    manifest: Manifest | None = field(repr=False)

    @classmethod
    def at(
        cls, directory: Path, workspace: Path, event: Event, redact: Callable[[str], str]
    ) -> _Model:
        manifest = peek_manifest(directory)
        written = None if manifest is None else manifest.model_name
        name = tidy(written or directory_name(directory, event), redact)
        return cls(directory, directory.relative_to(workspace).as_posix(), name, manifest)

    def found(self) -> FoundModel:
        return FoundModel(path=self.path, name=self.name)

    def compared(self, reasons: Reasons, imports: Imports) -> FoundModel:
        lacking = list(imports.lacking(self.directory, self.manifest))
        imported = dict.fromkeys(f"{name} (imported, not included)" for _, name in lacking)
        return FoundModel(
            path=self.path,
            name=self.name,
            is_new=reasons.is_new(self.directory),
            changed=(*reasons.changed(self.directory, self.manifest), *imported),
            lacks=tuple(dict.fromkeys(entry for entry, _ in lacking)),
        )


def _compare(settings: Settings, event: Event, root: Path) -> Changes | tuple[Problem, ...]:
    """Return what changed; if nothing can be compared, so that all are listed, why not."""
    ref = settings.changed_since
    if ref is None:
        return ()
    if _ZEROS.fullmatch(ref):
        why = "it is the id of no commit, which GitHub gives for a new branch"
    elif event.name == "push" and ref == event.before and is_lost(root, ref):
        why = "the push was forced: no branch has the commit before it any more"
    else:
        return find_changes(root, ref, _INPUT, for_runner=settings.for_runner)
    message = f"All models are listed, because `{_INPUT}` is `{ref}`: {why}."
    return (Problem(message=message, severity=Severity.NOTICE),)


def _lacking(found: Iterable[FoundModel], settings: Settings) -> Iterator[Problem]:
    """Warn of changed code that models import, and that is in none of their bundles."""
    models: dict[str, list[str]] = {}
    for one in found:
        for entry in one.lacks:
            models.setdefault(entry, []).append(one.path)
    for entry, paths in models.items():
        shown = [f"`{one_line(path)}`" for path in paths[:_MOST_NAMED]]
        if (left := len(paths) - _MOST_NAMED) > 0:
            shown.append(f"{left:,} more")
        what, line = one_line(entry.partition(" => ")[0]), one_line(entry)
        runner = f"Set `include: {line}` in this step and in those that run these models."
        terminal = f'Name it with `--include "{line}"`, here and where these models run.'
        yield Problem(
            message=f"`{what}` changed, and is imported without being in the bundle by "
            f"{', '.join(shown)}: listed as changed.",
            hint=runner if settings.for_runner else terminal,
            severity=Severity.WARNING,
        )


def _gone(changes: Changes, root: Path, workspace: Path) -> Iterator[str]:
    """Yield the directories of models, in the workspace, that are there no more."""
    for name in sorted(changes.changed & changes.past):
        manifest = changes.root / name
        is_inside = manifest.is_relative_to(root) and manifest.is_relative_to(workspace)
        is_gone = name not in changes.left_out and not manifest.exists()
        if manifest.name == MANIFEST_NAME and is_inside and is_gone:
            yield manifest.parent.relative_to(workspace).as_posix()


def _is_text(directory: Path, workspace: Path) -> bool:
    """Whether outputs, which are UTF-8, can hold the path of a directory in the workspace."""
    try:
        str(directory.relative_to(workspace)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _nameless(directories: Iterable[Path], workspace: Path) -> Iterator[Problem]:
    for directory in directories:
        if not _is_text(directory, workspace):
            path = os.fsencode(directory.relative_to(workspace)).decode("utf-8", "backslashreplace")
            yield Problem(
                message=f"The model in `{one_line(path)}` is not listed: the directory's name is "
                "not valid UTF-8, so no `model-path` can name it.",
                hint="Rename the directory.",
            )


def _unreadable(directories: Iterable[Path], workspace: Path) -> Iterator[Problem]:
    for directory in directories:
        path = one_line(directory.relative_to(workspace).as_posix())
        yield Problem(
            message=f"`{path}` cannot be read: models in it are not listed.",
            hint="Make it readable, or set `model-path` to the directory of the models.",
            severity=Severity.WARNING,
        )
