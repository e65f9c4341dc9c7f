"""The model at another git ref: read from `.git`, checked and packed like the candidate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_action.bundle.including import Include
from deploy_action.errors import Problem, Severity
from deploy_action.git.checkout import UnusablePastError, extract_model
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.records import dataclass, replace
from deploy_action.stages.preparation import runs_on
from deploy_action.text.harmless import one_line

if TYPE_CHECKING:
    from deploy_action.backtest.runs_on import RunsOn
    from deploy_action.bundle.bundle import Bundle
    from deploy_action.bundle.selection import Selection
    from deploy_action.model.inspection import Inspection
    from deploy_action.model.manifest import Manifest
    from deploy_action.outcome.prepared_model import PreparedModel
    from deploy_action.stages.preparation import Preparation


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBase:
    """The model at the git ref `ref`, which is `commit` (a full hexadecimal id).

    Without a bundle, `reason` says why, in words that can follow a colon; `is_absent` says that the
    model did not exist there. `runs_on` has the run's inputs laid over the base's own manifest; it
    and the `requirements` are None where that cannot be read.
    """

    ref: str
    commit: str
    commit_url: str | None
    is_absent: bool = False
    reason: str = ""
    bundle: Bundle | None = None
    runs_on: RunsOn | None = None
    requirements: Mapping[str, str] | None = None


def prepare_base(preparation: Preparation, candidate: PreparedModel, ref: str) -> PreparedBase:
    """Restore the model as it was at `ref`, then check and pack it like the candidate.

    Nothing that is wrong with the base fails the run. Its warnings are dropped: they were shown
    when it was the candidate.

    Raises:
        InvalidInputError: the ref names no commit, or the checkout does not have all of it.
        RefusedError: the bundle cannot be written.
    """
    commit_url = preparation.event.commit_url
    workspace = preparation.places.workspace.resolve()
    included = {name: Path(real) for name, real in candidate.files.included}
    place = preparation.places.scratch / "base"
    try:
        past = extract_model(
            candidate.directory,
            ref,
            place,
            manifest=MANIFEST_NAME,
            workspace=workspace,
            included=tuple(included.values()),
            for_runner=preparation.settings.for_runner,
        )
    except UnusablePastError as error:
        url = commit_url(error.commit)
        return PreparedBase(ref=ref, commit=error.commit, commit_url=url, reason=error.reason)
    base = PreparedBase(ref=ref, commit=past.commit, commit_url=commit_url(past.commit))
    if past.directory is None:
        return replace(base, is_absent=True, reason=f"the model did not exist at {one_line(ref)}")
    if reason := past.lacking.get(past.directory.relative_to(place) / MANIFEST_NAME):
        return replace(base, reason=reason)
    sources = {name: path.relative_to(workspace) for name, path in included.items()}
    include = tuple(
        Include(source.as_posix(), name)
        for name, source in sources.items()
        if os.path.lexists(place / source)
    )
    excluded = preparation.places.excluded
    inspection = preparation.inspection_of(
        place,
        past.directory,
        include,
        (*excluded, *_moved(excluded, workspace, place)),
        lacks=lambda selection: tuple(_lacking(selection, place, past.lacking)),
    )
    return _inspected(base, inspection, preparation)


def _lacking(selection: Selection, place: Path, known: Mapping[Path, str]) -> Iterator[Problem]:
    """Yield why files that would be packed are not whole."""
    top = Path(selection.tree.path).relative_to(place.resolve())
    for one in selection.entries:
        if reason := known.get(top / one.source):
            yield Problem(message=reason)


def _moved(paths: Sequence[Path], workspace: Path, base: Path) -> Iterator[Path]:
    """Translate paths inside the workspace to the base's directory."""
    for path in paths:
        real = Path(os.path.realpath(path))
        if real.is_relative_to(workspace):
            yield base / real.relative_to(workspace)


def _inspected(
    base: PreparedBase, inspection: Inspection, preparation: Preparation
) -> PreparedBase:
    """Return the base with what its files say, and packed if nothing is wrong with them."""
    manifest, problems = inspection.read_manifest()
    if manifest is None:
        # The temporary path means nothing to the reader.
        return replace(
            base, reason=_reason(problems).replace(str(inspection.directory), "the model")
        )
    selection, _, found = inspection.select(manifest)
    base = replace(
        base,
        runs_on=runs_on(preparation.settings, manifest),
        requirements=preparation.requirements_of(manifest, selection),
    )
    if reason := _reason((*problems, *found)) or _type_fault(manifest):
        return replace(base, reason=reason)
    destination = preparation.places.scratch / "base.zip"
    return replace(base, bundle=inspection.pack(selection, destination))


def _type_fault(manifest: Manifest) -> str:
    if manifest.type == "strategy":
        return ""
    return f"the model was a {manifest.type} then, and only strategies can be backtested"


def _reason(problems: Sequence[Problem]) -> str:
    """Return the first error with its place, and the number of others; blank without errors."""
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if not errors:
        return ""
    first = errors[0]
    if not (left := len(errors) - 1):
        return first.sentence
    more = "is 1 more problem" if left == 1 else f"are {left} more problems"
    return f"{first.sentence} There {more}."
