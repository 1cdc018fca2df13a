"""Hurdles for data: no model is needed. Importing this package registers them, in their order."""

from hurdles.auditing.hurdle import DATA_HURDLES

from hurdles.auditing.of_data import files  # isort: skip
from hurdles.auditing.of_data import patients  # isort: skip
from hurdles.auditing.of_data import duplicates  # isort: skip
from hurdles.auditing.of_data import confounders  # isort: skip
from hurdles.auditing.of_data import pixels  # isort: skip
from hurdles.auditing.of_data import size  # isort: skip

__all__ = ["DATA_HURDLES", "confounders", "duplicates", "files", "patients", "pixels", "size"]
