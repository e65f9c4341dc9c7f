"""Runs a backtest in the model's process. Python 3.8; needs only `blankly`."""
