"""The stages of a run, each returning what it did."""
