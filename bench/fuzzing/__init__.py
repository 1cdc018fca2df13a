"""Damaged and hostile inputs, each made from a number: what `bench/fuzz.py` puts to hurdles."""
