"""The backtests that decide: of the candidate, and of what it is compared with."""
