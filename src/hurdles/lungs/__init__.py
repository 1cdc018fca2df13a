"""Lungs: found by a small network that ships with the package, and used as masks."""
