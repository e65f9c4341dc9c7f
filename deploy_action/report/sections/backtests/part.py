"""The summary of a part of a run: which part it is, and no verdict of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploy_action.backtest.sweep.cells import cells_of
from deploy_action.report.blocks import model_name
from deploy_action.report.document import Block, Heading, Paragraph
from deploy_action.text.quantities import count

if TYPE_CHECKING:
    from deploy_action.backtest.period.windows import WindowBacktest
    from deploy_action.backtest.sweep.combinations import Combination
    from deploy_action.backtest.sweep.shards import Part
    from deploy_action.outcome.backtests import Backtests
    from deploy_action.outcome.run_outcome import RunOutcome


def heading(outcome: RunOutcome, part: Part) -> Block:
    """Return the title of a part that ran to its end."""
    shard = part.shard
    return Heading([f"Part {shard.number:,} of {shard.of:,}: ", model_name(outcome)])


def statement(backtests: Backtests, part: Part) -> Block:
    """Say how much of the whole this part has done, and what judges it."""
    swept = backtests.sweep
    own = None if swept is None else swept.index_of_own()
    total = len(cells_of(len(part.windows), None if swept is None else swept.sweep, own))
    done = [one for one in _cells(backtests) if _is_done(one)]
    missing = sum(one.figures is None for one in done)
    but = f", {missing:,} of them without a result" if missing else ""
    combinations = ""
    if swept is not None:
        here = sum(_is_done(one) or any(map(_is_done, one.windows)) for one in swept.combinations)
        combinations = f" ({here:,} of {count(len(swept.combinations), 'combination')})"
    ran = f"this part ran {len(done):,} of {count(total, 'backtest')}{combinations}{but}"
    merged = "Nothing is judged here: `mode: merge` puts all parts together, and judges them."
    return Paragraph([f"Beside the model's own setting, {ran}. {merged}"])


def _is_done(one: Combination | WindowBacktest) -> bool:
    return one.figures is not None or bool(one.reason)


def _cells(backtests: Backtests) -> Iterator[Combination | WindowBacktest]:
    yield from backtests.windows
    for one in backtests.sweep.combinations if backtests.sweep is not None else ():
        yield one
        yield from one.windows
