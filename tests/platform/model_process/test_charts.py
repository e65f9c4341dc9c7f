"""Bokeh, with which the package draws, is imported when it is used, and is then the real one."""

from __future__ import annotations

from .conftest import HEAD, Model

SCRIPT = HEAD + (
    "import sys\n"
    "from blankly.exchanges.interfaces.paper_trade import backtest_controller as drawing\n"
    "strategy.add_bar_event(lambda *_: None, 'ASH-USD', resolution='1d')\n"
)
DRAWN = """
plot = drawing.figure(x_axis_type="datetime")
plot.add_tools(drawing.HoverTool(tooltips=[("price", "@price")]))
column = drawing.bokeh_columns([plot])

import bokeh.layouts, bokeh.models, bokeh.plotting

assert isinstance(column, bokeh.models.Column)
assert isinstance(plot, bokeh.plotting.figure)
assert isinstance(plot.tools[-1], bokeh.models.HoverTool)
assert issubclass(bokeh.models.HoverTool, bokeh.models.Tool)
"""


def test_a_backtest_that_draws_nothing_does_without(bot: Model) -> None:
    ran = bot.run(f"{SCRIPT}\nassert 'bokeh.models' not in sys.modules\n")
    assert ran.last["event"] == "finished", ran.problems


def test_a_script_draws_with_what_the_package_has_and_with_its_own(bot: Model) -> None:
    ran = bot.run(f"{SCRIPT}{DRAWN}")
    assert ran.problems == []
    assert ran.last["event"] == "finished"
