"""Remedies by name: changes of a recipe that are to make a network read the lungs."""

__all__: list[str] = []
