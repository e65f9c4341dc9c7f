from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.platform_client import Platform, make_bundle

# Runs in the environment that has the real package; prints the answers as one line of JSON.
_SCRIPT = """
import json, sys
from blankly.deployment.api import API

url, bundle = sys.argv[1:]
api = API(sys.stdin.read(), override_url=url)
answers = {}
answers["exchange_token"] = api.auth_data
answers["get_status"] = api.get_status()
answers["get_plans"] = {type_: api.get_plans(type_) for type_ in ("live", "backtesting")}
answers["create_project"] = project = api.create_project("Fund", "Ours")
answers["list_projects"] = api.list_projects()
answers["list_teams"] = api.list_teams()
answers["create_model"] = strategy = api.create_model(None, "strategy", "Cross", "Golden")
screener = api.create_model(project["projectId"], "screener", "Dips", "Buys")
answers["create_model_in_project"] = screener
answers["list_models"] = api.list_models()
answers["list_all_models"] = api.list_all_models()
answers["get_starter_models"] = api.get_starter_models()
answers["deploy"] = deployed = api.deploy(
    bundle, strategy["modelId"], "First", "3.10", "strategy", "nano")
answers["deploy_screener"] = api.deploy(
    bundle, screener["modelId"], "Scan", "3.10", "screener", "micro",
    schedule="30 14 * * 1-5", project_id=project["projectId"])
answers["backtest"] = api.backtest(
    bundle, strategy["modelId"], {"to": "1y"}, "slow", "strategy", "3.10")
answers["backtest_deployed"] = api.backtest_deployed(
    strategy["modelId"], {"to": "2y"}, deployed["versionId"], "Again")
answers["get_details"] = api.get_details(api.user_id, strategy["modelId"])
answers["generate_keys"] = api.generate_keys(project["projectId"], "Laptop")
answers["deploy_unknown_plan"] = api.deploy(
    bundle, strategy["modelId"], "Second", "3.10", "strategy", "giant")
print()
print(json.dumps(answers))
"""


def test_the_packages_own_client_works_in_every_method(
    platform: Platform, blankly_python: Path, tmp_path: Path
) -> None:
    """The unmodified client of the `blankly` package."""
    bundle = tmp_path / "model.zip"
    bundle.write_bytes(make_bundle(**{"bot.py": "print()"}))
    result = subprocess.run(
        [str(blankly_python), "-c", _SCRIPT, platform.server.url, str(bundle)],
        input=platform.refresh_token,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])

    assert answers["exchange_token"]["data"]["user_id"] == platform.user_id
    # The client cannot show text that is not JSON, and the original's status is none.
    assert answers["get_status"] is None
    assert "Invalid Response: <Response [200]>" in result.stdout
    assert set(answers["get_plans"]["live"]) == {"nano", "micro", "small", "medium", "large"}
    assert set(answers["get_plans"]["backtesting"]) == {"slow"}
    project_id = answers["create_project"]["projectId"]
    assert [project["name"] for project in answers["list_projects"]] == ["Personal", "Fund"]
    assert answers["list_teams"] == [{"id": project_id, "name": "Fund"}]

    strategy, screener = answers["create_model"], answers["create_model_in_project"]
    assert (strategy["projectId"], screener["projectId"]) == (platform.user_id, project_id)
    assert [model["modelId"] for model in answers["list_models"]] == [strategy["id"]]
    assert [(model["modelId"], model.get("team")) for model in answers["list_all_models"]] == [
        (strategy["id"], None),
        (screener["id"], {"id": project_id, "name": "Fund"}),
    ]
    assert answers["get_starter_models"] == []

    assert answers["deploy"]["status"] == "success"
    assert answers["deploy"]["modelId"] == strategy["id"]
    assert answers["deploy_screener"]["projectId"] == project_id
    assert answers["backtest"]["status"] == "success"
    assert answers["backtest_deployed"] == {}
    details = answers["get_details"]
    assert [version["versionId"] for version in details["versions"]] == [
        answers["deploy"]["versionId"]
    ]
    assert [(each["versionId"], each["args"]) for each in details["backtests"]] == [
        (answers["backtest"]["versionId"], {"to": "1y"}),
        (answers["deploy"]["versionId"], {"to": "2y"}),
    ]
    assert set(answers["generate_keys"]) == {"apiKey", "apiPass"}
    assert "'giant'" in answers["deploy_unknown_plan"]["error"]
