"""What was tested: bytes together with variables, and whether just that was uploaded to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from deploy_action.records import dataclass, field
from deploy_action.text.harmless import cut

if TYPE_CHECKING:
    from deploy_action.platform.api.credentials import GivenVariables
    from deploy_action.platform.storage.records import Version
    from deploy_action.platform.storage.transaction import Transaction

Variables = Mapping[str, Any]
_MOST_NAMES: Final = 20
_LONGEST_NAMES: Final = 200  # characters of all of them

Told = Callable[[Mapping[str, str]], "GivenVariables"]


def variables_of(facts: Mapping[str, Any]) -> Variables | None:
    """Return what is told of variables in the facts of a run, or in kept figures."""
    found = facts.get("variables")
    return found if isinstance(found, Mapping) else None


def are_same(one: Variables | None, other: Variables | None) -> bool:
    """Whether two had the same variables, as far as is told of them; unknown ones are not."""
    return one is not None and one == other


@dataclass(frozen=True, slots=True)
class ComparedVariables:
    """The variables of a backtest beside those of a version, in words without values."""

    are_own: bool
    text: str

    @classmethod
    def of(cls, tested: Variables | None, own: Variables) -> ComparedVariables:
        """Compare what is told of both; `tested` is None if that is unknown."""
        if tested is None:
            return cls(are_own=False, text="with which variables is not known")
        names, own_names = _listed(tested["names"]), _listed(own["names"])
        if are_same(tested, own):
            its = f"with the variables of this version: {names}"
            return cls(are_own=True, text=its if names else "without variables, as this version")
        if not names:
            text = f"without the variables of this version: {own_names}"
        elif not own_names:
            text = f"with variables that this version does not have: {names}"
        elif tested["names"] == own["names"]:
            text = f"with other values of the variables of this version: {names}"
        else:
            text = f"with {names}, and not as this version with {own_names}"
        return cls(are_own=False, text=text)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return cut(", ".join(names[:_MOST_NAMES]), _LONGEST_NAMES) + more


@dataclass(frozen=True, slots=True)
class Uploads:
    """Versions that were uploaded to run, each with what is told of its variables."""

    _found: Mapping[str, list[tuple[Version, Variables]]] = field(repr=False)

    @classmethod
    def of(cls, snapshot: Transaction, versions: Iterable[Version], told: Told) -> Uploads:
        """Return those with the bytes of versions of one model."""
        asked = list(versions)
        found: dict[str, list[tuple[Version, Variables]]] = {}
        if asked:
            key = asked[0].project_id, asked[0].model_id
            for twin in snapshot.figures.twins(*key, {one.sha256 for one in asked}):
                entry = twin.version, told(twin.environment)
                found.setdefault(twin.version.sha256, []).append(entry)
        return cls(found)

    def same_bytes(self, version: Version) -> Version | None:
        """Return the latest with the bytes of a version, whatever its variables are."""
        found = self._found.get(version.sha256)
        return found[-1][0] if found else None

    def same(self, version: Version, variables: Variables | None) -> Version | None:
        """Return the one with the bytes of a version and these variables: itself, or the latest."""
        found = [
            one for one, its in self._found.get(version.sha256, []) if are_same(its, variables)
        ]
        return next((one for one in found if one.id == version.id), found[-1] if found else None)
