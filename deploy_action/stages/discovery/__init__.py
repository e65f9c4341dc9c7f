"""Which models a repository has, and which of them changed."""
