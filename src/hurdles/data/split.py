"""Splits: by patient, as given, or as a paper made them; written down and used again."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_csv, from_cells, listed
from hurdles.data.vocabulary import MissingPatients, Split, SplitScheme
from hurdles.errors import ManifestError, SplitError
from hurdles.registry import Registry

__all__ = ["SCHEMES", "check_split", "load_split", "save_split", "split"]

#: Shares of train, validation and test: each above 0, together 1.
Fractions = tuple[float, float, float]
Assign = Callable[[Manifest, Fractions, int], Sequence[str]]


class Scheme(NamedTuple):
    """A way to split: ``assign(manifest, fractions, seed)`` returns one split per row."""

    assign: Assign
    grouped: bool  # whether it promises that no patient is in two splits
    needs_patients: bool  # whether images without a patient must be allowed explicitly


#: Every way to split, by name.
SCHEMES: Registry[Scheme] = Registry("split scheme")

_SPLITS = tuple(Split)
# A class of two patients can be learned and tested; one of one patient can only be learned.
_NEEDED_FIRST = (Split.TRAIN, Split.TEST, Split.VALIDATION)
#: What splits anew where a given split cannot be used.
_ANEW = ("--set", f"split.scheme={SplitScheme.PATIENT}")
_HEADER = "# split of the manifest with hash "


def split(
    manifest: Manifest,
    *,
    fractions: Fractions = (0.7, 0.15, 0.15),
    seed: int = 0,
    missing_patients: MissingPatients | str = MissingPatients.REFUSE,
    by: str = "patient",
) -> Manifest:
    """Return the same rows, in the same order, each assigned to train, validation or test.

    Parameters
    ----------
    manifest : Manifest
        The rows. A split that they have already is replaced, unless `by` is ``"given"``.
    fractions : tuple of three floats
        Shares of train, validation and test: each above 0, together 1.
    seed : int
        Another seed draws another split; the order of the rows makes no difference.
    missing_patients : MissingPatients
        ``"refuse"`` raises where a patient is not known; ``"one-each"`` takes every such image
        for a patient of its own, which hides any leak between them.
    by : str
        ``"patient"``: no patient in two splits, every class shared out alike.
        ``"image"``: every class shared out alike and patients ignored. It leaks; published
        results often rest on it.
        ``"lazaro-barco-2020"``: the image-level split of that work, whose fractions (70/15/15)
        and seed (42) are fixed.
        ``"given"``: the split that the manifest has, checked; without a validation part, one is
        taken out of its training part, by patient as far as they are known.
        ``"auto"``: the given split where any image has one, else by patient. (`hurdles.run` makes
        folds of few patients instead.)

    Raises
    ------
    SplitError
        If the fractions are not shares, patients are missing and not allowed to be, or the
        result does not pass `check_split`.
    RegistryError
        If no scheme is called `by`.

    Examples
    --------
    >>> rows = pd.DataFrame({"image": [f"i{n}" for n in range(20)], "label": ["a", "b"] * 10})
    >>> rows = rows.assign(path="/" + rows["image"], patient=[f"p{n // 4}" for n in range(20)])
    >>> done = split(Manifest(rows), seed=1)
    >>> {part: len(done.part(part)) for part in ("train", "validation", "test")}
    {'train': 12, 'validation': 4, 'test': 4}
    """
    by = resolved_scheme(by, manifest)
    scheme = SCHEMES.get(by)
    shares = list(fractions)
    if len(shares) != len(_SPLITS) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise SplitError(
            f"fractions are {tuple(shares)}; give three shares above 0 that sum to 1, for train, "
            "validation and test."
        )
    refuse = MissingPatients(missing_patients) is MissingPatients.REFUSE
    if scheme.needs_patients and refuse and manifest.missing_patients:
        one_each = MissingPatients.ONE_EACH.value
        raise SplitError(
            f"'patient' is empty in {manifest.missing_patients} of {len(manifest)} rows, so one "
            "patient might be in two splits unseen. Fill them in, or take each of these images for "
            f"a patient of its own by --missing-patients {one_each} (in a recipe: [split] "
            f'missing_patients = "{one_each}").'
        ).unless("--missing-patients", one_each)
    if not len(manifest):
        raise SplitError("there is nothing to split: the manifest has no rows.")
    if by == SplitScheme.GIVEN:
        _refuse_half_given(manifest)
    done = manifest.with_split(scheme.assign(manifest, fractions, seed))
    check_split(done, grouped=scheme.grouped)
    return done


def _refuse_half_given(manifest: Manifest) -> None:
    """Refuse a split that leaves images out, or has no part to learn from or to test on."""
    given = manifest.frame["split"]
    without = manifest.frame[given.isna()]
    if len(without) == len(manifest):
        raise SplitError("no image has a split; fill in train, validation or test, or split anew.")
    if len(without):
        sources = without["source"].dropna().unique()
        whose = f", all of {listed(sorted(sources))}" if len(sources) else ""
        raise SplitError(
            f"{len(without)} of {len(manifest)} images have no split although the others do, for "
            f"one {without['image'].iloc[0]!r}{whose if without['source'].notna().all() else ''}. "
            "Fill in train, validation or test for each, leave these images out, or split all of "
            f"them anew ({' '.join(_ANEW)})."
        ).unless(*_ANEW)
    parts = {*given.unique()}
    lacking = [part.value for part in (Split.TRAIN, Split.TEST) if part.value not in parts]
    if lacking:
        raise SplitError(
            f"the split that the images bring has no {' and no '.join(lacking)} part "
            f"({', '.join(f'{n} {part}' for part, n in given.value_counts().items())}). Give some "
            f"images that part, or split all of them anew ({' '.join(_ANEW)})."
        ).unless(*_ANEW)


def check_split(manifest: Manifest, *, grouped: bool = True) -> list[str]:
    """Refuse a split that leaks or cannot be used; return what merely weakens it.

    Parameters
    ----------
    manifest : Manifest
        Rows with their split.
    grouped : bool
        Whether a patient in two splits is an error. If not, it is one of the warnings: for the
        leaky splits of published work.

    Returns
    -------
    list of str
        A sentence for each weakness: a class missing from validation or test, patients shared
        between splits where `grouped` is false.

    Raises
    ------
    SplitError
        If a row has no split, a split is empty, a class is missing from train, or (`grouped`)
        a patient is in two splits.
    """
    frame = manifest.frame
    if unassigned := int(frame["split"].isna().sum()):
        raise SplitError(
            f"{unassigned} of {len(frame)} images have no split. Fill in train, validation or "
            "test for each, or split anew."
        ).unless(*_ANEW)
    if empty := [s.value for s in Split if not (frame["split"] == s.value).any()]:
        raise SplitError(
            f"{' and '.join(empty)} got no image: {len(manifest)} image(s) of "
            f"{manifest.groups.nunique()} patient(s) in {len(manifest.labels)} class(es). "
            "A split needs three patients of a class; add data."
        )
    if unlearned := _missing(frame, Split.TRAIN):
        raise SplitError(
            f"class {listed(unlearned)} is missing from train, so no model can learn it. Move "
            "images of it to train, leave the class out, or split anew."
        )
    warnings = missing_classes(manifest)
    person = pd.factorize(manifest.groups)[0]
    part, parts = pd.factorize(frame["split"])
    both = np.unique(person * len(parts) + part) // len(parts)
    is_shared = np.bincount(both)[person] > 1
    pairs = frame.loc[is_shared, ["patient", "source"]].drop_duplicates()
    if not len(pairs):
        return warnings
    shared = sorted(
        patient if pd.isna(source) else f"{patient} ({source})"
        for patient, source in pairs.itertuples(index=False)
    )
    leak = f"{len(shared)} patient(s) have images in more than one split: {listed(shared)}."
    if grouped:
        raise SplitError(
            f"{leak} Keep each patient within one split, or split anew by patient."
        ).unless(*_ANEW)
    return [*warnings, f"{leak} A model can know them again, so its results are too good."]


def missing_classes(manifest: Manifest) -> list[str]:
    """Return a sentence on the classes without a test image, and on those without validation."""
    sentences = []
    for part, so in (
        (Split.TEST, "how well the model finds such images is not measured"),
        (Split.VALIDATION, "the epoch, and a threshold, were chosen without them"),
    ):
        if lost := _missing(manifest.frame, part):
            number = f"{len(lost)} of {len(manifest.labels)} classes"
            listed = ", ".join(f"{label!r} (of {manifest.counts[label]})" for label in lost)
            sentences.append(f"{number} without a {part} image, so {so}: {listed}.")
    return sentences


def save_split(manifest: Manifest, path: str | Path) -> Path:
    """Write the split to `path` as a CSV (image, split) and return the path.

    The first line holds the hash of everything else that the manifest says, so that `load_split`
    notices when the data have changed.

    Parameters
    ----------
    manifest : Manifest
        Rows with their split, none of them empty.
    path : str or Path
        Where to write.

    Raises
    ------
    SplitError
        If a row has no split.
    """
    if manifest.frame["split"].isna().any():
        raise SplitError("some images have no split yet; call split() before save_split().")
    table = manifest.frame[["image", "split"]].sort_values("image")
    write_text(path, f"{_HEADER}{_data_hash(manifest)}\n{as_csv(table)}")
    return Path(path)


def load_split(manifest: Manifest, path: str | Path, *, grouped: bool = True) -> Manifest:
    """Return the rows of `manifest` with the split that `save_split` wrote for them.

    Parameters
    ----------
    manifest : Manifest
        The rows that were split, in any order; their own ``split`` column is not looked at.
    path : str or Path
        What `save_split` wrote.
    grouped : bool
        As in `check_split`, which the split must pass.

    Raises
    ------
    SplitError
        If the file is not a split, belongs to other rows, or does not pass `check_split`.
    """
    path = Path(path)
    known, table = _read_split(path)
    images = manifest.frame["image"]
    if set(table.index) != set(images) or known != _data_hash(manifest):
        gone, new = sorted(set(table.index) - set(images)), sorted(set(images) - set(table.index))
        what = [f"{len(gone)} image(s) are gone: {listed(gone)}"] if gone else []
        what += [f"{len(new)} image(s) are new: {listed(new)}"] if new else []
        why = "; ".join(what) or "labels, patients or other columns of the same images differ"
        raise SplitError(
            f"{path} was made for other data ({why}). Bring the data back as they were, or "
            "give another --split, or none, to split anew."
        )
    try:
        done = manifest.with_split(table.loc[images].tolist())
        check_split(done, grouped=grouped)
    except ManifestError as error:
        raise SplitError(f"{path}: {error}") from error
    return done


def require_split_of(manifest: Manifest, path: str | Path) -> None:
    """Raise a SplitError if a file is no split, or names images that the manifest does not have.

    The manifest is that before any image is left out as unreadable: the file may name fewer.
    """
    _, table = _read_split(Path(path))
    if gone := sorted(set(table.index) - set(manifest.frame["image"])):
        raise SplitError(
            f"{path} was made for other data ({len(gone)} of its {len(table)} images are not among "
            f"those given: {listed(gone)}). Give the images that it was made for, or no split."
        )


def _missing(frame: pd.DataFrame, part: Split) -> list[str]:
    """Name the classes without an image in a split."""
    there = frame.loc[frame["split"] == part.value, "label"]
    return sorted({*frame["label"].unique()} - {*there.unique()})


def _data_hash(manifest: Manifest) -> str:
    """Hash what was split, not how: the same before and after."""
    return manifest.with_split([None] * len(manifest)).content_hash  # type: ignore[list-item] # no split


def _read_split(path: Path) -> tuple[str, pd.Series[str]]:
    """Return the hash of the data that a file was made for, and its splits by image."""
    try:
        header, _, _ = path.read_text(encoding="utf-8").partition("\n")
        table = from_cells(pd.read_csv(path, skiprows=1, dtype="str", keep_default_na=False))
    except (OSError, ValueError) as error:
        raise SplitError(f"{path} cannot be read as a split ({error}).") from error
    if not header.startswith(_HEADER) or list(table.columns) != ["image", "split"]:
        raise SplitError(
            f"{path} is not a split written by hurdles: it needs the line {_HEADER!r}, then the "
            "columns image and split."
        )
    if table["image"].duplicated().any():
        twice = table["image"][table["image"].duplicated()].iloc[0]
        raise SplitError(f"{path} names image {twice!r} twice; give another --split.")
    return header.removeprefix(_HEADER), table.set_index("image")["split"]


def resolved_scheme(scheme: str, manifest: Manifest) -> str:
    """Return the scheme that a name means for these images: ``auto`` is one of two others."""
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
def by_itself(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
    """Split as given where any image has a split, else by patient."""
    return SCHEMES.get(resolved_scheme(SplitScheme.AUTO, manifest)).assign(
        manifest, fractions, seed
    )


@_scheme(SplitScheme.PATIENT, grouped=True, needs_patients=True)
def by_patient(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
    """Share every class out alike, each patient within one split."""
    return share_out(manifest.frame["label"], manifest.groups, fractions=fractions, seed=seed)


@_scheme("image", grouped=False, needs_patients=False)
def by_image(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
    """Share every class out alike, and patients across splits."""
    return share_out(
        manifest.frame["label"], manifest.frame["image"], fractions=fractions, seed=seed
    )


@_scheme(SplitScheme.K_FOLD, grouped=True, needs_patients=True)
def by_fold(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:  # noqa: ARG001 - a scheme's
    """Refuse: folds are several splits, see `hurdles.data.folds.make_folds`."""
    raise SplitError(
        f"'{SplitScheme.K_FOLD}' makes several splits of {len(manifest)} images, and one is wanted "
        "here. Use 'patient'; folds are made by hurdles run."
    )


# Nobody's patient is asked for: which images share a part was decided by whoever gave the split.
@_scheme(SplitScheme.GIVEN, grouped=True, needs_patients=False)
def as_given(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:
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
def as_lazaro_barco(manifest: Manifest, fractions: Fractions, seed: int) -> Sequence[str]:  # noqa: ARG001 - a scheme's
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
    numbered = {k: sorted(g, key=_as_numbered) for k, g in frame.groupby("label")["image"]}
    images = [image for label in others for image in numbered[label]]
    classes = [label for label in others for _ in numbered[label]]
    try:
        train, rest, _, rest_classes = train_test_split(
            images, classes, test_size=0.3, random_state=42, stratify=classes
        )
        validation, test = train_test_split(
            rest, test_size=0.5, random_state=42, stratify=rest_classes
        )
    except ValueError as error:
        raise SplitError(f"'lazaro-barco-2020' needs more images than these: {error}") from error
    order = np.random.default_rng(42).permutation(len(numbered[covid]))
    shuffled = [numbered[covid][i] for i in order]
    a_part = round(len(shuffled) * 33 / 219)
    validation, test = validation + shuffled[:a_part], test + shuffled[a_part : 2 * a_part]
    train = train + shuffled[2 * a_part :]
    where = {i: s for s, part in zip(Split, (train, validation, test), strict=True) for i in part}
    return [where[image] for image in frame["image"]]


def _as_numbered(name: str) -> list[tuple[str, int]]:
    """Sort key by which 'NORMAL (2)' comes before 'NORMAL (10)'."""
    pieces = [(text, int(n or -1)) for text, n in re.findall(r"(\D*)(\d*)", name)]
    return [*pieces, (name, 0)]  # 'a1' and 'a01' are two images, always in the same order


def share_out(
    labels: pd.Series[str],
    groups: pd.Series[str],
    *,
    fractions: tuple[float, ...],
    seed: int,
    parts: tuple[Split, ...] = _SPLITS,
) -> list[str]:
    """Assign every group to a split, so that each class comes as close to the fractions as it can.

    Classes are taken from the one with the fewest groups to the one with the most; a group counts
    with the rarest class that it has, and within a class the largest groups come first, equals in
    a drawn order. A group goes to one of the splits that have room for all its images of that
    class, with odds in proportion to the room that they have: so large groups, which differ from
    small ones in more than size, are not all sent to train. Where none has room, it goes to the
    split that lacks most. As soon as a class has no more groups left than splits without it, its
    groups go to those splits, train first, then test.

    With groups of one class each, a class's count in a split is off by less than its largest
    group, or by less than twice that where a class has so few groups that the last rule decides.
    """
    person, people = pd.factorize(groups, sort=True)
    label, classes = pd.factorize(labels, sort=True)
    # One cell for every class of a group; only those that hold images.
    cells, images = np.unique(person * len(classes) + label, return_counts=True)
    group, kind = np.divmod(cells, len(classes))
    # Classes are numbered by rarity: fewest groups first, of equals the fewest images, then names.
    waiting = np.bincount(kind, minlength=len(classes))
    totals = np.bincount(kind, weights=images, minlength=len(classes))
    by_rarity = np.lexsort((totals, waiting))
    kind = by_rarity.argsort()[kind]
    order = np.lexsort((kind, group))
    begin = np.searchsorted(group, np.arange(len(people) + 1))
    kind, images = kind[order], images[order]
    # Drawn first: one place in the order and one ticket a group, whatever is decided later.
    draws = np.random.default_rng(seed).random((len(people), 2))
    first = begin[:-1]
    table = _Table(begin.tolist(), kind.tolist(), images.tolist(), draws[:, 1].tolist())
    chosen = table.assigned(
        np.lexsort((draws[:, 0], -images[first], kind[first])).tolist(),
        room=[[share * total for share in fractions] for total in totals[by_rarity].tolist()],
        waiting=waiting[by_rarity].tolist(),
        needed_first=[parts.index(s) for s in _NEEDED_FIRST if s in parts],
    )
    names = np.array([part.value for part in parts], dtype=object)
    return list(names[np.asarray(chosen)[person]])


class _Table(NamedTuple):
    """Groups and their classes, as lists: of a few numbers at a time, arrays are slow.

    Group g has the classes ``kind[begin[g]:begin[g + 1]]``, the rarest first, in so many images,
    and a ticket within [0, 1).
    """

    begin: list[int]
    kind: list[int]
    images: list[int]
    tickets: list[float]

    def assigned(
        self,
        order: list[int],
        *,
        room: list[list[float]],
        waiting: list[int],
        needed_first: list[int],
    ) -> list[int]:
        """Return the part of each group, assigned in this order.

        By class: the room that is left in each part, and the groups that wait. Both are changed.
        """
        n_parts = len(needed_first)
        has = [[False] * n_parts for _ in room]
        chosen = [0] * len(order)
        for g in order:
            own = range(self.begin[g], self.begin[g + 1])
            classes = [self.kind[i] for i in own]
            # The parts that leave every class a chance to be in all of them.
            allowed: Sequence[int] = range(n_parts)
            # Rarest first: where two classes cannot both be served, it is.
            for k in classes:
                if waiting[k] <= n_parts:
                    lacking = [part for part in needed_first if not has[k][part]]
                    if waiting[k] <= len(lacking):
                        both = sorted({*allowed} & {*lacking[: waiting[k]]})
                        allowed = both or allowed
            size = self.images[own[0]]
            chosen[g] = part = _part(room[classes[0]], allowed, size, self.tickets[g])
            for k, i in zip(classes, own, strict=True):
                room[k][part] -= self.images[i]
                has[k][part] = True
                waiting[k] -= 1
        return chosen


def _part(room: list[float], allowed: Sequence[int], size: int, ticket: float) -> int:
    """Return one of the parts that have room, by a ticket; if none has, the one that lacks most."""
    fits = [part for part in allowed if room[part] >= size - 1e-9]
    if not fits:
        return max(allowed, key=room.__getitem__)
    odds = list(accumulate(room[part] for part in fits))  # `sum` rounds otherwise by version
    return fits[min(bisect_right(odds, ticket * odds[-1]), len(fits) - 1)]
