"""The inputs of `action.yml`, read once and frozen."""
