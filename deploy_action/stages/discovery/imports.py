"""Which models import what changed outside of them, though nothing puts it into their bundles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_search import Folder, read_folder
from deploy_action.records import dataclass
from deploy_action.stages.discovery.reasons import Reasons


@dataclass(frozen=True)
class Imports:
    """Looks into the scripts of models, if any file changed that one of them could import.

    `directories` are those of all models, without links.
    """

    reasons: Reasons
    directories: Sequence[Path]

    @cached_property
    def _read(self) -> Callable[[Path], Folder]:
        return cache(read_folder)

    @cached_property
    def names(self) -> frozenset[str]:
        """With which names an import may begin that leads to a changed file outside of a model.

        Files of a model are not meant, unless it holds others, which may import them.
        """
        outer = {parent for one in self.directories for parent in one.parents}
        own = {self.reasons.name_of(one) for one in self.directories if one not in outer}
        found: set[str] = set()
        for name in self.reasons.names:
            path = PurePosixPath(name)
            is_own = any(str(one) in own for one in path.parents)
            if is_own or any(one.startswith(".") for one in path.parts):
                continue
            found.update(path.parts[:-1])
            if path.suffix == ".py":
                found.add(path.stem)
        return frozenset(filter(str.isidentifier, found))

    def lacking(self, directory: Path, manifest: Manifest | None) -> Iterator[tuple[str, str]]:
        """Yield what `include` has to name for a model's imports, with each changed file in it."""
        if not self.names or manifest is None:
            return
        from deploy_action.bundle.selection import select_files
        from deploy_action.model.inspection import with_requirements
        from deploy_action.model.live.code import read_code
        from deploy_action.model.live.outside import Outside

        settings, workspace = self.reasons.settings, self.reasons.workspace
        patterns = [*manifest.ignore_files, *settings.ignore]
        selection = select_files(directory, patterns, workspace=workspace, include=settings.include)
        selection = with_requirements(selection, manifest, workspace)
        code = read_code(manifest.main_script, selection)
        outside = Outside(workspace, directory, settings.for_runner, self.names, self._read)
        for entry, _ in outside.missing(manifest, selection, code):
            for name in self.reasons.touched(workspace / entry.partition(" => ")[0]):
                yield entry, name
