from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.backtest.model_changes import (
    Changed,
    FileChanges,
    LiveModel,
    ModelChanges,
    compare_models,
)
from deploy_action.backtest.runs_on import RunsOn
from deploy_action.backtest.wire import parse_run
from deploy_action.bundle.bundle import Bundle, write_bundle
from deploy_action.bundle.selection import select_files
from deploy_action.text.located_json import JsonValue
from tests.conftest import write_model

NOTHING = ModelChanges(facts=(), requirements=(), files=FileChanges())
MODEL = LiveModel(
    runs_on=RunsOn(plan="nano", python_version="3.10"), requirements={}, bundle_path=None
)


def running_on(**changes: Any) -> LiveModel:
    return replace(MODEL, runs_on=replace(MODEL.runs_on, **changes))


TEXT = st.text(max_size=8)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
ARGUMENTS = st.dictionaries(TEXT, JSON, max_size=3)


def ran(**said: object) -> LiveModel:
    return replace(MODEL, run=parse_run(said))


def facts(base: LiveModel, candidate: LiveModel) -> list[tuple[str, str | None, str | None]]:
    """Return the facts that differ, and check that nothing else does."""
    changes = compare_models(base, candidate)
    assert changes == replace(NOTHING, facts=changes.facts)
    shown = [each.shortened() for each in changes.facts]
    return [(each.name, each.base, each.candidate) for each in shown]


def pack(directory: Path, **changes: str | None) -> Path:
    """Pack a model with these files, `a__py` for `a.py`; None removes one."""
    write_model(directory)
    for name, content in changes.items():
        path = directory / name.replace("__", ".")
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
    return _write(directory).path


def _write(directory: Path, **injected: bytes) -> Bundle:
    return write_bundle(
        select_files(directory, ()), directory.with_suffix(".zip"), injected=injected
    )


def test_what_did_not_change_is_not_listed() -> None:
    model = ran(symbols=["A"], schedule=[{"kind": "bar_event", "symbol": "A", "resolution": 60}])
    assert compare_models(model, model) == NOTHING


def test_plan_python_and_schedule_are_facts() -> None:
    candidate = running_on(plan="micro", python_version="3.11", schedule="0 9 * * 1")
    assert facts(MODEL, candidate) == [
        ("Plan", "nano", "micro"),
        ("Python version", "3.10", "3.11"),
        ("Schedule", None, "0 9 * * 1"),
    ]


def test_the_events_of_a_model_have_human_units() -> None:
    day = {"kind": "bar_event", "symbol": "OAK-USD", "resolution": 86_400}
    hours = {"kind": "bar_event", "symbol": "OAK-USD", "resolution": 14_400.0}
    weekly = {"kind": "scheduled_event", "symbol": "", "resolution": 604_800.0}
    tick = {"kind": "tick", "symbol": "OAK-USD", "resolution": None}
    base = ran(symbols=["OAK-USD"], exchanges=["keyless"], schedule=[day])
    candidate = ran(
        symbols=["OAK-USD", "FIR-USD"], exchanges=["alpaca"], schedule=[hours, weekly, tick]
    )

    assert facts(base, candidate) == [
        ("Symbols", "OAK-USD", "OAK-USD, FIR-USD"),
        ("Exchanges", "keyless", "alpaca"),
        (
            "Called for",
            "bar_event OAK-USD every day",
            "bar_event OAK-USD every 4 hours; scheduled_event every 7 days; tick OAK-USD",
        ),
    ]


def test_the_order_of_symbols_is_no_change_and_their_number_is() -> None:
    """A set in the model's code has another order on every run."""
    assert facts(ran(symbols=["A", "B"]), ran(symbols=["B", "A"])) == []
    assert facts(ran(symbols=[]), ran(symbols=["B"])) == [("Symbols", None, "B")]
    assert facts(ran(exchanges=["a"]), ran(exchanges=["a", "a"])) == [("Exchanges", "a", "a, a")]


def test_of_long_lists_only_the_difference_is_shown() -> None:
    many = [f"COIN{number}-USD" for number in range(40)]
    others = [f"{name}T" for name in many[:12]]
    (one,) = facts(ran(symbols=many), ran(symbols=[*many, "OAK-USD"]))
    assert one == ("Symbols", "40 that stay", "OAK-USD, 40 that stay")
    (two,) = facts(ran(symbols=many), ran(symbols=many[1:] + others))
    assert two[1] == "COIN0-USD, 39 that stay"
    assert two[2] == f"{', '.join(others[:8])}, 4 more, 39 that stay"


def test_without_a_run_no_facts_of_a_run_differ() -> None:
    assert facts(MODEL, ran(symbols=["A"])) == facts(ran(symbols=["A"]), MODEL) == []


def test_arguments_are_compared_one_by_one() -> None:
    """As JSON: a string is not a number, and null is not the same as missing."""
    before: dict[str, JsonValue] = {"to": "1y", "initial_values": {"USD": 1, "EUR": 2}, "a": 1}
    after: dict[str, JsonValue] = {"to": "2y", "initial_values": {"EUR": 2, "USD": 1}, "b": None}
    base, candidate = running_on(arguments=before), running_on(arguments=after)
    assert facts(base, candidate) == [
        ("Argument a", "1", None),
        ("Argument b", None, "null"),
        ("Argument to", '"1y"', '"2y"'),
    ]


