"""Preparations: from decoded pixels of any size to the square of bytes that networks get.

Some make gray levels comparable: histogram equalization, CLAHE, the range of a region, one
reference. Each of these functions takes and returns ``float32`` pixels within [0, 1], as
`hurdles.pixels.decode.decode` gives them, and draws nothing at random. Equalization and scaling are
monotone: no pixel that was darker becomes brighter than another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import HurdleError, LungsNotFoundError, RecipeError
from hurdles.pixels.framing import Framing, Resize, framed, resized
from hurdles.registry import Registry

if TYPE_CHECKING:
    from hurdles.pixels.cache import PixelPreparation

__all__ = ["PREPARATIONS", "Preparation", "clahe", "equalize", "harmonize", "scale_to"]

#: Around the lungs' box, as a share of its height or width on each side: the pleura stays in the
#: picture where the mask is a little too tight, and most markers stay out.
CROP_MARGIN = 0.05

#: Blanked around the lungs for ``background``, as a share of their height: masks end a little
#: inside the lungs, and a rim of them would be left.
BLANK_MARGIN = 0.05

#: Part of every key. Raise it when `resize_square` or the rounding comes to give other bytes.
_VERSION = 1
#: Pixels from which on a sparse product averages them.
_MANY = 1 << 18
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
    framing, fraction : Framing, float
        Square of an image that is not square, cut out before the steps; see
        `hurdles.pixels.framing`. Default: all of it, stretched.
    resize : Resize
        Filter of the resize, of models from elsewhere.

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
    framing: Framing = Framing.STRETCH
    fraction: float = 1.0
    resize: Resize = Resize.AREA

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
        if self._frames:
            own += f"-{self.framing}-{self.fraction:g}"
        if self.resize is not Resize.AREA:
            own += f"-{self.resize}"
        return own if self.beneath is None else f"{own}-{self.beneath.key}"

    @property
    def description(self) -> dict[str, str | int]:
        """Facts that weights must remember of the images that they were trained on.

        ``name``, ``size``, ``version`` of the steps and, where they are needed, ``lungs``: the key
        of what finds them. Images prepared otherwise have another description.
        """
        own: dict[str, str | int] = {"name": self.name, "size": self.size, "version": self._version}
        if self._frames:
            own |= {"framing": f"{self.framing} {self.fraction:g}"}
        if self.resize is not Resize.AREA:
            own |= {"resize": str(self.resize)}
        return own if self.beneath is None else {**own, "lungs": self.beneath.key}

    def leaves(self, levels: np.ndarray) -> bool:
        """Return whether these bytes, divided by 255 and prepared, would be the same bytes."""
        same = levels.dtype == np.uint8 and levels.shape == (self.size, self.size)
        steps = PREPARATIONS.get(self.name)
        return same and not steps and not self._frames and self.resize is Resize.AREA

    @property
    def _frames(self) -> bool:
        return (self.framing, self.fraction) != (Framing.STRETCH, 1)

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
        lungs = None
        if self.beneath is not None:
            mask = self.beneath(pixels) if lower is None else lower
            whole = stretched(mask, (pixels.shape[0], pixels.shape[1]))
            lungs = framed(whole, self.framing, self.fraction)
        image = framed(pixels, self.framing, self.fraction)
        view = stepped(self.name, image, lungs).pixels
        return as_bytes(view, self.size, self.resize)


def stepped(name: str, pixels: Pixels, mask: NDArray[np.bool_] | None) -> MaskedImage:
    """Return an image within [0, 1] and its lungs after the steps of a preparation."""
    view = MaskedImage(pixels, mask)
    for step in PREPARATIONS.get(name):
        view = step.apply(view)
    return view


def as_bytes(pixels: Pixels, size: int, resize: Resize = Resize.AREA) -> NDArray[np.uint8]:
    """Return an image within [0, 1] stretched to a square of bytes, as `Preparation` does."""
    import cv2

    is_area = resize is Resize.AREA
    square = resize_square(pixels, size) if is_area else resized(pixels, resize, size)
    # To the nearest, of two as near to the even one, and to 255 at most: as NumPy, in one pass.
    return np.asarray(cv2.convertScaleAbs(np.maximum(square, 0), alpha=255))


def prepare_squares(
    name: str, size: int, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Take square images (n, S, S), with lungs that are given, through a preparation.

    The steps run on the square image here, and at the file's own size in `Preparation`: the two
    differ by rounding and, where lungs are needed, by a pixel at their edge. An image in whose mask
    there are no lungs is only resized.
    """
    if name == "raw" and pixels.shape[1:] == (size, size):
        return pixels
    lungs: Sequence[NDArray[np.bool_] | None] = [None] * len(pixels)
    if needs_lungs(name):
        if masks is None:
            raise HurdleError(f"the model sees images {name}; give their lungs.")
        lungs = list(masks)
    prepared = np.empty((len(pixels), size, size), dtype=np.uint8)
    for row, (image, mask) in enumerate(zip(pixels, lungs, strict=True)):
        gray = image.astype(np.float32) / 255
        # Alterations may hide the lungs; the image is then asked about as it is.
        with suppress(LungsNotFoundError):
            gray = stepped(name, gray, mask).pixels
        prepared[row] = as_bytes(gray, size)
    return prepared


