from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deploy_action.platform.api.operations.documents import encode
from deploy_action.platform.api.operations.live_documents import reported_document
from deploy_action.platform.live.reports import (
    Reported,
    ReportError,
    Reports,
    TooManyReportsError,
    read_reports,
)
from deploy_action.platform.live.reports.reading import BOUNDS, KINDS
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.tables.reports import ReportTables
from deploy_action.text.strict_json import strict_loads
from tests.support.platform_client import Clock
from tests.support.waiting import wait_for

P, M = "p", "m"
ORDER: Mapping[str, object] = {
    "symbol": "BTC-USD", "id": "1", "side": "buy", "exchange": "alpaca", "size": 2,
}  # fmt: skip


class Kept:
    """Reports of one model in a store; the clock of its allowance stands still."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.errors: list[str] = []
        self.now = 0.0  # of the clock by which floods are measured
        self.time = 1.0  # of the reports
        self.store = Store(data, Clock())
        with self.store.transaction() as transaction:
            transaction.add_project(P, name="", description="")
            for model_id in (M, "other"):
                transaction.add_model(P, model_id, model_type="strategy", name="", description="")
        self.reports = Reports(self.store, self.errors.append, lambda: self.now)

    def keep(self, kind: str, fields: Mapping[str, object] = {}, **more: object) -> None:
        self.reports.keep(P, M, kind, {**fields, **more}, self.time)

    def read(self, backtest_id: str = "") -> Reported:
        with self.store.snapshot() as snapshot:
            return read_reports(snapshot, P, M, backtest_id)

    def rows(self) -> int:
        with closing(sqlite3.connect(self.data / "platform.sqlite")) as connection:
            return int(connection.execute("SELECT count(*) FROM reports").fetchone()[0])


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    found = Kept(tmp_path / "data")
    yield found
    found.reports.close()
    found.store.close()
    assert found.errors == []


def test_an_order_is_kept_and_updated(kept: Kept) -> None:
    """Numbers may be text, as in forms; an order keeps the time at which it was sent."""
    kept.keep("live/spot-limit", ORDER, size="0.5", price="7")
    kept.time = 5.0
    kept.keep("live/update-trade", id="1", status="done")
    kept.keep("live/update-annotation", id="1", annotation="dip")
    (order,) = kept.read().orders
    assert (order.name, order.time) == ("1", 1.0)
    assert order.document == {
        "symbol": "BTC-USD", "side": "buy", "exchange": "alpaca", "size": 0.5, "price": 7.0,
        "type": "limit", "status": "done", "updated": True, "annotation": "dip",
    }  # fmt: skip


def test_a_limit_order_with_an_activation_price_is_a_stop_order(kept: Kept) -> None:
    """The client `slate` sends them so."""
    kept.keep("live/spot-limit", ORDER, price=7, activate=6)
    kept.keep("live/spot-stop", ORDER, id="2", price=7, activate=6)
    assert [each.document["type"] for each in kept.read().orders] == ["stop", "stop"]


@pytest.mark.parametrize(
    ("field", "status"), [("executed_time", "filled"), ("canceled_time", "canceled")]
)
def test_the_time_of_an_end_is_a_status(kept: Kept, field: str, status: str) -> None:
    kept.keep("live/spot-limit", ORDER, price=7, **{field: 1_700_000_000})
    assert kept.read().orders[0].document["status"] == status


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("live/spot-market", {}, "Missing required body key: symbol"),
        ("live/spot-market", {**ORDER, "size": None}, "Missing required body key: size"),
        ("live/spot-limit", {**ORDER, "price": None}, "Missing required body key: price"),
        ("live/spot-market", {**ORDER, "size": "much"}, "size must be a number"),
        ("live/spot-market", {**ORDER, "size": math.inf}, "size must be a number"),
        ("live/spot-market", {**ORDER, "size": True}, "size must be a number"),
        ("live/spot-market", {**ORDER, "size": [1]}, "size must be a number"),
        ("live/spot-market", {**ORDER, "size": 10**400}, "size must be a number"),
        ("live/spot-market", {**ORDER, "symbol": "a\nb"}, "symbol must be 1 to 200 printable"),
        ("live/spot-market", {**ORDER, "symbol": "x" * 201}, "symbol must be 1 to 200 printable"),
        ("live/spot-market", {**ORDER, "id": "\ud800"}, "id must be 1 to 200 printable"),
        ("live/spot-limit", {**ORDER, "price": 1, "executed_time": -1}, "not in seconds since"),
        ("live/update-trade", {"id": "9", "status": "done"}, "There is no order with this id"),
        ("live/update-annotation", {"id": "9"}, "Missing required body key: annotation"),
        ("live/event", {"args": {}}, "Missing required body key: type"),
        ("live/event", {"type": "a", "args": "x" * 20_000}, "larger than"),
        ("live/log", {"line": "a"}, "Missing required body key: type"),
        ("live/set-pnl", {"values": "7"}, "values must be a list"),
        ("live/set-pnl", {"values": [7]}, "Each of values"),
        ("live/set-custom-metric", {"metrics": "[]"}, "metrics must be an object"),
        ("live/set-custom-metric", {"metrics": {"a": 7}}, "Each of metrics"),
        ("live/auto-pnl", {"enabled": "maybe"}, "enabled must be true or false"),
        ("model/used-symbol", {"symbol": ""}, "symbol must be 1 to 200 printable"),
        ("backtest/result", {}, "Missing required body key: backtest_id"),
        ("live/__class__", {}, "There are no reports of the kind"),
    ],
)
def test_what_is_wrong_with_a_report_is_said(
    kept: Kept, kind: str, fields: Mapping[str, object], message: str
) -> None:
    with pytest.raises(ReportError, match=message):
        kept.reports.keep(P, M, kind, fields, 1.0)
    assert kept.rows() == 0


def _deep() -> object:
    value: object = 1
    for _ in range(3_000):
        value = [value]
    return value


HOSTILE: tuple[object, ...] = (
    *(_deep(), "[" * 3_000, "\ud800\0\x1b[31m", math.nan, {"a": {1: object()}}, 10**5_000),
    *({"": ""}, [], b"x", 10**299, 1e308, -1e308, 5e-324, 253_402_300_799.0),
)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_values_break_nothing(kept: Kept, kind: str) -> None:
    """Whatever is in the fields: a report is kept as text, or refused, and can be shown."""
    names = [
        *("symbol", "id", "side", "exchange", "size", "price", "status", "annotation", "type"),
        *("args", "response", "line", "name", "value", "description", "metrics", "values"),
        *("enabled", "message", "start_at", "running", "backtest_id", "trades", "result"),
    ]
    good = {**ORDER, "price": 1, "type": "t", "line": "l", "name": "n", "exchange": "e",
            "annotation": "a", "backtest_id": "b", "result": "r"}  # fmt: skip
    for hostile in HOSTILE:
        for fields in ({**good, name: hostile} for name in names):
            kept.reports.take(P, M, kind, fields, 1.0)
            kept.now += 1
        kept.reports.take(P, M, kind, dict.fromkeys(names, hostile), math.nan)
    kept.keep("live/event", type="last")
    read = kept.read("b")
    assert read.events[-1].document["type"] == "last"
    strict_loads(encode(reported_document(read, "b")))


def test_text_stays_text(kept: Kept) -> None:
    text = "\x1b[31m::error::<script>\ud800\0"
    kept.keep("live/event", type="t", annotation=text, args={"a": text})
    event = kept.read().events[0].document
    assert (event["text"], event["args"]) == (text, {"a": text})


def test_each_kind_is_shown(kept: Kept) -> None:
    kept.keep("model/used-exchange", exchange="alpaca")
    kept.keep("model/used-exchange", exchange="alpaca")
    kept.keep("model/used-symbol", symbol="AAPL")
    kept.keep("live/variable", name="rsi", value=29.5, description="Now")
    kept.keep("live/variable", name="rsi", value=31)
    kept.keep("live/screener-result", result='{"AAPL": {"RSI": 29.5}}')
    kept.keep("live/log", line="x" * 5_000, type="stdout")
    kept.keep("live/set-custom-metric", metrics={"a": {"value": math.nan, "display_name": "A"}})
    kept.keep("live/set-pnl", values='[{"time": 1, "value": "2"}]')
    kept.keep("live/auto-pnl", enabled="False")
    kept.keep("model/lifecycle", message="Installing", running="True")
    kept.keep("model/lifecycle", end_at="7")
    kept.keep("backtest/result", backtest_id="b", symbols=["A"], trades={"trades": [1]})
    kept.keep("backtest/status", backtest_id="b", successful="True", status_summary="Completed")
    read = kept.read("b")
    assert (read.exchanges, read.symbols) == (["alpaca"], ["AAPL"])
    assert [each.document["value"] for each in read.variables] == [31]
    assert read.screener_results[0].document == {"result": {"AAPL": {"RSI": 29.5}}}
    assert read.log[0].document == {"line": "x" * 1_999 + "…", "type": "stdout"}
    assert read.metrics[0].document == {"value": None, "displayName": "A", "type": None}
    assert read.pnl == {"values": [[1.0, 2.0]], "auto": False}
    assert read.lifecycle == {"message": "Installing", "running": True, "endAt": 7.0}
    assert read.events[0].document == {"type": "lifecycle", "text": "Installing"}
    assert read.backtests[0].document == {"successful": True, "summary": "Completed"}
    assert read.result == {"symbols": ["A"], "trades": [1]}
    assert kept.read().result is None


def test_large_results_are_shown_as_there_is_room(kept: Kept) -> None:
    for number in range(3):
        kept.keep("live/screener-result", result=f"{number}" + "x" * 400_000)
    results = [each.document["result"][0] for each in kept.read().screener_results]
    assert results == ["1", "2"]


def test_huge_orders_are_shown(kept: Kept) -> None:
    """With numbers that JSON has, but not their product."""
    kept.keep("live/spot-limit", ORDER, size=1e308, price=1e308, executed_time=5)
    shown = reported_document(kept.read(), "")
    strict_loads(encode(shown))
    profit = (shown["pnl"]["symbols"] or [])[0]
    assert (profit["realised"], profit["position"], profit["fills"]) == (None, None, 1)
    assert "too large" in str(profit["problem"])


def test_orders_of_endless_symbols_do_not_make_an_endless_answer(kept: Kept) -> None:
    """Clients refuse more than 16 MiB."""
    for number in range(1_100):
        order = {**ORDER, "symbol": f"{number}", "id": f"{number}"}
        kept.reports.take(P, M, "live/spot-market", order, 1.0)
        kept.now += 1
    kept.keep("live/spot-market", ORDER, symbol="0", id="last")
    pnl = reported_document(kept.read(), "")["pnl"]
    symbols = [each["symbol"] for each in pnl["symbols"] or ()]
    assert symbols == [*map(str, range(101, 1_100)), "0"]
    assert "Only the 1,000 symbols" in pnl["note"]


def test_the_version_that_ran_is_kept_with_what_it_reported(kept: Kept) -> None:
    """Also when a later version tells what became of its order."""
    kept.reports.take(P, M, "live/spot-market", ORDER, 1.0, "v1")
    kept.reports.take(P, M, "live/event", {"type": "t"}, 1.0, "v1")
    kept.reports.take(P, M, "live/screener-result", {"result": {}}, 1.0, "v1")
    kept.reports.note(P, M, "It failed", 2.0, "v1")
    kept.reports.take(P, M, "live/update-trade", {"id": "1", "status": "filled"}, 2.0, "v2")
    kept.keep("live/spot-market", {**ORDER, "id": "2"})  # from elsewhere
    kept.reports.take(P, M, "live/update-trade", {"id": "2", "status": "filled"}, 2.0, "v2")
    kept.keep("live/spot-market", {**ORDER, "id": "3", "versionId": "forged"})

    shown = reported_document(kept.read(), "")

    assert [one["versionId"] for one in shown["orders"]] == ["v1", None, None]
    assert [one["status"] for one in shown["orders"]] == ["filled", "filled", None]
    assert [one["versionId"] for one in shown["events"]] == ["v1", "v1"]
    assert [one["versionId"] for one in shown["screenerResults"]] == ["v1"]


def test_an_order_of_a_teardown_is_kept_as_such(kept: Kept) -> None:
    """One that was sent before is not, although the teardown tells what became of it."""
    kept.reports.take(P, M, "live/spot-market", ORDER, 1.0, "v1")
    filled = {"id": "1", "status": "filled"}
    kept.reports.take(P, M, "live/update-trade", filled, 2.0, "v1", "stop")
    kept.reports.take(P, M, "live/spot-market", {**ORDER, "id": "2"}, 2.0, "v1", "shutdown")
    kept.keep("live/spot-market", {**ORDER, "id": "3", "tornDownFor": "stop"})  # from elsewhere

    orders = reported_document(kept.read(), "")["orders"]

    assert [one["tornDownFor"] for one in orders] == [None, "shutdown", None]


def test_a_flood_is_cut_and_counted(kept: Kept) -> None:
    """Orders and the platform's own events are not displaced by it."""
    for number in range(3_000):
        kept.reports.take(P, M, "live/event", {"type": str(number)}, 1.0)
    with pytest.raises(TooManyReportsError, match="reports too much"):
        kept.keep("live/event", type="x")
    kept.reports.note(P, M, "It failed", 2.0)
    kept.keep("live/spot-market", ORDER)
    read = kept.read()
    assert len(read.orders) == 1
    assert [each.document["text"] for each in read.notes if each.time == 2.0] == ["It failed"]
    assert read.lost > 2_000
    assert any("were not kept" in each.document["text"] for each in read.notes)
    assert kept.rows() < BOUNDS["event"].entries + 10

    kept.now += 60
    kept.keep("live/event", type="later")
    assert kept.read().events[-1].document["type"] == "later"


