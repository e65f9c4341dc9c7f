"""Which files of a model are packed, and how the zip is written."""
