"""Keeps the prices that a model downloads, so that no backtest of it downloads them again."""
