"""What a backtest found, and how two of them differ."""
