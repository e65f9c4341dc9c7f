"""What pages say of a model's backtests together: their figures, two of them, and their history."""
