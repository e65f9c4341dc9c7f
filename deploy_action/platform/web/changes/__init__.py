"""What changed between two versions of a model: settings, files, and lines of their texts."""
