"""Classes that nobody can have meant are refused with what to type; unknown ones never counted."""

from __future__ import annotations

import pandas as pd
import pytest

from hurdles.data.classes import TINY, doubtful_classes, judged_classes, known_classes
from hurdles.data.manifest import Manifest
from hurdles.errors import ManifestError


def manifest(**counts: int) -> Manifest:
    labels = [label for label, n in counts.items() for _ in range(n)]
    names = [str(i) for i in range(len(labels))]
    return Manifest(pd.DataFrame({"image": names, "path": names, "label": labels}))


@pytest.mark.parametrize("other", ["NORMAL", "normal", "Nor mal", "Ｎormal", "nor_mal"])
def test_two_spellings_are_refused_until_they_are_joined(other):
    doubts = doubtful_classes(["Normal", other])
    assert len(doubts) == 1
    assert "differ in case or blanks only; join them: --label" in doubts[0]
    assert doubtful_classes(["Normal", other], requested=["Normal", other]) == []


@pytest.mark.parametrize(
    "labels",
    [
        ["COVID-19", "COVID+", "COVID-"],
        ["Pneumonia, viral", "Pneumonia, bacterial"],
        ["No Lung Opacity / Not Normal", "Normal", "Lung Opacity"],
        ["0", "1"],
        ["Mass", "Data missing"],
    ],
)
def test_other_names_are_names(labels):
    assert doubtful_classes(labels) == []


@pytest.mark.parametrize("label", ["Edema|Mass", "Edema; Mass", "Edema,Mass", "['Edema', 'Mass']"])
def test_several_findings_are_no_class(label):
    doubt = doubtful_classes(["Edema", "Mass", label])[0]
    assert "1 is several findings in one" in doubt
    assert "--label '*Edema*=Edema' --label '*=other'" in doubt


@pytest.mark.parametrize("label", ["train_images", "Masks", "images", "test set", "annotations"])
def test_places_are_no_classes(label):
    assert f"--label '{label}='".replace("'", "") in doubtful_classes([label, "x"])[0].replace(
        "'", ""
    )


def test_everything_doubtful_is_one_message():
    with pytest.raises(ManifestError, match=r"(?s)differ in case.*several findings.*of a folder"):
        judged_classes(manifest(**{"A": 1, "a": 1, "B|C": 1, "masks": 1}))
    notes = judged_classes(manifest(A=1, a=1), refuse=False).notes
    assert len(notes) == 1


def test_tiny_classes_are_named():
    notes = judged_classes(manifest(Normal=TINY, station=TINY - 1)).notes
    assert "1 of 2 classes has fewer than 10 images ('station' 9)" in notes[0]
    assert notes[0].endswith("--label station=")
    assert judged_classes(manifest(Normal=TINY, Ill=TINY)).notes == ()
    assert judged_classes(manifest(Normal=3, Ill=3)).notes == ()  # all of it is small


class TestKnownClasses:
    def test_known_ones_stay(self):
        given = manifest(A=2, B=1)
        assert known_classes(given, ["A", "B", "C"], who="run") == (given, ())

    def test_unknown_ones_are_left_out_by_name(self):
        left, notes = known_classes(manifest(A=2, X=3), ["A", "B"], who="run")
        assert left.counts == {"A": 2}
        assert set(left.exclusions["reason"]) == {"its class 'X' is none of the model's"}
        assert "3 of 5 images are left out, since run knows no class 'X' (3)" in notes[0]
        assert "--label X=OURS" in notes[0]

    def test_a_spelling_is_no_other_class(self):
        with pytest.raises(ManifestError, match=r"run calls 'A' what the images call 'a'.*a=A"):
            known_classes(manifest(a=2, B=1), ["A", "B"], who="run")

    def test_none_known(self):
        with pytest.raises(ManifestError, match=r"knows none.*--label X=OURS"):
            known_classes(manifest(X=2), ["A", "B"], who="run")
