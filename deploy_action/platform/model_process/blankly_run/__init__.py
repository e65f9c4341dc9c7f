"""A backtest from inside the model's process: Python 3.8, the standard library, and `blankly`."""
