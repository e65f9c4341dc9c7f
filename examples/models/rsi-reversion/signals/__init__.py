"""The rules of this model, apart from the trading: prices in, a signal out."""

from signals.reversion import Signal, reversion_signal

__all__ = ["Signal", "reversion_signal"]
