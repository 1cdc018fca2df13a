"""Preparations: from decoded pixels of any size to the square of bytes that networks get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import LungsNotFoundError, RecipeError
from hurdles.pixels.equalize import clahe, equalize, harmonize, scale_to
from hurdles.registry import Registry

if TYPE_CHECKING:
    from hurdles.pixels.cache import PixelPreparation

__all__ = ["PREPARATIONS", "Preparation"]

#: Around the lungs' box, as a share of its height or width on each side: the pleura stays in the
#: picture where the mask is a little too tight, and most markers stay out.
CROP_MARGIN = 0.05

#: Blanked around the lungs for ``background``, as a share of their height: masks end a little
#: inside the lungs, and a rim of them would be left.
BLANK_MARGIN = 0.05

#: Part of every key. Raise it when `resize_square` or the rounding comes to give other bytes.
_VERSION = 1
#: Of the blur before a mask is stretched, in pixels of the mask: takes the staircase off its edge.
_EDGE = 1.0


@dataclass(frozen=True)
class Preparation:
    """Settings by which decoded pixels become a network's input.

    Parameters
    ----------
    size : int
        Height and width of the result, in pixels.
    name : str
        One of `PREPARATIONS`; ``raw`` only resizes.
    beneath : PixelPreparation, optional
        Finds the lungs: ``uint8``, above 127 inside them. Needed by the names that need lungs, and
        dropped by the others, for which nothing is to be found.

    Raises
    ------
    RegistryError
        If no preparation has this name.
    RecipeError
        If the name needs lungs and nothing finds them.
    ValueError
        If `size` is not positive.

    Examples
    --------
    >>> prepare = Preparation(size=2)
    >>> prepare.key
    'raw-2px-v1'
    >>> prepare(np.array([[0, 1], [0.2, 0.4]], dtype=np.float32)).tolist()
    [[0, 255], [51, 102]]
    """

    size: int = 224
    name: str = "raw"
    beneath: PixelPreparation | None = None

    def __post_init__(self) -> None:
        if not needs_lungs(self.name):
            object.__setattr__(self, "beneath", None)
        elif self.beneath is None:
            raise RecipeError(
                f"preparation {self.name!r} needs the lungs, and nothing was given to find them; "
                "pass beneath=hurdles.lungs.find.shipped_lungs()."
            )
        if self.size < 1:
            raise ValueError(f"size is {self.size}; a prepared image has at least one pixel.")

    @property
    def key(self) -> str:
        """Every setting and the version of the algorithm, as text: equal keys, equal bytes.

        Reads the weights of what finds the lungs, where they are needed.
        """
        own = f"{self.name}-{self.size}px-v{self._version}"
        return own if self.beneath is None else f"{own}-{self.beneath.key}"

    @property
    def description(self) -> dict[str, str | int]:
        """Facts that weights must remember of the images that they were trained on.

        ``name``, ``size``, ``version`` of the steps and, where they are needed, ``lungs``: the key
        of what finds them. Images prepared otherwise have another description.
        """
        own: dict[str, str | int] = {"name": self.name, "size": self.size, "version": self._version}
        return own if self.beneath is None else {**own, "lungs": self.beneath.key}

    @property
    def _version(self) -> str:
        versions = [_VERSION, *(step.version for step in PREPARATIONS.get(self.name))]
        return ".".join(map(str, versions))

    def __call__(self, pixels: np.ndarray, lower: np.ndarray | None = None) -> np.ndarray:
        """Turn decoded pixels into prepared ones, rounding to nearest.

        Parameters
        ----------
        pixels : float32 array of shape (H, W), within [0, 1]
        lower : uint8 array of shape (h, w), optional
            What `beneath` made of the same pixels; made here if it is needed and not given.

        Returns
        -------
        uint8 array of shape (size, size)

        Raises
        ------
        LungsNotFoundError
            If the lungs are needed and are not there.
        """
        image = MaskedImage(pixels)
        if self.beneath is not None:
            mask = self.beneath(pixels) if lower is None else lower
            image = MaskedImage(pixels, stretched(mask, (pixels.shape[0], pixels.shape[1])))
        for step in PREPARATIONS.get(self.name):
            image = step.apply(image)
        square = resize_square(image.pixels, self.size)
        scaled: np.ndarray = np.rint(np.clip(square, 0, 1) * np.float32(255))
        return scaled.astype(np.uint8)


def needs_lungs(name: str) -> bool:
    """Return whether the preparation of this name looks at the lungs."""
    return any(step.needs_lungs for step in PREPARATIONS.get(name))


def resize_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Stretch ``float32`` (H, W) to (size, size); the aspect ratio is not kept.

    Each axis for itself: where it shrinks, a result is the mean of the area that it covers; where
    it grows, values between are linear. Shrinking comes first. An axis that fits is left alone.
    """
    import cv2

    # One axis at a time, the other turned: faster in OpenCV than both at once.
    for _ in range(2):
        if pixels.shape[0] > size:
            rows = (pixels.shape[1], size)
            pixels = cv2.resize(pixels, rows, interpolation=cv2.INTER_AREA)
        pixels = cv2.transpose(pixels)
    if pixels.shape != (size, size):
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(pixels)


