"""What the platform keeps on disk."""
