from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from deploy_action.model.json_schema import fits
from deploy_action.model.manifest import Manifest, load_manifest
from deploy_action.model.manifest_checks import schema_text
from deploy_action.text.located_json import parse_json

SCHEMA: dict[str, Any] = json.loads(schema_text())
FIXTURES = Path(__file__).parent / "manifests"
POSITIVE = sorted((FIXTURES / "positive").glob("*.json"))
NEGATIVE = sorted((FIXTURES / "negative").glob("*.json"))
# The signature of Strategy.backtest() in blankly 1.18, and the settings of backtest.json it takes.
BACKTEST_ARGUMENTS = {
    "GUI_output",
    "benchmark_symbol",
    "cache_location",
    "continuous_caching",
    "end_date",
    "ignore_user_exceptions",
    "initial_values",
    "quote_account_value_in",
    "resample_account_value_for_metrics",
    "risk_free_return_rate",
    "save_initial_account_value",
    "settings_path",
    "show_progress_during_backtest",
    "show_tickers_with_zero_delta",
    "smooth_prices",
    "start_date",
    "to",
    "use_price",
}


def described_keys() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each key that an editor can complete, with its part of the schema."""
    for name, key in SCHEMA["properties"].items():
        yield name, key
    yield "screener.schedule", SCHEMA["properties"]["screener"]["properties"]["schedule"]
    for name, key in SCHEMA["$defs"]["backtest_args"]["properties"].items():
        yield f"backtest_args.{name}", key


def test_it_is_a_sound_schema_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$id"].startswith("https://")
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("name", "key"), list(described_keys()))
def test_an_editor_can_explain_every_key(name: str, key: dict[str, Any]) -> None:
    assert key["title"], name
    assert key["description"].endswith(".")
    assert len(key["description"]) > 20
    assert "default" in key
    assert key["examples"]
    validator = Draft202012Validator({**key, "$defs": SCHEMA["$defs"]})
    for value in (*key["examples"], key["default"]):
        assert validator.is_valid(value), (name, value)


def test_it_knows_every_key_of_a_manifest() -> None:
    fields = {field.name for field in dataclasses.fields(Manifest)}
    expected = fields - {"secrets", "document", "schedule"}
    assert set(SCHEMA["properties"]) == expected | {"$schema", "screener", "api_key", "api_pass"}


def test_it_knows_every_argument_of_a_backtest() -> None:
    assert set(SCHEMA["$defs"]["backtest_args"]["properties"]) == BACKTEST_ARGUMENTS


def test_the_defaults_it_shows_are_those_that_apply(tmp_path: Path) -> None:
    (tmp_path / "blankly.json").write_text("{}")
    manifest, _ = load_manifest(tmp_path)
    assert manifest is not None
    for name in ("main_script", "requirements", "working_directory", "backtest_args", "type"):
        assert SCHEMA["properties"][name]["default"] == getattr(manifest, name)
    assert SCHEMA["properties"]["ignore_files"]["default"] == list(manifest.ignore_files)


def test_unknown_keys_are_left_to_the_warnings() -> None:
    """A newer server may know the key, so it must not stop a deploy."""
    Draft202012Validator(SCHEMA).validate({"region": "eu", "backtest_args": {"fees": 0.1}})


def test_there_are_fixtures() -> None:
    """The two tests below would pass on empty folders."""
    assert len(POSITIVE) >= 4
    assert len(NEGATIVE) >= 6


@pytest.mark.parametrize("path", POSITIVE, ids=lambda path: path.stem)
def test_good_manifests_pass_the_schema_and_the_reader(path: Path, tmp_path: Path) -> None:
    (tmp_path / "blankly.json").write_bytes(path.read_bytes())
    manifest, problems = load_manifest(tmp_path)
    assert problems == ()
    assert manifest is not None
    Draft202012Validator(SCHEMA).validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("path", NEGATIVE, ids=lambda path: path.stem)
def test_bad_manifests_get_the_errors_written_beside_them(path: Path, tmp_path: Path) -> None:
    """A `.txt` of the same name lists them, one a line: line, column, message."""
    (tmp_path / "blankly.json").write_bytes(path.read_bytes())
    _, problems = load_manifest(tmp_path)
    found = [
        f"{item.line}:{item.column}: {item.severity.value}: {item.message}" for item in problems
    ]
    assert found == path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()


# Values that may stand at any key: of each kind, and at the edges of what is allowed.
ANY = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -1, 1.5, "", "1d", "3.10", "3.10.", "true", "nano"])
    | st.text(max_size=3),
    lambda values: (
        st.lists(values, max_size=2)
        | st.dictionaries(st.sampled_from(["USD", "schedule", ""]), values, max_size=2)
    ),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(st.sampled_from(sorted({*BACKTEST_ARGUMENTS, "x"})), ANY, max_size=6)
MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*SCHEMA["properties"], "x"], ANY),
        "backtest_args": ARGUMENTS | ANY,
    },
)


@given(manifest=MANIFESTS | ANY)
def test_a_manifest_is_checked_closer_whenever_the_schema_refuses_it(manifest: Any) -> None:
    assert fits(manifest, SCHEMA) == Draft202012Validator(SCHEMA).is_valid(manifest)


@pytest.mark.parametrize("path", [*POSITIVE, *NEGATIVE], ids=lambda path: path.stem)
def test_the_short_check_and_the_schema_agree_on_an_example(path: Path) -> None:
    manifest = parse_json(path.read_bytes()).value
    assert fits(manifest, SCHEMA) == Draft202012Validator(SCHEMA).is_valid(manifest)
