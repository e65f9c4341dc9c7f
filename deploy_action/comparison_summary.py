"""What a summary says of a comparison: metrics, trades, and what changes in production."""
