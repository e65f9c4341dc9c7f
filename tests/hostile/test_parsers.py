"""Whatever others write is read or refused, and shown as text and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from deploy_action.errors import Problem
from tests.hostile.parsers import PARSERS, Said
from tests.support.hostile import explore
from tests.support.judges import judge_problems, judge_texts
from tests.support.torture import Rounds


@pytest.mark.torture(quick=1)
@pytest.mark.parametrize("parser", PARSERS)
def test_what_is_read_is_shown_as_text_and_nothing_else(
    rounds: Rounds, parser: Callable[[Random], Said]
) -> None:
    def check(chance: Random) -> None:
        said = [*parser(chance)]
        judge_problems(one for one in said if isinstance(one, Problem))
        judge_texts(one for one in said if isinstance(one, str))

    explore(rounds, "inputs", check, examples=15)
