"""What changes about a model in production: what it runs on, when, and with which files."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.bundle.bundle import ROOT
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestRun
    from deploy_action.backtest.runs_on import RunsOn
    from deploy_action.text.located_json import JsonValue

_LONGEST_VALUE: Final = 240
_BEFORE_DIFFERENCE: Final = 40
_MOST_LISTED: Final = 8
_EXECUTABLE: Final = 0o111 << 16  # in the upper half of a zip's external attributes
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Changed:
    """A value that changed; None if one of the two models does not have it at all."""

    name: str
    base: str | None
    candidate: str | None

    def shortened(self) -> Changed:
        """Return it with long values cut to the part around their first difference.

        Texts have to be without secrets by then: half a secret is not recognised.
        """
        base, candidate = self.base, self.candidate
        if base is None or candidate is None:
            return Changed(self.name, base and _cut(base, 0), candidate and _cut(candidate, 0))
        longest = max(len(base), len(candidate))
        start = max(0, _parting(base, candidate) - _BEFORE_DIFFERENCE)
        start = start if longest > _LONGEST_VALUE else 0
        return Changed(self.name, _cut(base, start), _cut(candidate, start))


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Files of the bundles by name, sorted, relative to the model."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChanges:
    """The differences between two versions of a model.

    `facts` are the plan, the Python version, the schedule, symbols, resolutions and arguments.
    `requirements` are named by the package's canonical name.
    """

    facts: tuple[Changed, ...]
    requirements: tuple[Changed, ...]
    files: FileChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A version of a model as it runs, or would run, in production.

    `requirements` has the version specifier of each package by name. The arguments in `runs_on` are
    the model's own; a comparison may have run it with others. None means unknown.
    """

    runs_on: RunsOn
    requirements: Mapping[str, str]
    bundle_path: Path | None
    run: BacktestRun | None = None

    @property
    def arguments(self) -> Mapping[str, JsonValue] | None:
        """The version's own arguments, else those of its script where the run tells them."""
        own = self.runs_on.arguments
        return self.run.arguments if own is None and self.run is not None else own


def compare_models(base: LiveModel, candidate: LiveModel) -> ModelChanges:
    """Return the differences. What is unknown for one of them counts as unchanged.

    Raises:
        OSError, zipfile.BadZipFile: if a bundle cannot be read.
    """
    return ModelChanges(
        facts=tuple(_facts(base, candidate)),
        requirements=tuple(_by_name("", base.requirements, candidate.requirements)),
        files=_files(base.bundle_path, candidate.bundle_path),
    )


def _facts(base: LiveModel, candidate: LiveModel) -> Iterator[Changed]:
    before, now = base.runs_on, candidate.runs_on
    yield from _value("Plan", before.plan, now.plan)
    yield from _value("Python version", before.python_version, now.python_version)
    yield from _value("Schedule", before.schedule, now.schedule)
    if base.run is not None and candidate.run is not None:
        yield from _names("Symbols", ", ", base.run.symbols, candidate.run.symbols)
        yield from _names("Exchanges", ", ", base.run.exchanges, candidate.run.exchanges)
        yield from _names("Called for", "; ", _calls(base.run), _calls(candidate.run))
    old_arguments, arguments = base.arguments, candidate.arguments
    if old_arguments is not None and arguments is not None:
        yield from _by_name("Argument ", _as_json(old_arguments), _as_json(arguments))


def _value(name: str, base: str | None, candidate: str | None) -> Iterator[Changed]:
    """Yield the fact if it changed; blank means that a model does not have it."""
    if (base or None) != (candidate or None):
        yield Changed(name, base or None, candidate or None)


def _by_name(
    before: str, base: Mapping[str, str], candidate: Mapping[str, str]
) -> Iterator[Changed]:
    """Yield the values that differ, by name; here a blank value is a value."""
    for name in sorted(base.keys() | candidate.keys()):
        if base.get(name) != candidate.get(name):
            yield Changed(before + name, base.get(name), candidate.get(name))


def _parting(base: str, candidate: str) -> int:
    pairs = enumerate(zip(base, candidate, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(base), len(candidate)))


def _cut(text: str, start: int) -> str:
    shown = text[start : start + _LONGEST_VALUE]
    return f"{'…' if start else ''}{shown}{'…' if start + len(shown) < len(text) else ''}"


def _names(
    name: str, separator: str, base: Sequence[str], candidate: Sequence[str]
) -> Iterator[Changed]:
    """Yield a list if it changed; its order does not matter."""
    before, now = Counter(base), Counter(candidate)
    if before != now:
        staying = (before & now).total()
        yield Changed(
            name,
            _listed(base, before - now, staying, separator),
            _listed(candidate, now - before, staying, separator),
        )


def _listed(names: Sequence[str], own: Counter[str], staying: int, separator: str) -> str | None:
    """Return all names if there are few, else those that the other list does not have."""
    if len(names) <= _MOST_LISTED:
        return separator.join(_quoted(name, separator) for name in names) or None
    apart = [_quoted(name, separator) for name in own.elements()]
    left = len(apart) - _MOST_LISTED
    more = [f"{left:,} more"] if left > 0 else []
    rest = [f"{staying:,} that stay"] if staying else []
    return separator.join([*apart[:_MOST_LISTED], *more, *rest])


def _quoted(name: str, separator: str) -> str:
    """Quote a name if needed, so that two lists look the same only if they are."""
    is_plain = name and '"' not in name and separator not in name
    return name if is_plain else json.dumps(name, ensure_ascii=False)


def _calls(run: BacktestRun) -> list[str]:
    return [call.in_words() for call in run.schedule]


def _as_json(arguments: Mapping[str, JsonValue]) -> dict[str, str]:
    return {
        name: json.dumps(value, ensure_ascii=False, sort_keys=True)
        for name, value in arguments.items()
    }


def _files(base: Path | None, candidate: Path | None) -> FileChanges:
    if base is None or candidate is None:
        return FileChanges()
    with zipfile.ZipFile(base) as old, zipfile.ZipFile(candidate) as new:
        before, now = _entries(old), _entries(new)
        common = sorted(before.keys() & now.keys())
        return FileChanges(
            added=tuple(sorted(now.keys() - before.keys())),
            removed=tuple(sorted(before.keys() - now.keys())),
            changed=tuple(
                name for name in common if not _is_same(old, before[name], new, now[name])
            ),
        )


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {entry.filename.removeprefix(ROOT): entry for entry in archive.infolist()}


def _is_same(
    old: zipfile.ZipFile, before: zipfile.ZipInfo, new: zipfile.ZipFile, now: zipfile.ZipInfo
) -> bool:
    if (before.file_size, before.CRC) != (now.file_size, now.CRC):
        return False
    if (before.external_attr ^ now.external_attr) & _EXECUTABLE:
        return False
    # Another file may have the same CRC, by chance or on purpose.
    with old.open(before) as one, new.open(now) as other:
        while piece := one.read(_PIECE):
            if piece != other.read(_PIECE):
                return False
    return True
