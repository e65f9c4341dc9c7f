from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from deploy_action.backtest.result import BacktestRun, ScheduledCall
from deploy_action.backtest.wire import parse_result, parse_run, split_result
from tests.support.backtests import DAY, START, an_order, raw_result, read_result

PRICES = {
    "symbol": "OAK-USD",
    "base": "OAK",
    "quote": "USD",
    "resolution": DAY,
    "times": [],
    "values": [],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exchange": None}, "`exchange` is null or missing and should be a string"),
        ({"symbols": "OAK"}, '`symbols` is `"OAK"` and should be a list'),
        ({"symbols": [1]}, "`symbols[0]` is `1` and should be a string"),
        ({"start_time": "now"}, '`start_time` is `"now"` and should be a number'),
        ({"stop_time": True}, "`stop_time` is `true` and should be a number"),
        ({"account_values": {}}, "`account_values` is `{}` and should be a list"),
        ({"account_values": [[1, 2]]}, "`account_values[0]` is `[1, 2]` and should be an object"),
        ({"account_values": [{"time": 1}, {"value": 1}]}, "`account_values[1].time` is null"),
        ({"account_values": [{"time": True, "value": 1}]}, "`account_values[0].time` is `true`"),
        ({"account_values": [{"time": 1, "value": "x"}]}, "`account_values[0].value` is"),
        ({"account_values": [{"time": 10**400, "value": 1}]}, "too large"),
        ({"trades": [{}]}, "`trades[0].type` is null or missing"),
        (
            {"market": {"prices": [{**PRICES, "bars": "x"}], "initial_values": {}}},
            '`market.prices[0].bars` is `"x"` and should be a whole number',
        ),
        ({"trades": [an_order("buy", 1, "x")]}, '`trades[0].price` is `"x"`'),  # type: ignore[arg-type]  # it is wrong
        ({"trades": [an_order("buy", 10**400, 1.0)]}, "`result` cannot be read: it has a number"),
        ({"trades": [an_order("buy", 1.0, 1.0, time=1e16)]}, "`trades[0].time` is `1e+16`, which"),
        ({"metrics": []}, "`metrics` is `[]` and should be an object"),
        ({"metrics": {"sharpe": 1}}, "`metrics.sharpe` is `1` and should be an object"),
        ({"metrics": {"sharpe": {"value": []}}}, "`metrics.sharpe.value` is `[]`"),
        ({"final_account_value": "all"}, "`final_account_value` is"),
    ],
)
def test_a_wrong_result_is_refused_with_the_reason(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        read_result({**raw_result(), **change})
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("raw", [None, [], "text", 1])
def test_a_result_that_is_no_object_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="`result` is"):
        read_result(raw)


def test_unknown_keys_are_kept_unchanged() -> None:
    raw = raw_result(future={"a": [1]})
    raw["account_values"][0]["note"] = "extra"
    result = read_result(raw)
    assert json.loads("".join(result.raw.blocks())) == raw


def test_a_point_without_a_value_is_a_gap() -> None:
    raw = raw_result([1.0, 2.0])
    del raw["account_values"][0]["value"]
    assert list(read_result(raw).account_values) == [(START, None), (START + DAY, 2.0)]


def test_the_facts_of_a_run_are_optional() -> None:
    said = {
        "python": "3.11.7",
        "wantedPython": "3.10",
        "blankly": "1.18.25b0",
        "constraints": ["numpy<2"],
        "environmentSeconds": 2.1,
        "modelSeconds": 1.8,
        "callbackCalls": 541,
        "schedule": [{"kind": "bar_event", "symbol": "OAK-USD", "resolution": 86400.0}, "odd"],
        "exchanges": ["keyless"],
        "symbols": ["OAK-USD"],
        "bundleSha256": "0a" * 32,
        "arguments": {"to": "1y", "initial_values": {"USD": 10_000}},
        "parallel": 3,
        "problems": [],
    }
    assert parse_run(json.loads(json.dumps(said))) == BacktestRun(
        python="3.11.7",
        wanted_python="3.10",
        blankly="1.18.25b0",
        constraints=("numpy<2",),
        environment_seconds=2.1,
        model_seconds=1.8,
        schedule=(ScheduledCall("bar_event", "OAK-USD", 86_400.0),),
        exchanges=("keyless",),
        symbols=("OAK-USD",),
        callback_calls=541,
        bundle_sha256="0a" * 32,
        arguments={"to": "1y", "initial_values": {"USD": 10_000}},
        parallel=3,
    )
    odd = parse_run(
        {
            "python": 3,
            "constraints": "x",
            "modelSeconds": True,
            "callbackCalls": None,
            "bundleSha256": "0A" * 32,
            "arguments": ["to"],
        }
    )
    assert odd == BacktestRun(
        python="",
        wanted_python="",
        blankly="",
        constraints=(),
        environment_seconds=0.0,
        model_seconds=0.0,
        schedule=(),
        exchanges=(),
        symbols=(),
        callback_calls=None,
        bundle_sha256="",
        arguments=None,
    )
    assert parse_run(None) is None
    assert parse_run({"argumentSources": "\ud800", "parallel": "\ud800"}) == parse_run({})


