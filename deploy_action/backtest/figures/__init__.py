"""What is computed from a result: metrics, drawdowns, round trips, and what holding made."""
