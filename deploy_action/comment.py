"""The comment on a pull request: one for each model, found again and kept up to date."""
