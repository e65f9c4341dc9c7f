"""What changed about the settings of two versions; the values of variables are never told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy_action.backtest.model_changes import Changed
from deploy_action.platform.storage.records import Version
from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class Variables:
    """The names of variables that only one of two versions has, or whose values differ."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]


def changed_settings(before: Version, after: Version) -> tuple[Changed, ...]:
    """Return the settings that differ."""
    return tuple(_changed(before, after))


def _changed(before: Version, after: Version) -> Iterator[Changed]:
    for name, old, new in (
        ("Plan", before.plan, after.plan),
        ("Python", before.python_version, after.python_version),
        ("Schedule", before.schedule, after.schedule),
    ):
        if (old or None) != (new or None):
            yield Changed(name, old or None, new or None)


def changed_variables(before: Mapping[str, str], after: Mapping[str, str]) -> Variables:
    """Return the names of variables, by what became of them."""
    both = sorted(before.keys() & after.keys())
    return Variables(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(name for name in both if before[name] != after[name]),
        same=tuple(name for name in both if before[name] == after[name]),
    )
