from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy_action.backtest.metrics import METRICS
from deploy_action.backtest.model_changes import Changed, FileChanges, ModelChanges
from deploy_action.backtest.period.windows import Window
from deploy_action.backtest.sweep.shards import Part, Shard
from deploy_action.backtest.wire import parse_result
from deploy_action.outcome.request import Request
from deploy_action.outcome.run_outcome import RunOutcome
from deploy_action.report.document import to_markdown
from deploy_action.report.json_report import build_report
from deploy_action.report.outputs import outputs_of
from deploy_action.report.summary import build_summary
from tests.support.backtests import an_order, raw_result, read_result, with_metrics
from tests.support.decisions import decisions
from tests.support.outcomes import a_backtest, backtests, with_parts
from tests.support.sweeps import swept

DOCUMENTATION = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")


def text_of(outcome: RunOutcome) -> str:
    return "".join(build_report(outcome))


def report_of(outcome: RunOutcome) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = text_of(outcome)
    assert text.isascii()
    assert text.count("\n") == len(json.loads(text)) + 2
    report: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return report


def documented_keys() -> list[str]:
    table = DOCUMENTATION.partition("## Keys")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([a-z0-9_.]+)` \|", table, re.MULTILINE)


def keys_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield the keys as the table names them, `a.b` for those of our own objects."""
    whole = {"arguments", "argument_sources", "comparison", "holding", "market", "metrics"}

    whole |= {"base_result", "package_metrics", "pinned", "reasons", "result"}
    for key, value in report.items():
        if isinstance(value, dict) and key not in whole:
            yield from (f"{key}.{inner}" for inner in value)
        else:
            yield key


def test_the_documented_keys_are_those_of_a_report() -> None:
    report = report_of(backtests()["gain"])
    assert documented_keys() == list(keys_of(report))
    report["windows"] = report_of(backtests()["windows"])["windows"]
    for key in ("metrics_detail", "problems", "months", "windows"):
        documented = re.search(
            rf"^\| `{key}` \|.*?a list of (.*?)(?:;| \|$)", DOCUMENTATION, re.MULTILINE
        )
        assert documented
        assert re.findall(r"`([a-z0-9_]+)`", documented[1]) == list(report[key][0])
    ids = re.findall(r"^\| `(\w+)` \|", DOCUMENTATION.partition("## Metrics")[2], re.MULTILINE)
    assert ids == list(report["metrics"])


def test_the_documented_keys_of_sweeps_and_parts_are_those_of_a_report() -> None:
    window = Window("one", 0.0, 86_400.0)
    found = swept({"env.FAST": [5]}, lambda fast: fast, windows=[window])
    part = Part(shard=Shard(1, 2), windows=(window,))
    report = report_of(with_parts(backtests()["gain"], backtests={"sweep": found, "part": part}))
    for key in ("sweep", "part"):
        documented = re.findall(rf"^\| `{key}\.(\w+)` \|", DOCUMENTATION, re.MULTILINE)
        assert documented == list(report[key])
    (combination,) = report["sweep"]["combinations"]
    assert next(iter(combination)) == "values"
    assert list(combination)[-1] == "windows"
    assert list(combination)[1:-1] == list(combination["windows"][0])[3:]
    assert set(combination["moments"]) == {"count", "sharpe", "skewness", "kurtosis"}


def test_the_documented_keys_of_gates_and_comparison_are_those_of_a_report() -> None:
    report = report_of(decisions()["stopped"])

    gates = re.findall(r"^\| `gates\[\]\.(\w+)` \|", DOCUMENTATION, re.MULTILINE)
    assert gates == list(report["gates"][0])
    comparison = report["comparison"]
    base = {"base": dict.fromkeys(f"base.{key}" for key in comparison["base"])}
    names = [name for key in comparison for name in base.get(key, [key])]
    said = re.findall(r"^\| `comparison\.([\w.]+)` \| (.*) \|$", DOCUMENTATION, re.MULTILINE)
    assert [name for name, _ in said] == names
    sentences = {name: re.findall(r"`([a-z_]+)`", text) for name, text in said}
    assert set(comparison["metrics"][0]) < set(sentences["metrics"])
    assert set(comparison["first_difference"]) < set(sentences["first_difference"])
    changes = comparison["changes"]
    keys = {*changes, *changes["facts"][0], *changes["files"], "null"}
    assert set(sentences["changes"]) == keys
    order = DOCUMENTATION.partition("An order in `first_difference` has ")[2].partition(".\n")[0]
    assert re.findall("`(.*?)`", order) == list(comparison["first_difference"]["base"])


def test_a_report_holds_what_gates_and_comparison_found() -> None:
    report = report_of(decisions()["stopped"])

    assert report["run"]["status"] == "failed"
    deepest, of_base = (
        one["metrics"]["max_drawdown"] for one in (report, report["comparison"]["base"])
    )
    assert deepest > of_base > 0
    assert report["gates"][1] == {
        "text": "max_drawdown <= base",
        "metric": "max_drawdown",
        "state": "failed",
        "value": deepest,
        "base": of_base,
        "reference": of_base,
        "bound": of_base,
        "reason": "",
        "where": "",
    }
    comparison = report["comparison"]
    assert comparison["base"]["state"] == "backtested"
    sharpe = {**comparison["metrics"][0], "difference": 0}
    assert sharpe == {
        "metric": "sharpe",
        "base": comparison["base"]["metrics"]["sharpe"],
        "candidate": report["metrics"]["sharpe"],
        "difference": 0,
        "direction": "worse",
    }
    assert comparison["identical"] is False
    assert comparison["first_difference"]["index"] == 11
    assert comparison["first_difference"]["candidate"] == {
        "symbol": "OAK-USD",
        "side": "sell",
        "type": "spot-market",
        "size": 315.22878,
        "price": 32.76,
        "time": report["result"]["trades"][11]["time"],
        "was_filled": True,
        "filled_at": None,
    }
    assert comparison["changes"]["requirements"][0] == {
        "name": "numpy",
        "base": "==1.26.4",
        "candidate": "==1.26.5",
    }
    assert comparison["changes"]["files"]["changed"] == ["bot.py", "requirements.txt"]


def test_a_report_says_why_there_was_no_comparison() -> None:
    absent = report_of(decisions()["absent"])["comparison"]
    assert (absent["base"]["state"], absent["identical"]) == ("absent", None)
    assert (absent["metrics"], absent["changes"]) == ([], None)
    assert absent["base"]["metrics"] is absent["base"]["trades_sha256"] is None
    identical = report_of(decisions()["identical"])
    assert identical["comparison"]["identical"] is True
    assert identical["comparison"]["base"]["trades_sha256"] == identical["trades_sha256"]
    deployed = report_of(decisions()["deployed after gates"])
    assert deployed["tested_sha256"] == deployed["bundle"]["sha256"]
    assert report_of(backtests()["gain"])["tested_sha256"] == ""
    assert report_of(backtests()["gain"])["comparison"] is None


def test_a_report_holds_everything() -> None:
    raw = raw_result([1, None, 3], [an_order("buy", 1, 2.0)], future=[1])
    report = report_of(a_backtest(raw))

    assert report["format"] == "blankly-deploy/backtest-report"
    assert report["version"] == 2
    assert report["run"]["status"] == "backtested"
    assert report["result"] == raw
    assert report["metrics"]["trades"] == 1
    assert report["bundle"] == {
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "bytes": 48_213,
        "unpacked_bytes": 183_402,
        "files": 14,
    }
    assert report["run"]["now"] == "2026-01-02T03:04:05Z"
    seconds = {"environment": 2.1, "model": 1.8, "total": 12.34, "backtests": []}
    assert report["run"]["seconds"] == seconds
    assert report["environment"]["constraints"] == ["numpy<2", "pandas<2.2"]
    assert report["calls"]["schedule"][0]["resolution"] == 86_400
    assert report["round_trips"]["wins"] == 0
    assert report["round_trips"]["win_rate"] is None


def test_the_documented_members_of_objects_are_those_of_a_report() -> None:
    report = report_of(backtests()["gain"])
    text = DOCUMENTATION.partition("Times are seconds since")[2].partition("## Metrics")[0]
    documented = set(re.findall(r"`([a-z_]+)`", text))
    trips = report["round_trips"]
    objects = [report["holding"], trips["closed"][0], trips["open"][0], report["market"]]
    objects.append(report["market"]["symbols"][0])
    for one in objects:
        assert set(one) <= documented
    assert report["market"]["symbols"][0]["bars"] == 541
    assert report["holding"]["metrics"]["cum_returns"] == report["metrics"]["hold_return"]
    assert report["coverage"] == []
    assert report["months"][0] == {"year": 2023, "month": 3, "gain": pytest.approx(10.3, abs=0.1)}
    assert report["package_metrics"]["Sharpe Ratio"] == 0.96
    assert report["is_exact"] is True


def test_a_report_says_where_arguments_came_from_and_what_windows_found() -> None:
    outcome = with_parts(
        backtests()["windows"],
        model={"argument_sources": {"to": "backtest-args", "initial_values": "blankly.json"}},
    )
    assert outcome.backtests.run is not None
    run = replace(
        outcome.backtests.run,
        argument_sources={"to": "given", "initial_values": "given", "use_price": "script"},
    )
    report = report_of(with_parts(outcome, backtests={"run": run}))
    assert report["argument_sources"] == {
        "to": "backtest-args",
        "initial_values": "blankly.json",
        "use_price": "script",
    }
    assert [one["name"] for one in report["windows"]][::4] == ["the first quarter", "2024"]
    assert report["windows"][4]["metrics"] is None
    assert report["windows"][4]["reason"] == "no prices cover it"
    assert report["windows"][0]["metrics"]["cum_returns"] == pytest.approx(20)


def test_a_report_without_a_market_has_no_holding() -> None:
    report = report_of(backtests()["loss"])
    assert (report["holding"], report["market"]) == (None, None)
    assert report["reasons"]["hold_return"] == "the server does not tell the prices"
    assert report_of(backtests()["package only"])["is_exact"] is False


def test_numbers_that_overflowed_are_null() -> None:
    values = [5e-324, 1e300, -1e300]
    outcome = a_backtest(raw_result(values, [an_order("buy", 1.0, 1.0)]))
    (first, *_) = report_of(outcome)["drawdowns"]
    assert first["depth"] == 200
    assert report_of(outcome)["months"][0]["gain"] is None


def test_a_run_without_a_result_has_no_report() -> None:
    with pytest.raises(ValueError, match="no result"):
        text_of(RunOutcome(request=Request(mode="backtest")))


def test_the_documentation_computes_the_same_fingerprint() -> None:
    source = re.search(r"```python\n(.*?)```", DOCUMENTATION, re.DOTALL)
    assert source
    names: dict[str, Any] = {}
    exec(source[1], names)  # noqa: S102  # our own documentation
    outcome = a_backtest(
        raw_result(
            trades=[
                an_order("buy", 0.1 + 0.2, 1e-5, symbol='漢"\\\n\x01😀'),
                an_order("sell", 1e11, None, type="limit", time=1_677_628_800.0125),
                an_order("sell", -0.0, 0),
            ]
        )
    )

    report = report_of(outcome)

    assert names["trades_sha256"](report["result"]) == report["trades_sha256"]


def test_the_example_line_of_the_documentation_is_one() -> None:
    order = an_order("buy", 304.22878, 32.87, time=1_677_628_800.0 + 7 * 86_400)
    import hashlib

    line = re.search(r"```text\n(.*?\n)```", DOCUMENTATION, re.DOTALL)
    assert line
    expected = hashlib.sha256(line[1].encode()).hexdigest()
    assert read_result(raw_result(trades=[order])).trades_sha256 == expected


def test_outputs_name_what_was_found() -> None:
    outcome = a_backtest(with_metrics(raw_result(), sortino=None))
    outputs = outputs_of(outcome)
    assert outputs["metrics"].startswith('{"sharpe":0.96,"sortino":null,"calmar":1.0,"cagr":24.0,')
    assert list(json.loads(outputs["metrics"])) == list(METRICS)
    assert outcome.backtests.result is not None
    assert outputs["trades-sha256"] == outcome.backtests.result.trades_sha256
    assert outputs["report"] == "blankly-backtest.json"
    assert not {"metrics", "trades-sha256", "report"} & set(outputs_of(RunOutcome()))


def test_a_secret_in_a_comparison_is_redacted() -> None:
    secret = "value-of-a-variable"  # noqa: S105  # opens nothing
    found = decisions()["stopped"].backtests
    assert found.comparison is not None
    facts = (Changed("Plan", None, secret),)
    base = replace(found.comparison.base, reason=secret, ref=f"feature/{secret}")
    changes = ModelChanges(facts=facts, requirements=(), files=FileChanges((f"{secret}.py",)))
    comparison = replace(found.comparison, base=base, changes=changes)
    verdicts = (replace(found.verdicts[0], reason=secret),)
    outcome = with_parts(
        decisions()["stopped"], backtests={"comparison": comparison, "verdicts": verdicts}
    )

    shown = outcome.redacted(lambda text: text.replace(secret, "***"))

    assert text_of(outcome).count(secret) == 5
    assert secret not in text_of(shown)
    assert to_markdown(build_summary(outcome)).count(secret) == 5
    assert secret not in to_markdown(build_summary(shown))


def test_what_is_shown_is_what_was_judged() -> None:
    """Two symbols whose names are secrets become one, which would be another model."""
    orders = [
        an_order("buy", 1, 10.0, symbol="first-secret"),
        an_order("sell", 1, 20.0, symbol="second-secret"),
    ]
    outcome = a_backtest(raw_result(trades=orders))
    result = outcome.backtests.result
    assert result is not None
    assert len(result.analysis.round_trips.open) == 2
    shown = outcome.redacted(lambda text: re.sub("[a-z]+-secret", "***", text)).backtests.result
    assert shown is not None
    assert [one.symbol for one in shown.analysis.round_trips.open] == ["***", "***"]
    assert shown.analysis.metrics == result.analysis.metrics


@pytest.mark.parametrize("place", ["symbol", "key", "run"])
def test_a_secret_in_a_result_is_redacted(place: str) -> None:
    secret = "value-of-a-variable"  # noqa: S105  # opens nothing
    order = an_order("buy", 1, 1.0, symbol=secret if place == "symbol" else "OAK-USD")
    raw = raw_result(trades=[order], user_callbacks={secret: 1} if place == "key" else {})
    outcome = a_backtest(raw, model={"description": secret})
    shown = outcome.redacted(lambda text: text.replace(secret, "***"))
    assert secret in text_of(outcome)
    assert secret not in text_of(shown)
    assert secret not in to_markdown(build_summary(shown))
    assert shown.backtests.result is not None
    assert secret not in repr(shown.backtests.result.trades)
    assert list(shown.backtests.result.account_values) == list(read_result(raw).account_values)


def test_a_result_is_reported_as_it_was_received() -> None:
    """On one line, whatever the server sent, and in ASCII."""
    raw = raw_result([1.0, 2.0], future={"a": ["é\u2028", 10**290, 1e-300]})
    raw["account_values"][0]["note"] = "extra"
    text = json.dumps(raw, indent=1, ensure_ascii=False).encode()
    outcome = with_parts(backtests()["gain"], backtests={"result": parse_result(text)})
    assert report_of(outcome)["result"] == raw


@pytest.mark.slow
def test_a_million_account_values_are_reported() -> None:
    points = [{"time": 1_677_628_800.0 + 60 * n, "value": 10_000.0} for n in range(1_000_000)]
    orders = [an_order("buy", 1, 1.0, id=str(number)) for number in range(10_000)]
    outcome = a_backtest(raw_result(trades=orders, account_values=points))
    report = report_of(outcome.redacted(lambda text: text.replace("secret", "***")))
    assert report["result"]["account_values"] == points
    assert report["result"]["trades"] == orders
