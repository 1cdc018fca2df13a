"""Splits: no patient in two, no image lost, every class shared out as well as it can be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.data.manifest import Manifest
from hurdles.data.split import SCHEMES, check_split, load_split, save_split, share_out, split
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError, RegistryError, SplitError

SPLITS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.15, 0.15)


def table(patients: list[list[str]], **columns: object) -> Manifest:
    """One patient per item, with an image for each of the classes listed."""
    rows = [
        {"image": f"{p}-{n}", "path": f"/x/{p}-{n}.png", "label": label, "patient": f"p{p}"}
        for p, labels in enumerate(patients)
        for n, label in enumerate(labels)
    ]
    return Manifest(pd.DataFrame(rows).assign(**columns))


def singles(**counts: int) -> Manifest:
    return table([[label] for label, n in counts.items() for _ in range(n)])


def shares(manifest: Manifest) -> pd.DataFrame:
    frame = manifest.frame
    return pd.crosstab(frame["label"], frame["split"]).reindex(columns=SPLITS, fill_value=0)


def as_assigned(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.frame["image"], manifest.frame["split"], strict=True))


own_class = st.tuples(st.sampled_from("ABC"), st.integers(1, 6)).map(lambda t: [t[0]] * t[1])
any_classes = st.lists(st.sampled_from("ABC"), min_size=1, max_size=5)
fractions = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)).map(
    lambda t: tuple(n / sum(t) for n in t)
)
# Every set holds a class that can be split, so that the split as a whole can be made.
FOUR = [["A"], ["A"], ["A"], ["A"]]
some = settings(max_examples=60, deadline=None)
few = settings(max_examples=20, deadline=None)


def shared_out(patients: list[list[str]], *, seed: int = 0, fractions=FRACTIONS) -> pd.DataFrame:
    """What `split` does before its checks, so that hypothesis can do it often."""
    pairs = [(label, str(p)) for p, labels in enumerate(patients) for label in labels]
    frame = pd.DataFrame(pairs, columns=["label", "patient"])
    parts = share_out(frame["label"], frame["patient"], fractions=fractions, seed=seed)
    return frame.assign(split=parts)


def off_target(frame: pd.DataFrame, fractions) -> pd.DataFrame:
    """How many images too many or too few each class has in each split."""
    found = pd.crosstab(frame["label"], frame["split"]).reindex(columns=SPLITS, fill_value=0)
    return (found - np.outer(found.sum(axis=1), fractions)).abs()


def shared_out_by_arrays(
    labels: pd.Series, groups: pd.Series, *, fractions, seed: int, parts=tuple(Split)
) -> list[str]:
    """Do what `share_out` does as it was first written: by a table of groups and classes."""
    table = pd.crosstab(groups, labels).sort_index()
    by_name = np.argsort(table.columns.to_numpy(dtype=str))
    keys = (by_name.argsort(), table.sum().to_numpy(), (table > 0).sum().to_numpy())
    counts = table.to_numpy()[:, np.lexsort(keys)]
    draws = np.random.default_rng(seed).random((len(counts), 2))
    stratum = (counts > 0).argmax(axis=1)
    size = counts[np.arange(len(counts)), stratum]
    needed_first = [
        parts.index(s) for s in (Split.TRAIN, Split.TEST, Split.VALIDATION) if s in parts
    ]
    room = np.asarray(fractions)[:, None] * counts.sum(axis=0)
    has = np.zeros(room.shape, dtype=bool)
    waiting = (counts > 0).sum(axis=0)
    chosen = np.empty(len(counts), dtype=int)
    for g in np.lexsort((draws[:, 0], -size, stratum)):
        allowed = np.arange(len(parts))
        classes = np.flatnonzero(counts[g])
        for k in classes[waiting[classes] <= len(parts)]:
            lacking = [s for s in needed_first if not has[s, k]]
            if waiting[k] <= len(lacking):
                both = np.intersect1d(allowed, lacking[: waiting[k]])
                allowed = both if len(both) else allowed
        free = room[allowed, stratum[g]]
        fits = free >= size[g] - 1e-9
        if fits.any():
            odds = np.cumsum(np.where(fits, free, 0.0))
            place = int(np.searchsorted(odds, draws[g, 1] * odds[-1], side="right"))
        else:
            place = int(free.argmax())
        chosen[g] = part = allowed[place]
        room[part] -= counts[g]
        has[part] |= counts[g] > 0
        waiting -= counts[g] > 0
    where = pd.Series([parts[s].value for s in chosen], index=table.index)
    return where.loc[groups].tolist()


@given(
    rows=st.lists(st.tuples(st.sampled_from("ABCé"), st.integers(0, 30)), min_size=1, max_size=120),
    shares=fractions,
    seed=st.integers(0, 99),
    two_parts=st.booleans(),
    as_objects=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_groups_are_shared_out_as_by_arrays(rows, shares, seed, two_parts, as_objects):
    frame = pd.DataFrame(rows, columns=["label", "patient"])
    frame["patient"] = frame["patient"].map("ö\x1f{}".format)
    frame = frame.astype(object if as_objects else "str")
    options = {"fractions": shares, "seed": seed}
    if two_parts:
        both = shares[0] + shares[1]
        options["fractions"] = (shares[0] / both, shares[1] / both)
        options["parts"] = (Split.TRAIN, Split.VALIDATION)
    fast = share_out(frame["label"], frame["patient"], **options)
    assert fast == shared_out_by_arrays(frame["label"], frame["patient"], **options)


@few
@given(st.lists(any_classes, max_size=40), st.integers(0, 9))
def test_no_patient_is_in_two_splits_and_every_image_in_one(patients, seed):
    manifest = table(FOUR + patients)
    try:
        done = split(manifest, seed=seed)
    except SplitError as error:  # a class all of whose patients were needed elsewhere
        assert "missing from train" in str(error)  # noqa: PT017 - it may succeed as well
        return
    assert done.frame["image"].tolist() == manifest.frame["image"].tolist()
    assert done.frame["split"].isin(SPLITS).all()
    assert done.frame.groupby("patient")["split"].nunique().max() == 1


@some
@given(st.lists(own_class, max_size=40), st.integers(0, 9), fractions)
def test_a_class_of_three_patients_is_everywhere(patients, seed, asked):
    frame = shared_out(patients + FOUR, seed=seed, fractions=asked)
    for _, rows in frame.groupby("label"):
        here = {1: {"train"}, 2: {"train", "test"}}.get(rows["patient"].nunique(), set(SPLITS))
        assert set(rows["split"]) == here


@some
@given(st.lists(st.sampled_from("BC"), max_size=25), st.lists(any_classes, max_size=25))
def test_three_patients_of_its_own_put_a_class_everywhere(own, mixed):
    """Whatever patients with several classes do to the balance."""
    frame = shared_out(FOUR + [[label] for label in own] + mixed)
    for label in {"A", *(c for c in "BC" if own.count(c) >= 3)}:
        assert set(frame.loc[frame["label"] == label, "split"]) == set(SPLITS)


@some
@given(st.dictionaries(st.sampled_from("ABC"), st.integers(20, 90), min_size=1), st.integers(0, 9))
def test_single_images_are_shared_out_to_within_one(counts, seed):
    frame = shared_out([[label] for label, n in counts.items() for _ in range(n)], seed=seed)
    assert (off_target(frame, FRACTIONS) < 1).all(axis=None)


@some
@given(st.lists(own_class, max_size=60), st.integers(0, 9), fractions)
def test_shares_are_off_by_less_than_twice_the_largest_patient(patients, seed, asked):
    frame = shared_out(FOUR + patients, seed=seed, fractions=asked)
    largest = frame.groupby(["label", "patient"]).size().groupby("label").max()
    enough = frame.groupby("label")["patient"].nunique() >= 3
    assert (off_target(frame, asked).max(axis=1) < 2 * largest)[enough].all()


@few
@given(st.lists(own_class, max_size=30), st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_makes_no_difference(patients, seed, random):
    manifest = table(FOUR + patients)
    order = list(range(len(manifest)))
    random.shuffle(order)
    shuffled = Manifest(manifest.frame.iloc[order])
    one, two = (split(m, seed=seed) for m in (manifest, shuffled))
    assert as_assigned(one) == as_assigned(two)


def test_the_order_of_the_rows_makes_no_difference_to_any_scheme():
    manifest = first_release()
    done = split(manifest, by="image")
    for by in ("image", "lazaro-barco-2020", "given"):
        shuffled = Manifest(done.frame.sample(frac=1, random_state=4))
        one, two = (split(m, by=by, missing_patients="one-each") for m in (done, shuffled))
        assert as_assigned(one) == as_assigned(two)


def test_another_seed_draws_another_split_and_the_globals_stay_as_they_are():
    manifest = singles(A=30, B=30)
    np.random.seed(7)  # noqa: NPY002 - the global generator is what is watched
    expected = np.random.random()  # noqa: NPY002 - the global generator is what is watched
    np.random.seed(7)  # noqa: NPY002 - the global generator is what is watched
    one, again, other = (as_assigned(split(manifest, seed=s)) for s in (1, 1, 2))
    assert np.random.random() == expected  # noqa: NPY002 - the global generator is what is watched
    assert one == again
    assert one != other


def test_large_patients_are_not_all_sent_to_train():
    patients = [["A"] * 8] * 100 + [["A"]] * 400
    frames = [shared_out(patients, seed=s) for s in range(5)]
    large = pd.concat([f[f["patient"].astype(int) < 100] for f in frames])["split"]
    assert 0.1 < (large == "test").mean() < 0.2
    assert 0.1 < (large == "validation").mean() < 0.2


def test_one_large_patient_goes_where_it_fits():
    frame = shared_out([["A"] * 100] + [["A"]] * 52)
    assert (off_target(frame, FRACTIONS) < 1).all(axis=None)


def test_the_same_patient_number_in_two_sources_is_two_patients():
    frame = pd.concat(
        [singles(A=9).frame.assign(source=s, image=lambda f, s=s: s + f["image"]) for s in "xy"]
    )
    frame["path"] = "/" + frame["image"]
    assert split(Manifest(frame)).groups.nunique() == 18


# --- What is refused --------------------------------------------------------------------------


def test_missing_patients_need_a_flag():
    manifest = singles(A=20)
    frame = manifest.frame.copy()
    frame.loc[[3, 5], "patient"] = None
    with pytest.raises(SplitError, match=r"empty in 2 of 20 rows.*--missing-patients one-each"):
        split(Manifest(frame))
    done = split(Manifest(frame), missing_patients="one-each")
    assert shares(done).loc["A"].tolist() == [14, 3, 3]


def test_image_level_splits_ask_for_no_patients():
    frame = singles(A=20).frame.assign(patient=None)
    assert shares(split(Manifest(frame), by="image")).loc["A"].tolist() == [14, 3, 3]


@pytest.mark.parametrize("given", [(0.7, 0.3), (0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)])
def test_fractions_must_be_shares(given):
    with pytest.raises(SplitError, match="three shares above 0 that sum to 1"):
        split(singles(A=9), fractions=given)


def test_one_image_cannot_be_split():
    with pytest.raises(SplitError, match=r"validation and test got no image: 1 image\(s\) of 1"):
        split(singles(A=1))


def test_no_image_cannot_be_split():
    with pytest.raises(SplitError, match="the manifest has no rows"):
        split(singles(A=3).select([False] * 3))


def test_many_images_of_two_patients_cannot_be_split():
    with pytest.raises(SplitError, match=r"validation got no image: 60 image\(s\) of 2 patient"):
        split(table([["A"] * 30, ["A"] * 30]))


def test_two_classes_of_which_one_has_two_patients():
    done = split(singles(A=20, B=2))
    assert shares(done).loc["B"].tolist() == [1, 0, 1]
    (warning,) = check_split(done)
    assert warning.startswith("1 of 2 classes without a validation image, so the epoch")
    assert warning.endswith(": 'B' (of 2).")


def test_rows_given_twice_never_reach_a_split():
    frame = singles(A=4).frame
    with pytest.raises(ManifestError, match="'image' is repeated in 2 rows"):
        Manifest(pd.concat([frame, frame.iloc[[2]]]))


def test_unknown_scheme_lists_the_known_ones():
    with pytest.raises(
        RegistryError, match=r"did you mean 'patient'\? Known: auto, patient, image"
    ):
        split(singles(A=9), by="patients")


# --- check_split ------------------------------------------------------------------------------


def planted_overlap() -> Manifest:
    done = split(table([["A", "A"]] * 10, source="Cohen"))
    parts = done.frame["split"].tolist()
    parts[1] = next(s for s in SPLITS if s != parts[0])
    return done.with_split(parts)


def test_a_planted_overlap_is_named():
    with pytest.raises(SplitError, match=r"1 patient\(s\).* in more than one split: 'p0 \(Cohen"):
        check_split(planted_overlap())


def test_a_planted_overlap_in_a_given_split_is_refused():
    with pytest.raises(SplitError, match="in more than one split"):
        split(planted_overlap(), by="given")


def test_a_leaky_scheme_is_warned_of_not_refused():
    done = split(table([["A"] * 5] * 20), by="image")
    (warning,) = check_split(done, grouped=False)
    assert "have images in more than one split" in warning
    with pytest.raises(SplitError, match="Keep each patient within one split"):
        check_split(done)


def test_a_clean_split_has_nothing_against_it():
    assert check_split(split(singles(A=20, B=20))) == []


@pytest.mark.parametrize("empty", SPLITS)
def test_an_empty_split_is_refused(empty):
    other = [s for s in SPLITS if s != empty]
    manifest = singles(A=10).with_split(other * 5)
    with pytest.raises(SplitError, match=f"{empty} got no image"):
        check_split(manifest)


def test_a_class_missing_from_train_is_refused():
    manifest = singles(A=4, B=2).with_split(["train", "train", "validation", "test"] + ["test"] * 2)
    with pytest.raises(SplitError, match="class 'B' is missing from train"):
        check_split(manifest)


def test_rows_without_a_split_are_refused():
    manifest = singles(A=4).with_split(["train", "validation", "test", None])
    with pytest.raises(SplitError, match="1 of 4 images have no split"):
        check_split(manifest)
    for by in ("given", "auto"):
        with pytest.raises(SplitError, match="1 of 4 images have no split although") as caught:
            split(manifest, by=by)
        assert caught.value.options == ("--set", "split.scheme=patient")


def test_given_keeps_what_was_given():
    manifest = singles(A=4).with_split(["test", "validation", "train", "train"])
    assert as_assigned(split(manifest, by="given")) == as_assigned(manifest)


def test_auto_keeps_a_split_that_is_given_and_else_parts_by_patient():
    manifest = singles(A=12)
    given = manifest.with_split(["test"] * 4 + ["validation"] * 2 + ["train"] * 6)
    assert as_assigned(split(given, by="auto")) == as_assigned(given)
    assert as_assigned(split(manifest, by="auto")) == as_assigned(split(manifest, by="patient"))


def test_validation_is_taken_out_of_training_by_patient():
    manifest = table([[label] * 3 for label in "AB" * 12])
    parts = ["test"] * 15 + ["train"] * (len(manifest) - 15)
    done = split(manifest.with_split(parts), by="given", seed=3)
    assert (done.frame["split"] == "test").tolist() == [part == "test" for part in parts]
    assert done.frame.groupby("patient")["split"].nunique().max() == 1
    # 15 of 85 of the training part, as between the shares of training and validation
    assert 6 <= len(done.part("validation")) <= 15
    assert set(done.part("validation").labels) == {"A", "B"}


@pytest.mark.parametrize(
    ("parts", "lacks"), [(["train", "validation"], "no test"), (["test"], "no train")]
)
def test_a_given_split_that_cannot_be_used_names_the_part_it_lacks(parts, lacks):
    manifest = singles(A=4).with_split(parts * (4 // len(parts)))
    with pytest.raises(SplitError, match=f"images bring has {lacks} part"):
        split(manifest, by="auto")


def test_a_given_split_needs_no_patients():
    given = singles(A=4).with_split(["test", "validation", "train", "train"])
    unknown = Manifest(given.frame.assign(patient=None))
    assert as_assigned(split(unknown, by="given")) == as_assigned(given)


# --- Seed 004's split -------------------------------------------------------------------------


def first_release() -> Manifest:
    counts = {"COVID-19": 219, "Normal": 1341, "Viral Pneumonia": 1345}
    names = [(label, f"{label} ({n + 1})") for label, many in counts.items() for n in range(many)]
    frame = pd.DataFrame(names, columns=["label", "image"])
    return Manifest(frame.assign(path="/x/" + frame["image"]))


def test_lazaro_barco_has_the_published_sizes():
    found = shares(split(first_release(), by="lazaro-barco-2020"))
    assert found.loc["COVID-19"].tolist() == [153, 33, 33]
    assert found.sum().tolist() == [2033, 436, 436]
    assert (found.loc["Normal", "test"], found.loc["Viral Pneumonia", "test"]) == (201, 202)


def test_lazaro_barco_is_what_scikit_learn_gives_in_the_order_of_the_files():
    from sklearn.model_selection import train_test_split

    classes = np.array(["Normal"] * 1341 + ["Viral Pneumonia"] * 1345)
    numbers = np.concatenate([np.arange(1341), np.arange(1345)]) + 1
    _, rest = train_test_split(np.arange(2686), test_size=0.3, random_state=42, stratify=classes)
    _, test = train_test_split(rest, test_size=0.5, random_state=42, stratify=classes[rest])
    expected = {f"{classes[i]} ({numbers[i]})" for i in test}
    manifest = first_release()
    shuffled = Manifest(manifest.frame.sample(frac=1, random_state=3))
    for rows in (manifest, shuffled):
        found = split(rows, by="lazaro-barco-2020", seed=5).part("test").frame
        assert set(found.loc[found["label"] != "COVID-19", "image"]) == expected


def test_lazaro_barco_wants_its_own_classes():
    with pytest.raises(SplitError, match="splits the classes COVID-19, Normal and Viral Pneumonia"):
        split(singles(A=30), by="lazaro-barco-2020")


def test_lazaro_barco_says_when_there_are_too_few_images():
    manifest = table([["COVID-19"], ["Normal"], ["Viral Pneumonia"]])
    with pytest.raises(SplitError, match="needs more images than these"):
        split(manifest, by="lazaro-barco-2020")


def test_every_scheme_says_whether_it_leaks():
    assert {n for n in SCHEMES if not SCHEMES.get(n).grouped} == {"image", "lazaro-barco-2020"}


# --- The file ---------------------------------------------------------------------------------


def test_a_split_is_written_down_and_used_again(tmp_path):
    manifest = table([['Å, "b"', "Ü"]] * 12)
    done = split(manifest, seed=3)
    path = save_split(done, tmp_path / "späte splits" / "split.csv")
    shuffled = Manifest(manifest.frame.sample(frac=1, random_state=1))
    assert as_assigned(load_split(shuffled, path)) == as_assigned(done)
    assert path.read_text(encoding="utf-8").splitlines()[1] == "image,split"


def test_names_that_look_like_missing_values_or_comments_survive(tmp_path):
    frame = singles(A=9).frame
    frame["image"] = ["NA", "None", "# a", "nan", "1", "01", "a,b", "ä b", 'q"q']
    done = split(Manifest(frame))
    assert as_assigned(load_split(done, save_split(done, tmp_path / "s.csv"))) == as_assigned(done)


def test_the_split_column_at_loading_does_not_matter_but_other_columns_do(tmp_path):
    done = split(singles(A=9))
    path = save_split(done, tmp_path / "split.csv")
    other = done.with_split(list(reversed(done.frame["split"].tolist())))
    assert as_assigned(load_split(other, path)) == as_assigned(done)
    relabeled = Manifest(done.frame.assign(label="B"))
    with pytest.raises(SplitError, match="other columns of the same images differ"):
        load_split(relabeled, path)


def test_other_images_are_named(tmp_path):
    path = save_split(split(singles(A=9)), tmp_path / "split.csv")
    with pytest.raises(SplitError, match=r"1 image\(s\) are new: '9-0'.*give another --split"):
        load_split(singles(A=10), path)
    with pytest.raises(SplitError, match=r"1 image\(s\) are gone: '8-0'"):
        load_split(singles(A=8), path)


def test_a_split_edited_by_hand_is_checked_again(tmp_path):
    manifest = table([["A", "A"]] * 9)
    path = save_split(split(manifest), tmp_path / "split.csv")
    text = path.read_text()
    line = next(row for row in text.splitlines() if row.startswith("0-0,"))
    other = "0-0," + next(s for s in SPLITS if not line.endswith(s))
    path.write_text(text.replace(line, other))
    with pytest.raises(SplitError, match=r"split\.csv: 1 patient\(s\) have images in more than"):
        load_split(manifest, path)
    assert as_assigned(load_split(manifest, path, grouped=False))["0-0"] in other
    path.write_text(text.replace(line, "0-0,training"))
    with pytest.raises(SplitError, match="'split' is 'training'"):
        load_split(manifest, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,split\na,train\n", "is not a split written by hurdles"),
        ("# split of the manifest with hash 0\nimage,part\na,b\n", "the columns image and split"),
        ("", "cannot be read as a split"),
        ("# split of the manifest with hash 0\nimage,split\na,test\na,test\n", "'a' twice"),
    ],
)
def test_a_file_that_is_no_split_says_so(tmp_path, content, message):
    path = tmp_path / "split.csv"
    path.write_text(content)
    with pytest.raises(SplitError, match=message):
        load_split(singles(A=3), path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(SplitError, match=r"nowhere\.csv cannot be read as a split"):
        load_split(singles(A=3), tmp_path / "nowhere.csv")


def test_an_unfinished_split_is_not_written(tmp_path):
    with pytest.raises(SplitError, match="some images have no split yet"):
        save_split(singles(A=3), tmp_path / "split.csv")
    assert list(tmp_path.iterdir()) == []
