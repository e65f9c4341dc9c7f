"""Reading `.git`: refs, commits and files."""