# --- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MaskedImage:
    """An image on its way through the steps of a preparation: arrays (H, W), pixels in [0, 1].

    Kept are the pixels that an earlier step has left as they were; None: all of them.
    """

    pixels: NDArray[np.float32]
    lungs: NDArray[np.bool_] | None = None
    kept: NDArray[np.bool_] | None = None

    @property
    def found_lungs(self) -> NDArray[np.bool_]:
        """The lungs; at least one pixel lies in them and one outside, else `LungsNotFoundError`."""
        if self.lungs is None or not self.lungs.any():
            raise _not_found("the mask holds no pixel")
        if self.lungs.all():
            raise _not_found("the mask is the whole image")
        return self.lungs


def _not_found(what: str) -> LungsNotFoundError:
    return LungsNotFoundError(
        f"the lungs were not found: {what}. Leave the image out, or choose a preparation that "
        "needs no lungs, such as 'raw'."
    )


@dataclass(frozen=True)
class Step:
    """One change of an image, deterministic, which leaves its argument alone.

    The version is part of the key: raise it when the step comes to give other pixels.
    """

    apply: Callable[[MaskedImage], MaskedImage]
    needs_lungs: bool = False
    version: int = 1


_STEPS: Registry[Step] = Registry("step of a preparation")


@_STEPS.register("equalized")
@Step
def _equalized(image: MaskedImage) -> MaskedImage:
    """Count what an earlier step has kept, so that what it took away stays away."""
    return replace(image, pixels=equalize(image.pixels, image.kept))


@_STEPS.register("clahe")
@Step
def _clahe(image: MaskedImage) -> MaskedImage:
    return replace(image, pixels=clahe(image.pixels))


@_STEPS.register("harmonized")
@Step
def _harmonized(image: MaskedImage) -> MaskedImage:
    """Come first, before anything was taken away; the image is smaller afterwards."""
    pixels = harmonize(image.pixels)
    shape = (pixels.shape[0], pixels.shape[1])
    return MaskedImage(pixels, None if image.lungs is None else stretched(image.lungs, shape))


@_STEPS.register("masked")
@partial(Step, needs_lungs=True)
def _masked(image: MaskedImage) -> MaskedImage:
    """Keep nothing outside the lungs, whose own range of gray fills [0, 1]; the frame stays."""
    lungs = image.found_lungs
    inside = scale_to(image.pixels, lungs)
    return replace(image, pixels=np.where(lungs, inside, np.float32(0)), kept=lungs)


@_STEPS.register("background")
@partial(Step, needs_lungs=True)
def _background(image: MaskedImage) -> MaskedImage:
    """Keep nothing in the lungs and close around them but the mean gray of everything else."""
    outside = ~grown(image.found_lungs, BLANK_MARGIN)
    if not outside.any():
        raise _not_found("nothing lies outside the mask")
    gray = image.pixels[outside].mean(dtype=np.float64)
    return replace(image, pixels=np.where(outside, image.pixels, np.float32(gray)), kept=outside)


@_STEPS.register("cropped")
@partial(Step, needs_lungs=True)
def _cropped(image: MaskedImage) -> MaskedImage:
    box = box_of(image.found_lungs, CROP_MARGIN)
    kept = None if image.kept is None else image.kept[box]
    return MaskedImage(image.pixels[box], image.found_lungs[box], kept)


