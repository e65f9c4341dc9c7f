"""Running backtests."""
