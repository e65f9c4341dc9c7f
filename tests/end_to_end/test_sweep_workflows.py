"""The workflows that sweep on several runners, with their own steps."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Runner, write_model
from tests.end_to_end.test_backtest import Trader, platform_data  # noqa: F401  # a fixture
from tests.support.backtests import an_order, raw_result
from tests.support.scripted_server import Reply, Request, ScriptedServer
from tests.support.workflow_jobs import Jobs

WORKFLOWS = Path(__file__).parents[2] / "examples" / "workflows"
PERIOD = {"start_date": "2023-01-01", "end_date": "2024-01-01"}
SCRIPT = "import os\n\nimport blankly\n\nFAST = int(os.environ.get('FAST', '10'))\n"
SCHEMA = {"properties": {"environment": {"type": "string"}}}
OPENAPI = {
    "paths": {
        "/model/backtest": {
            "post": {"requestBody": {"content": {"multipart/form-data": {"schema": SCHEMA}}}}
        }
    }
}


def answer(request: Request) -> Reply:
    """Return a result that depends on the variables; the greater they are, the longer it took."""
    variables = json.loads(request.fields.get("environment", "{}"))
    fast, slow = int(variables.get("FAST", "10")), int(variables.get("SLOW", "40"))
    values = [10_000.0, 10_400.0 + fast, 9_900.0 + slow, 12_900.0 + fast * slow]
    raw = raw_result(values, [an_order("buy", float(fast), float(slow))])
    run = {"arguments": PERIOD, "modelSeconds": float(fast + slow)}
    names = {"modelId": "model-1", "versionId": "v", "backtestId": "b"}
    return Reply(body={"status": "success", "result": raw, "run": run, **names})


def workflow(name: str) -> Mapping[str, Any]:
    """Return the jobs of an example."""
    jobs: Mapping[str, Any] = yaml.safe_load((WORKFLOWS / name).read_text())["jobs"]
    return jobs


def inputs_of(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the inputs of the step with this action."""
    (step,) = (one for one in job["steps"] if "deploy-action" in one.get("uses", ""))
    return {name: str(one) for name, one in step["with"].items()}


def alone(runner: Runner, jobs: Jobs, found: Mapping[str, Any]) -> Path:
    """Return the report of one runner with the inputs of all."""
    whole = {"gates": inputs_of(found["merge"])["gates"], "shard": ""}
    ended = runner.run(**{**inputs_of(found["part"]), **jobs.inputs, **whole})
    assert ended.code == 0, ended.log
    return runner.root / "temp" / ended.outputs["report"]


def run_parts(jobs: Jobs, part: Mapping[str, Any], **known: str) -> list[bool]:
    """Run all legs of the matrix, and return which passed."""
    parts = part["strategy"]["matrix"]["part"]
    total = {"strategy.job-total": str(len(parts)), **known}
    return [jobs.run(part, {"matrix.part": str(number), **total}) for number in parts]


def without_run(path: Path) -> list[bytes]:
    """Return the lines of a report but the one of what differs from run to run."""
    lines = path.read_bytes().splitlines()
    left = [line for line in lines if not line.startswith(b'"run": ')]
    assert len(left) == len(lines) - 1
    return left


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """Return a server whose backtests take no time."""
    paths = Reply(body=OPENAPI)
    with ScriptedServer({"POST /model/backtest": answer, "GET /openapi.json": paths}) as started:
        yield started


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[], Runner]:
    """Return a function that returns a new runner, with a model that reads variables."""
    numbers = itertools.count()

    def start() -> Runner:
        root = tmp_path / f"machine-{next(numbers)}"
        root.mkdir()
        runner = Runner(root)
        write_model(runner.workspace, backtest_args=PERIOD)
        (runner.workspace / "bot.py").write_text(SCRIPT)
        return runner

    return start


@pytest.fixture
def jobs(server: ScriptedServer, machine: Callable[[], Runner], tmp_path: Path) -> Jobs:
    inputs = {"api-url": server.url, "token": "refresh", "model-id": "model-1"}
    return Jobs(machine, tmp_path / "artifacts", tmp_path / "caches", inputs, {})


def test_a_hundred_combinations_over_ten_shards_give_the_bytes_of_one_runner(
    jobs: Jobs, machine: Callable[[], Runner]
) -> None:
    found = workflow("sweep-on-many-runners.yml")
    assert all(run_parts(jobs, found["part"]))
    assert jobs.run(found["merge"], {"needs.part.result": "success"}), jobs.ended["merge"].log
    (merged,) = (jobs.storage / "sweep").iterdir()

    assert without_run(merged) == without_run(alone(machine(), jobs, found))
    assert len(json.loads(merged.read_bytes())["sweep"]["combinations"]) == 100
    (page,) = (jobs.storage / "sweep-page").iterdir()
    assert "All 100 combinations" in page.read_text(encoding="utf-8")


def test_a_part_that_is_missing_is_named_and_fails_the_merge(jobs: Jobs) -> None:
    found = workflow("sweep-on-many-runners.yml")
    run_parts(jobs, found["part"])
    shutil.rmtree(jobs.storage / "sweep-part-3")
    assert jobs.value(found["merge"]["if"].replace("needs.part.result", "'failure'"))
    assert not jobs.run(found["merge"], {"needs.part.result": "failure"})
    assert "Part 3 of 10 is missing" in "".join(jobs.ended["merge"].annotations)
    assert not (jobs.storage / "sweep").exists()


def test_each_night_adds_its_line_and_shares_out_by_the_night_before(jobs: Jobs) -> None:
    found = workflow("nightly-sweep.yml")
    balanced_by = []
    for night in ("1", "2"):
        jobs.known = {"github.run_id": night, "github.run_attempt": "1"}
        assert jobs.run(found["prepare"], {}), jobs.ended
        earlier = jobs.known.get("steps.earlier.outputs.cache-matched-key", "")
        needs = {"needs.prepare.outputs.earlier": earlier, "needs.part.result": "success"}
        assert all(run_parts(jobs, found["part"], **needs)), jobs.ended["sweep"].log
        (part,) = (jobs.storage / "sweep-part-1").iterdir()
        balanced_by.append(json.loads(part.read_bytes())["part"]["balanced_by"])
        assert jobs.run(found["merge"], needs), jobs.ended["merge"].log
    assert [bool(one) for one in balanced_by] == [False, True]
    lines = (jobs.storage / "sweep" / "nights.md").read_text().splitlines()
    assert len(lines) == 2
    assert all(line.endswith("| \u2013 |") for line in lines)  # the server tells no prices


@pytest.mark.xdist_group("backtest")
def test_two_runners_find_with_the_real_package_what_one_does(
    machine: Callable[[], Runner],
    platform_data: Path,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    def with_example() -> Runner:
        return Trader(machine(), platform_data).runner

    inputs = {
        "model-path": "models/golden-cross",
        "platform-data": str(platform_data),
        "sweep": "env.FAST: [5, 10]",
    }
    jobs = Jobs(with_example, tmp_path / "artifacts", tmp_path / "caches", inputs, {})
    found = workflow("sweep-on-many-runners.yml")
    found["part"]["strategy"]["matrix"]["part"] = [1, 2]
    assert all(run_parts(jobs, found["part"])), jobs.ended["sweep"].log
    assert jobs.run(found["merge"], {"needs.part.result": "success"}), jobs.ended["merge"].log
    (merged,) = (jobs.storage / "sweep").iterdir()
    assert without_run(merged) == without_run(alone(with_example(), jobs, found))
    assert json.loads(merged.read_bytes())["sweep"]["current"] == 1
