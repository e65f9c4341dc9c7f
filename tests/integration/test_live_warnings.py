"""What is said of a model that could not trade live, by what the run does with it."""

from __future__ import annotations

import pytest

from tests.conftest import Runner
from tests.support.scripted_server import StartScripted

KEYLESS = "import blankly\nblankly.Strategy(blankly.KeylessExchange()).add_bar_event().start()\n"
WITHOUT_KEYS = "import blankly\nblankly.Strategy(blankly.Alpaca()).add_bar_event().start()\n"


@pytest.mark.parametrize(
    ("inputs", "script", "level"),
    [
        ({"mode": "deploy"}, KEYLESS, "warning"),
        ({"mode": "deploy", "dry_run": "true"}, KEYLESS, "warning"),
        ({"mode": "validate"}, KEYLESS, "warning"),
        ({"mode": "backtest"}, KEYLESS, ""),
        ({"mode": "deploy", "api_url": "local", "dry_run": "true"}, KEYLESS, ""),
        ({"mode": "deploy"}, WITHOUT_KEYS, "warning"),
        ({"mode": "deploy", "keys_json": "{}"}, WITHOUT_KEYS, ""),
        ({"mode": "validate"}, WITHOUT_KEYS, "notice"),
        ({"mode": "validate", "model_env": "ALPACA_KEY=x"}, WITHOUT_KEYS, ""),
        ({"mode": "backtest"}, WITHOUT_KEYS, ""),
    ],
)
def test_it_is_warned_of_where_it_would_be_too_late_afterwards(
    runner: Runner, scripted: StartScripted, inputs: dict[str, str], script: str, level: str
) -> None:
    """In a backtest both are right; on the embedded platform nothing runs after the job."""
    (runner.workspace / "bot.py").write_text(script)
    target = {"api_url": scripted().url, "token": "t0ken", "project_id": "p", "model_id": "m"}
    ended = runner.run(**{**target, "version_description": "d", **inputs})
    assert ended.code == 0, ended.log
    found = [one for one in ended.annotations if "file=bot.py" in one]
    assert [one.partition(" ")[0] for one in found] == ([f"::{level}"] if level else [])