def test_arguments_that_are_not_known_are_unchanged() -> None:
    """None means unknown; an empty mapping means that there are none."""
    given = running_on(arguments={"to": "1y"})
    assert facts(given, MODEL) == facts(MODEL, given) == []
    assert facts(given, running_on(arguments={})) == [("Argument to", '"1y"', None)]


def test_requirements_are_added_removed_and_moved() -> None:
    """A blank version means any version."""
    base = replace(MODEL, requirements={"blankly": "", "numpy": "<2", "old": ""})
    candidate = replace(MODEL, requirements={"blankly": "==1.18", "numpy": "<2", "new": ""})
    assert compare_models(base, candidate) == replace(
        NOTHING,
        requirements=(
            Changed("blankly", "", "==1.18"),
            Changed("new", None, ""),
            Changed("old", "", None),
        ),
    )


def test_files_are_compared_by_their_content(tmp_path: Path) -> None:
    base = pack(tmp_path / "base", keep__py="1", change__py="1", old__py="1", size__py="1")
    same = pack(tmp_path / "same", keep__py="1", change__py="1", old__py="1", size__py="1")
    candidate = pack(tmp_path / "now", keep__py="1", change__py="2", new__py="1", size__py="12")
    before = replace(MODEL, bundle_path=base)
    assert compare_models(before, replace(MODEL, bundle_path=same)) == NOTHING
    assert compare_models(before, replace(MODEL, bundle_path=candidate)).files == FileChanges(
        added=("new.py",), removed=("old.py",), changed=("change.py", "size.py")
    )
    assert compare_models(before, MODEL) == NOTHING


def test_a_new_executable_bit_is_a_change(tmp_path: Path) -> None:
    """The bundle keeps the executable bit, and the model may start the file."""
    models = []
    for name, mode in (("base", 0o644), ("now", 0o755)):
        directory = write_model(tmp_path / name)
        (directory / "fetch.sh").write_text("#!/bin/sh\n")
        (directory / "fetch.sh").chmod(mode)
        models.append(replace(MODEL, bundle_path=_write(directory).path))
    assert compare_models(*models).files == FileChanges(changed=("fetch.sh",))


def test_keys_and_empty_directories_are_compared_by_name_alone(tmp_path: Path) -> None:
    base, now = (write_model(tmp_path / name) for name in ("base", "now"))
    (now / "cache").mkdir()
    bundles = [
        _write(base, **{"keys.json": b'{"a": 1}'}).path,
        _write(now, **{"keys.json": b'{"a": 2}'}).path,
    ]
    before, after = (replace(MODEL, bundle_path=path) for path in bundles)
    assert compare_models(before, after).files == FileChanges(
        added=("cache/",), changed=("keys.json",)
    )


def test_the_same_checksum_does_not_make_a_file_the_same(tmp_path: Path) -> None:
    """CRC-32 is linear: anyone can give a file the checksum of another."""
    # Adding the CRC's own polynomial, bit by bit, to a message leaves its checksum as it is.
    polynomial = (0x1DB710641).to_bytes(5, "little")
    first = bytes(60)
    second = bytes(a ^ b for a, b in zip(first, polynomial + bytes(55), strict=True))
    paths = []
    for name, content in (("base", first), ("now", second)):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("model/weights.bin", content)
        paths.append(replace(MODEL, bundle_path=path))
    with zipfile.ZipFile(tmp_path / "base") as old, zipfile.ZipFile(tmp_path / "now") as new:
        assert old.infolist()[0].CRC == new.infolist()[0].CRC
    assert compare_models(*paths).files == FileChanges(changed=("weights.bin",))


@given(ARGUMENTS, ARGUMENTS)
def test_arguments_that_differ_are_shown_differently(
    base: Mapping[str, Any], candidate: Mapping[str, Any]
) -> None:
    shown = facts(running_on(arguments=base), running_on(arguments=candidate))
    assert all(before != now for _, before, now in shown)
    assert facts(running_on(arguments=base), running_on(arguments=base)) == []
    if base.keys() != candidate.keys():
        assert shown


NAMES = st.lists(st.text('AB,; "', max_size=4), max_size=12)


@given(NAMES, NAMES)
def test_lists_that_differ_are_shown_differently(base: list[str], candidate: list[str]) -> None:
    shown = facts(ran(symbols=base), ran(symbols=candidate))
    assert bool(shown) == (sorted(base) != sorted(candidate))
    assert all(before != now for _, before, now in shown)


@pytest.mark.parametrize("length", [0, 30, 239, 240, 241, 500])
@pytest.mark.parametrize("rest", ["", "x" * 600])
def test_long_values_are_cut_around_the_place_where_they_part(length: int, rest: str) -> None:
    same = "s" * length
    base, candidate = (running_on(plan=f"{same}{one}{rest}") for one in "ab")
    ((_, before, now),) = facts(base, candidate)
    assert before != now
    assert before is not None
    assert now == before.replace("a", "b")
    assert "a" in before
    assert len(before) <= 242


@given(st.text(), st.text())
def test_any_two_values_are_shown_differently(base: str, candidate: str) -> None:
    shown = facts(running_on(schedule=base * 99), running_on(schedule=candidate * 99))
    assert bool(shown) == (base != candidate)
    assert all(before != now for _, before, now in shown)
