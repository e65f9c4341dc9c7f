"""What a run does in each mode, once its inputs are known."""
