"""Folds: every image is tested once, by a model that never saw its patient."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.split import Fractions, share_out
from hurdles.data.untrusted import as_csv, from_cells, listed
from hurdles.data.vocabulary import MissingPatients, Split, SplitScheme
from hurdles.errors import SplitError

__all__ = ["FEW_PATIENTS", "Folds", "advised_scheme", "make_folds"]

#: Below so many patients of the rarest class, one split tests too few of them to say much: of 150,
#: 15 % are 22, and a sensitivity of 20 in 22 has an interval 27 points wide (Wilson).
FEW_PATIENTS = 150
#: Orders of the patients that are tried until every fold has every class.
_TRIES = 20


@dataclass(frozen=True, eq=False)
class Folds:
    """The fold in which each image is tested, in each repeat.

    Parameters
    ----------
    images : tuple of str
        Names of n images.
    numbers : array of int, shape (repeats, n)
        The fold of each image, from 0 to `k` - 1; each fold has an image in each repeat.

    Raises
    ------
    SplitError
        If the numbers are not of these images, or a fold is empty.
    """

    images: tuple[str, ...]
    numbers: NDArray[np.intp]

    def __post_init__(self) -> None:
        numbers = self.numbers
        if numbers.ndim != 2 or numbers.shape[1] != len(self.images) or not numbers.size:
            raise SplitError(
                f"folds of shape {numbers.shape} are not of {len(self.images)} images; give one "
                "number for each image and repeat."
            )
        if len(set(self.images)) < len(self.images):
            raise SplitError("an image stands in the folds twice; every image is tested once.")
        for row in numbers:
            if sorted({*row.tolist()}) != list(range(self.k)):
                raise SplitError(f"of folds 0 to {self.k - 1}, some have no image.")

    @property
    def k(self) -> int:
        """Number of folds in a repeat."""
        return int(self.numbers.max()) + 1

    @property
    def repeats(self) -> int:
        """Number of times that the images were parted into folds."""
        return len(self.numbers)

    def of(self, manifest: Manifest, repeat: int = 0) -> NDArray[np.intp]:
        """Return the fold of each image of a manifest, whatever their order.

        Raises
        ------
        SplitError
            If the manifest has images that the folds do not name.
        """
        place = pd.Series(range(len(self.images)), index=list(self.images))
        rows = place.reindex(manifest.frame["image"])
        if rows.isna().any():
            unknown = rows.index[rows.isna()].tolist()
            raise SplitError(
                f"{len(unknown)} images are in no fold: {listed(unknown)}. Make the folds of the "
                "images that are to be parted."
            )
        return np.asarray(self.numbers[repeat, rows.to_numpy(dtype=np.intp)])

    def part(
        self,
        manifest: Manifest,
        fold: int,
        repeat: int = 0,
        *,
        fractions: Fractions = (0.7, 0.15, 0.15),
        seed: int = 0,
    ) -> Manifest:
        """Return the images with the split of one fold.

        Parameters
        ----------
        manifest : Manifest
            The images, as they were given to `make_folds`.
        fold, repeat : int
            Which fold is tested, from 0.
        fractions : tuple of three floats
            Of the other folds, validation gets ``validation / (train + validation)``, by patient
            and in every class alike; the share of the test is that of a fold.
        seed : int
            That of the folds; every fold draws its validation images anew.

        Examples
        --------
        >>> rows = pd.DataFrame({"image": [f"i{n}" for n in range(40)], "label": ["a", "b"] * 20})
        >>> rows = rows.assign(path="/" + rows["image"], patient=[f"p{n // 2}" for n in range(40)])
        >>> images = Manifest(rows)
        >>> done = make_folds(images, k=5).part(images, 0)
        >>> {part: len(done.part(part)) for part in ("train", "validation", "test")}
        {'train': 26, 'validation': 6, 'test': 8}
        """
        tested = self.of(manifest, repeat) == fold
        splits = np.where(tested, Split.TEST.value, Split.TRAIN.value).astype(object)
        rest = manifest.frame.index[~tested]
        train, validation, _ = fractions
        both = train + validation
        splits[~tested] = share_out(
            manifest.frame.loc[rest, "label"],
            manifest.groups[rest],
            fractions=(train / both, validation / both),
            seed=_seed(seed, repeat, fold + 1),
            parts=(Split.TRAIN, Split.VALIDATION),
        )
        return manifest.with_split(splits.tolist())

    def save(self, path: str | Path) -> Path:
        """Write a CSV with the columns image, fold_1, fold_2, ...: one per repeat, folds from 1."""
        table = pd.DataFrame({"image": list(self.images)})
        for number, row in enumerate(self.numbers, start=1):
            table[f"fold_{number}"] = row + 1
        write_text(path, as_csv(table))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Folds:
        """Read what `save` wrote.

        Raises
        ------
        SplitError
            If the file holds no folds.
        """
        try:
            table = from_cells(pd.read_csv(path, dtype={"image": "str"}, keep_default_na=False))
            columns = [f"fold_{n}" for n in range(1, len(table.columns))]
            numbers = table[columns].to_numpy(dtype=np.intp).T - 1
            images = tuple(table["image"].tolist())
        except (OSError, ValueError, KeyError) as error:
            raise SplitError(f"{path} cannot be read as folds ({error}).") from error
        return cls(images, numbers)


def make_folds(
    manifest: Manifest,
    *,
    k: int = 5,
    repeats: int = 1,
    seed: int = 0,
    missing_patients: MissingPatients | str = MissingPatients.REFUSE,
) -> Folds:
    """Part images into folds by patient, every class shared out alike, once or several times.

    Parameters
    ----------
    manifest : Manifest
        The images; a split that they have is not looked at.
    k : int
        Number of folds, at least 2.
    repeats : int
        How often they are parted, each time otherwise.
    seed : int
        Another seed draws other folds; the order of the rows makes no difference.
    missing_patients : MissingPatients
        As for `hurdles.data.split.split`.

    Returns
    -------
    Folds
        No patient is in two folds of a repeat, and every fold has images of every class.

    Raises
    ------
    SplitError
        If patients are missing and not allowed to be, or a class has fewer patients than folds.

    Notes
    -----
    scikit-learn's `StratifiedGroupKFold`, with the patients in a drawn order.

    Examples
    --------
    >>> rows = pd.DataFrame({"image": [f"i{n}" for n in range(40)], "label": ["a", "b"] * 20})
    >>> rows = rows.assign(path="/" + rows["image"], patient=[f"p{n // 2}" for n in range(40)])
    >>> folds = make_folds(Manifest(rows), k=5, repeats=2)
    >>> np.bincount(folds.numbers[0]).tolist()
    [8, 8, 8, 8, 8]
    """
    if k < 2 or repeats < 1:
        raise SplitError(f"{k} folds, {repeats} times: give 2 folds or more, once or more often.")
    if MissingPatients(missing_patients) is MissingPatients.REFUSE and manifest.missing_patients:
        one_each = MissingPatients.ONE_EACH.value
        raise SplitError(
            f"'patient' is empty in {manifest.missing_patients} of {len(manifest)} rows, so one "
            "patient might be in two folds unseen. Fill them in, or take each of these images for "
            f"a patient of its own by --missing-patients {one_each} (in a recipe: [split] "
            f'missing_patients = "{one_each}").'
        ).unless("--missing-patients", one_each)
    if not len(manifest):
        raise SplitError("there is nothing to part into folds: the manifest has no rows.")
    people = patients_by_class(manifest)
    few = [f"{label!r} ({n})" for label, n in people.items() if n < k]
    if few:
        least, unit = min(people.values()), "patients" if manifest.known_patients else "images"
        way = ("--set", f"split.folds={least}") if least > 1 else ()
        in_file = f"in a recipe [split] folds = {least}, in a study's cells split.folds = {least}"
        fewer = f"Make fewer folds ({' '.join(way)}; {in_file}), call" if way else "Call"
        raise SplitError(
            f"{k} folds need {k} {unit} of every class, and there are fewer of {', '.join(few)}. "
            f"{fewer} several classes by one name (--label THEIRS=OURS; in a study 'classes' of "
            "a set), or leave such a class out (--label THEIRS=; in a study 'drop' of a "
            "collection)."
        ).unless(*way)
    order = np.argsort(manifest.frame["image"].to_numpy(dtype=str), kind="stable")
    labels = pd.factorize(manifest.frame["label"].iloc[order], sort=True)[0]
    groups = pd.factorize(manifest.groups.iloc[order], sort=True)[0]
    numbers = np.empty((repeats, len(manifest)), dtype=np.intp)
    for repeat in range(repeats):
        numbers[repeat, order] = _stratified(labels, groups, k, seed, repeat)
    return Folds(tuple(manifest.frame["image"].tolist()), numbers)


def _stratified(
    labels: NDArray[np.intp], groups: NDArray[np.intp], k: int, seed: int, repeat: int
) -> NDArray[np.intp]:
    """Return the fold of each image; every class is in every fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    classes = int(labels.max()) + 1
    for attempt in range(_TRIES):
        folds = np.empty(len(labels), dtype=np.intp)
        state = _seed(seed, repeat, 0, attempt)
        parting = StratifiedGroupKFold(k, shuffle=True, random_state=state)
        with warnings.catch_warnings():  # classes of few images are looked at below
            warnings.simplefilter("ignore", UserWarning)
            for number, (_, tested) in enumerate(parting.split(labels, labels, groups)):
                folds[tested] = number
        if len(np.unique(folds * classes + labels)) == k * classes:
            return folds
    raise SplitError(
        f"in {_TRIES} orders of the patients, some fold had no image of some class: a few patients "
        "have most of its images, or belong to several classes. Make fewer folds, or one split "
        f"(--set split.scheme={SplitScheme.PATIENT})."
    ).unless("--set", f"split.scheme={SplitScheme.PATIENT}")


