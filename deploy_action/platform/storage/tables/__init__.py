"""The tables of deployed models: their lives, and what they report."""
