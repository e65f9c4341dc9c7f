"""A model's directory, read, checked and packed: the same for a candidate and for its base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy_action.bundle.bundle import Bundle, write_bundle
from deploy_action.bundle.selection import Selection, select_files
from deploy_action.errors import Problem
from deploy_action.inputs.settings import Settings
from deploy_action.model.files import check_model_files, find_leaked_keys
from deploy_action.model.manifest import Manifest, load_manifest

_KEYS_NAME: Final = "keys.json"


def _no_progress(_done: int, _total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """How a directory is read: with the run's inputs, and with what must not be shown.

    `excluded` is what never belongs in the bundle; `on_secrets` gets the secrets that are found,
    before anything is said of the files that hold them, and `redact` takes them out of texts.
    `is_tracked` says whether git has a file.
    """

    settings: Settings
    directory: Path
    excluded: tuple[Path, ...]
    on_secrets: Callable[[tuple[str, ...]], None]
    redact: Callable[[str], str]
    is_tracked: Callable[[Path], bool]

    def read_manifest(self) -> tuple[Manifest | None, tuple[Problem, ...]]:
        """Return `blankly.json`, as far as it can be read, and what is wrong with it."""
        self.on_secrets(find_leaked_keys(self.directory))
        manifest, problems = load_manifest(self.directory, redact=self.redact)
        if manifest is not None:
            self.on_secrets(manifest.secrets)
        return manifest, problems

    def select(self, manifest: Manifest) -> tuple[Selection, tuple[Problem, ...]]:
        """Return the files to pack, and what is wrong with the model's files."""
        selection = select_files(
            self.directory,
            self._patterns(manifest),
            # A file of the model that was named as `platform-data` by mistake is not ours.
            excluded=[path for path in self.excluded if not path.is_file()],
        )
        found = check_model_files(
            self.directory,
            manifest,
            selection,
            keys_injected=self.settings.keys_json is not None,
            is_tracked=self.is_tracked,
            redact=self.redact,
        )
        return selection, (*selection.problems, *found)

    def pack(
        self,
        selection: Selection,
        destination: Path,
        on_progress: Callable[[int, int], None] = _no_progress,
    ) -> Bundle:
        """Write the bundle, with the `keys.json` that the inputs give.

        Raises:
            InvalidInputError: a file cannot be packed as it was selected.
            RefusedError: the bundle cannot be written.
        """
        keys = self.settings.keys_json
        injected = {} if keys is None else {_KEYS_NAME: keys}
        return write_bundle(selection, destination, injected=injected, on_progress=on_progress)

    def _patterns(self, manifest: Manifest) -> tuple[str, ...]:
        """Return what to leave out: also a `keys.json` that the secret replaces, even a link."""
        given = (*manifest.ignore_files, *self.settings.ignore)
        return given if self.settings.keys_json is None else (*given, f"/{_KEYS_NAME}")
