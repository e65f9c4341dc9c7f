"""The HTTP interface of the platform."""
