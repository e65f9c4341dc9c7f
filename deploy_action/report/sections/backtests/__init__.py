"""What a summary says of several backtests: windows, sweeps, and parts of them."""
