"""The client of the Deployment API: typed calls, and what may be repeated."""
