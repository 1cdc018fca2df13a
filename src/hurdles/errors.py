"""The exception tree.

::

    HurdlesError
    ├── ManifestError (ValueError)        a table of images that does not say what it must
    │   └── SplitError                    a split that leaks, or cannot be made
    ├── CollectionError (ValueError)      a folder that is not the collection it should be
    ├── ImageError (OSError)              one image; ``.path`` says which
    │   ├── NotAnImageError               no decoder knows these bytes
    │   ├── TruncatedImageError           the file ends early or is damaged
    │   ├── ImageTooLargeError            more pixels than allowed (decompression bomb)
    │   ├── ConstantImageError            every pixel has the same value
    │   ├── MultiFrameError               a film or a volume, not one radiograph
    │   ├── UnsupportedImageError         a known format in a form that no installed decoder reads
    │   └── LungsNotFoundError            a readable image in which no two lungs were found
    ├── CacheError (OSError)              the cache of prepared pixels cannot be used
    ├── OutputError (OSError)             a file that cannot be written, or must not be replaced
    ├── RecipeError (ValueError)          an experiment that is not well defined
    ├── RunError (ValueError)             a run folder missing, unfinished or of another recipe
    ├── RegistryError (ValueError)        an unknown name, or one given twice
    ├── EvaluationError (ValueError)      numbers that no metric can be computed from
    ├── SpecError (ValueError)            a spec of a model that contradicts itself or the model
    ├── ModelError (ValueError)           a model from elsewhere that cannot be read or asked
    └── HurdleError (ValueError)          a hurdle that cannot be run on these images

Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

__all__ = [
    "CacheError",
    "CollectionError",
    "ConstantImageError",
    "EvaluationError",
    "HurdleError",
    "HurdlesError",
    "ImageError",
    "ImageTooLargeError",
    "LungsNotFoundError",
    "ManifestError",
    "ModelError",
    "MultiFrameError",
    "NotAnImageError",
    "OutputError",
    "RecipeError",
    "RegistryError",
    "RunError",
    "SpecError",
    "SplitError",
    "TruncatedImageError",
    "UnsupportedImageError",
]


class HurdlesError(Exception):
    """Base of every error that hurdles raises on purpose.

    `options` are those which, added to the command as it was typed, let it go on; the command line
    prints that command below the message.
    """

    options: tuple[str, ...] = ()

    def unless(self, *options: str) -> Self:
        """Return the error itself, with the options that let the command go on."""
        self.options = options
        return self


class ManifestError(HurdlesError, ValueError):
    """A manifest lacks something that it must say, or contradicts itself."""


class SplitError(ManifestError):
    """A split leaks a patient, or cannot be made from these rows."""


class CollectionError(HurdlesError, ValueError):
    """A folder does not have the layout of the collection it was said to be."""


class ImageError(HurdlesError, OSError):
    """One image could not be used.

    Parameters
    ----------
    message : str
        What is wrong and what to do, without the path.
    path : str or Path, optional
        The image; attached on the way out where the raiser does not know it.
    """

    def __init__(self, message: str, path: str | Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else Path(path)

    def __str__(self) -> str:
        return self.message if self.path is None else f"{self.path}: {self.message}"

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, Path | None]]:
        # OSError would pickle only its args, and the path would be lost between processes.
        return (type(self), (self.message, self.path))


class NotAnImageError(ImageError):
    """No decoder knows these bytes."""


class TruncatedImageError(ImageError):
    """The file ends early, or its content is damaged."""


class ImageTooLargeError(ImageError):
    """The header announces more pixels than are allowed (a decompression bomb)."""


class ConstantImageError(ImageError):
    """Every pixel has the same value, so there is nothing to see."""


class MultiFrameError(ImageError):
    """The file holds several frames: a film or a volume, not one radiograph."""


class UnsupportedImageError(ImageError):
    """The format is known, but no installed decoder reads this form of it."""


class LungsNotFoundError(ImageError):
    """The image can be read, but what was found in it cannot be two lungs."""


class CacheError(HurdlesError, OSError):
    """The cache of prepared pixels cannot be read or written."""


class OutputError(HurdlesError, OSError):
    """An output cannot be written, or would replace what must stay."""


class RecipeError(HurdlesError, ValueError):
    """An experiment is not well defined."""


class RunError(HurdlesError, ValueError):
    """A run folder is missing, unfinished, or belongs to another recipe."""

    @classmethod
    def missing(cls, path: str | Path) -> Self:
        """Return the error for a file that a run's folder lacks: never written, or gone since."""
        return cls(
            f"{path} is missing. If the run was not finished, finish it with --resume; if the file "
            "was removed since, restore it, or make the run again in another folder."
        )


class RegistryError(HurdlesError, ValueError):
    """A name is unknown, or was registered twice."""


class EvaluationError(HurdlesError, ValueError):
    """No metric can be computed from these numbers."""


class SpecError(HurdlesError, ValueError):
    """The spec of a model contradicts itself, or the file of the model."""


class ModelError(HurdlesError, ValueError):
    """A model from elsewhere cannot be read, or its answers are not what they must be."""


class HurdleError(HurdlesError, ValueError):
    """A hurdle cannot be run on these images or this model; the message says what is missing."""
