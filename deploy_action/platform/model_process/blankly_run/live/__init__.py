"""Runs models live, and stops them with their teardown."""
