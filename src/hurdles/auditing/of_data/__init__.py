"""Hurdles for data: no model is needed. Importing this package registers them, in their order."""

from hurdles.auditing.hurdle import DATA_HURDLES

__all__ = ["DATA_HURDLES"]
