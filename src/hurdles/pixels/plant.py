"""Shortcuts planted into images that exist: the phantoms' shortcuts, for real radiographs.

In a phantom a shortcut changes the parameters before anything is drawn (`hurdles.phantom`). An
image that exists can only be changed as it is, so each kind here is the alteration of pixels that
comes closest. Strengths are measured on phantoms that were drawn twice, with and without the
shortcut; a test holds both against each other. What would need another body or another hospital
(``body-size``, ``hospital``) cannot be planted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.phantom.render import collimate, mark
from hurdles.registry import Registry

__all__ = ["PLANTS", "Plant", "plant"]

Bytes = NDArray[np.uint8]
#: From one image (size, size) and its own random numbers to the planted one.
Change = Callable[[Bytes, np.random.Generator], Bytes]

#: Shift of a grey level's log-odds that the phantoms' exposure makes where the shortcut is, and
#: where it is not.
_BRIGHTER, _DARKER = 0.47, -0.27
#: Sigma, in pixels at 224, of the blur that turns a phantom's usual sharpness into a blurred one.
_BLUR = 1.65
#: Quality of the phantoms' shortcut.
_QUALITY = 18
#: Deviation of the grain in the log-odds of middle grey; with it, detector noise is fourfold. The
#: detector blurs it, by this sigma in pixels at 224.
_GRAIN, _DETECTOR = 0.21, 0.45
#: Narrowest and widest collimation, as a share of the side.
_BORDER = (0.04, 0.07)


@dataclass(frozen=True)
class Plant:
    """One kind of shortcut that can be put into an image.

    Parameters
    ----------
    says : str
        What a person sees where it is.
    present : callable
        ``(image, generator) -> image`` where the shortcut is.
    absent : callable, optional
        The same where it is not; None leaves the image as it is.
    """

    says: str
    present: Change
    absent: Change | None = None


#: What can be planted, by the names that the phantoms' shortcuts have.
PLANTS: Registry[Plant] = Registry("shortcut that can be planted into images")


def plant(name: str, pixels: Bytes, present: NDArray[np.bool_], *, seed: int = 0) -> Bytes:
    """Return images with a shortcut planted into some of them.

    A mark of this kind that an image has by nature stays, present or not: letters and collimators
    cannot be taken away without inventing what is below. So the shortcut's tie to the class is a
    little weaker than `present` says, as it is where shortcuts come from.

    Parameters
    ----------
    name : str
        One of `PLANTS`.
    pixels : uint8 array of shape (n, size, size)
        Left alone.
    present : bool array of shape (n,)
        In which of them. The others are returned as they are, but for ``brightness``: there they
        are darkened, as in the phantoms.
    seed : int
        Of the noise and of the borders' widths; image i has the same ones whatever the others are.

    Returns
    -------
    uint8 array of shape (n, size, size)

    Raises
    ------
    RegistryError
        If nothing of this name can be planted.
    ValueError
        If it is not said of every image whether it is present.

    Examples
    --------
    >>> images = np.full((2, 64, 64), 100, dtype=np.uint8)
    >>> made = plant("inversion", images, np.array([True, False]))
    >>> made[:, 0, 0].tolist()
    [155, 100]
    """
    kind = PLANTS.get(name)
    if np.shape(present) != (len(pixels),):
        raise ValueError(
            f"there are {len(pixels)} images, and `present` has the shape {np.shape(present)}; "
            "give one truth value for each image."
        )
    made = np.array(pixels, order="C")
    for i in range(len(made)):
        change = kind.present if present[i] else kind.absent
        if change is not None:
            made[i] = change(made[i], np.random.default_rng((seed, i)))
    return made


def _marked(image: Bytes, _: np.random.Generator) -> Bytes:
    made = image.copy()
    mark(made, "PORTABLE")
    return made


def _bordered(image: Bytes, rng: np.random.Generator) -> Bytes:
    left, top, right, bottom = rng.uniform(*_BORDER, size=4).tolist()
    made = image.copy()
    collimate(made, (left, top, right, bottom))
    return made


def _exposed(shift: float) -> Change:
    grey = (np.arange(256) + 0.5) / 256
    odds = grey / (1 - grey) * np.exp(shift)
    table = np.rint(256 * odds / (1 + odds) - 0.5).astype(np.uint8)
    return lambda image, _: np.asarray(table[image])


def _blurred(image: Bytes, _: np.random.Generator) -> Bytes:
    import cv2

    return np.asarray(cv2.GaussianBlur(image, (0, 0), _BLUR * image.shape[0] / 224))


def _compressed(image: Bytes, _: np.random.Generator) -> Bytes:
    import cv2

    code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _grained(image: Bytes, rng: np.random.Generator) -> Bytes:
    import cv2

    # Quantum noise is that of the signal behind the body, seen through the film curve: its
    # deviation is widest where grey is somewhat above the middle, and vanishes at both ends.
    grey = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / 256
    spread = np.float32(_GRAIN * 255) * grey * (1 - grey) * np.cbrt(grey / (1 - grey))
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), _DETECTOR * image.shape[0] / 224))
    return np.asarray(np.clip(np.rint(image + spread[image] * grain), 0, 255).astype(np.uint8))


def _inverted(image: Bytes, _: np.random.Generator) -> Bytes:
    return np.asarray(255 - image, dtype=np.uint8)


for _name, _plant in {
    "marker": Plant("the word PORTABLE burnt into a corner", _marked),
    "border": Plant("black collimation on all four sides", _bordered),
    "brightness": Plant("a brighter image", _exposed(_BRIGHTER), _exposed(_DARKER)),
    "blur": Plant("a blurred image (sigma about 1.8 pixels at 224)", _blurred),
    "jpeg": Plant(f"blocks of a JPEG of quality {_QUALITY}", _compressed),
    "inversion": Plant("bone is dark, air is bright", _inverted),
    "noise": Plant("four times the detector noise", _grained),
}.items():
    PLANTS.register(_name)(_plant)
