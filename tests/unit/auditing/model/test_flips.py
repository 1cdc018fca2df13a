"""Flipped answers: who flips, how sure that is, and which images show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.material import Material
from hurdles.auditing.model.alterations import Flips
from hurdles.auditing.probing import joined_level
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError


@dataclass
class Answering:
    """Stands for a subject: only its classes and its decision are looked at."""

    labels: tuple[str, ...] = ("ill", "well")

    def decided(self, probability: np.ndarray) -> np.ndarray:
        return np.array(self.labels)[probability.argmax(axis=1)]


def images(patients: list[str]) -> Material:
    n = len(patients)
    names = [f"i{k}.png" for k in range(n)]
    frame = pd.DataFrame(
        {
            "image": names,
            "path": [f"/{name}" for name in names],
            "label": "ill",
            "patient": patients,
        }
    )
    return Material("made", Manifest(frame), np.zeros((n, 64, 64), np.uint8))


def flips(patients: list[str], before: list[float], after: list[float]) -> Flips:
    both = [np.column_stack([p, 1 - np.array(p)]) for p in (before, after)]
    return Flips(Answering(), images(patients), *both)  # type: ignore[arg-type] # stands for a Subject


def clopper_pearson(flipped: int, n: int, level: float) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(flipped, n).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def test_two_flips_in_ten_images_do_not_pass_a_limit_that_clean_cohorts_reach():
    """Wilson's end passes 3.4 %, and would do so for 4.3 % of models that flip no more often."""
    found = flips([str(i) for i in range(10)], [0.9] * 10, [0.1] * 2 + [0.9] * 8).share(of=11)
    assert found.low < 0.034 < found.value


def test_an_answer_flips_where_another_class_is_named():
    found = flips(list("abcd"), [0.9, 0.9, 0.2, 0.6], [0.8, 0.4, 0.6, 0.51])
    assert found.flipped.tolist() == [False, True, True, False]
    assert found.share().value == 0.5


def test_the_interval_is_clopper_pearsons_where_each_patient_has_one_image():
    found = flips([str(i) for i in range(40)], [0.9] * 40, [0.1] * 6 + [0.9] * 34).share()
    assert (found.low, found.high) == pytest.approx(clopper_pearson(6, 40, 0.95))
    assert (found.n_images, found.n_patients) == (40, 40)


def test_images_of_one_patient_do_not_count_as_many():
    after = [0.1] * 10 + [0.9] * 30
    alone = flips([str(i) for i in range(40)], [0.9] * 40, after).share()
    together = flips([str(i // 10) for i in range(40)], [0.9] * 40, after).share()
    assert together.value == alone.value
    assert together.low < alone.low
    assert together.high > alone.high
    assert together.n_patients == 4


def test_a_family_has_wider_intervals_and_says_so():
    found = flips([str(i) for i in range(40)], [0.9] * 40, [0.1] * 6 + [0.9] * 34)
    wide = found.share(of=11)
    assert (wide.low, wide.high) == pytest.approx(clopper_pearson(6, 40, joined_level(0.95, 11)))
    assert wide.low < found.share().low
    assert "simultaneous over 11" in wide.method


def test_nothing_flipped_still_has_an_upper_bound():
    found = flips([str(i) for i in range(40)], [0.9] * 40, [0.8] * 40).share()
    assert found.value == found.low == 0
    assert 0.05 < found.high < 0.1


def test_evidence_is_the_largest_change_of_each_patient_and_says_both_answers():
    found = flips(list("aabc"), [0.9, 0.9, 0.6, 0.9], [0.4, 0.1, 0.45, 0.8])
    shown = found.evidence("blurred")
    assert [e.image for e in shown] == ["i1.png", "i2.png"]
    assert shown[0].says == "ill 0.90; blurred: well 0.90"
    assert shown[0].path == "/i1.png"
    assert len(found.evidence("blurred", most=1)) == 1


def test_answers_of_other_images_are_refused():
    with pytest.raises(HurdleError, match=r"2 images have 2 answers.*3 altered"):
        Flips(Answering(), images(["a", "b"]), np.ones((2, 2)), np.ones((3, 2)))  # type: ignore[arg-type] # as above