def needs_lungs(name: str) -> bool:
    """Return whether the preparation of this name looks at the lungs."""
    return any(step.needs_lungs for step in PREPARATIONS.get(name))


def resize_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Stretch ``float32`` (H, W) to (size, size); the aspect ratio is not kept.

    Each axis for itself: where it shrinks, a result is the mean of the area that it covers; where
    it grows, values between are linear. Shrinking comes first. An axis that fits is left alone.
    """
    import cv2

    if pixels.shape == (size, size):
        return pixels
    for _ in range(2):
        if pixels.shape[0] > size:
            pixels = _shrunk(pixels, size)
        pixels = cv2.transpose(pixels)
    if pixels.shape != (size, size):
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(pixels)


def _shrunk(pixels: np.ndarray, size: int) -> np.ndarray:
    """Average over areas of rows: to the bit as OpenCV, whose loop takes four times as long."""
    import cv2

    height, width = pixels.shape
    # Of whole rows OpenCV divides the sum. For few pixels SciPy is not loaded, which takes 0.1 s.
    if height % size == 0 or pixels.size < _MANY:
        return np.asarray(cv2.resize(pixels, (width, size), interpolation=cv2.INTER_AREA))
    return np.asarray(_row_weights(height, size) @ pixels)


@lru_cache(maxsize=64)
def _row_weights(height: int, size: int) -> Any:
    """Return the share of each row in each mean, as OpenCV computes them: sparse (size, height)."""
    import cv2
    from scipy.sparse import csr_array

    # A mean takes less than `period` rows in sequence. Rows are told apart by their number modulo
    # it, which shows more weights at once than the identity would.
    period = height // size + 3
    ones = np.zeros((height, period), dtype=np.float32)
    ones[np.arange(height), np.arange(height) % period] = 1
    shares = cv2.resize(ones, (period, size), interpolation=cv2.INTER_AREA)
    rows = (np.arange(size) * height // size - 1)[:, None] + np.arange(period)
    weights = np.take_along_axis(shares, rows % period, axis=1)
    used = weights != 0
    ends = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    return csr_array((weights[used], rows[used], ends), shape=(size, height))


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
    def located_lungs(self) -> NDArray[np.bool_]:
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
    lungs = image.located_lungs
    inside = scale_to(image.pixels, lungs)
    return replace(image, pixels=np.where(lungs, inside, np.float32(0)), kept=lungs)


@_STEPS.register("background")
@partial(Step, needs_lungs=True)
def _background(image: MaskedImage) -> MaskedImage:
    """Keep nothing in the lungs and close around them but the mean gray of everything else."""
    outside = ~grown(image.located_lungs, BLANK_MARGIN)
    if not outside.any():
        raise _not_found("nothing lies outside the mask")
    gray = image.pixels[outside].mean(dtype=np.float64)
    return replace(image, pixels=np.where(outside, image.pixels, np.float32(gray)), kept=outside)


@_STEPS.register("cropped")
@partial(Step, needs_lungs=True)
def _cropped(image: MaskedImage) -> MaskedImage:
    box = box_of(image.located_lungs, CROP_MARGIN)
    kept = None if image.kept is None else image.kept[box]
    return MaskedImage(image.pixels[box], image.located_lungs[box], kept)


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


def framed_mask(
    mask: NDArray[np.bool_] | NDArray[np.uint8],
    shape: tuple[int, int],
    framing: Framing,
    fraction: float,
    size: int,
) -> NDArray[np.bool_]:
    """Return the square of a mask that belongs to a framed image.

    `mask` is of the whole image, of any size; `shape` is the image's own height and width.
    """
    if (framing, fraction) == (Framing.STRETCH, 1):
        return stretched(mask, (size, size))
    by = min(1.0, 4 * size / max(shape))  # pixels enough, of the same aspect
    height, width = (max(1, round(side * by)) for side in shape)
    return stretched(framed(stretched(mask, (height, width)), framing, fraction), (size, size))


def box_of(mask: NDArray[np.bool_], margin: float = 0.0) -> tuple[slice, slice]:
    """Return the rows and the columns of the smallest box around a mask, with a margin.

    The margin is added on every side, as a share of the box's own height or width, rounded up to
    whole pixels; the image's border ends it. ``pixels[box_of(mask)]`` is the crop.
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
    """Return a mask grown to all sides, by a share of the height of its box."""
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


