"""Findings of hurdles, their limits, the table of all of them, and the words for it."""
