"""Hurdles for a trained model. Importing this package registers them, in their order."""

from hurdles.auditing.hurdle import MODEL_HURDLES
from hurdles.auditing.model import (
    attention,
    calibration,
    elsewhere,
    hospital_swap,
    lungs_removed,
    perturbations,
    source,
    stability,
    subgroups,
    views,
)

__all__ = [
    "MODEL_HURDLES",
    "attention",
    "calibration",
    "elsewhere",
    "hospital_swap",
    "lungs_removed",
    "perturbations",
    "source",
    "stability",
    "subgroups",
    "views",
]
