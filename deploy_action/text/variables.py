"""The variables of a model's process, as `model-env` gives them: names, limits, what is secret.

Messages name variables and never show a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.text.harmless import is_placeholder
from deploy_action.text.quantities import count
from deploy_action.text.redaction import SHORTEST_KEY, lines_of

MOST_BYTES: Final = 64 << 10
"""All names and values together: a secret of the workflow has 48 KiB at most."""
NAME_RULE: Final = "a name has letters, digits and underscores, and starts with no digit"
RESERVED: Final = "names such as BACKTESTING…, BLANKLY_…, PYTHONPATH, INPUT_… and GITHUB_…"
_NAME: Final = lazy_regex(r"[A-Za-z_][A-Za-z0-9_]*")
# The platform tells the model by the first two what it is to do, and by the third where its code
# is; the others are what the runner gives the action.
_RESERVED: Final = lazy_regex(r"BACKTESTING.*|BLANKLY_.*|PYTHONPATH|INPUT_.*|GITHUB_.*")


def is_name(text: str) -> bool:
    """Whether a text can be the name of a variable."""
    return _NAME.fullmatch(text) is not None


def is_reserved(name: str) -> bool:
    """Whether a variable may not be given: platform or runner have a use for it."""
    return _RESERVED.fullmatch(name) is not None


def is_text(value: str) -> bool:
    """Whether a process can get a value: it is valid Unicode, without a NUL character."""
    return "\0" not in value and not re.search("[\ud800-\udfff]", value)


def size_of(variables: Mapping[str, str]) -> int:
    """Return the size of all names and values together, in bytes."""
    return sum(len(f"{name}{value}".encode()) for name, value in variables.items())


def is_secret(value: str) -> bool:
    """Whether a value is hidden wherever it is shown: eight characters or more, no placeholder."""
    return len(value.strip()) >= SHORTEST_KEY and not is_placeholder(value)


def hidden_in(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is hidden of variables: the values that are secret, and the lines of those."""
    values = filter(is_secret, variables.values())
    return tuple(dict.fromkeys(one for value in values for one in (value, *lines_of(value))))


def replaced(before: Iterable[str], after: Iterable[str]) -> str:
    """Say by their names which variables replace which, without a full stop."""
    old, new = set(before), set(after)
    parts = (("new", sorted(new - old)), ("gone", sorted(old - new)))
    words = [f"{word}: {named(names)}" for word, names in parts if names]
    verb = "was" if len(old) == 1 else "were"
    return (
        f"{count(len(old), 'variable')} {verb} replaced by {len(new)} "
        f"({'; '.join(words) or 'of the same names'})"
    )


def named(names: Iterable[str]) -> str:
    """Return names for a sentence: `A`, `B` and `C`."""
    shown = [f"`{name}`" for name in names]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))