#: Names and their steps, carried out from left to right; the resize to a square follows. Not every
#: order is offered: equalizing before ``background`` would carry the lungs' gray levels into what
#: is left, and CLAHE cannot be told to pass over what a mask took away. Harmonizing would take the
#: edge of a mask for texture, and comes first.
PREPARATIONS: Registry[tuple[Step, ...]] = Registry("preparation")
PREPARATIONS.register("raw")(())
for _name in (
    *("equalized", "clahe", "cropped", "masked", "background", "equalized+cropped"),
    *("equalized+masked", "clahe+cropped", "clahe+masked", "masked+equalized"),
    *("background+equalized", "masked+cropped", "equalized+masked+cropped"),
    *("masked+equalized+cropped", "harmonized", "harmonized+cropped", "harmonized+masked"),
    "harmonized+masked+cropped",
):
    PREPARATIONS.register(_name)(tuple(_STEPS.get(step) for step in _name.split("+")))


# --- masks ---------------------------------------------------------------------------------------


def stretched(
    mask: NDArray[np.bool_] | NDArray[np.uint8], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Stretch a mask to the size of the image that it belongs to, whatever the aspect ratio.

    The mask is blurred by a pixel and interpolated before it is cut at one half, so that an edge
    that was a curve stays one instead of becoming a staircase. Of a uint8 mask, what is above 127
    is inside.

    Examples
    --------
    >>> half = np.zeros((8, 8), dtype=bool)
    >>> half[:, :4] = True
    >>> stretched(half, (2, 20))[0].nonzero()[0].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    import cv2

    height, width = shape
    if height < 1 or width < 1:
        raise ValueError(f"the shape is {shape}; an image has at least one row and one column.")
    inside = np.asarray(mask if mask.dtype == np.bool_ else mask.astype(np.uint8) > 127)
    if inside.shape == (height, width):
        return np.array(inside, dtype=bool)
    soft = np.asarray(inside, dtype=np.float32)
    soft = cv2.GaussianBlur(soft, (0, 0), _EDGE, borderType=cv2.BORDER_REPLICATE)
    # Each axis for itself: where it shrinks by the mean, where it grows linearly.
    for size in ((soft.shape[1], height), (width, height)):
        shrinks = size[0] * size[1] < soft.size
        soft = cv2.resize(soft, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(soft > 0.5)


def box_of(mask: NDArray[np.bool_], margin: float = 0.0) -> tuple[slice, slice]:
    """Return the rows and the columns of the smallest box around a mask, with a margin.

    The margin is added on every side, as a share of the box's own height or width, rounded up to
    whole pixels; the image's border ends it. ``pixels[box_of(mask)]`` is the crop.

    Examples
    --------
    >>> mask = np.zeros((100, 100), dtype=bool)
    >>> mask[20:60, 2:52] = True
    >>> box_of(mask, 0.05)
    (slice(18, 62, None), slice(0, 55, None))
    """
    if margin < 0:
        raise ValueError(f"margin is {margin}; give a share of the box that is not negative.")
    if not mask.any():
        raise ValueError("the mask holds no pixel; there is no box around it.")

    def extent(inside: NDArray[np.bool_]) -> slice:
        first, last = (int(place) for place in np.flatnonzero(inside)[[0, -1]])
        more = int(np.ceil(margin * (last + 1 - first) - 1e-9))  # 0.05 * 40 is a little above 2
        return slice(max(0, first - more), min(len(inside), last + 1 + more))

    return extent(np.asarray(mask.any(axis=1))), extent(np.asarray(mask.any(axis=0)))


def grown(mask: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """Return a mask grown to all sides, by a share of the height of its box.

    Examples
    --------
    >>> mask = np.zeros((30, 9), dtype=bool)
    >>> mask[5:25, 4] = True
    >>> grown(mask, 0.1)[15].nonzero()[0].tolist()
    [2, 3, 4, 5, 6]
    """
    import cv2

    rows, _ = box_of(mask, margin)
    tight, _ = box_of(mask)
    reach = margin * (tight.stop - tight.start)
    outside = np.asarray(~mask, dtype=np.uint8)
    # Exact distances, computed where they can be within reach.
    distance = cv2.distanceTransform(outside[rows], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    result = np.zeros(mask.shape, dtype=bool)
    result[rows] = distance <= reach + 1e-3
    return result
