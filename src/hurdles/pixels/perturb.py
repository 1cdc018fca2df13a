"""Alterations of radiographs that exist: perturbations, planted shortcuts, and augmentation.

After a perturbation a radiologist would say the same: a classifier should, too. Each has a ladder
of amounts, mild, moderate and strong, and does nothing at all at amount 0. Where it has two
directions (brighter or darker, clockwise or not) each image draws its own, so that one pass over a
set covers both.

A planted shortcut is the phantoms' shortcut of that name (`hurdles.phantom`), for real images. In a
phantom it changes the parameters before anything is drawn; an image that exists can only be changed
as it is, so each kind here is the alteration of pixels that comes closest. Strengths are measured
on phantoms that were drawn twice, with and without the shortcut; a test holds both against each
other. What would need another body or another hospital (``body-size``, ``hospital``) cannot be
planted.

Augmentation alters images that are learned from: alterations are drawn first, as a table, and then
applied deterministically.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles.phantom.render import collimate, mark
from hurdles.registry import Registry

Bytes: TypeAlias = NDArray[np.uint8]
#: From one image (size, size), the amount and the image's own random numbers to the altered one.
Change: TypeAlias = Callable[[Bytes, float, np.random.Generator], Bytes]
#: The same for a shortcut, which has no amount.
Planting: TypeAlias = Callable[[Bytes, np.random.Generator], Bytes]


@dataclass(frozen=True)
class Perturbation:
    """One alteration of square images.

    The description has ``{}`` for the amount and its unit; the ladder are amounts in rising order,
    above 0: mild, moderate, strong, or a single one; `most` is the largest amount that has a
    meaning. One that moves what is shown moves masks along. An answer that changes is not judged
    where the image has become another one, such as a chest whose heart lies on the right.
    """

    description: str
    ladder: tuple[float, ...]
    most: float
    change: Change
    moves: bool = False
    judged: bool = True

    @property
    def moderate(self) -> float:
        """The amount by which models are judged."""
        return self.ladder[len(self.ladder) // 2]

    def words(self, amount: float) -> str:
        """Return what this amount does, in words."""
        return self.description.format(f"{amount:g}")

    def apply(self, pixels: Bytes, amount: float, *, seed: int = 0) -> Bytes:
        """Return altered copies of images (n, size, size); the amount lies within [0, most].

        The seed is that of directions and noise; image i has the same ones whatever the others are.
        """
        if not 0 <= amount <= self.most:
            raise ValueError(
                f"an amount of {amount:g} is out of range for '{self.description}'; give 0 to "
                f"{self.most:g}."
            )
        made = np.array(pixels, order="C")
        if amount:
            for i, image in enumerate(made):
                made[i] = self.change(image, amount, np.random.default_rng((seed, i)))
        return made

    def apply_mask(
        self, masks: NDArray[np.bool_], amount: float, *, seed: int = 0
    ) -> NDArray[np.bool_]:
        """Return masks that lie on altered images where they lay on the images before.

        With the same amount and seed as for `apply`, both move alike.
        """
        if not self.moves:
            return np.array(masks)
        return self.apply(np.multiply(masks, 255, dtype=np.uint8), amount, seed=seed) > 127


# --- perturbations -------------------------------------------------------------------------------

#: Alterations by name, in the order in which they are shown. Amounts are those at which sheets of
#: real radiographs still show to the eye what they showed before;
#: ``docs/make_perturbations_sheet.py`` draws them.
PERTURBATIONS: Registry[Perturbation] = Registry("perturbation")


def _perturbation(
    name: str,
    description: str,
    ladder: tuple[float, ...],
    most: float,
    *,
    moves: bool = False,
    judged: bool = True,
) -> Callable[[Change], Change]:
    def keep(change: Change) -> Change:
        made = Perturbation(description, ladder, most, change, moves, judged)
        PERTURBATIONS.register(name)(made)
        return change

    return keep


def _either(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _toned(image: Bytes, curve: NDArray[np.float64]) -> Bytes:
    """Map 256 levels, within [0, 1] and clipped to that, in an image."""
    table = np.rint(255 * np.clip(curve, 0, 1)).astype(np.uint8)
    return np.asarray(table[image])


@_perturbation(
    "window",
    "window wider or narrower by {} of its width, its level moved by a quarter of that",
    (0.05, 0.1, 0.2),
    0.9,
)
def _window(image: Bytes, amount: float, rng: np.random.Generator) -> Bytes:
    width = 1 + amount * _either(rng)
    level = 0.5 + amount / 4 * _either(rng)
    return _toned(image, (np.arange(256) / 255 - level) / width + 0.5)


@_perturbation("gamma", "gamma 2 to the power of {} or its inverse", (0.2, 0.4, 0.8), 3)
def _gamma(image: Bytes, amount: float, rng: np.random.Generator) -> Bytes:
    return _toned(image, (np.arange(256) / 255) ** 2.0 ** (amount * _either(rng)))


@_perturbation("blur", "blurred, sigma {} pixels at 224", (0.5, 1.0, 1.8), 20)
def _blur(image: Bytes, amount: float, _: np.random.Generator) -> Bytes:
    import cv2

    return np.asarray(cv2.GaussianBlur(image, (0, 0), amount * image.shape[0] / 224))


@_perturbation("noise", "noise of deviation {} of 255 added", (3.0, 6.0, 12.0), 255)
def _noise(image: Bytes, amount: float, rng: np.random.Generator) -> Bytes:
    noise = np.float32(amount) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(image + noise), 0, 255).astype(np.uint8))


@_perturbation("jpeg", "JPEG of quality 100 - {}", (30.0, 50.0, 80.0), 99)
def _jpeg(image: Bytes, amount: float, _: np.random.Generator) -> Bytes:
    import cv2

    quality = round(100 - amount)
    code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


@_perturbation(
    "resize", "resized to a side shorter by {} of itself and back", (0.25, 0.5, 0.65), 0.95
)
def _resize(image: Bytes, amount: float, _: np.random.Generator) -> Bytes:
    import cv2

    size = image.shape[0]
    small = max(1, round(size * (1 - amount)))
    down = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(down, (size, size), interpolation=cv2.INTER_LINEAR))


@_perturbation("rotation", "turned by {} degrees, either way", (2.0, 5.0, 10.0), 180, moves=True)
def _rotation(image: Bytes, amount: float, rng: np.random.Generator) -> Bytes:
    return moved(image, degrees=amount * _either(rng))


@_perturbation("shift", "moved by {} of its side, any way", (0.02, 0.05, 0.1), 0.9, moves=True)
def _shift(image: Bytes, amount: float, rng: np.random.Generator) -> Bytes:
    angle = rng.uniform(0, 2 * math.pi)
    return moved(image, right=amount * math.cos(angle), down=amount * math.sin(angle))


@_perturbation(
    "crop", "cropped by {} of its side and enlarged again", (0.05, 0.1, 0.15), 0.9, moves=True
)
def _crop(image: Bytes, amount: float, _: np.random.Generator) -> Bytes:
    return moved(image, scale=1 / (1 - amount))


@_perturbation(
    "marker",
    "PORTABLE written into the upper left corner, letters {} times the usual height",
    (0.7, 1.0, 1.5),
    2,
)
def _marker(image: Bytes, amount: float, _: np.random.Generator) -> Bytes:
    made = image.copy()
    mark(made, "PORTABLE", amount)
    return made


def _collimated(image: Bytes, left: float, top: float, right: float, bottom: float) -> Bytes:
    made = image.copy()
    collimate(made, (left, top, right, bottom))
    return made


@_perturbation("border", "{} of every side made black", (0.02, 0.04, 0.07), 0.5)
def _border(image: Bytes, amount: float, _: np.random.Generator) -> Bytes:
    return _collimated(image, amount, amount, amount, amount)


@_perturbation(
    "flip",
    "flipped left to right: the heart lies on the other side",
    (1.0,),
    1,
    moves=True,
    judged=False,
)
def _flip(image: Bytes, _: float, __: np.random.Generator) -> Bytes:
    return image[:, ::-1].copy()


@_perturbation(
    "inversion", "inverted: bone dark, for which hardly any model is made", (1.0,), 1, judged=False
)
def _inversion(image: Bytes, _: float, __: np.random.Generator) -> Bytes:
    return np.asarray(255 - image, dtype=np.uint8)


# --- planted shortcuts ---------------------------------------------------------------------------

#: Shift of a gray level's log-odds that the phantoms' exposure makes where the shortcut is, and
#: where it is not.
_BRIGHTER, _DARKER = 0.47, -0.27
#: Sigma, in pixels at 224, of the blur that turns a phantom's usual sharpness into a blurred one.
_BLUR = 1.65
#: Quality of the phantoms' shortcut.
_QUALITY = 18
#: Deviation of the grain in the log-odds of middle gray; with it, detector noise is fourfold. The
#: detector blurs it, by this sigma in pixels at 224.
_GRAIN, _DETECTOR = 0.21, 0.45
#: Narrowest and widest collimation, as a share of the side.
_BORDER = (0.04, 0.07)

#: Changes of an image where a shortcut is present and, if there is one, where it is absent, by the
#: names that the phantoms' shortcuts have.
PLANTS: Registry[tuple[Planting, Planting | None]] = Registry(
    "shortcut that can be planted into images"
)


def plant(name: str, pixels: Bytes, present: NDArray[np.bool_], *, seed: int = 0) -> Bytes:
    """Return images of shape (n, size, size) with a shortcut planted where it is `present`.

    The others are returned as they are, but for ``brightness``: there they are darkened, as in the
    phantoms. The seed is that of the noise and of the borders' widths; image i has the same ones
    whatever the others are.

    A mark of this kind that an image has by nature stays, present or not: letters and collimators
    cannot be taken away without inventing what is below. So the shortcut's tie to the class is a
    little weaker than `present` says, as it is where shortcuts come from.
    """
    where, elsewhere = PLANTS.get(name)
    if np.shape(present) != (len(pixels),):
        raise ValueError(
            f"there are {len(pixels)} images, and `present` has the shape {np.shape(present)}; "
            "give one truth value for each image."
        )
    made = np.array(pixels, order="C")
    for i in range(len(made)):
        change = where if present[i] else elsewhere
        if change is not None:
            made[i] = change(made[i], np.random.default_rng((seed, i)))
    return made


def _exposed(shift: float) -> Planting:
    gray = (np.arange(256) + 0.5) / 256
    odds = gray / (1 - gray) * np.exp(shift)
    table = np.rint(256 * odds / (1 + odds) - 0.5).astype(np.uint8)
    return lambda image, _: np.asarray(table[image])


def _grained(image: Bytes, rng: np.random.Generator) -> Bytes:
    # Quantum noise is that of the signal behind the body, seen through the film curve: its
    # deviation is widest where gray is somewhat above the middle, and vanishes at both ends.
    gray = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / 256
    spread = np.float32(_GRAIN * 255) * gray * (1 - gray) * np.cbrt(gray / (1 - gray))
    grain: Any = rng.standard_normal(image.shape, dtype=np.float32)
    grain = _blur(grain, _DETECTOR, rng)
    return np.asarray(np.clip(np.rint(image + spread[image] * grain), 0, 255).astype(np.uint8))


def _bordered(image: Bytes, rng: np.random.Generator) -> Bytes:
    return _collimated(image, *rng.uniform(*_BORDER, size=4).tolist())


_shortcuts: dict[str, tuple[Planting, Planting | None]] = {
    "marker": (lambda image, rng: _marker(image, 1.0, rng), None),
    "border": (_bordered, None),
    "brightness": (_exposed(_BRIGHTER), _exposed(_DARKER)),
    "blur": (lambda image, rng: _blur(image, _BLUR, rng), None),
    "jpeg": (lambda image, rng: _jpeg(image, 100 - _QUALITY, rng), None),
    "inversion": (lambda image, rng: _inversion(image, 1, rng), None),
    "noise": (_grained, None),
}
for _name, _shortcut in _shortcuts.items():
    PLANTS.register(_name)(_shortcut)


# --- augmentation --------------------------------------------------------------------------------


#: One altered image, or an unaltered one: apart from the position, zero alters nothing.
#:
#: =============== =================================================================================
#: position        of the image among the prepared pixels
#: flip            whether it is flipped left to right, after the moves
#: degrees         by which it is turned, counter-clockwise
#: shift_x         by which it is moved to the right, as a share of its side
#: shift_y         by which it is moved down, as a share of its side
#: growth          by which it is enlarged about its center: 0.1 is a tenth larger
#: contrast        by which distances from middle gray grow: -0.2 is a fifth flatter
#: brightness      which is added, as a share of the range from black to white
#: =============== =================================================================================
DRAW = np.dtype(
    [
        ("position", np.int64),
        ("flip", np.bool_),
        ("degrees", np.float32),
        ("shift_x", np.float32),
        ("shift_y", np.float32),
        ("growth", np.float32),
        ("contrast", np.float32),
        ("brightness", np.float32),
    ]
)

_MIDDLE = 127.5


def draw(
    positions: NDArray[np.integer],
    rng: np.random.Generator,
    *,
    flip: float,
    rotation: float,
    degrees: float,
    shift: float = 0.0,
    scale: float = 1.0,
    contrast: float = 0.0,
) -> NDArray[np.void]:
    """Draw one alteration for each position.

    Flips and rotations come by chance; every image is shifted, enlarged and changed in contrast and
    brightness, each uniformly within its range. What has no range draws no number, so that a recipe
    without it keeps its random numbers.
    """
    n = len(positions)
    draws = np.zeros(n, dtype=DRAW)
    draws["position"] = positions
    draws["flip"] = rng.random(n) < flip
    turned = rng.random(n) < rotation
    draws["degrees"] = np.where(turned, rng.uniform(-degrees, degrees, n), 0.0)
    if shift:
        draws["shift_x"], draws["shift_y"] = rng.uniform(-shift, shift, (2, n))
    if scale != 1:
        draws["growth"] = rng.uniform(0, scale - 1, n)
    if contrast:
        draws["contrast"], draws["brightness"] = rng.uniform(-contrast, contrast, (2, n))
    return draws


def apply_draws(pixels: NDArray[np.uint8], draws: NDArray[np.void]) -> NDArray[np.uint8]:
    """Return the images that the draws describe.

    A turned image is enlarged until no corner is empty, as the Augmentor library does, which seed
    004 used: where only one class is altered, black corners would name the class. What a shift
    brings in from beyond the edge is the mirrored image. Rotation, enlargement and shift are one
    resampling, so that an image is blurred once.
    """
    import cv2

    levels = np.arange(256)
    made = np.empty((len(draws), *pixels.shape[1:]), dtype=np.uint8)
    # tolist gives plain Python numbers, which are several times faster to read than records.
    for target, one in zip(made, draws.tolist(), strict=True):
        position, flip, degrees, right, down, growth, contrast, brightness = one
        image = pixels[position]
        if degrees or right or down or growth:
            # Without a shift only rounding reaches beyond the edge.
            scale, still = inner_scale(degrees) * (1 + growth), not (right or down)
            image = moved(
                image, degrees=degrees, scale=scale, right=right, down=down, replicate=still
            )
        if contrast or brightness:
            toned = (levels - _MIDDLE) * (1 + contrast) + _MIDDLE + 255 * brightness
            table = np.rint(toned).clip(0, 255).astype(np.uint8)
            image = cv2.LUT(np.ascontiguousarray(image), table)
        target[:] = image[:, ::-1] if flip else image
    return made


def inner_scale(degrees: float) -> float:
    """Return by how much a turned square grows so that an upright square of its size fits in.

    An upright square inscribed in the unit square turned by a has the side
    1 / (|cos a| + |sin a|).
    """
    angle = math.radians(degrees)
    return abs(math.cos(angle)) + abs(math.sin(angle))


def moved(
    image: NDArray[np.uint8],
    *,
    degrees: float = 0.0,
    scale: float = 1.0,
    right: float = 0.0,
    down: float = 0.0,
    replicate: bool = False,
) -> NDArray[np.uint8]:
    """Turn and enlarge a square image about its center and shift it, in one resampling.

    Degrees run counter-clockwise, shifts are shares of the side. Beyond the edge lies the
    mirrored image, or its outermost pixel again.
    """
    import cv2

    size = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, scale)
    matrix[:, 2] += (right * size, down * size)
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_REFLECT_101
    whole = np.ascontiguousarray(image)
    return np.asarray(cv2.warpAffine(whole, matrix, (size, size), borderMode=border))
