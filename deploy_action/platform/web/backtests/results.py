"""Stored results of backtests, as pages show them: read once, for as long as they are looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy_action.backtest.period.windows import Window, why_not_of
from deploy_action.backtest.wire import WrongResultError, parse_result, parse_run
from deploy_action.errors import read_problems
from deploy_action.platform.storage.records import Backtest, BacktestStatus
from deploy_action.platform.web.backtests.computed_views import COMPUTED_VIEWS
from deploy_action.records import dataclass
from deploy_action.text.quantities import size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deploy_action.backtest.result import BacktestResult
    from deploy_action.backtest.trades import Trade
    from deploy_action.pages.backtest import BacktestView

# Reading takes up to seven times as much memory.
_LARGEST: Final = 64 << 20
_NAME: Final = "Strategy"
_WITH_RESULT: Final = frozenset({BacktestStatus.FINISHED, BacktestStatus.FAILED})
_REMOVED: Final = (
    "The result was removed since: a server that cleans up keeps results for a limited time."
)


@dataclass(frozen=True, slots=True)
class ShownResult:
    """What is shown of a result: its view, the data of its charts, and its orders.

    `why_not_of_window` says why it is not that of the window that was asked for, blank if it is, or
    if that was none.
    """

    view: BacktestView
    charts: Mapping[str, object]
    orders: Sequence[Trade]
    why_not_of_window: str


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a result cannot be shown, in a sentence; `is_fault` says that it should be there."""

    sentence: str
    is_fault: bool = False


def show_result(path: Path, backtest: Backtest) -> ShownResult | Lack:
    """Return what is shown of the result at a path, or why there is nothing to show."""
    if backtest.status not in _WITH_RESULT:
        return Lack("It has no result.")
    try:
        status = path.stat()
    except FileNotFoundError:
        has_failed = backtest.status == BacktestStatus.FAILED
        return Lack("It has no result." if has_failed else _REMOVED)
    # A reader who sorts and turns pages asks for it again and again.
    facts = (json.dumps(backtest.run), json.dumps(backtest.args))
    place = backtest.window
    window = None if place is None else Window.of_arguments(place.name, backtest.args)
    return COMPUTED_VIEWS.get(
        (path, status.st_mtime_ns, *facts), status.st_size, lambda: _shown(path, *facts, window)
    )


def _shown(path: Path, run: str, arguments: str, window: Window | None) -> ShownResult | Lack:
    from deploy_action.pages.backtest import view_backtest
    from deploy_action.pages.charts import chart_data

    result = read_result(path)
    if isinstance(result, Lack):
        return result
    facts = json.loads(run)
    problems = read_problems(facts.get("problems"))
    parsed = parse_run(facts)
    used = None if parsed is not None and parsed.arguments is not None else json.loads(arguments)
    view = view_backtest(result, parsed, problems=problems, arguments=used)
    why_not = "" if window is None else why_not_of(window, result)
    return ShownResult(view, chart_data([(_NAME, result)]), result.trades, why_not)


def read_result(path: Path) -> BacktestResult | Lack:
    """Read a stored result, or say why that is not possible."""
    try:
        found = path.stat().st_size
        if found > _LARGEST:
            return Lack(
                f"The result has {size(found)}, and results of up to {size(_LARGEST)} are shown "
                "here. The API sends it (POST /model/details)."
            )
        return parse_result(path.read_bytes())
    except FileNotFoundError:
        return Lack(_REMOVED)
    except OSError as error:
        return Lack(f"The result cannot be read from the disk: {error.strerror}.", is_fault=True)
    except WrongResultError as error:
        return Lack(f"The result is not as it should be: {error}.", is_fault=True)
