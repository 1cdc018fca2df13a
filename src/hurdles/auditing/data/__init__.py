"""Hurdles for data: no model is needed. Importing this package registers them, in their order."""

from hurdles.auditing.hurdle import DATA_HURDLES as DATA_HURDLES

# Imported in the order in which they are run and shown, not in that of the alphabet.
# isort: off
from hurdles.auditing.data import (  # noqa: F401 - they register themselves
    files,
    patients,
    duplicates,
    confounders,
    size,
)
# isort: on
