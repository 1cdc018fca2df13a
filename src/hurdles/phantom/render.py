"""One image from its parameters: always the same bytes for the same numbers.

Path lengths become a picture by attenuation, scatter, noise, film curve, and marks burned in.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hurdles.phantom.anatomy import Frame, Thorax, bones, project, vessels
from hurdles.phantom.parameters import ImageParameters, PatientParameters

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

# Linear attenuation in 1/cm at about 60 keV (ICRU Report 44; NIST XCOM): soft tissue 0.205, lung
# 0.26 times as dense, trabecular bone of a rib with its cortex about 0.2 above soft tissue.
_SOFT, _LUNG, _BONE = 0.205, 0.055, 0.42
_SCATTER = 0.32  # scattered over primary radiation behind a grid, on average


class Rendered(NamedTuple):
    """One image and its ground truth, uint8 arrays (size, size)."""

    pixels: Bytes
    mask: Bytes  # 255 in the lung fields, 0 elsewhere
    opacity: Bytes  # share of the lung's air that disease has replaced, 0 to 255


def render(patient: PatientParameters, image: ImageParameters, *, size: int = 224) -> Rendered:
    """Project the patient and expose the image; a pure function of its arguments."""
    import cv2

    frame, thorax = Frame.of(patient, image, size), Thorax.of(patient, image)
    chest = project(frame, thorax)
    rng = np.random.default_rng(patient.anatomy_seed)
    clouds = 0.6 * _clouds(rng, frame, 2.3) + 0.7 * _clouds(rng, frame, 0.55)
    filled = _filling(frame, thorax, patient, image, clouds)
    tree = vessels(frame, thorax, patient.anatomy_seed)
    blood = np.minimum(tree * (1.0 + 0.12 * clouds), chest.lung)
    haze = 0.035 * (clouds + _clouds(rng, frame, 0.45)) * 0.7
    aerated = chest.lung * (1.0 - filled) * (1.0 - 0.5 * haze)
    bone = bones(frame, thorax, patient.bone)
    # Blood replaces air, but within a consolidation there is no air left to contrast with.
    lung_air = np.maximum(aerated - blood * (1.0 - filled), 0.0)
    path = _SOFT * chest.body - (_SOFT - _LUNG) * lung_air
    path += _BONE * bone * np.minimum(chest.body, 1.0)
    path -= _SOFT * np.minimum(chest.air, 0.8 * chest.body)
    path = np.maximum(path * np.float32(0.55 + 0.45 * patient.body_size), 0.0)
    middle = (size - 1) / 2
    turn: Any = cv2.getRotationMatrix2D((middle, middle), image.tilt, 1.0)

    def tilted(array: Float) -> Float:
        edge = cv2.BORDER_REPLICATE
        turned = cv2.warpAffine(array, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=edge)
        return np.asarray(turned, dtype=np.float32)

    path, field, filled = tilted(path), tilted(chest.field.astype(np.float32)), tilted(filled)
    pixels = decorate(expose(path, field > 0.5, image), image)
    mask = np.where(field > 0.5, 255, 0).astype(np.uint8)
    return Rendered(pixels, mask, np.asarray(filled * 255.0 + 0.5).astype(np.uint8))


def _clouds(rng: np.random.Generator, frame: Frame, grain_cm: float) -> Float:
    """Return smooth noise of mean 0 and deviation 1, its grains `grain_cm` wide."""
    import cv2

    cells = max(int(40.0 / grain_cm), 4)
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    # The grid hangs on the patient, so that follow-up images show the same texture.
    per_cell = frame.scale * 40.0 / cells
    corner = frame.to_pixels(np.array([-20.0, -8.0]))
    move = np.array([[per_cell, 0.0, corner[0]], [0.0, per_cell, corner[1]]])
    size = (frame.size, frame.size)
    field = cv2.warpAffine(coarse, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(field * 1.35, dtype=np.float32)


def _filling(
    frame: Frame, thorax: Thorax, patient: PatientParameters, image: ImageParameters, clouds: Float
) -> Float:
    """Return the share of the air replaced by disease: 1 - exp(-optical depth of all blobs)."""
    depth = np.zeros((frame.size, frame.size), np.float32)
    grow = 0.7 + 0.5 * image.severity
    for blob in patient.blobs:
        x0, y0 = thorax.place(blob.side, blob.across, blob.down)
        u = (frame.x - x0) / (blob.width * grow)
        v = (frame.y - y0) / (blob.height * grow)
        shape = np.exp(-((u * u + v * v) ** np.float32(0.5 * blob.edge)))
        if blob.cut is not None:
            line = y0 - 0.45 * blob.height * grow + blob.cut * blob.side * (frame.x - x0)
            shape = shape * np.clip((frame.y - line) / 0.3 + 0.5, 0.0, 1.0)
        # The other lung is another room: nothing spreads across the midline.
        shape = shape * np.clip(blob.side * frame.x / 1.0, 0.0, 1.0)
        depth += np.float32(blob.density * image.severity) * shape
    if patient.pattern in ("peripheral", "diffuse"):
        depth *= np.clip(1.0 + 0.28 * clouds, 0.5, None)  # patchy
    elif patient.pattern == "lobar":
        depth *= 1.0 + 0.15 * np.clip(clouds, -2.0, 2.0)
    low = np.maximum(frame.y - (thorax.domes[0] - 3.5), 0.0) / 4.0
    depth += np.float32(0.25 * patient.crowding * (1.0 - 0.5 * image.inspiration)) * low
    return np.asarray(1.0 - np.exp(-depth), dtype=np.float32)


def expose(attenuation: Float, lung: npt.NDArray[np.bool_], image: ImageParameters) -> Float:
    """Return gray levels in [0, 1] (bone bright) for the line integral of attenuation.

    Beer and Lambert give the transmission exp(-L); a wide blur of it is added as scatter; quantum
    noise grows with the square root of the signal; the display is a sigmoid of the logarithm,
    placed by an automatic exposure that looks at the lungs as real ones do.
    """
    import cv2

    size = attenuation.shape[0]
    primary = np.exp(-attenuation)
    inside = np.minimum(primary, 0.2)  # the open beam beside the body scatters nowhere
    small = cv2.resize(inside, (56, 56), interpolation=cv2.INTER_AREA)
    haze = cv2.resize(cv2.GaussianBlur(small, (0, 0), 5.0), (size, size))
    signal = primary + np.float32(_SCATTER) * haze
    rng = np.random.default_rng(image.noise_seed)
    reference = np.float32(np.median(signal[lung]) if lung.any() else np.median(signal))
    grain = rng.standard_normal((size, size), dtype=np.float32)
    signal = signal + np.float32(image.noise) * np.sqrt(signal * reference) * grain
    blurred = cv2.GaussianBlur(signal, (0, 0), max(image.blur * size / 224.0, 0.05))
    density = -np.log(np.maximum(blurred, np.float32(1e-5)))
    if image.enhancement > 0:
        soft = cv2.GaussianBlur(density, (0, 0), 4.0 * size / 224.0)
        density = density + np.float32(image.enhancement) * (density - soft)
    center = -np.log(reference) + np.float32(0.42 - 0.5 * image.exposure)
    gray = 1.0 / (1.0 + np.exp(np.float32(-1.5 * image.contrast) * (density - center)))
    return np.asarray(gray ** np.float32(image.gamma), dtype=np.float32)


def decorate(gray: Float, image: ImageParameters) -> Bytes:
    """Return the final uint8 image: inverted, collimated, marked and compressed as drawn."""
    pixels: Bytes = np.asarray(np.clip(gray, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    collimate(pixels, image.border)
    mark(pixels, image.marker)
    if image.inverted:
        pixels = np.asarray(255 - pixels, dtype=np.uint8)
    if image.jpeg_quality:
        import cv2

        _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, image.jpeg_quality])
        pixels = np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    return pixels


def collimate(pixels: Bytes, border: tuple[float, float, float, float]) -> None:
    """Blacken the sides of an image, in place, as a collimator does."""
    size = pixels.shape[0]
    left, top, right, bottom = (round(share * size) for share in border)
    pixels[:, :left] = 6
    pixels[:top, :] = 6
    pixels[:, size - right :] = 6
    pixels[size - bottom :, :] = 6


def mark(pixels: Bytes, text: str, height: float = 1.0) -> None:
    """Burn a side marker into an image, in place: L, the patient's left, at the image's right."""
    if not text:
        return
    import cv2

    size = pixels.shape[0]
    word = len(text) > 4
    scale = (0.36 if word else 0.62) * size / 224.0 * height
    thickness = max(round((1 if word else 2) * size / 224.0), 1)
    (width, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    margin = round(0.045 * size)
    x = size - margin - width if text.startswith("L") else margin
    y = margin + tall
    cv2.putText(pixels, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 245, thickness, cv2.LINE_AA)
