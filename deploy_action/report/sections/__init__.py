"""The parts of a summary: pure functions from a run to blocks of a document."""
