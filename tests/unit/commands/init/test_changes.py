"""What `init` adds to a model, and that all else stays as it was."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from deploy_action.commands.init.changes import SCHEMA, Change, changes_of, template, with_schema
from deploy_action.errors import InvalidInputError, RefusedError
from deploy_action.model.manifest import load_manifest
from tests.conftest import write_model

ROOT = Path(__file__).parents[4]
LINE = f'"$schema": "{SCHEMA}"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{\n  "plan": "nano"\n}\n', f'{{\n  {LINE},\n  "plan": "nano"\n}}\n'),
        ('{\n\t"plan": "nano"}', f'{{\n\t{LINE},\n\t"plan": "nano"}}'),
        ('{\r\n    "a": 1\r\n}\r\n', f'{{\r\n    {LINE},\r\n    "a": 1\r\n}}\r\n'),
        ('\ufeff{"a":1, "b" :2}', f'\ufeff{{{LINE}, "a":1, "b" :2}}'),
        ("{}", f"{{{LINE}}}"),
        ("{\n}", f"{{\n{LINE}}}"),
    ],
    ids=["spaces", "tab", "CRLF", "BOM, one line", "empty", "empty, two lines"],
)
def test_the_schema_is_added_and_nothing_else_changes(before: str, after: str) -> None:
    assert with_schema(before) == after
    parsed = json.loads(before.removeprefix("\ufeff"))
    assert json.loads(after.removeprefix("\ufeff")) == {"$schema": SCHEMA, **parsed}


@pytest.mark.parametrize(
    "text", [f"{{{LINE}}}", '{"$schema": "x"}', "[]", '{"a": 1,}', '{"a" 1}', "", "// c\n{}"]
)
def test_a_file_that_has_a_schema_or_a_mistake_is_left_alone(text: str) -> None:
    assert with_schema(text) is None


def added(model: Path) -> dict[str, Change]:
    manifest, _ = load_manifest(model)
    assert manifest is not None
    return {str(one.path.relative_to(model)): one for one in changes_of(model, manifest)}


def test_a_model_gets_the_settings_that_it_lacks(model: Path) -> None:
    assert set(added(model)) == {"blankly.json"}
    (model / "settings.json").unlink()
    assert set(added(model)) == {"blankly.json", "settings.json"}
    (model / "backtest.json").unlink()
    assert set(added(model)) == {"blankly.json", "settings.json", "backtest.json"}


def test_they_go_where_the_script_runs(tmp_path: Path) -> None:
    model = write_model(tmp_path, working_directory="./work")
    (model / "work").mkdir()
    assert set(added(model)) == {"blankly.json", "work/settings.json", "work/backtest.json"}


def test_a_screener_needs_no_settings_of_backtests(tmp_path: Path) -> None:
    model = write_model(tmp_path, type="screener", screener={"schedule": "30 14 * * 1-5"})
    (model / "backtest.json").unlink()
    assert set(added(model)) == {"blankly.json"}


def test_settings_that_a_script_names_itself_are_its_own(model: Path) -> None:
    (model / "settings.json").unlink()
    (model / "bot.py").write_text("blankly.Alpaca(settings_path='config.json')")
    assert set(added(model)) == {"blankly.json"}


@pytest.mark.parametrize(
    ("symbols", "currency"),
    [
        ("'BTC-USDT'", "USDT"),
        ("'BTC-USD', 'ETH-USD'", "USD"),
        ("'A-EUR', 'B-USD'", "USD"),
        ("", "USD"),
    ],
)
def test_values_are_counted_in_the_currency_of_the_symbols(
    model: Path, symbols: str, currency: str
) -> None:
    (model / "backtest.json").unlink()
    (model / "bot.py").write_text(f"SYMBOLS = [{symbols}]")
    settings = json.loads(added(model)["backtest.json"].after)
    assert settings["settings"]["quote_account_value_in"] == currency


def test_the_settings_are_all_that_the_package_asks_for(blankly_python: Path) -> None:
    """For one that is missing, it prints a line at each start, and takes its own default."""
    (source,) = blankly_python.parents[1].glob("lib/*/site-packages/blankly/utils/utils.py")
    defaults = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.startswith("default_")
    }
    for name, default in (
        ("settings.json", defaults["default_general_settings"]),
        ("backtest.json", defaults["default_backtest_settings"]),
    ):
        ours = json.loads(template(name))
        assert ours.keys() == default.keys()
        assert ours["settings"].keys() == default["settings"].keys()


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("compose.yml", "server/compose.yml"),
        ("settings.json", "models/golden-cross/settings.json"),
        ("backtest.json", "models/golden-cross/backtest.json"),
    ],
)
def test_what_is_shipped_is_what_the_examples_show(name: str, example: str) -> None:
    assert template(name) == (ROOT / "examples" / example).read_text()


def test_a_file_that_came_or_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "settings.json"
    new = Change(path, None, "ours")
    new.write()
    with pytest.raises(InvalidInputError, match="was left alone"):
        new.write()
    with pytest.raises(InvalidInputError, match="was left alone"):
        Change(path, "theirs", "ours, again").write()
    assert path.read_text() == "ours"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "settings.json"
    with pytest.raises(RefusedError, match=f"{path} cannot be written: "):
        Change(path, None, "ours").write()
