"""Hurdles for data: no model is needed. Importing this package registers them, in their order."""
