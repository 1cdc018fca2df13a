"""Hurdles for a trained model. Importing this package registers them, in their order."""

from hurdles.auditing.hurdle import MODEL_HURDLES as MODEL_HURDLES

# Imported in the order in which they are run and shown, not in that of the alphabet.
# isort: off
from hurdles.auditing.model import (  # noqa: F401 - they register themselves
    views,
    sources,
    attention,
    alterations,
    acquisition,
    calibration,
    subgroups,
    stability,
)
# isort: on
