"""The overview of a model: what it does, what it reported, and its switches."""
