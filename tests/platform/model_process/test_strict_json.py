from __future__ import annotations

import datetime as dt
import enum
import json
import math
from collections import OrderedDict, deque
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.platform.model_process.blankly_run.strict_json import (
    encode,
    plain_arguments,
    write_json,
)
from deploy_action.text.strict_json import strict_loads


class Side(enum.Enum):
    BUY = "buy"


class Scalar:
    def __init__(self, value: object) -> None:
        self.value = value

    def tolist(self) -> object:
        return self.value


class Table:
    def to_dict(self, orient: str) -> list[dict[str, object]]:
        assert orient == "records"
        return [{"close": math.nan}]


class Broken:
    def __str__(self) -> str:
        raise RuntimeError


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([math.nan, math.inf, -math.inf, 1.5], [None, None, None, 1.5]),
        ((1, True, None, "é"), [1, True, None, "é"]),
        (Scalar(3), 3),
        ([Scalar(math.nan), math.nan], [None, None]),
        (Scalar([1.0, math.inf]), [1.0, None]),
        (Table(), [{"close": None}]),
        (Decimal("1.25"), 1.25),
        (Decimal("NaN"), None),
        ({"b", "a"}, ["a", "b"]),
        ({"b", 1}, [1, "b"]),
        (b"caf\xc3\xa9 \xff", "café �"),
        (Side.BUY, "buy"),
        (dt.datetime(2023, 1, 1, tzinfo=dt.UTC), 1_672_531_200.0),
        (dt.datetime(2023, 1, 1), 1_672_531_200.0),  # noqa: DTZ001  # without a zone on purpose
        (dt.date(2023, 1, 1), 1_672_531_200.0),
        (dt.timedelta(minutes=1), 60.0),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (OrderedDict(a=math.nan), {"a": None}),
        (Broken(), "Broken"),
        (complex(1, 2), "(1+2j)"),
        (
            {1: "a", 2.5: "b", None: "c", False: "d"},
            {"1": "a", "2.5": "b", "null": "c", "false": "d"},
        ),
        ({(1, 2): 1, Side.BUY: 2, False: 3}, {"(1, 2)": 1, "buy": 2, "false": 3}),
        (["\ud800", math.nan], ["?", None]),
        ([16**6_000, -(16**6_000), 10**299], [None, None, 10**299]),  # Python prints no more digits
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_becomes_what_json_has(value: object, expected: object) -> None:
    assert strict(encode(value)) == expected


def test_a_circular_list_is_cut() -> None:
    circle: list[object] = [math.nan]
    circle.append(circle)
    assert '"list"' in encode(circle)


def test_a_models_own_iterable_is_written_as_its_text() -> None:
    """Iterating could have side effects."""
    assert strict(encode(deque([1]))) == "deque([1])"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.floats() | st.integers(), inner)
        ),
        max_leaves=20,
    )
)
def test_anything_can_be_encoded(value: object) -> None:
    strict(encode(value))


def test_arguments_without_a_json_value_are_left_out() -> None:
    """The text of a function differs on every run."""

    class Array:
        dtype = "float64"

        def tolist(self) -> list[float]:
            return [1.5, 2.0]

    circle: list[object] = []
    circle.append(circle)
    given = {
        "to": "1y",
        "initial_values": {"USD": 10_000, Side.BUY: Decimal("1.5"), 3: None},
        "prices": Array(),
        "side": Side.BUY,
        "start_date": dt.datetime(2023, 1, 1, tzinfo=dt.UTC),
        "symbols": ("A", True, "\ud800"),
    }
    odd = {
        "callback": print,
        "nested": [{"a": [print]}],
        "keys": {print: 1},
        "set": {1},
        "nan": math.nan,
        "infinite": [math.inf],
        "long": 10**300,
        "circle": circle,
        "broken": Broken(),
        "many": [0] * 70_000,
    }

    assert plain_arguments({**odd, **given}) == {
        "to": "1y",
        "initial_values": {"USD": 10_000, "buy": 1.5, "3": None},
        "prices": [1.5, 2.0],
        "side": "buy",
        "start_date": 1_672_531_200.0,
        "symbols": ["A", True, "?"],
    }


def test_arguments_beyond_64_kib_are_left_out() -> None:
    half = "x" * (32 << 10)
    whole = {"a": "x" * ((64 << 10) - len('{"a": ""}'))}
    assert plain_arguments({"a": half, "b": half, "c": 1}) == {"a": half, "c": 1}
    assert plain_arguments(whole) == whole
    assert plain_arguments({"a": whole["a"] + "x"}) == {}


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.just(print),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.text() | st.floats() | st.integers(), inner)
            ),
            max_leaves=20,
        ),
    )
)
def test_any_arguments_can_be_read_strictly(arguments: dict[str, object]) -> None:
    plain = plain_arguments(arguments)
    assert strict_loads(json.dumps(plain, allow_nan=False).encode()) == plain


def test_a_long_list_is_written_in_pieces(tmp_path: Path) -> None:
    """And is one list; the odd values of one piece are those of that piece alone."""
    values = [{"time": number, "value": float(number)} for number in range(25_001)]
    values[12_345]["value"] = math.nan
    path = tmp_path / "result.json"
    write_json(str(path), {"account_values": values, "trades": [], "odd": math.inf})
    read = strict(path.read_text())
    assert read["odd"] is None
    assert read["trades"] == []
    assert read["account_values"][12_345] == {"time": 12_345, "value": None}
    read["account_values"][12_345]["value"] = values[12_345]["value"]
    assert read["account_values"] == values
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_an_empty_object_is_written(tmp_path: Path) -> None:
    write_json(str(tmp_path / "result.json"), {})
    assert strict((tmp_path / "result.json").read_text()) == {}


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(OSError, match="result"):
        write_json(str(tmp_path / "result.json"), {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
