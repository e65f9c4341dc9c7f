"""Deployed models: what should run, what does, and the way from the one to the other."""
