"""Which values of the inputs are secret: what is masked in everything that is printed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from deploy_action.text.harmless import is_placeholder

_SHORTEST_SECRET_NUMBER: Final = 6


def secrets_of(inputs: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values to mask. Call it before anything is checked, and so before any message.

    Each string inside `keys-json` is masked by itself: the runner masks every line of a value, and
    a line of pretty-printed JSON may be a lone brace. The runner masks its own GitHub token, but
    not one that somebody typed in.
    """
    found = [inputs[name].strip() for name in ("token", "github-token") if name in inputs]
    if "keys-json" in inputs:
        found += _key_strings(inputs["keys-json"])
    return tuple(dict.fromkeys(secret for secret in found if secret.strip()))


def _key_strings(text: str) -> list[str]:
    import json

    try:
        # As lists of values: when a key is given twice, both values are secret.
        document = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=lambda pairs: [value for _, value in pairs],
        )
    except (ValueError, RecursionError):
        # Not JSON, but meant to be secret: mask its lines, except those of punctuation only.
        return [line.strip() for line in text.splitlines() if re.search(r"\w", line)]
    return _strings_in(document)


def _strings_in(document: object) -> list[str]:
    pending, strings = [document], []
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            strings.append(node)
        elif isinstance(node, (int, float)) and len(str(node)) >= _SHORTEST_SECRET_NUMBER:
            strings.append(str(node))  # an account number, or a password without quotes
        elif isinstance(node, list):
            pending += node
    return [text for text in strings if not is_placeholder(text)]
