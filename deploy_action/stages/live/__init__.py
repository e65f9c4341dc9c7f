"""What a run does with a model that is deployed: follow it, start it, stop it."""
