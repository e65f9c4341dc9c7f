"""What is too good to be true in a backtest: signs of look-ahead and of over-fitting."""
