"""Verifying a result: its file, its page and its inputs are held against each other."""
