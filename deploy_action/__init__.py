"""Deploy and backtest Blankly models from a commit."""

__version__ = "1.0.0"