# --- gray levels ---------------------------------------------------------------------------------


Pixels: TypeAlias = NDArray[np.float32]

#: Brightest of the levels that are counted. 8-bit files keep their 256 levels (255 divides it), and
#: deep ones lose none that a prepared image could show.
_TOP = 65535


def equalize(pixels: Pixels, mask: NDArray[np.bool_] | None = None) -> Pixels:
    """Equalize the histogram: every pixel becomes its rank among all pixels.

    The darkest level becomes 0 and the brightest 1; a level between becomes the share of pixels
    that are not brighter, the darkest ones not counted. On 8-bit pixels this is what OpenCV's
    ``equalizeHist`` computes, before it rounds.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]
    mask : bool array of shape (H, W), optional
        Pixels that are counted; the others are mapped by the same table and change nothing for
        them. Default: all.

    Returns
    -------
    float32 array of shape (H, W), within [0, 1]
        An unchanged copy where the counted pixels are all equal.

    Raises
    ------
    ValueError
        If the mask holds no pixel or is of another shape.

    References
    ----------
    Gonzalez and Woods, Digital Image Processing, section 3.3.

    Examples
    --------
    >>> equalize(np.array([[0.1, 0.1], [0.2, 0.9]], dtype=np.float32)).tolist()
    [[0.0, 0.0], [0.5, 1.0]]
    """
    _check(pixels, mask)
    levels = _levels(pixels, _TOP).astype(np.uint16)
    counted = levels.ravel() if mask is None else levels[mask]
    counts = np.bincount(counted, minlength=_TOP + 1)
    not_brighter = np.cumsum(counts)
    darkest = counts[counted.min()]
    others = not_brighter[-1] - darkest
    if not others:
        return pixels.copy()
    table = (np.maximum(not_brighter - darkest, 0) / others).astype(np.float32)
    return np.asarray(table.take(levels))


def clahe(pixels: Pixels, *, limit: float = 2.0, tiles: int = 8) -> Pixels:
    """Equalize locally with limited contrast (CLAHE), by OpenCV, on 256 levels.

    256 levels on purpose: OpenCV measures the limit in pixels per level, so that on 65536 levels
    the same limit would leave a small image as it is.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]
    limit : float
        How far a level may stand above a flat histogram; positive.
    tiles : int
        Tiles along either side; at least 1.

    Returns
    -------
    float32 array of shape (H, W), within [0, 1]

    Raises
    ------
    ValueError
        If `limit` or `tiles` is out of range.

    References
    ----------
    Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994.
    """
    import cv2

    if limit <= 0 or tiles < 1:
        raise ValueError(f"limit is {limit} and tiles {tiles}; give a positive limit and tiles.")
    # Made anew: one object must not be used by two threads.
    method = cv2.createCLAHE(clipLimit=limit, tileGridSize=(tiles, tiles))
    equalized = method.apply(_levels(pixels, 255).astype(np.uint8))
    return np.asarray(equalized, dtype=np.float32) / np.float32(255)


