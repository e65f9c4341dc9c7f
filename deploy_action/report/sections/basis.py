"""What the figures rest on, as a paragraph."""

from __future__ import annotations

from deploy_action.backtest.figures import basis as words
from deploy_action.backtest.result import BacktestResult
from deploy_action.report.document import Block, Code, Line, Paragraph, prose


def basis(result: BacktestResult) -> list[Block]:
    """Return what a reader has to know about the figures, or which of it is not known."""
    parts = words.basis(result)
    return [Paragraph([inline for part in parts for inline in _inline(part)])]


def _inline(part: str) -> Line:
    if isinstance(part, words.Name):
        return [Code(part)]
    return prose(part) if isinstance(part, words.Words) else [part]
