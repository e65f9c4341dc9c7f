from __future__ import annotations

import pytest

from deploy_action.errors import InvalidInputError
from deploy_action.inputs.parsing import CONSTRAINTS_VARIABLE, parse_switch


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
