"""Deploy and backtest Blankly models from a commit."""

__version__ = "0.1.0"
