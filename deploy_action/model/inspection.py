"""Reads, checks and packs a model's directory: the same way for a candidate and its base."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Callable
from pathlib import Path

from deploy_action.bundle.bundle import Bundle, ignore_progress, write_bundle
from deploy_action.bundle.including import Include
from deploy_action.bundle.selection import Selection, select_files
from deploy_action.errors import Problem
from deploy_action.inputs.defaults import DEFAULT_PYTHON
from deploy_action.inputs.definitions import Mode
from deploy_action.inputs.settings import Settings
from deploy_action.model.files import check_model_files
from deploy_action.model.leaks import KEYS_NAME, find_leaked_keys, find_leaks, leak_problems
from deploy_action.model.links import without_needless_links
from deploy_action.model.live.code import Code, read_code
from deploy_action.model.live.outside import Outside
from deploy_action.model.manifest import Manifest, load_manifest
from deploy_action.model.pyproject import requirements_of_project
from deploy_action.model.requirements import Installer
from deploy_action.model.syntax import wanted_python
from deploy_action.records import dataclass, replace
from deploy_action.regular_files import SourceTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """How the run reads a model's directory.

    `workspace` holds it, and what is to `include`. `excluded` are paths that never belong in the
    bundle. `on_secrets` gets the secrets in a file before any message about that file, and `redact`
    removes them from texts. `is_tracked` says whether git has a file. `lacks` returns what the
    checkout lacks of a selection.
    """

    settings: Settings
    workspace: Path
    directory: Path
    include: tuple[Include, ...]
    excluded: tuple[Path, ...]
    on_secrets: Callable[[tuple[str, ...]], None]
    redact: Callable[[str], str]
    is_tracked: Callable[[Path], bool]
    lacks: Callable[[Selection], tuple[Problem, ...]]

    def read_manifest(self) -> tuple[Manifest | None, tuple[Problem, ...]]:
        """Return what `blankly.json` says, None if it cannot be read, and its problems."""
        self.on_secrets(find_leaked_keys(SourceTree.at(self.directory)))
        manifest, problems = load_manifest(
            self.directory, redact=self.redact, for_runner=self.settings.for_runner
        )
        if manifest is not None:
            self.on_secrets(manifest.secrets)
        return manifest, problems

    def select(self, manifest: Manifest) -> tuple[Selection, Code, tuple[Problem, ...]]:
        """Return the files to pack, what of them runs, and the problems of the model's files."""
        patterns = [*manifest.ignore_files, *self.settings.ignore]
        if self.settings.keys_json is not None:
            patterns.append(f"/{KEYS_NAME}")
        selection = select_files(
            self.directory,
            patterns,
            # `platform-data` may name a file of the model by mistake: it is packed all the same.
            excluded=[path for path in self.excluded if not path.is_file()],
            workspace=self.workspace,
            include=self.include,
            redact=self.redact,
        )
        leaks = find_leaks(selection)
        self.on_secrets((*find_leaked_keys(selection.files), *leaks.values))
        selection = replace(selection, problems=tuple(without_needless_links(selection)))
        if lacking := self.lacks(selection):
            # What else is wrong with the files can be said once they are there.
            others = (one for one in selection.problems if one.path not in selection.dead_links)
            return selection, Code(), (*others, *lacking)
        selection = with_requirements(selection, manifest, self.workspace)
        is_backtest = self.settings.mode is Mode.BACKTEST
        code = read_code(manifest.main_script, selection, is_backtest=is_backtest)
        version = self.settings.python_version or manifest.python_version
        wanted = wanted_python(version, DEFAULT_PYTHON)
        installer = _installer(self.settings)
        found = (
            *check_model_files(manifest, selection, code, wanted, installer, self.redact),
            *leak_problems(
                leaks,
                code,
                self.is_tracked,
                keys_injected=self.settings.keys_json is not None,
                redact=self.redact,
            ),
        )
        outside = Outside(
            Path(os.path.realpath(self.workspace)),
            Path(os.path.realpath(self.directory)),
            self.settings.for_runner,
        )
        found = (*found, *outside.warnings(manifest, selection, code))
        return selection, code, (*selection.problems, *found)

    def pack(
        self,
        selection: Selection,
        destination: Path,
        on_progress: Callable[[int, int], None] = ignore_progress,
    ) -> Bundle:
        """Write the bundle, with files that are made; raise as `write_bundle` does."""
        keys = self.settings.keys_json
        injected = {**dict(selection.files.made), **({} if keys is None else {KEYS_NAME: keys})}
        return write_bundle(selection, destination, injected=injected, on_progress=on_progress)


def with_requirements(selection: Selection, manifest: Manifest, workspace: Path) -> Selection:
    """Add the requirements that a model has in its `pyproject.toml` only."""
    name = posixpath.normpath(manifest.requirements)
    if not manifest.requirements or os.path.lexists(selection.files.path(name)):
        return selection
    made = requirements_of_project(selection.files, workspace, name)
    if made is None:
        return selection
    if isinstance(made, Problem):
        return replace(selection, problems=(*selection.problems, made))
    return replace(selection, files=replace(selection.files, made=((name, made),)))


def _installer(settings: Settings) -> Installer:
    """Return what is known of who installs the model's requirements."""
    is_here = settings.is_local or settings.tests_first
    return Installer(
        adds_blankly=settings.is_local, lacks_git=is_here and shutil.which("git") is None
    )
