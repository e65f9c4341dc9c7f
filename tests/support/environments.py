"""What stands in for the environments of models where no packages are installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy_action.errors import Problem
from deploy_action.platform.environments import Environment, Environments


class OnePython(Environments):
    """Gives every model the same Python, with the packages that it has."""

    def __init__(
        self,
        python: Path,
        *,
        constraints: tuple[str, ...] = (),
        was_made: bool = False,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(Path("unused"), environ={})
        self._environment = Environment(
            python=python,
            python_version="3.11.7",
            blankly_version="1.18",
            constraints=constraints,
            was_made=was_made,
            problems=problems,
        )

    @contextmanager
    def acquire(self, *_: Any, **__: Any) -> Iterator[Environment]:
        yield self._environment
