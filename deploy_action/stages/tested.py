"""What a run tells the server of the backtest that it ran before the deploy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from deploy_action.outcome.backtests import Backtests

LARGEST: Final = 16_000
"""In bytes; the server refuses more."""
# What is left out first where there is too much: the metrics are last.
_LEAST_NEEDED: Final = ("reasons", "gates", "environment", "symbols", "rules", "arguments")


def figures_to_tell(found: Backtests, redact: Callable[[str], str]) -> str:
    """Return the figures of a backtest and the gates that passed, as JSON without secrets.

    Blank if it has no result.
    """
    from deploy_action.backtest.figures.document import figures_document

    if found.result is None:
        return ""
    document = {
        **figures_document(found.result, found.run, {}),
        "gates": [verdict.gate.text for verdict in found.verdicts],
    }
    document = _redacted(document, redact)
    for name in _LEAST_NEEDED:
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        if len(text) <= LARGEST:
            return text
        del document[name]
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """Return a JSON value with its texts redacted, the names of members included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(name): _redacted(item, redact) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, redact) for item in value]
    return value
