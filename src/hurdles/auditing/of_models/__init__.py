"""Hurdles for a trained model. Importing this package registers them, in their order."""

from hurdles.auditing.hurdle import MODEL_HURDLES

from hurdles.auditing.of_models import views  # isort: skip
from hurdles.auditing.of_models import lungs_removed  # isort: skip
from hurdles.auditing.of_models import source  # isort: skip
from hurdles.auditing.of_models import elsewhere  # isort: skip
from hurdles.auditing.of_models import attention  # isort: skip
from hurdles.auditing.of_models import perturbations  # isort: skip
from hurdles.auditing.of_models import hospital_swap  # isort: skip
from hurdles.auditing.of_models import calibration  # isort: skip
from hurdles.auditing.of_models import subgroups  # isort: skip
from hurdles.auditing.of_models import stability  # isort: skip

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
