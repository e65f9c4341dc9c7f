"""The output `sweep`, and where it is too long."""

from __future__ import annotations

import io
import json
from pathlib import Path

from deploy_action.backtest.sweep.shards import Part, Shard
from deploy_action.console import Console
from deploy_action.errors import Severity
from deploy_action.report.outputs import MOST, left_out, outputs_of
from deploy_action.reporting import Reporting
from tests.support.outcomes import a_sweep, swept_backtests, with_parts
from tests.support.sweeps import swept


def test_a_sweep_is_listed_with_names_of_inputs_and_failures_are_null() -> None:
    outcome = swept_backtests()["sweep with failures"]
    found = json.loads(outputs_of(outcome)["sweep"])
    assert len(found) == 100
    assert found[0]["values"] == {"env.FAST": "5", "env.SLOW": "20"}
    assert list(found[0]) == ["values", "metrics", "trades-sha256", "windows"]
    assert found[0]["metrics"]["cum_returns"] < 0
    assert len(found[0]["trades-sha256"]) == 64
    assert [one["name"] for one in found[0]["windows"]] == ["quarter 0", "quarter 1", "quarter 2"]
    assert list(found[0]["windows"][0]) == ["name", "metrics", "trades-sha256"]
    failed = found[20]
    assert failed["values"] == {"env.FAST": "15", "env.SLOW": "20"}
    assert (failed["metrics"], failed["trades-sha256"]) == (None, None)
    assert failed["windows"][0]["metrics"] is None
    assert left_out(outcome, outputs_of(outcome)) is None


def test_without_windows_a_combination_has_none() -> None:
    found = json.loads(outputs_of(swept_backtests()["sweep"])["sweep"])
    assert list(found[0]) == ["values", "metrics", "trades-sha256"]


def test_a_sweep_that_would_be_too_long_with_the_others_is_left_out_and_said_to_be() -> None:
    """A character counts as two bytes, as on GitHub."""
    outcome = a_sweep(swept({"env.X": range(200)}, lambda x: x * 1.0))
    alone = outputs_of(outcome)
    size = 2 * sum(map(len, alone.values()))
    room = (MOST - size) // 2
    fitting = with_parts(outcome, model={"description": outcome.model.description + "x" * room})
    over = with_parts(outcome, model={"description": outcome.model.description + "x" * (room + 1)})
    assert outputs_of(fitting)["sweep"] == alone["sweep"]
    outputs = outputs_of(over)
    assert "sweep" not in outputs
    assert outputs["metrics"] == alone["metrics"]
    notice = left_out(over, outputs)
    assert notice is not None
    assert notice.severity is Severity.NOTICE
    assert notice.text() == (
        "The output `sweep` is blank: the outputs of a job end at 1 MB, and 200 combinations are "
        "more. The report has all of them, below `sweep`."
    )


def test_a_part_lists_neither_sweep_nor_windows() -> None:
    """What another part has would look as if it had failed."""
    outcome = swept_backtests()["sweep with failures"]
    outcome = with_parts(outcome, backtests={"part": Part(shard=Shard(1, 2))})
    outputs = outputs_of(outcome)
    assert not {"sweep", "windows"} & outputs.keys()
    assert left_out(outcome, outputs) is None


def test_the_notice_is_printed_and_in_the_summary(tmp_path: Path) -> None:
    stream = io.StringIO()
    output, summary = tmp_path / "output", tmp_path / "summary"
    reporting = Reporting(
        environ={
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            "RUNNER_TEMP": str(tmp_path),
        },
        console=Console(stream=stream, for_runner=True),
        platform_data=tmp_path,
        pause=lambda _: None,
    )
    reporting.report(a_sweep(swept({"env.X": range(1_000)}, lambda x: x * 1.0)))
    assert stream.getvalue().count("The output `sweep` is blank") == 1
    assert "The output `sweep` is blank" in summary.read_text(encoding="utf-8")
    assert "sweep" not in output.read_text(encoding="utf-8")
