"""Keeps a large bundle unpacked while it is backtested again and again, to copy it from there.

Unpacking 200 MB of prices takes two seconds of a core, and copying them a tenth of one.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy_action.platform.processes.directory_trees import remove_tree
from deploy_action.platform.runs.unpacking import unpack
from deploy_action.platform.storage.archives import ROOT, read_entries
from deploy_action.platform.storage.damage.bundles import check_bytes
from deploy_action.records import dataclass

# In bytes. Smaller bundles are unpacked in no time, and small files are made as slowly as unpacked.
_LEAST_PACKED: Final = 8 << 20
_LEAST_FILE: Final = 64 << 10  # on average
_MOST_UNPACKED: Final = 2 << 30
_MOST_KEPT: Final = 2  # bundles, each once more than in the copies of models
_IDLE_SECONDS: Final = 60.0


@dataclass(slots=True, eq=False)
class _Kept:
    """An unpacked bundle: how many copy it now, and what removes it when nobody has for a while."""

    path: Path
    is_ready: bool = False
    users: int = 0
    removal: threading.Timer | None = None


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large bundles are that are kept, in bytes, and their files on average."""

    least_packed: int = _LEAST_PACKED
    least_file: int = _LEAST_FILE
    most_unpacked: int = _MOST_UNPACKED


_SIZES: Final = Sizes()


class UnpackedBundles:
    """Fills the private copies of models, from bundles that are kept unpacked where that is faster.

    Only the owner of this process may enter what is kept in `place`. So use this only where each
    model has a user of its own: it must not change what another one gets.
    """

    def __init__(
        self, place: Path, *, sizes: Sizes = _SIZES, idle_seconds: float = _IDLE_SECONDS
    ) -> None:
        self._place = place
        self._sizes = sizes
        self._idle_seconds = idle_seconds
        self._seen: deque[Path] = deque(maxlen=8)  # the latest bundles that were not kept
        self._kept: dict[Path, _Kept] = {}
        self._lock = threading.Lock()

    def fill(self, bundle: Path, sha256: str, destination: Path) -> Path:
        """Unpack a bundle with this digest, or copy what is in it; otherwise as `unpack`."""
        with self._borrowed(bundle) as kept:
            if kept is None or not kept.is_ready:
                check_bytes(bundle, sha256)
            if kept is None or not (kept.is_ready or self._make(bundle, kept)):
                return unpack(bundle, destination)
            _copy(kept.path / ROOT, destination / ROOT)
            return destination / ROOT

    def note(self, bundle: Path) -> None:
        """Note that a bundle was unpacked elsewhere: from the next time on, it is worth keeping."""
        with self._lock:
            if bundle not in self._seen:
                self._seen.append(bundle)

    def _make(self, bundle: Path, kept: _Kept) -> bool:
        """Unpack a bundle to keep it; return whether there was room."""
        try:
            kept.path.mkdir(mode=0o700)
            unpack(bundle, kept.path)
        except OSError:
            remove_tree(kept.path)
            return False
        except BaseException:
            remove_tree(kept.path)
            raise
        kept.is_ready = True
        return True

    @contextmanager
    def _borrowed(self, bundle: Path) -> Iterator[_Kept | None]:
        """Yield the kept bundle, or what the caller is the one to make; None if it is neither."""
        kept = self._borrow(bundle)
        try:
            yield kept
        finally:
            if kept is not None:
                self._give_back(bundle, kept)

    def _borrow(self, bundle: Path) -> _Kept | None:
        if bundle.stat().st_size < self._sizes.least_packed:
            return None
        with self._lock:
            kept = self._kept.get(bundle)
            if kept is None:
                is_new = bundle not in self._seen
                self._seen.append(bundle)
                if is_new or len(self._kept) >= _MOST_KEPT or not self._is_worth_it(bundle):
                    return None
                kept = self._kept[bundle] = _Kept(self._place / f".{bundle.stem}")
            elif not kept.is_ready:
                return None  # another thread makes it
            if kept.removal is not None:
                kept.removal.cancel()
            kept.users += 1
            return kept

    def _is_worth_it(self, bundle: Path) -> bool:
        sizes = [entry.unpacked for entry, _ in read_entries(bundle)]
        return len(sizes) * self._sizes.least_file <= sum(sizes) <= self._sizes.most_unpacked

    def _give_back(self, bundle: Path, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            if not kept.is_ready:
                del self._kept[bundle]
            elif not kept.users:
                arguments = (bundle, kept)
                kept.removal = threading.Timer(self._idle_seconds, self._remove, arguments)
                kept.removal.daemon = True
                kept.removal.start()

    def _remove(self, bundle: Path, kept: _Kept) -> None:
        with self._lock:
            if not kept.users and self._kept.get(bundle) is kept:
                remove_tree(kept.path)
                del self._kept[bundle]


def _copy(source: Path, destination: Path) -> None:
    """Copy a tree, not link it: what a model writes into its files, nobody else sees.

    Raises `OSError` at the first failure; `shutil.copytree` goes on, and names all files at last.
    """
    destination.mkdir(mode=0o700)
    for path in source.iterdir():
        target = destination / path.name
        if path.is_dir():
            _copy(path, target)
        else:
            shutil.copy(path, target)
