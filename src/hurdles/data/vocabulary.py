"""Closed vocabularies, with the standard's own terms."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["MissingPatients", "OnBad", "Sex", "Split", "SplitScheme", "View"]


class View(StrEnum):
    """Projection of a chest radiograph, DICOM View Position (0018,5101) where it has a term."""

    PA = "PA"
    AP = "AP"
    AP_SUPINE = "AP Supine"
    LATERAL = "LL"

    @property
    def is_frontal(self) -> bool:
        """Whether the beam goes from front to back, or from back to front."""
        return self is not View.LATERAL


class Sex(StrEnum):
    """DICOM Patient's Sex (0010,0040)."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"


class Split(StrEnum):
    """What an image is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class SplitScheme(StrEnum):
    """Ways to split that the program knows by name; `hurdles.data.split` registers all."""

    AUTO = "auto"
    GIVEN = "given"
    PATIENT = "patient"


class MissingPatients(StrEnum):
    """What a split does with images whose patient is not known."""

    REFUSE = "refuse"
    ONE_EACH = "one-each"


class OnBad(StrEnum):
    """What a batch does with a file that cannot be read."""

    SKIP = "skip"
    STOP = "stop"
