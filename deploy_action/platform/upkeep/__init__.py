"""Keeping the data directory small and safe: cleaning, backup and restore."""
