"""Experiments as data: recipes, their vocabularies, remedies by name, splits."""