def scale_to(
    pixels: Pixels,
    mask: NDArray[np.bool_],
    *,
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> Pixels:
    """Scale so that the range of a region fills [0, 1]; what lies beyond it is clipped.

    Percentiles rather than the extremes: one white marker pixel inside a mask would decide on the
    contrast of the whole lung.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]
    mask : bool array of shape (H, W)
        The region, for instance the lungs.
    percentiles : tuple of float
        Of the region's pixels: what becomes 0 and what becomes 1.

    Returns
    -------
    float32 array of shape (H, W), within [0, 1]
        An unchanged copy where both percentiles are the same level.

    Raises
    ------
    ValueError
        If the mask holds no pixel or is of another shape.

    Examples
    --------
    >>> pixels = np.array([[0.0, 0.25, 0.5, 1.0]], dtype=np.float32)
    >>> scale_to(pixels, pixels < 0.6, percentiles=(0, 100)).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    """
    _check(pixels, mask)
    low, high = np.percentile(pixels[mask], percentiles).astype(np.float32)
    if not high > low:
        return pixels.copy()
    return np.asarray(np.clip((pixels - low) / (high - low), np.float32(0), np.float32(1)))


def _levels(pixels: Pixels, top: int) -> Pixels:
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * np.float32(top)))


def _check(pixels: Pixels, mask: NDArray[np.bool_] | None) -> None:
    if mask is None:
        return
    if mask.shape != pixels.shape:
        raise ValueError(
            f"the mask has shape {mask.shape} and the image {pixels.shape}; stretch the mask to "
            "the image (hurdles.pixels.prepare.stretched)."
        )
    if not mask.any():
        raise ValueError("the mask holds no pixel; there is no range to be read from it.")


# --- one reference -------------------------------------------------------------------------------

#: The longer side of an image is reduced to so many pixels.
SIDE = 256
#: A band is made at most so many times stronger or weaker, over all rounds.
LARGEST = 3.0

# The reference is the median of 200 phantoms without a shortcut, from ten hospitals, as
# bench/harmonize_reference.py prints it.

#: Gray levels of the reference at equally spaced ranks, from the darkest pixel to the brightest.
GRAYS = (
    *(0.039, 0.188, 0.229, 0.265, 0.298, 0.333, 0.365, 0.4, 0.439),
    *(0.484, 0.545, 0.6, 0.663, 0.729, 0.784, 0.831, 0.914),
)
#: Root mean square of the bands of the reference, from fine to coarse.
ENERGIES = (0.01, 0.0139, 0.0239, 0.0309, 0.0459, 0.0623)

_ROUNDS = 3
#: Standard deviations of the blurs between the bands, in pixels of an image of `SIDE`.
_BLURS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: A blur narrower than this many pixels changes nothing that could be measured.
_NARROWEST = 0.7
#: Counted is the middle of the image: this share of height and width at either side is not.
_UNCOUNTED_EDGE = 0.1
#: Of the absolute values of a band; a letter or an electrode is not to decide on its energy.
_CLIPPED = 99.0
#: A band weaker than a quarter of a gray level of 255 is rounding, not texture.
_NOTHING = 0.25 / 255


