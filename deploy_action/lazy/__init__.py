"""What is made when it is first used, so that a run starts faster."""
