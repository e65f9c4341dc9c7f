"""The backtests of a run, side by side, and the verdict on them."""
