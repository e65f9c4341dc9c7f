"""What is damaged on the disk is said, with what to do, and not served as if it were whole."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest
import requests

from deploy_action.errors import InvalidInputError, Problem
from deploy_action.platform.server import PlatformServer
from deploy_action.platform.storage.damage import write_ahead
from deploy_action.platform.storage.damage.database import is_damage
from deploy_action.platform.storage.damage.write_ahead import _frames_fault, log_fault
from deploy_action.platform.storage.store import Store
from deploy_action.platform.upkeep.backup import back_up
from deploy_action.platform.upkeep.cleaning import Rules
from deploy_action.platform.upkeep.daily import DailyCleaning
from tests.platform.conftest import StartPlatform
from tests.support.live_fleet import Fleet, serving_fleet
from tests.support.platform_client import TIMEOUT, Clock, Platform, make_bundle
from tests.support.scripted_live_server import LivePlatform
from tests.support.scripted_runner import RESULT
from tests.support.torture import Rounds
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import wait_for

DATABASE = "platform.sqlite"
WAL = f"{DATABASE}-wal"
PAGE = 4096
_VERSIONS = 40
_MOST_TORN = 3  # one that is unreadable, and those whose heads are on one damaged page

Damage = Callable[[Path], None]
Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory, as a server left it that was killed after its last commit."""
    data, copy = (tmp_path_factory.mktemp("kept") / name for name in ("data", "copy"))
    with PlatformServer(data, refresh_token="x", strict=True) as server:
        platform = Platform(server, data, "x", Clock())
        platform.sign_in()
        model_ids = [platform.create_model() for _ in range(4)]
        for number in range(_VERSIONS):
            model_id = model_ids[number % 4]
            variables = f'{{"ALPACA_KEY": "{number}", "NOTE": "{"n" * 200 * number}"}}'
            platform.deploy(model_id, versionDescription=f"The {number}th", environment=variables)
        with closing(sqlite3.connect(data / DATABASE)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(3):
            platform.deploy(model_ids[0], make_bundle(big=b"b" * 50_000))
        shutil.copytree(data, copy)  # with its write-ahead log
    assert (copy / WAL).stat().st_size > 3 * PAGE
    return copy


@pytest.fixture
def data(kept: Path, tmp_path: Path) -> Path:
    """Return a copy, which the test may damage."""
    shutil.copytree(kept, tmp_path / "data")
    return tmp_path / "data"


def refusal(data: Path) -> Problem:
    with pytest.raises(InvalidInputError) as raised:
        Store(data, lambda: 4e9).close()  # by this clock, all files are old
    (found,) = raised.value.problems
    return found


def problem(data: Path) -> str:
    """Return why a store cannot be opened; nothing may be removed then."""
    before = contents(data)
    first, found = refusal(data), refusal(data)
    assert first == found  # whoever starts it again is told the same
    assert "`blankly-deploy restore`" in found.hint
    assert before == contents(data)
    return found.message


def contents(data: Path) -> dict[Path, bytes]:
    """Return what must not change: a repair may need it."""
    names = (DATABASE, WAL, "bundles/*")
    found = {path: path.read_bytes() for name in names for path in data.glob(name)}
    return {path: content for path, content in found.items() if content}


def write(path: Path, content: bytes, offset: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    write(path, b"")
    with path.open("wb"):
        pass


def remove_both(path: Path) -> None:
    path.unlink()
    path.with_name(WAL).unlink()


def lose_log(path: Path) -> None:
    """Remove the log of a database of which only the first page was ever written."""
    path.with_name(WAL).unlink()
    path.write_bytes(b"")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove, "platform.sqlite is missing, and its latest changes are there"),
        (remove_both, "is missing, and there are"),
        (empty, "platform.sqlite is empty, and its latest changes are there"),
        (lose_log, "platform.sqlite has no tables, and there are files in bundles"),
        (lambda path: path.write_bytes(b"mysql" * 4_000), "file is not a database"),
        (lambda path: write(path, bytes(PAGE)), "file is not a database"),
        (lambda path: write(path.with_name(WAL), bytes(PAGE)), "which has the latest changes, has"),
        (lambda path: write(path.with_name(WAL), b"\7", 17), "does not fit its checksum"),
        (lambda path: write(path.with_name(WAL), b"\7", 100), "cannot be read to its end"),
    ],
    ids=[
        "missing",
        "both",
        "empty",
        "no-log",
        "other-file",
        "no-header",
        "zeroed-log",
        "log-header",
        "log-frame",
    ],
)
def test_a_lost_or_damaged_database_is_refused(data: Path, damage: Damage, words: str) -> None:
    damage(data / DATABASE)
    message = problem(data)
    assert message.startswith(f"The database in {data} is damaged: ")
    assert words in message
    assert "\n" not in message