def test_a_flood_of_one_model_is_no_other_ones(kept: Kept) -> None:
    for _ in range(1_500):
        kept.reports.take(P, "other", "live/event", {"type": "t"}, 1.0)
    kept.keep("live/event", type="mine")
    assert (kept.read().lost, len(kept.read().events)) == (0, 1)


def test_large_reports_use_up_the_allowance_sooner(kept: Kept) -> None:
    """A flood of large reports would write as much as one of many."""
    for _ in range(6):
        kept.reports.take(P, M, "live/screener-result", {"result": "x" * 500_000}, 1.0)
    with pytest.raises(TooManyReportsError):
        kept.keep("live/event", type="x")


def test_reports_that_are_refused_use_up_the_allowance_too(kept: Kept) -> None:
    """Reading them takes time."""
    for _ in range(200):
        kept.reports.take(P, M, "live/event", {}, 1.0)
    with pytest.raises(TooManyReportsError):
        kept.keep("live/event", type="x")


def test_entries_are_bounded(kept: Kept) -> None:
    for number in range(BOUNDS["variable"].entries + 50):
        kept.reports.take(P, M, "live/variable", {"name": str(number), "value": 1}, 1.0)
    kept.keep("live/event", type="x")
    assert kept.read().variables[-1].name == str(BOUNDS["variable"].entries + 49)
    assert kept.rows() == BOUNDS["variable"].entries + 1


