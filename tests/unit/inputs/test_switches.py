from __future__ import annotations

import pytest

from deploy_action.errors import InvalidInputError
from deploy_action.inputs.parsing import CONSTRAINTS_VARIABLE, parse_disk, parse_switch


def test_known_good_constraints_are_applied_by_default() -> None:
    """Without them blankly cannot be imported."""
    assert parse_switch({}, CONSTRAINTS_VARIABLE)
    assert parse_switch({CONSTRAINTS_VARIABLE: " "}, CONSTRAINTS_VARIABLE)


@pytest.mark.parametrize("word", ["on", "On", " on\n", "true", "True", "TRUE"])
def test_the_switch_of_constraints_is_on(word: str) -> None:
    assert parse_switch({CONSTRAINTS_VARIABLE: word}, CONSTRAINTS_VARIABLE)


@pytest.mark.parametrize("word", ["off", "OFF", " Off ", "false", "False", "FALSE"])
def test_the_switch_of_constraints_is_off(word: str) -> None:
    """YAML 1.1 reads an unquoted `off` as a boolean, and its tools write `false`."""
    assert not parse_switch({CONSTRAINTS_VARIABLE: word}, CONSTRAINTS_VARIABLE)


@pytest.mark.parametrize("word", ["0", "none", "offf", "on off", "x" * 5_000])
def test_another_word_for_the_switch_is_refused(word: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_switch({CONSTRAINTS_VARIABLE: word}, CONSTRAINTS_VARIABLE)
    (problem,) = caught.value.problems
    assert CONSTRAINTS_VARIABLE in problem.message
    assert f"`{word[:20]}" in problem.message
    assert len(problem.message) < 200
    assert "`on` or `off`" in problem.hint
    assert "`true` and `false`" in problem.hint


@pytest.mark.parametrize(
    ("text", "most"),
    [("", 5), (" ", 5), ("20", 20_000_000_000), ("0.5", 500_000_000), ("0", None), ("0.0", None)],
)
def test_what_models_may_write_is_given_in_gigabytes(text: str, most: int | None) -> None:
    assert parse_disk({"DISK": text}, "DISK", 5) == most
    assert parse_disk({}, "DISK", 5) == 5


@pytest.mark.parametrize("text", ["-1", "1e3", "10 GB", "nan", "inf", "9" * 5_000, "1."])
def test_what_models_may_write_is_a_number(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_disk({"DISK": text}, "DISK", 5)
    assert "in GB" in caught.value.problems[0].hint