def harmonize(pixels: Pixels) -> Pixels:
    """Bring gray levels and texture to one reference, so that equipment leaves less of itself.

    Two steps, three times over, each image for itself:

    1. *Tone.* The histogram becomes a fixed one: a pixel's rank decides on its gray level. Whatever
       monotone curve an equipment applied (exposure, contrast, gamma) is undone.
    2. *Texture.* The image is split into bands of spatial frequency, each twice as coarse as the
       one before: differences of Gaussian blurs. Each band is multiplied by a number, so that its
       energy (root mean square) becomes that of the reference. Blur, sharpening and noise are
       evened out. What is coarser than the last band stays.

    Bands are measured in parts of the image, not in pixels, and images are reduced to `SIDE` pixels
    first: texture finer than that is of the detector, not of the chest, and tells a collection of
    large scans from one of small ones. An image prepared to more than that many pixels is therefore
    a soft one. Pixels near the border and those in the corners, where letters and collimation are,
    are mapped by the same table and factors but not counted.

    What is lost: how dense an image is on the whole, by which a radiologist tells little, since
    equipment sets it anew for each image, but a white lung makes the rest darker.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]

    Returns
    -------
    float32 array of at most 256 pixels a side, within [0, 1]
        Reduced only where the middle of the image is of one level.

    References
    ----------
    Philipsen et al. 2015, "Localized Energy-Based Normalization of Medical Images: Application to
    Chest Radiography", IEEE Transactions on Medical Imaging 34:1965, doi
    10.1109/TMI.2015.2418031, with these differences: the histogram is fixed, too; energies are
    measured over the middle of the image instead of the lungs, so that no lungs have to be found;
    the factors are the same everywhere ("localized" there means tiles), because opacities change
    the energy of their surroundings and are to be seen afterwards; and a factor is at most
    `LARGEST`, because a band that a coarse scan does not hold cannot be brought back, only its
    noise.

    Examples
    --------
    >>> x = np.linspace(0, 1, 64, dtype=np.float32)
    >>> image = np.sin(20 * x[:, None] * x) / 2 + np.float32(0.5)
    >>> apart = [np.abs(f(image) - f(image**2)).mean() for f in (np.asarray, harmonize)]
    >>> [round(float(difference), 3) for difference in apart]
    [0.132, 0.002]
    """
    image = _reduced(np.asarray(pixels, dtype=np.float32))
    middle = _middle(image.shape)
    if np.ptp(image[middle]) == 0:
        return image
    factors = np.ones(len(_BLURS))
    image = _toned(image, middle)
    for _ in range(_ROUNDS):
        bands, rest = _bands(image)
        image = rest
        for n, band in bands.items():
            energy = _energy(band[middle])
            ratio = ENERGIES[n] / energy if energy > _NOTHING else 1.0
            factor = np.clip(factors[n] * ratio, 1 / LARGEST, LARGEST) / factors[n]
            factors[n] *= factor
            image = image + np.float32(factor) * band
        image = _toned(np.clip(image, 0, 1), middle)
    return image


def band_energies(pixels: Pixels) -> dict[int, float]:
    """Return the energy of each band that an image of this size can hold."""
    image = _reduced(pixels)
    bands, _ = _bands(image)
    middle = _middle(image.shape)
    return {n: _energy(band[middle]) for n, band in bands.items()}


def gray_quantiles(pixels: Pixels, n: int) -> NDArray[np.float64]:
    """Return the gray levels at `n` equally spaced ranks of the middle of an image."""
    image = _reduced(pixels)
    return np.asarray(np.quantile(image[_middle(image.shape)], np.linspace(0, 1, n)))


def _reduced(pixels: Pixels) -> Pixels:
    import cv2

    height, width = pixels.shape
    longer = max(height, width)
    if longer <= SIDE:
        return pixels
    size = (max(1, round(width * SIDE / longer)), max(1, round(height * SIDE / longer)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    edges = [int(_UNCOUNTED_EDGE * side) for side in shape]
    return slice(edges[0], shape[0] - edges[0]), slice(edges[1], shape[1] - edges[1])


def _toned(image: Pixels, middle: tuple[slice, slice]) -> Pixels:
    counted = np.zeros(image.shape, dtype=np.bool_)
    counted[middle] = True
    ranks = equalize(image, counted)
    return np.interp(ranks, np.linspace(0, 1, len(GRAYS)), GRAYS).astype(np.float32)


def _bands(image: Pixels) -> tuple[dict[int, Pixels], Pixels]:
    """Return the bands by number, and what is coarser than all of them; they sum to the image."""
    import cv2

    scale = max(image.shape) / SIDE
    bands: dict[int, Pixels] = {}
    finer = image
    for n, blur in enumerate(_BLURS):
        if blur * scale < _NARROWEST:
            continue  # a small image holds nothing so fine
        around = cv2.BORDER_REFLECT_101
        coarser = np.asarray(cv2.GaussianBlur(image, (0, 0), blur * scale, borderType=around))
        bands[n] = finer - coarser
        finer = coarser
    return bands, finer


def _energy(band: Pixels) -> float:
    sizes = np.abs(band)
    top = np.percentile(sizes, _CLIPPED)
    return float(np.sqrt(np.mean(np.minimum(sizes, top) ** 2, dtype=np.float64)))
