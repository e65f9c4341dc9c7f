"""The embedded Deployment API: the hosted service's routes, backed by SQLite and files."""