def test_a_truncated_database_is_refused(data: Path) -> None:
    path = data / DATABASE
    whole = path.read_bytes()
    for pages in range(1, len(whole) // PAGE, 5):
        path.write_bytes(whole[: pages * PAGE - 100])
        assert "is damaged" in problem(data)


def test_a_schema_that_is_no_text_is_refused(data: Path, tmp_path: Path) -> None:
    """SQLite quotes it in its error, which Python cannot decode."""
    with closing(sqlite3.connect(data / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = data / DATABASE
    start = path.read_bytes().index(b"STRICT")
    write(path, b"\xc9", start + 3)
    assert "is damaged: malformed database schema" in problem(data)
    with pytest.raises(InvalidInputError, match="is damaged: malformed database schema"):
        back_up(data, tmp_path / "backup.tar")


def test_rows_that_do_not_fit_together_are_refused(data: Path) -> None:
    with closing(sqlite3.connect(data / DATABASE)) as connection, connection:
        connection.execute("DELETE FROM models WHERE number = 1")
    assert "a row of versions belongs to one of models that is missing" in problem(data)


def test_what_a_killed_server_left_is_whole(data: Path) -> None:
    """Its last commits are in the log; behind them may be what was never committed."""
    with (data / WAL).open("ab") as file:
        file.write(bytes(PAGE + 24))
    with closing(Store(data, Clock())) as store, store.snapshot() as snapshot:
        assert len(snapshot.version_ids()) == _VERSIONS + 3


def test_a_log_that_is_being_written_is_no_damage(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may be half through a frame, and has written others a moment later."""
    log = data / WAL
    whole = log.read_bytes()
    write(log, b"\7", 100)
    assert log_fault(log) == "cannot be read to its end"

    def look(file: BinaryIO, head: bytes) -> str | None:
        found = _frames_fault(file, head)
        log.write_bytes(whole)
        return found

    monkeypatch.setattr(write_ahead, "_frames_fault", look)
    assert log_fault(log) is None


def test_caches_without_a_database_are_no_damage(tmp_path: Path) -> None:
    """A workflow keeps them from one run to the next."""
    for name in ("environments", "prices", "reports", "bundles", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "prices" / "kept").touch()
    with closing(Store(tmp_path, Clock())) as store, store.snapshot() as snapshot:
        assert snapshot.version_ids() == []


def zero_tables(data: Path) -> None:
    """Overwrite all of a database but its first page, while a server uses it."""
    with closing(sqlite3.connect(data / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (data / DATABASE).stat().st_size
    write(data / DATABASE, b"\xff" * (size - PAGE), PAGE)


def test_damage_is_told_while_the_server_runs(start_platform: StartPlatform) -> None:
    platform = start_platform()
    model_id = platform.create_model()
    platform.deploy(model_id)
    zero_tables(platform.data)
    answers = [platform.post("/model/list", projectId=platform.user_id), platform.deploy(model_id)]
    for answer in answers:
        assert answer.status_code == 500
        assert answer.json()["error"].startswith("The database of the server is damaged: ")
        assert "`blankly-deploy restore`" in answer.json()["error"]
    health = requests.get(f"{platform.server.url}/healthz", timeout=TIMEOUT)
    assert (health.status_code, "damaged" in health.text or "malformed" in health.text) == (
        503,
        True,
    )
    platform.server.close()  # sends what waits
    notices = [each for each in platform.errors if each.startswith("notice: ")]
    assert [each.partition(":")[0] for each in notices] == ["notice"]
    assert "The server's database is damaged: " in notices[0]
    assert not any("Traceback" in each for each in platform.errors)


def test_pages_say_that_the_database_is_damaged(live: LivePlatform) -> None:
    reader = Visitor(live.parts.url)
    reader.sign_in(live.refresh_token)
    assert reader.get("/").status_code == 200
    zero_tables(live.data)
    page = reader.get("/")
    assert page.status_code == 500
    assert "The database of the server is damaged" in text_of(page.text)
    del live.errors[:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9],
        lambda _: b"",
        lambda data: data.replace(b'"metrics"', b'"metric\xff"'),
        lambda data: b"[" * 100_000 + data,
    ],
)
def test_a_damaged_result_spoils_no_answer(
    platform: Platform, damage: Callable[[bytes], bytes]
) -> None:
    """Status, deploys and stops read the same answer."""
    model_id = platform.create_model()
    first, second = (platform.backtest(model_id).json()["backtestId"] for _ in range(2))
    path = platform.data / "results" / f"{first}.json"
    assert [each["result"] is None for each in platform.backtests(model_id)] == [False, False]
    whole = path.read_bytes()
    assert damage(whole) != whole
    path.write_bytes(damage(whole))
    found = {each["backtestId"]: each["result"] for each in platform.backtests(model_id)}
    assert found == {first: None, second: RESULT}
    path.write_bytes(bytes(50))
    assert platform.backtests(model_id, backtestId=first)[0]["result"] is None


def test_damage_that_nobody_meets_is_found_once_a_day(data: Path) -> None:
    """And nothing is removed, because the rows that name it may be missing."""
    told: list[str] = []
    bundles = sorted((data / "bundles").iterdir())
    with closing(Store(data, lambda: 4e9)) as store:  # by this clock, all files are old
        store.database.on_damage = told.append
        with closing(sqlite3.connect(data / DATABASE)) as connection, connection:
            connection.execute("DELETE FROM versions")
        cleaning = DailyCleaning(store, Rules(), told.append)
        cleaning.start()
        wait_for(lambda: told)
        cleaning.close()
        assert "a row of environments belongs to one of versions" in str(store.fault())
    assert len(told) == 1
    assert sorted((data / "bundles").iterdir()) == bundles


def rows_of(connection: sqlite3.Connection) -> Rows:
    """Return all rows of all tables."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in found}  # noqa: S608


def flip_bits(content: bytearray, chance: random.Random) -> None:
    """Change some bits of a page, as a disk does."""
    start = chance.randrange(len(content) // PAGE) * PAGE
    for _ in range(chance.choice((1, 1, 1, 8, 200))):
        content[start + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)


def zero_page(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content) // PAGE) * PAGE
    content[start : start + PAGE] = bytes(PAGE)


def cut_off(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


@pytest.mark.torture(quick=40)
def test_no_damage_goes_unsaid(kept: Path, tmp_path: Path, rounds: Rounds) -> None:
    """Damage of a page is said at the start, or where it is read, or changes nothing that is kept.

    Nothing can tell that a value of the right kind was not written, or that a log went on behind
    its end: those are counted. Of a log that is damaged elsewhere, the last commits may be lost: a
    power cut leaves a half-written one, too.
    """
    with closing(sqlite3.connect(f"file:{kept / DATABASE}?mode=ro", uri=True)) as connection:
        before = rows_of(connection)
    (tmp_path / "data").mkdir()
    for chance in rounds:
        for name in (DATABASE, WAL):
            shutil.copy(kept / name, tmp_path / "data" / name)
        name = chance.choice((DATABASE, DATABASE, WAL))
        harm = chance.choice((flip_bits, flip_bits, zero_page, cut_off))
        path = tmp_path / "data" / name
        content = bytearray(path.read_bytes())
        whole = bytes(content)
        harm(content, chance)
        path.write_bytes(content)
        if whole == content:
            continue
        what, lost = outcome(tmp_path / "data", before)
        rounds.count(what)
        assert lost == 0 or name == WAL, harm
        assert lost <= _MOST_TORN or harm is cut_off, harm
        for left in (tmp_path / "data").glob("*.sqlite-*"):
            left.unlink()
    assert rounds.figures["said at the start"] > 0


def outcome(data: Path, before: Rows) -> tuple[str, int]:
    """Open a damaged database and read all of it; return what was noticed, and the rows lost."""
    try:
        store = Store(data, Clock())
    except InvalidInputError:
        return "said at the start", 0
    with closing(store), closing(sqlite3.connect(data / DATABASE)) as connection:
        try:
            after = rows_of(connection)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return "said where it was read", 0
            raise
    if after == before:
        return "without effect", 0
    lost = sum(len(before[name]) - len(after[name]) for name in before)
    return "cut off" if lost else "values changed", lost


def test_a_damaged_bundle_is_neither_rolled_back_to_nor_backtested(tmp_path: Path) -> None:
    """One bit in what its checksums do not cover: the time of a file, which is in no model."""
    with serving_fleet(tmp_path / "data") as fleet:
        first, second = (fleet.deploy("m")["versionId"] for _ in range(2))
        fleet.wait_for("m", state="running", versionId=second)
        bundle = fleet.data / "bundles" / f"{first}.zip"
        content = bytearray(bundle.read_bytes())
        content[content.rindex(b"PK\1\2") + 12] ^= 1
        bundle.write_bytes(content)
        fleet.run("m", first)
        wait_for(lambda: problem_of(fleet, first))
        assert "is damaged: it is not what was uploaded" in str(problem_of(fleet, first))
        assert fleet.live("m")["versionId"] == second
        assert fleet.live("m")["state"] == "running"
        tested = fleet.post(
            "/model/backtest",
            modelId="m",
            versionId=first,
            pythonVersion="3.11",
            type="strategy",
            plan="nano",
            backtestArgs="{}",
            backtestDescription="again",
        ).json()
        assert "is damaged: it is not what was uploaded" in tested["error"]


def problem_of(fleet: Fleet, version_id: str) -> object:
    versions = {each["versionId"]: each for each in fleet.details("m")["versions"]}
    return versions[version_id]["problem"]
