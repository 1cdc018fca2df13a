"""Public collections, one a file."""
