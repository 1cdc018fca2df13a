"""Hurdles for a trained model. Importing this package registers them, in their order."""

from hurdles.auditing.hurdle import MODEL_HURDLES

__all__ = ["MODEL_HURDLES"]
