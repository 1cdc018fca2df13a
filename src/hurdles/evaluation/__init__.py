"""Metrics, intervals and comparisons; no torch."""
