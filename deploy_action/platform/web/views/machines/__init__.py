"""Pages about programs: how they sign in, what they may ask, what monitors read."""
