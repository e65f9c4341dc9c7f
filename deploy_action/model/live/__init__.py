"""What a deployed model will do, as far as its source tells: warnings before it is too late."""
