"""What a server tells of a deployed model."""