def test_an_order_cannot_grow_by_updates(kept: Kept) -> None:
    kept.keep("live/spot-market", ORDER)
    with pytest.raises(ReportError, match="has become too large"):
        kept.keep("live/update-annotation", id="1", annotation="é" * 330)


def test_reports_of_a_deleted_model_go_nowhere(kept: Kept) -> None:
    with pytest.raises(ReportError, match="deleted"):
        kept.reports.keep(P, "gone", "live/event", {"type": "x"}, 1.0)
    kept.keep("live/event", type="x")
    with kept.store.transaction() as transaction:
        transaction.reports.delete(P, M)
    assert kept.rows() == 0


def test_reports_survive_the_end_of_the_server(kept: Kept) -> None:
    """Closing writes what is waiting; a report that comes later is refused."""
    kept.reports.take(P, M, "live/spot-market", ORDER, 1.0)
    kept.reports.close()
    assert len(kept.read().orders) == 1
    with pytest.raises(ReportError, match="being stopped"):
        kept.keep("live/event", type="x")
    kept.reports.take(P, M, "live/event", {"type": "x"}, 1.0)


def test_a_store_that_fails_is_told_and_survived(kept: Kept) -> None:
    with _failing(kept), pytest.raises(sqlite3.OperationalError):
        kept.keep("live/event", type="x")
    kept.keep("live/event", type="x")
    assert "OperationalError" in kept.errors.pop()


