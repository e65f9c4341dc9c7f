"""What a model's process reported: untrusted, and checked."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from deploy_action.text.strict_json import strict_text

MAX_ARGUMENTS_BYTES: Final = 64 << 10
"""Linux takes 128 KiB in one variable, and base64 adds a third."""


class _Result(msgspec.Struct):
    """The members that a result must have; they stay text."""

    account_values: msgspec.Raw = msgspec.Raw()
    metrics: msgspec.Raw = msgspec.Raw()
    trades: msgspec.Raw = msgspec.Raw()


def read_result(path: Path, largest: int) -> bytes:
    """Return the result, after checking that it is strict JSON with the needed keys.

    Raises:
        OSError, ValueError: it does not exist, or is not valid.
    """
    # The model controls this path: do not follow a link, do not wait for a pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        content = file.read(largest + 1)
    if len(content) > largest:
        allowed = f"{largest >> 20} MiB, the most that this platform allows"
        raise ValueError(f"it is larger than {allowed}: backtest a shorter period")
    content = bytes(strict_text(content))
    try:
        result = msgspec.json.decode(content, type=_Result)
    except msgspec.ValidationError:  # it is no object
        result = _Result()
    for name in _Result.__struct_fields__:
        if not memoryview(getattr(result, name)).nbytes:
            raise ValueError(f"it has no {name}")
    return content


def read_facts(event: Mapping[str, object]) -> dict[str, object]:
    """Return the facts that the model's process reported, under the API's names."""
    names = {
        "callback_calls": "callbackCalls",
        "schedule": "schedule",
        "exchanges": "exchanges",
        "symbols": "symbols",
    }
    facts = {name: event[key] for key, name in names.items() if key in event}
    for name, key in (("arguments", "arguments"), ("argumentSources", "argument_sources")):
        if isinstance(event.get(key), dict):
            facts[name] = event[key]
    # Every listing of the model's backtests holds them.
    return {
        name: fact for name, fact in facts.items() if len(json.dumps(fact)) <= MAX_ARGUMENTS_BYTES
    }
