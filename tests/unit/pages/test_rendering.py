"""What the filters of the templates make of values that are no numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from deploy_action.pages.rendering import Renderer, to_json

NO_NUMBERS = (math.nan, math.inf, -math.inf, None)


@pytest.mark.parametrize("name", ["moment", "second", "day", "ago", "money", "size"])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_shown_as_unknown(
    name: str, value: float | None, tmp_path: Path
) -> None:
    (tmp_path / "one.html").write_text(f"{{{{ value|{name} }}}}")
    shown = Renderer(tmp_path, clock=lambda: 1_700_000_000.0).render("one.html", {"value": value})
    assert shown == "\N{EN DASH}"


def test_what_is_no_number_is_null_in_json() -> None:
    value = {"a": [1.5, math.nan, (math.inf, 2)], "b": "nan", "c": -math.inf}
    assert to_json(value) == '{"a":[1.5,null,[null,2]],"b":"nan","c":null}'
