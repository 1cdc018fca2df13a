"""Folds by patient: every image tested once, every class in every fold, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from hurdles.data.folds import FEW_PATIENTS, Folds, advised_scheme, make_folds, nested_training
from hurdles.data.manifest import Manifest
from hurdles.data.split import check_split, split
from hurdles.errors import SplitError


def images(people: dict[str, int], *, seed: int = 0, most: int = 4, patients=True) -> Manifest:
    """So many patients of each class, one to `most` images each."""
    rng = np.random.default_rng(seed)
    rows = [
        {"patient": f"{label}-{n}" if patients else None, "label": label}
        for label, count in people.items()
        for n in range(count)
        for _ in range(rng.integers(1, most + 1))
    ]
    frame = pd.DataFrame(rows).assign(image=[f"i{n}" for n in range(len(rows))])
    return Manifest(frame.assign(path="/" + frame["image"]))


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return images({"covid": 23, "normal": 60, "other": 31})


@pytest.mark.parametrize("k", [2, 5, 10])
def test_every_image_is_tested_once_a_repeat_and_no_patient_in_two_folds(manifest, k):
    folds = make_folds(manifest, k=k, repeats=3, seed=4)
    assert (folds.k, folds.repeats) == (k, 3)
    for repeat in range(3):
        frame = manifest.frame.assign(fold=folds.of(manifest, repeat))
        assert frame.groupby("patient")["fold"].nunique().max() == 1
        parts = [folds.part(manifest, fold, repeat) for fold in range(k)]
        tested = pd.concat([part.part("test").frame["image"] for part in parts])
        assert sorted(tested) == sorted(manifest.frame["image"])
        for part in parts:
            assert part.frame.groupby("patient")["split"].nunique().max() == 1
            assert part.part("train").labels == part.part("test").labels == manifest.labels


def test_classes_are_shared_out_as_well_as_by_scikit_learn(manifest):
    ours = make_folds(manifest, k=5).of(manifest)
    labels, groups = manifest.frame["label"], manifest.frame["patient"]

    def spread(fold) -> float:
        shares = pd.crosstab(fold, labels, normalize="columns")
        return float(shares.std().mean())

    theirs = np.empty(len(manifest), dtype=int)
    parting = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for number, (_, tested) in enumerate(parting.split(labels, labels, groups)):
        theirs[tested] = number
    assert spread(ours) < spread(theirs) + 0.02
    at_random = np.random.default_rng(0).integers(0, 5, manifest.frame["patient"].nunique())
    codes = pd.factorize(groups)[0]
    assert spread(ours) < spread(at_random[codes]) / 2


def test_the_order_of_rows_makes_no_difference_and_the_seed_does(manifest):
    shuffled = manifest.select(np.ones(len(manifest), dtype=bool))
    shuffled = Manifest(manifest.frame.sample(frac=1, random_state=3).reset_index(drop=True))
    one, two = (make_folds(each, repeats=2, seed=1) for each in (manifest, shuffled))
    assert one.of(manifest, 1).tolist() == two.of(manifest, 1).tolist()
    assert one.of(manifest, 0).tolist() != one.of(manifest, 1).tolist()
    other = make_folds(manifest, seed=2)
    assert other.of(manifest).tolist() != one.of(manifest).tolist()


def test_validation_is_taken_by_patient_from_what_is_not_tested(manifest):
    part = make_folds(manifest).part(manifest, 2, fractions=(0.6, 0.2, 0.2))
    counts = part.frame["split"].value_counts()
    left = counts["train"] + counts["validation"]
    assert counts["validation"] / left == pytest.approx(0.25, abs=0.05)
    assert part.part("validation").labels == manifest.labels


def test_folds_are_written_and_read_again(manifest, tmp_path):
    folds = make_folds(manifest, k=3, repeats=2)
    again = Folds.load(folds.save(tmp_path / "folds.csv"))
    assert again.images == folds.images
    assert np.array_equal(again.numbers, folds.numbers)
    text = (tmp_path / "folds.csv").read_text().splitlines()
    assert text[0] == "image,fold_1,fold_2"
    (tmp_path / "folds.csv").write_text("image,fold_1\na,x\n")
    with pytest.raises(SplitError, match="cannot be read as folds"):
        Folds.load(tmp_path / "folds.csv")


def test_folds_that_cannot_be_are_refused(manifest):
    with pytest.raises(SplitError, match=r"fewer of 'covid' \(4\).*split.folds=4"):
        make_folds(images({"covid": 4, "normal": 50}))
    with pytest.raises(SplitError, match=r"fewer of 'covid' \(1\)\. Call several") as one:
        make_folds(images({"covid": 1, "normal": 50}))
    assert one.value.options == ()  # no number of folds would do
    with pytest.raises(SplitError, match=r"20 folds need 20 .*'covid' \(8\), 'normal' \(9\)"):
        make_folds(images({"covid": 8, "normal": 9}), k=20)
    with pytest.raises(SplitError, match="2 folds or more"):
        make_folds(manifest, k=1)
    unnamed = images({"covid": 30, "normal": 30}, patients=False)
    with pytest.raises(SplitError, match="'patient' is empty"):
        make_folds(unnamed)
    assert make_folds(unnamed, missing_patients="one-each").k == 5
    folds = make_folds(manifest)
    with pytest.raises(SplitError, match="are in no fold"):
        folds.of(
            unnamed.select([True] * len(unnamed)).__class__(
                unnamed.frame.assign(image="x" + unnamed.frame["image"])
            )
        )
    with pytest.raises(SplitError, match="twice"):
        Folds(("a", "a"), np.array([[0, 1]]))
    with pytest.raises(SplitError, match="some have no image"):
        Folds(("a", "b"), np.array([[0, 2]]))
    with pytest.raises(SplitError, match="several splits"):
        split(manifest, by="k-fold")


def test_a_class_in_the_hands_of_few_patients_is_refused_if_a_fold_would_lack_it():
    """Five patients have the class, and four of them all others as well: nothing to part."""
    rows = [{"patient": "p0", "label": label} for label in ("a", "b") for _ in range(40)]
    rows += [{"patient": f"p{n}", "label": "a"} for n in range(1, 3)]
    rows += [{"patient": "q", "label": "b"}]
    frame = pd.DataFrame(rows).assign(image=[f"i{n}" for n in range(len(rows))])
    with pytest.raises(SplitError, match="patients"):
        make_folds(Manifest(frame.assign(path="/" + frame["image"])), k=3)


def test_a_patient_of_two_classes_is_in_one_fold_with_all_images():
    both = images({"a": 12, "b": 12}).frame
    first = {label: both.loc[both["label"] == label, "patient"].iloc[0] for label in ("a", "b")}
    both["patient"] = both["patient"].replace(first["b"], first["a"])
    manifest = Manifest(both)
    for k in (2, 5):
        folds = make_folds(manifest, k=k)
        assert len({*folds.of(manifest)[manifest.frame["patient"] == first["a"]]}) == 1
        for number in range(k):
            check_split(folds.part(manifest, number))  # raises if a patient is in two parts


def test_what_auto_makes_of_images():
    few, many = images({"a": FEW_PATIENTS - 1, "b": 300}), images({"a": FEW_PATIENTS, "b": 300})
    assert advised_scheme(few) == (
        "k-fold",
        "the rarest class, 'a', has 149 patients, fewer than 150",
    )
    assert advised_scheme(many)[0] == "patient"
    scheme, why = advised_scheme(images({"a": 4, "b": 300}))
    assert (scheme, why.endswith("too few for 5 folds")) == ("patient", True)
    given = few.with_split(["test", "train"] * (len(few) // 2) + ["train"] * (len(few) % 2))
    assert advised_scheme(given)[0] == "given"
    unnamed = images({"a": 20, "b": 300}, most=1, patients=False)
    assert advised_scheme(unnamed)[1].startswith("the rarest class, 'a', has 20 images without")


def test_shares_of_the_training_patients_lie_within_each_other(manifest):
    done = split(manifest, seed=1)
    parts = nested_training(done, [0.25, 0.5, 1.0], seed=3)
    names = [set(part.part("train").frame["image"]) for part in parts]
    assert names[0] < names[1] < names[2] == set(done.part("train").frame["image"])
    for part in parts:
        for kept in ("validation", "test"):
            assert part.part(kept).frame["image"].tolist() == (
                done.part(kept).frame["image"].tolist()
            )
    learnt = [part.part("train").frame.groupby("label")["patient"].nunique() for part in parts]
    assert (learnt[0] == np.ceil(0.25 * learnt[2])).all()
    assert (learnt[1] == np.ceil(0.5 * learnt[2])).all()
    with pytest.raises(SplitError, match="no share"):
        nested_training(done, [0.0])
