"""One directory with a `blankly.json`: its manifest and its files."""
