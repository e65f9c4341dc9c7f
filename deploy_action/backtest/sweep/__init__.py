"""Sweeps: many backtests of one bundle, with other arguments or variables."""
