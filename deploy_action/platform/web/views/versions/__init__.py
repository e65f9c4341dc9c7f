"""The pages about the versions of a model."""
