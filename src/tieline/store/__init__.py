"""What lasts: journal, registry and series on disk."""
