"""The ways to split that have a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hurdles.data.allocation import share_out
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split, SplitScheme
from hurdles.errors import SplitError
from hurdles.registry import Registry

__all__ = ["SCHEMES", "Fractions", "Scheme", "meant"]

#: Shares of train, validation and test: each above 0, together 1.
Fractions = tuple[float, float, float]
Assign = Callable[[Manifest, Fractions, int], Sequence[str]]


@dataclass(frozen=True)
class Scheme:
    """A way to split that has a name.

    Parameters
    ----------
    assign : callable
        ``assign(manifest, fractions, seed)`` returns one split per row.
    grouped : bool
        Whether it promises that no patient is in two splits.
    needs_patients : bool
        Whether images without a patient must be allowed explicitly.
    """

    assign: Assign
    grouped: bool
    needs_patients: bool


#: Every way to split, by name.
SCHEMES: Registry[Scheme] = Registry("split scheme")


def meant(scheme: str, manifest: Manifest) -> str:
    """Return the scheme that a name means for these images: ``auto`` is one of two others.

    Parameters
    ----------
    scheme : str
        A name in `SCHEMES`.
    manifest : Manifest
        The images; they bring a split where any of them has one.

    Raises
    ------
    RegistryError
        If no scheme has this name.
    """
    SCHEMES.get(scheme)
    if scheme != SplitScheme.AUTO:
        return scheme
    given = manifest.frame["split"].notna().any()
    return SplitScheme.GIVEN if given else SplitScheme.PATIENT


def _scheme(name: str, *, grouped: bool, needs_patients: bool) -> Callable[[Assign], Assign]:
    def keep(assign: Assign) -> Assign:
        SCHEMES.register(str(name))(Scheme(assign, grouped, needs_patients))
        return assign

    return keep


@_scheme(SplitScheme.AUTO, grouped=True, needs_patients=False)
def _as_meant(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
    return SCHEMES.get(meant(SplitScheme.AUTO, manifest)).assign(manifest, fractions, seed)


@_scheme(SplitScheme.PATIENT, grouped=True, needs_patients=True)
def _by_patient(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
    return share_out(manifest.frame["label"], manifest.groups, fractions=fractions, seed=seed)


@_scheme("image", grouped=False, needs_patients=False)
def _by_image(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
    return share_out(
        manifest.frame["label"], manifest.frame["image"], fractions=fractions, seed=seed
    )


# Nobody's patient is asked for: which images share a part was decided by whoever gave the split.
@_scheme(SplitScheme.GIVEN, grouped=True, needs_patients=False)
def _as_given(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
    """Keep the split; without a validation part, one is taken out of training, by patient."""
    given = manifest.frame["split"]
    if given.isna().any() or (given == Split.VALIDATION).any():
        return given.tolist()
    training = manifest.frame[given == Split.TRAIN]
    train, validation, _ = fractions
    both = train + validation
    given = given.copy()
    given[training.index] = share_out(
        training["label"],
        manifest.groups[training.index],
        fractions=(train / both, validation / both),
        seed=seed,
        parts=(Split.TRAIN, Split.VALIDATION),
    )
    return given.tolist()


# It needs no fractions or seed; a scheme takes them all the same.
@_scheme("lazaro-barco-2020", grouped=False, needs_patients=False)
def _as_lazaro_barco(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:  # noqa: ARG001 - a scheme's
    """Split as the notebook of Lázaro Barco (2020) does.

    Normal and Viral Pneumonia: scikit-learn's `train_test_split`, stratified, seed 42, first 70
    to 30 and then the 30 by half, on the images of one class after the other in the order of
    their numbers. COVID-19 was split by hand into 153, 33 and 33; which image went where was not
    published, so a shuffle with the same seed stands in for it. 2,033, 436 and 436 images in all.
    """
    from sklearn.model_selection import train_test_split

    others, covid = ["Normal", "Viral Pneumonia"], "COVID-19"
    if manifest.labels != sorted([*others, covid]):
        raise SplitError(
            f"'lazaro-barco-2020' splits the classes {covid}, {' and '.join(others)}; here are "
            f"{', '.join(manifest.labels)}. Use 'patient' or 'image'."
        )
    frame = manifest.frame[["image", "label"]]
    named = {k: sorted(g, key=_as_numbered) for k, g in frame.groupby("label")["image"]}
    images = [image for label in others for image in named[label]]
    classes = [label for label in others for _ in named[label]]
    try:
        train, rest, _, rest_classes = train_test_split(
            images, classes, test_size=0.3, random_state=42, stratify=classes
        )
        validation, test = train_test_split(
            rest, test_size=0.5, random_state=42, stratify=rest_classes
        )
    except ValueError as error:
        raise SplitError(f"'lazaro-barco-2020' needs more images than these: {error}") from error
    order = np.random.default_rng(42).permutation(len(named[covid]))
    shuffled = [named[covid][i] for i in order]
    a_part = round(len(shuffled) * 33 / 219)
    validation, test = validation + shuffled[:a_part], test + shuffled[a_part : 2 * a_part]
    train = train + shuffled[2 * a_part :]
    where = {i: s for s, part in zip(Split, (train, validation, test), strict=True) for i in part}
    return [where[image] for image in frame["image"]]


def _as_numbered(name: str) -> list[tuple[str, int]]:
    """Sort key by which 'NORMAL (2)' comes before 'NORMAL (10)'."""
    pieces = [(text, int(n or -1)) for text, n in re.findall(r"(\D*)(\d*)", name)]
    return [*pieces, (name, 0)]  # 'a1' and 'a01' are two images, always in the same order
