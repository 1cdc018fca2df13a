"""Opacities: where each disease lies in the lung, and how dense it is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hurdles.errors import RegistryError
from hurdles.phantom.parameters import Blob

#: Class name -> kind of disease. Other names are read by `pattern_of`.
PATTERNS = {"COVID-19": "covid", "Normal": "none", "Pneumonia": "pneumonia"}

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Disease:
    """The disease of one patient.

    Parameters
    ----------
    pattern : str
        How it is spread: ``peripheral`` (COVID-19), ``lobar`` or ``diffuse`` (pneumonia), or
        ``none``.
    severity : float
        0 (nothing to be seen) to 1.
    blobs : tuple of Blob
        The opacities in the lungs; none without a disease.
    """

    pattern: str
    severity: float
    blobs: tuple[Blob, ...]


def pattern_of(label: str) -> str:
    """Return covid, pneumonia or none for a class name, whatever its spelling.

    Examples
    --------
    >>> pattern_of("Viral Pneumonia"), pattern_of("NORMAL"), pattern_of("covid")
    ('pneumonia', 'none', 'covid')
    """
    lower = label.lower().replace("_", " ")
    for word, pattern in (
        ("covid", "covid"),
        ("pneumonia", "pneumonia"),
        ("normal", "none"),
        ("no finding", "none"),
        ("healthy", "none"),
    ):
        if word in lower:
            return pattern
    raise RegistryError(
        f"no opacities are known for the class {label!r}. Known: {', '.join(PATTERNS)}; a name "
        "that contains 'covid', 'pneumonia' or 'normal' is understood too."
    )


def draw_disease(rng: np.random.Generator, pattern: str) -> Disease:
    """Draw severity and opacities.

    COVID-19: peripheral, bilateral, patchy, basal, ground-glass (Wong et al. 2020, Radiology
    296:E72). Pneumonia: lobar consolidation on one side, or diffuse haze about the hila.
    """
    if pattern == "none":
        return Disease("none", 0.0, ())
    severity = float(np.clip(rng.beta(2.0, 1.1), 0.05, 1.0))
    if pattern == "covid":
        return Disease("peripheral", severity, _peripheral(rng))
    if rng.uniform() < 0.65:
        return Disease("lobar", severity, _lobar(rng))
    return Disease("diffuse", severity, _diffuse(rng))


def _peripheral(rng: np.random.Generator) -> tuple[Blob, ...]:
    one_sided = rng.uniform() < 0.12  # early disease may show on one side only
    first = int(rng.choice([-1, 1]))
    blobs = []
    for number in range(int(rng.integers(4, 10))):
        side = first if one_sided else first * (1 if number % 2 else -1)
        blobs.append(
            Blob(
                side=side,
                across=float(rng.beta(5.0, 1.6)),
                down=float(0.15 + 0.85 * rng.beta(3.2, 1.5)),
                width=float(rng.uniform(1.2, 2.8)),
                height=float(rng.uniform(1.6, 3.8)),
                density=float(rng.uniform(0.35, 0.95)),
                edge=float(rng.uniform(1.6, 2.6)),
            )
        )
    return tuple(blobs)


def _lobar(rng: np.random.Generator) -> tuple[Blob, ...]:
    side = int(rng.choice([-1, 1], p=[0.6, 0.4]))
    upper = rng.uniform() < 0.35
    main = Blob(
        side=side,
        across=float(rng.uniform(0.25, 0.65)),
        down=float(rng.uniform(0.3, 0.45) if upper else rng.uniform(0.65, 0.95)),
        width=float(rng.uniform(2.6, 4.6)),
        height=float(rng.uniform(2.4, 4.4)),
        density=float(rng.uniform(1.0, 2.2)),
        edge=float(rng.uniform(2.5, 5.0)),
        cut=float(rng.uniform(-0.25, 0.35)) if rng.uniform() < 0.6 else None,
    )
    satellites = [
        Blob(
            side=side,
            across=float(np.clip(main.across + rng.normal(0, 0.2), 0.1, 0.9)),
            down=float(np.clip(main.down + rng.normal(0, 0.12), 0.1, 1.0)),
            width=float(rng.uniform(1.0, 2.2)),
            height=float(rng.uniform(1.0, 2.2)),
            density=float(rng.uniform(0.4, 1.0)),
        )
        for _ in range(int(rng.integers(1, 4)))
    ]
    return (main, *satellites)


def _diffuse(rng: np.random.Generator) -> tuple[Blob, ...]:
    """Perihilar haze on both sides: the central counterpart of the peripheral pattern."""
    return tuple(
        Blob(
            side=1 if number % 2 else -1,
            across=float(rng.beta(1.8, 2.6)),
            down=float(rng.uniform(0.3, 0.95)),
            width=float(rng.uniform(1.6, 3.6)),
            height=float(rng.uniform(1.6, 3.8)),
            density=float(rng.uniform(0.35, 0.85)),
        )
        for number in range(int(rng.integers(6, 11)))
    )
