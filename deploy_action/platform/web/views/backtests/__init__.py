"""The pages of a model's backtests: the list, two of them compared, and their history."""
