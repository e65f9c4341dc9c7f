"""The figures of one backtest in the store, computed from its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy_action.backtest.figures.document import FiguresDocument, figures_document
from deploy_action.backtest.period.windows import Window, why_not_of

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.platform.storage.records import Backtest

# What is computed from a result takes several times its size.
_LARGEST: Final = 32 << 20


class NoFiguresError(ValueError):
    """A backtest has no figures; the message says why, as it follows a colon."""


def compute(path: Path, backtest: Backtest) -> FiguresDocument:
    """Return the figures of a backtest, whose result is at a path, and what is told of variables.

    Raises:
        NoFiguresError: there is no result, or it cannot be read.
    """
    from deploy_action.backtest.wire import WrongResultError, parse_result, parse_run

    try:
        if (size := path.stat().st_size) > _LARGEST:
            raise NoFiguresError(
                f"its result is too large ({size >> 20} MiB; they are computed up to"
                f" {_LARGEST >> 20} MiB)"
            )
        result = parse_result(path.read_bytes())
        if backtest.window is not None:
            window = Window.of_arguments(backtest.window.name, backtest.args)
            if window is not None and (reason := why_not_of(window, result)):
                raise NoFiguresError(reason)
    except FileNotFoundError:
        raise NoFiguresError("it has no result, or not any more") from None
    except (OSError, WrongResultError) as error:
        raise NoFiguresError(f"its result cannot be read: {error}") from error
    document = figures_document(result, parse_run(backtest.run), backtest.args)
    return {**document, "variables": backtest.run.get("variables")}
