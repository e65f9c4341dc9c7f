"""HTTP for every part of the action: exchanges, failures in words, and certificates."""
