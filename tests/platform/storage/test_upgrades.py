"""Data directories that earlier releases wrote: they open, and nothing in them is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from deploy_action.platform.storage.store import Store
from tests.platform.conftest import StartPlatform
from tests.support.platform_client import Clock

# As dumped from what the last release with each schema wrote.
SCHEMAS = sorted((Path(__file__).parent / "schemas").glob("*.sql"))
# Nothing is kept there any more.
_DROPPED = {"id_tokens"}


def write(data: Path, schema: Path) -> Path:
    data.mkdir()
    with closing(sqlite3.connect(data / "platform.sqlite")) as connection:
        connection.executescript(schema.read_text(encoding="utf-8"))
    return data


def names(data: Path) -> list[str]:
    """Return the names of all tables."""
    with closing(sqlite3.connect(data / "platform.sqlite")) as connection:
        found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return [row[0] for row in found]


def rows(data: Path) -> dict[str, list[dict[str, object]]]:
    """Return all rows of all tables, with the names of their columns."""
    with closing(sqlite3.connect(data / "platform.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608  # a name from the schema
            for table in names(data)
            if table not in _DROPPED
        }


def holds(after: Mapping[str, object], before: Mapping[str, object]) -> bool:
    return before.items() <= after.items()


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_every_row_of_an_earlier_release_is_kept(schema: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data", schema)
    before = rows(data)
    Store(data, Clock()).close()
    after = rows(data)
    assert not _DROPPED & set(names(data))
    for table, old in before.items():
        assert len(after[table]) == len(old) > 0, table
        assert all(map(holds, after[table], old)), table


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: path.stem)
def test_nothing_starts_that_did_not_run_before(
    schema: Path, tmp_path: Path, start_platform: StartPlatform
) -> None:
    """Earlier releases ran nothing, so a deployed version waits for somebody to start it."""
    data = write(tmp_path / "data", schema)
    platform = start_platform(data=data)
    for model in platform.post("/model/list", projectId=platform.user_id).json():
        first, second = platform.versions(model["id"])
        assert (first["description"], second["status"]) == (
            f"The first of the {model['type']}",
            "deployed",
        )
    with closing(Store(data, Clock())) as store, store.snapshot() as snapshot:
        lives = snapshot.live.lives()
        assert [(life.wanted, life.version_id) for life in lives] == [("stopped", None)] * 2
        assert snapshot.upkeep.models_to_run() == []


def test_each_schema_that_can_be_upgraded_is_tested() -> None:
    from deploy_action.platform.storage.database import _CHANGES

    assert {path.stem for path in SCHEMAS} == {str(version) for version in _CHANGES if version}
