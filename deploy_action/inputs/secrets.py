"""Which values of the inputs are secret: what is masked in everything that is printed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.inputs.model_env import secret_values
from deploy_action.text.harmless import is_placeholder
from deploy_action.text.quantities import count
from deploy_action.text.redaction import SHORTEST

_SHORTEST_KEY: Final = 6


def secrets_of(inputs: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values to mask. Call it before anything is checked, and so before any message.

    These are tokens of four characters or more, and the strings and numbers of six or more inside
    `keys-json`, each by itself: the runner masks every line of a value, and a line of
    pretty-printed JSON may be a lone brace. Shorter ones are words such as `true` and `live`: to
    mask them would blank words in the log, and whole outputs in other jobs. So are the values in
    `model-env`, of which those of eight or more are masked. The runner masks its own GitHub token,
    but not one that somebody typed in.
    """
    tokens = (inputs[name].strip() for name in ("token", "github-token") if name in inputs)
    forms = (form for token in tokens for form in (token, token.strip("\"'`")))
    found = [form for form in forms if len(form) >= SHORTEST]
    found += [text for text in _key_strings(inputs) if len(text) >= _SHORTEST_KEY]
    found += secret_values(inputs.get("model-env", ""))
    return tuple(dict.fromkeys(found))


def too_short_to_mask(inputs: Mapping[str, str]) -> Problem | None:
    """Return a notice of strings in `keys-json` that are not masked, None if there are none."""
    short = [text for text in _key_strings(inputs) if len(text) < _SHORTEST_KEY]
    if not short:
        return None
    return Problem(
        message=f"Input `keys-json` has {count(len(short), 'value')} of fewer than {_SHORTEST_KEY} "
        "characters, not masked: that would blank words in logs, and outputs in other jobs.",
        hint="If one of them is secret, such as a passphrase, replace it by a longer one.",
        severity=Severity.NOTICE,
    )


def _key_strings(inputs: Mapping[str, str]) -> list[str]:
    """Return the strings and numbers in `keys-json`, save for placeholders."""
    import json

    text = inputs.get("keys-json", "")
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
        elif isinstance(node, (int, float)) and not isinstance(node, bool):
            strings.append(str(node))  # an account number, or a password without quotes
        elif isinstance(node, list):
            pending += node
    return [text for text in strings if not is_placeholder(text)]
