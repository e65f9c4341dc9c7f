"""The period of a backtest: dates as the package reads them, windows, what the prices cover."""
