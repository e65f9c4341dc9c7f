"""Metrics for Prometheus: who reads them, what they say, and that they are well-formed."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy_action import __version__
from deploy_action.platform.storage.records import State
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.platform.web import metrics
from tests.support.scripted_live_server import LivePlatform
from tests.support.visitor import TIMEOUT, Visitor
from tests.support.waiting import wait_for

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def visitor(live: LivePlatform) -> Visitor:
    visitor = Visitor(live.parts.url)
    visitor.sign_in(live.refresh_token)
    return visitor


def _read(visitor: Visitor) -> Samples:
    answer = visitor.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _value(samples: Samples, name: str, **labels: str) -> float | None:
    """Return the value of a metric with these labels among others."""
    found = [
        value
        for (known, given), value in samples.items()
        if known == name and labels.items() <= dict(given).items()
    ]
    assert len(found) <= 1, (name, labels)
    return found[0] if found else None


def _token(visitor: Visitor) -> str:
    found = re.search(r'<pre class="secret">([0-9a-f]{64})</pre>', visitor.get("/monitoring").text)
    assert found
    return found[1]


def test_a_server_without_models_has_its_own_metrics(visitor: Visitor) -> None:
    samples = _read(visitor)

    assert _value(samples, "blankly_build_info", version=__version__) == 1
    assert _value(samples, "blankly_healthy") == 1
    assert _value(samples, "blankly_backtests", state="queued") == 0
    assert _value(samples, "blankly_backtests", state="running") == 0
    assert _value(samples, "blankly_log_followers") == 0
    for disk in ("blankly_disk_free_bytes", "blankly_disk_used_bytes"):
        assert (_value(samples, disk) or 0) > 0
    for state in State:
        assert _value(samples, "blankly_models", state=state) == 0


def test_the_state_of_a_model_is_one_and_all_others_are_zero(
    live: LivePlatform, visitor: Visitor
) -> None:
    model = live.create_model()
    live.create_model()  # nothing was deployed to it
    version_id = live.run_a_version(model)
    live.parts.store.logs.open(version_id).write("out", "x")

    samples = _read(visitor)

    assert _value(samples, "blankly_models", state="running") == 1
    states = {state: _value(samples, "blankly_model_state", state=state) for state in State}
    assert states == {state: float(state is State.RUNNING) for state in State}
    assert _value(samples, "blankly_model_info", model_id=model, version_id=version_id) == 1
    assert _value(samples, "blankly_model_restarts", model_id=model) == 0
    assert _value(samples, "blankly_model_callback_errors_total", model_id=model) == 0
    assert _value(samples, "blankly_model_callbacks_failing", model_id=model) == 0
    assert _value(samples, "blankly_model_orders", model_id=model) == 0
    assert _value(samples, "blankly_model_last_order_timestamp_seconds", model_id=model) is None
    assert _value(samples, "blankly_model_since_timestamp_seconds") == live.clock()


def test_orders_and_accounts_are_told_and_what_is_unknown_is_left_out(
    live: LivePlatform, visitor: Visitor
) -> None:
    model = live.create_model()
    live.run_a_version(model)
    line: dict[str, object] = {
        "exchange": "coinbase", "portfolio": None, "quote": "USD", "simulated": False,
        "missing": [], "problem": None, "points": [], "step": 0.0, "every": 900.0,
    }  # fmt: skip
    with live.parts.store.transaction() as transaction:
        for number in range(3):
            order = Kept(f"o{number}", 1_600_000_000.0 + number, {"symbol": "BTC-USD"})
            transaction.reports.put(live.user_id, model, "order", order)
        for name, value in (("known", 1234.5), ("unknown", None)):
            document = {**line, "exchange": name, "value": value}
            kept = Kept(name, 1_600_000_000.0, document)
            transaction.reports.put(live.user_id, model, "accountLine", kept)

    samples = _read(visitor)

    assert _value(samples, "blankly_model_orders", model_id=model) == 3
    assert _value(samples, "blankly_model_last_order_timestamp_seconds") == 1_600_000_002
    account = {"exchange": "known", "currency": "USD", "simulated": "false"}
    assert _value(samples, "blankly_model_account_value", **account) == 1234.5
    times = "blankly_model_account_value_timestamp_seconds"
    assert _value(samples, times, **account) == 1_600_000_000
    assert _value(samples, "blankly_model_account_value", exchange="unknown") is None


def test_who_follows_a_log_is_counted_in_the_api_and_in_a_page(
    live: LivePlatform, visitor: Visitor
) -> None:
    model = live.create_model()
    version_id = live.run_a_version(model)
    page = f"{visitor.url}/{live.user_id}/{model}/log/follow?after={version_id}/0-0"
    api = {"projectId": live.user_id, "modelId": model, "follow": "true"}
    with (
        visitor.session.get(page, stream=True, timeout=TIMEOUT),
        visitor.session.post(
            f"{visitor.url}/model/logs", api, headers=live.headers, stream=True, timeout=TIMEOUT
        ),
    ):
        assert _value(_read(visitor), "blankly_log_followers") == 2
    live.parts.store.logs.open(version_id).write("out", "x")  # which those who left do not take
    wait_for(lambda: _value(_read(visitor), "blankly_log_followers") == 0)


def test_the_token_of_the_page_reads_metrics_and_nothing_else(
    live: LivePlatform, visitor: Visitor
) -> None:
    token = _token(visitor)
    stranger = Visitor(visitor.url)

    assert stranger.get("/metrics", Authorization=f"Bearer {token}").status_code == 200
    for wrong in ("", "Bearer", "Bearer x", f"Basic {token}", f"Bearer {token}x", "Bearer \xe9",
                  f"Bearer {live.refresh_token}", f"Bearer {live.id_token}"):  # fmt: skip
        refused = stranger.get("/metrics", Authorization=wrong)
        assert refused.status_code == 401
        assert "blankly_" not in refused.text
    assert stranger.get("/", Authorization=f"Bearer {token}").status_code == 303
    assert stranger.get("/monitoring", Authorization=f"Bearer {token}").status_code == 303
    assert stranger.get("/project/list", token=token).status_code == 401
    assert stranger.sign_in(token).status_code == 401
    stranger.session.cookies.set("session", token)
    assert stranger.get("/").status_code == 303


def test_hostile_names_stay_in_their_labels(live: LivePlatform, visitor: Visitor) -> None:
    hostile = 'x"} 1\nblankly_healthy 0\n\\\u202e' + "y" * 1_000
    fields = {"projectId": live.user_id, "type": "strategy", "name": hostile, "description": ""}
    model = live.post("/model/create-model", **fields).json()["modelId"]
    live.run_a_version(model)

    samples = _read(visitor)

    assert _value(samples, "blankly_healthy") == 1
    [labels] = [dict(given) for name, given in samples if name == "blankly_model_info"]
    assert labels["model"].startswith('x"} 1 blankly_healthy 0')
    assert len(labels["model"]) == 200
    assert "\u202e" not in labels["model"]


def test_the_number_of_series_is_bounded(
    live: LivePlatform, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        live.run_a_version(live.create_model())
    monkeypatch.setattr(metrics, "MOST_MODELS", 2)

    samples = _read(visitor)

    assert _value(samples, "blankly_models_left_out") == 1
    assert len([1 for name, _ in samples if name == "blankly_model_restarts"]) == 2


def test_without_the_library_the_answer_says_what_to_install(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    answer = visitor.get("/metrics")

    assert answer.status_code == 501
    assert "Install `prometheus-client`" in answer.text


def _promtool(*arguments: str, text: bytes = b"") -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    command = [program, "check", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=TIMEOUT)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_prometheus_finds_nothing_wrong_with_the_metrics(
    live: LivePlatform, visitor: Visitor
) -> None:
    live.run_a_version(live.create_model())

    assert _promtool("metrics", text=visitor.get("/metrics").content) == ""


def test_prometheus_takes_the_configuration_and_the_rules_of_the_page(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.get("/monitoring").text
    blocks = [html.unescape(each) for each in re.findall(r"(?s)<pre>(.*?)</pre>", page)]
    job = next(each for each in blocks if each.startswith("scrape_configs"))
    rules = next(each for each in blocks if each.startswith("groups"))
    for name, text in (("job.yml", job), ("rules.yml", rules)):
        (tmp_path / name).write_text(text, encoding="utf-8")

    host = visitor.url.removeprefix("http://")
    assert f'targets: ["{host}"]' in job
    assert "rules found" in _promtool("rules", str(tmp_path / "rules.yml"))
    _promtool("config", "--syntax-only", str(tmp_path / "job.yml"))
