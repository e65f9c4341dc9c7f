"""Child processes: started, bounded, confined and ended."""
