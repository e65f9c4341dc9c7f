"""Reports of earlier jobs: which there are, and what is in them."""
