"""Whether what is stored is still what was written, and what to say if it is not."""
