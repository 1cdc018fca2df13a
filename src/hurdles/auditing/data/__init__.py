"""Hurdles for data: no model is needed. Importing this package registers them, in their order."""

from hurdles.auditing.data import confounders, duplicates, files, patients, pixels, size
from hurdles.auditing.hurdle import DATA_HURDLES

__all__ = ["DATA_HURDLES", "confounders", "duplicates", "files", "patients", "pixels", "size"]
