"""Which files of a model are packed, and the bytes of the zip."""
