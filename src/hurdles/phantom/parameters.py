"""What is drawn before anything is rendered: plain data that can be printed and stored."""

from __future__ import annotations

from dataclasses import dataclass

from hurdles.data.vocabulary import Sex, View


@dataclass(frozen=True)
class Blob:
    """One opacity, placed in the lung so that it moves with breathing and pose.

    Parameters
    ----------
    side : int
        -1 for the patient's right lung (left in the image), 1 for the left lung.
    across : float
        0 at the mediastinum, 1 at the chest wall.
    down : float
        0 at the apex, 1 at the top of the diaphragm.
    width, height : float
        Semi-axes in cm of an adult.
    density : float
        Optical depth of the filling, at full severity: 0 is air, 3 nearly solid.
    edge : float
        Steepness of the border: 2 is a soft cloud, 8 a sharp one.
    cut : float, optional
        Tangent of the slope of a fissure that ends the opacity above; None where there is none.
    """

    side: int
    across: float
    down: float
    width: float
    height: float
    density: float
    edge: float = 2.0
    cut: float | None = None


@dataclass(frozen=True)
class HospitalParameters:
    """How one hospital's equipment renders a chest.

    Parameters
    ----------
    contrast : float
        Slope of the characteristic curve, 1 on average.
    gamma : float
        Exponent applied to the displayed grey level.
    blur, noise : float
        Detector blur (sigma in pixels at 224) and noise (relative, at the mean exposure).
    enhancement : float
        Weight of the unsharp mask that the console applies.
    marker : str
        Side marker that this hospital burns in.
    marker_rate, border_rate : float
        Share of images with the marker, and with visible collimation.
    portable_rate : float
        Share of AP (bedside) images.
    """

    contrast: float
    gamma: float
    blur: float
    noise: float
    enhancement: float
    marker: str
    marker_rate: float
    border_rate: float
    portable_rate: float


@dataclass(frozen=True)
class PatientParameters:
    """What stays the same in all images of a patient.

    Parameters
    ----------
    index : int
        Number of the patient, from 0.
    label : str
        Class.
    hospital : int
        Number of the hospital, from 0.
    sex : Sex
        F or M.
    age : int
        Years.
    body_size : float
        Height relative to an average adult (1.0); children are smaller.
    infancy : float
        0 for adult proportions, 1 for those of a small child (round chest, large heart).
    chest_width, chest_depth, wall, heart_size, breast, rib_slope, bone, stomach : float
        Factors around 1 (``wall`` in cm, ``breast`` in cm, 0 for none; ``stomach`` is its bubble).
    anatomy_seed : int
        Seed of the vascular tree and of the lung texture.
    severity : float
        0 to 1, how far the disease goes; 0 in healthy patients.
    pattern : str
        none, peripheral, lobar, or diffuse.
    blobs : tuple of Blob
        Opacities at full severity.
    crowding : float
        Harmless basal haze (shallow breathing, atelectasis): an honest source of confusion.
    images : int
        How many images the patient has.
    """

    index: int
    label: str
    hospital: int
    sex: Sex
    age: int
    body_size: float
    infancy: float
    chest_width: float
    chest_depth: float
    wall: float
    heart_size: float
    breast: float
    rib_slope: float
    bone: float
    stomach: float
    anatomy_seed: int
    severity: float
    pattern: str
    blobs: tuple[Blob, ...]
    crowding: float
    images: int


@dataclass(frozen=True)
class ImageParameters:
    """What differs between the images of a patient.

    Parameters
    ----------
    number : int
        Number of the image of this patient, from 0.
    day : int
        Days since the first image.
    view : View
        PA or AP; AP magnifies the heart and raises the diaphragm.
    severity : float
        Severity on that day, 0 to 1.
    inspiration : float
        -1 shallow to 1 deep.
    rotation : float
        Degrees about the body's axis; positive turns the front to the image's right.
    tilt : float
        Degrees in the image plane.
    zoom, shift_x, shift_y : float
        Field of view relative to the usual one, and its offset in cm.
    exposure : float
        Shift of the characteristic curve: positive is brighter.
    contrast, gamma, blur, noise, enhancement : float
        As for the hospital, with this image's deviation.
    marker : str
        Burnt-in text, empty for none.
    border : tuple of float
        Collimated share of the image: left, top, right, bottom.
    inverted : bool
        Whether bone is dark.
    jpeg_quality : int
        0 for no compression, else 1 to 100.
    noise_seed : int
        Seed of the quantum noise.
    """

    number: int
    day: int
    view: View
    severity: float
    inspiration: float
    rotation: float
    tilt: float
    zoom: float
    shift_x: float
    shift_y: float
    exposure: float
    contrast: float
    gamma: float
    blur: float
    noise: float
    enhancement: float
    marker: str
    border: tuple[float, float, float, float]
    inverted: bool
    jpeg_quality: int
    noise_seed: int
