"""Removes by rule what nobody needs any more of a data directory, and says how large the rest is.

What a running model, its next version or a rollback needs is never removed, and neither are the
rows of the database: the history of versions and backtests stays.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.platform.environments.cache import (
    remove_unused_environment,
    unused_environments,
)
from deploy_action.platform.processes.directory_trees import remove_tree, size_of
from deploy_action.platform.storage import data_directory
from deploy_action.platform.storage.kept_prices import KeptPrices
from deploy_action.platform.storage.store import Store
from deploy_action.records import dataclass

_SECONDS_A_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept: `versions` versions of each model, and other things for `days` days.

    Those are the newest versions, and as many that ran before the current one.
    """

    versions: int = 20
    days: int = 90


@dataclass(frozen=True, slots=True)
class Share:
    """One kind of things in a data directory, and the bytes that they took before.

    `unneeded` is how many of them were removed, or would be, and `unneeded_bytes` what they took.
    """

    kind: str
    bytes: int
    unneeded: int = 0
    unneeded_bytes: int = 0


def clean(store: Store, rules: Rules, now: float, *, removes: bool) -> list[Share]:
    """Remove what the rules do not keep, or only say what that is; return all kinds of things.

    Others may use the store meanwhile. Raises `OSError` when something cannot be read or removed.
    """
    before = now - rules.days * _SECONDS_A_DAY
    remove, logs = _Remover(removes), store.data / data_directory.LOGS
    # Nothing is stored or started before the transaction ends, so what is unneeded stays so.
    with store.transaction() as transaction:
        versions = transaction.upkeep.unneeded_versions(newest=rules.versions, before=before)
        backtests = transaction.upkeep.old_backtests(before)
        # A backtest of which nothing is stored holds its bundle, and may come at any time.
        versions = [each for each in versions if _if_free(store.bundle_path(each))]
        shares = [
            _Remover(removes, lambda path: _if_free(path, _remove)).share(
                "bundles", store.data, map(store.bundle_path, versions)
            ),
            remove.share("logs", store.data, (logs / version for version in versions)),
            remove.share("results", store.data, map(store.result_path, backtests)),
        ]
    reports = store.data / data_directory.REPORTS
    models = store.models_place.path
    prices = models / data_directory.PRICES
    environments = models / data_directory.ENVIRONMENTS
    return [
        *shares,
        remove.share("reports", store.data, _older(reports, before)),
        remove.share("prices", models, KeptPrices(prices).unneeded(before)),
        _Remover(removes, lambda path: remove_unused_environment(path, before)).share(
            "environments", models, unused_environments(environments, before)
        ),
    ]


def _older(directory: Path, before: float) -> Iterator[Path]:
    """Yield the files in a directory, which may not exist, that were last changed before a time."""
    with suppress(OSError):
        for path in sorted(directory.iterdir()):
            if path.lstat().st_mtime < before:
                yield path


def _remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
    return True


def _if_free(path: Path, do: Callable[[Path], bool] = lambda _: True) -> bool:
    """Do something to a bundle that nobody holds (see `Store.hold_bundle`), and return the result.

    Returns False if it is held; one that is gone is free.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return do(path)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False


@dataclass(frozen=True, slots=True)
class _Remover:
    """Removes things, if it `removes` anything; `remove` tells whether it did."""

    removes: bool
    remove: Callable[[Path], bool] = _remove

    def share(self, kind: str, place: Path, unneeded: Iterable[Path]) -> Share:
        """Remove the unneeded things of a kind, which is a folder of `place`."""
        total = size_of(place / kind)
        found = [(path, size_of(path)) for path in unneeded if path.exists()]
        if self.removes:
            found = [(path, size) for path, size in found if self.remove(path)]
        return Share(kind, total, len(found), sum(size for _, size in found))
