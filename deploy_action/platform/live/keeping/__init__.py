"""The reconciler of one model, and what it works with."""
