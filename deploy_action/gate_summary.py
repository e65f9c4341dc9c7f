"""What a summary says of the gates."""
