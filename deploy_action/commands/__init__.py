"""The commands of `blankly-deploy` that are not modes of the action."""
