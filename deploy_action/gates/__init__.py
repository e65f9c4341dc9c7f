"""Conditions on the metrics of a backtest, and their verdicts."""
