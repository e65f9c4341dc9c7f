"""Child processes: start, limit, isolate and end them."""