def patients_by_class(manifest: Manifest) -> dict[str, int]:
    """Return the patients of each class; an image without a patient counts as one."""
    people = manifest.groups.groupby(manifest.frame["label"]).nunique()
    return {str(label): int(n) for label, n in people.items()}


def advised_scheme(manifest: Manifest, k: int = 5) -> tuple[SplitScheme, str]:
    """Return what ``auto`` makes of images that are to be trained on, and why, in a sentence.

    The split that the images bring, if any does; else folds where the rarest class has fewer than
    `FEW_PATIENTS` patients and enough for `k` folds; else one split by patient. Images without a
    patient count as one patient each, which may be too many.
    """
    if manifest.frame["split"].notna().any():
        return SplitScheme.GIVEN, "the images bring a split"
    people = patients_by_class(manifest)
    label = min(people, key=lambda name: (people[name], name))
    n = people[label]
    unit = "patient" if manifest.known_patients else "image"
    unit += "" if n == 1 else "s"
    unit += "" if manifest.known_patients else " without a patient's name"
    has = f"the rarest class, {label!r}, has {n} {unit}"
    if n >= FEW_PATIENTS:
        return SplitScheme.PATIENT, f"{has}, {FEW_PATIENTS} or more"
    if n < k:
        return SplitScheme.PATIENT, f"{has}, too few for {k} folds"
    return SplitScheme.K_FOLD, f"{has}, fewer than {FEW_PATIENTS}"


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def nested_training(
    manifest: Manifest, shares: Sequence[float], *, seed: int = 0
) -> list[Manifest]:
    """Return the images with so many of the training patients, each share within the next.

    Parameters
    ----------
    manifest : Manifest
        Images with their split; validation and test stay as they are.
    shares : sequence of float
        Shares of the patients of the training part, each within (0, 1].
    seed : int
        Another seed draws other patients.

    Returns
    -------
    list of Manifest
        One for each share, in their order. Every class keeps its share of patients, and one at
        least; a patient of several classes counts with the rarest.

    Raises
    ------
    SplitError
        If a share is none.
    """
    if wrong := [share for share in shares if not 0 < share <= 1]:
        raise SplitError(f"{wrong[0]:g} is no share of the patients; give numbers within (0, 1].")
    training = manifest.frame["split"] == Split.TRAIN.value
    groups, labels = manifest.groups[training], manifest.frame.loc[training, "label"]
    people = groups.groupby(labels).nunique()
    order = sorted(people.index, key=lambda label: (people[label], label))
    rarest = labels.map({label: place for place, label in enumerate(order)}).groupby(groups).min()
    rng = np.random.default_rng(seed)
    place = pd.Series(0.0, index=rarest.index)
    for _, members in rarest.sort_index().groupby(rarest):
        place[members.index] = rng.permutation(len(members)) / len(members)
    at = manifest.groups.map(place)
    return [manifest.select(~training | (at < share - 1e-9)) for share in shares]