@pytest.mark.parametrize("parallel", [0, -1, 1_025, 2.5, "2", True, None, [2], 10**30])
def test_how_many_run_at_once_is_a_small_number_or_unknown(parallel: object) -> None:
    run = parse_run({"parallel": parallel})
    assert run is not None
    assert run.parallel is None


_SIZE = 4 << 20


def _many(item: str) -> str:
    return ",".join([item] * (_SIZE // (len(item) + 1)))


def _keys(value: str) -> str:
    return ",".join(f'"{number:x}":{value}' for number in range(400_000))


_HOSTILE = {
    "empty lists": ("indicators", "[" + _many("[]") + "]"),
    "objects": ("indicators", "[" + _many('{"a":{}}') + "]"),
    "points": ("account_values", "[" + _many('{"time":1}') + "]"),
    "wrong points": ("account_values", "[" + _many("[]") + "]"),
    "trades": (
        "trades",
        "[" + _many('{"type":"ab","symbol":"cd","side":"ef","size":1,"time":1}') + "]",
    ),
    "a trade's status": (
        "trades",
        '[{"type":"a","symbol":"b","side":"c","size":1,"time":1,"status":[' + _many("[]") + "]}]",
    ),
    "symbols": ("symbols", "[" + _many('"ab"') + "]"),
    "metrics": ("metrics", "{" + _keys("{}") + "}"),
    "unknown members": ("x", "1," + _keys("1")),
    "half surrogate pairs": ("user_callbacks", r'["\ud800",' + _many(r'"\n\n\n\n"') + "]"),
    "a long text": ("user_callbacks", '"' + "x" * _SIZE + '😀"'),
    "a long number": ("user_callbacks", "0." + "1" * _SIZE),
    "long numbers": ("user_callbacks", "[" + _many("0." + "1" * 5000) + "]"),
    "a long integer": ("user_callbacks", "1" * _SIZE),
    "nesting": ("user_callbacks", "[" * _SIZE),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_no_result_takes_many_times_the_memory_of_its_text(name: str) -> None:
    """As values, most of these would take twenty-five times and more."""
    key, text = _HOSTILE[name]
    whole = json.dumps(raw_result())[:-1] + f', "{key}": {text}}}'
    data = whole.encode()
    tracemalloc.start()
    try:
        with suppress(ValueError):
            parse_result(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 9 * len(data) + (8 << 20)


@pytest.mark.parametrize("key", ["metrics", "symbols", "exchange"])
def test_only_lists_of_values_and_trades_are_read_however_large(key: str) -> None:
    large = {**raw_result(), key: ["x" * 1000] * 1100}
    with pytest.raises(ValueError, match=f"^`{key}` is larger than 1 MiB$"):
        read_result(large)


def test_a_fault_in_a_large_list_is_named_without_its_value() -> None:
    points = [{"time": float(START), "value": 1.0}] * 50_000 + [{"time": "now"}]
    with pytest.raises(ValueError, match=r"^`account_values\[50000\]\.time` should be a number$"):
        read_result(raw_result(account_values=points))


@pytest.mark.parametrize(
    ("body", "rest", "result"),
    [
        ('{"status": "success", "result": {"a": 1}, "x": 1}', {"status": "success"}, b'{"a": 1}'),
        ('{"run": {}, "result": null}', {"run": {}}, None),
        (r'{"result": "\ud800"}', {}, rb'"\ufffd"'),
    ],
)
def test_a_result_is_split_off_an_answer(body: str, rest: object, result: bytes | None) -> None:
    found, text = split_result(body.encode())
    assert (json.loads(found), None if text is None else bytes(text)) == (rest, result)


@pytest.mark.parametrize(
    "body", ['{"a": 1}', '[{"result": 1}]', "<html>", "", '{"result": 1', '{"result": 1e999}']
)
def test_an_answer_without_a_result_stays_whole(body: str) -> None:
    assert split_result(body.encode()) == (body.encode(), None)


def test_a_million_account_values_are_kept_small() -> None:
    """Two arrays of 8 MB; as many pairs would take 130 MB. A year has half a million minutes."""
    point = {"time": float(START), "value": 10_000.0}
    values = read_result(raw_result(account_values=[point] * 1_000_000)).account_values
    assert len(values) == 1_000_000
    assert values.times.itemsize == values.values.itemsize == 8
    assert (values.times[-1], values.values[-1]) == (START, 10_000.0)