def test_reports_are_written_once_the_store_works_again(kept: Kept) -> None:
    """Nobody waits for a model's reports or the platform's notes, who could repeat them."""
    with _failing(kept):
        kept.reports.take(P, M, "live/spot-market", ORDER, 1.0)
        kept.reports.note(P, M, "It is stopped", 1.0)
        wait_for(lambda: bool(kept.errors))
        with pytest.raises(sqlite3.OperationalError):
            kept.keep("live/spot-market", ORDER, id="refused")
    kept.keep("live/event", type="x")
    read = kept.read()
    assert [each.name for each in read.orders] == ["1"]
    assert [each.document["text"] for each in read.notes] == ["It is stopped"]
    assert read.lost == 0
    assert "OperationalError" in kept.errors.pop()  # said once


def test_of_more_reports_than_fit_while_the_store_fails_the_number_is_kept(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy_action.platform.live.reports.keeping._MOST_WAITING_BYTES", 500_000)
    with _failing(kept):
        for number in range(3):
            result = {"result": f"{number}" + "x" * 200_000}
            kept.reports.take(P, M, "live/screener-result", result, 1.0)
        wait_for(lambda: bool(kept.errors))
        with pytest.raises(sqlite3.OperationalError):
            kept.keep("live/event", type="x")
    kept.keep("live/event", type="x")
    assert (len(kept.read().screener_results), kept.read().lost) == (2, 1)
    kept.errors.clear()


def test_what_is_at_fault_itself_is_counted_and_not_tried_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep all others from being written."""
    monkeypatch.setattr(ReportTables, "put", lambda *_: 1 / 0)
    kept.reports.take(P, M, "live/event", {"type": "bad"}, 1.0)
    wait_for(lambda: bool(kept.errors))
    monkeypatch.undo()
    kept.keep("live/event", type="good")
    assert [each.document["type"] for each in kept.read().events] == ["good"]
    assert kept.read().lost == 1
    assert "ZeroDivisionError" in kept.errors.pop()


def test_a_server_whose_store_fails_can_end(kept: Kept) -> None:
    with _failing(kept):
        kept.reports.take(P, M, "live/event", {"type": "x"}, 1.0)
        wait_for(lambda: bool(kept.errors))
        kept.reports.close()
    kept.errors.clear()


@contextmanager
def _failing(kept: Kept) -> Iterator[None]:
    """Let every write of reports fail, as a full disk does."""
    with closing(sqlite3.connect(kept.data / "platform.sqlite")) as connection:
        connection.execute("ALTER TABLE reports RENAME TO away")
        yield
        connection.execute("ALTER TABLE away RENAME TO reports")


def test_documents_are_strict_json(kept: Kept) -> None:
    kept.keep("live/event", type="t", response={"a": [math.inf, 2**70]})
    (event,) = kept.read().events
    assert json.loads(json.dumps(event.document, allow_nan=False))["response"] == {
        "a": [None, 2**70]
    }
