"""Whether the stored result of a backtest can still be sent."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from deploy_action.text.strict_json import strict_text


def is_json(result: Path) -> bool:
    """Tell whether a result is still strict JSON; in an answer with others, it would spoil them.

    It is read once, and again when it has changed. Raises `OSError` when it cannot be read.
    """
    status = result.stat()
    return _is_json(result, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _is_json(result: Path, _size: int, _changed_at: int) -> bool:
    try:
        strict_text(result.read_bytes())
    except ValueError:
        return False
    return True
