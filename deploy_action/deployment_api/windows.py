"""Windows of a backtest, for servers that keep them: the fields that name one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy_action.records import dataclass

_WHOLE, _NAME, _NUMBER = "windowOf", "window", "windowNumber"
WINDOW_FIELDS: Final = frozenset({_WHOLE, _NAME, _NUMBER})


@dataclass(frozen=True, slots=True)
class KeptWindow:
    """A window of a backtest that the server has: the id of that one, the number and the name."""

    whole_id: str
    number: int
    name: str

    def fields(self) -> Mapping[str, str]:
        """Return the form fields."""
        return {_WHOLE: self.whole_id, _NAME: self.name, _NUMBER: str(self.number)}
