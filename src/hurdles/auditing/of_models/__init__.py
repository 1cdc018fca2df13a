"""Hurdles for a trained model. Importing this package registers them, in their order."""
