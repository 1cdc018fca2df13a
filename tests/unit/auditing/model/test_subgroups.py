"""A group that the model serves worse is hit; alike ones are not; small ones are named."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from answering import answering, drawn, found_by

from hurdles.auditing.model.subgroups import age_groups, subgroups
from hurdles.errors import HurdleError
from hurdles.evaluation.estimate import Estimate
from hurdles.findings.finding import Verdict
from hurdles.findings.table import Findings


def sexes(n, seed=0):
    return np.where(np.random.default_rng(seed).random(n) < 0.5, "F", "M")


def failing(truth, said, rows):
    """Return answers that are the toss of a coin in some rows."""
    worse = said.copy()
    worse[rows, 0] = np.random.default_rng(3).random(int(rows.sum()))
    worse[:, 1] = 1 - worse[:, 0]
    return worse


def test_a_group_that_is_served_worse_is_hit():
    truth, said = drawn(400, 1, spread=4)
    sex = sexes(400)
    found = found_by(subgroups, answering(truth, failing(truth, said, sex == "F"), sex=sex))
    hit = [f for f in found if f.verdict is Verdict.HIT]
    assert {f.subject for f in hit} == {"sex: F"}
    area = next(f for f in hit if f.statistic.startswith("area"))
    assert area.estimate.value < -0.2
    assert area.estimate.high < -0.05
    assert area.details["p_holm"] < 0.001
    assert area.details["group"]["value"] - area.details["rest"]["value"] == pytest.approx(
        area.estimate.value
    )


def test_sensitivity_is_counted_in_the_group_and_in_the_rest():
    truth, said = drawn(300, 2)
    sex = sexes(300)
    found = found_by(subgroups, answering(truth, said, sex=sex))
    one = next(f for f in found if f.subject == "sex: M" and "sensitivity of 'ill'" in f.statistic)
    right = np.where(said[:, 0] >= 0.5, "ill", "well") == truth
    inside, outside = ((truth == "ill") & (sex == s) for s in "MF")
    assert one.estimate.value == pytest.approx(right[inside].mean() - right[outside].mean())
    assert (one.estimate.low < 0) == (one.estimate.low < one.estimate.value)
    assert "0.9917: 6 comparisons" in one.statistic


def test_groups_mirror_each_other_where_there_are_two():
    truth, said = drawn(200, 3)
    found = found_by(subgroups, answering(truth, said, sex=sexes(200)))
    women, men = ([f for f in found if f.subject == f"sex: {s}"] for s in "FM")
    for a, b in zip(women, men, strict=True):
        assert a.estimate.value == pytest.approx(-b.estimate.value)
        assert a.details["p_value"] == pytest.approx(b.details["p_value"])


def test_small_groups_are_named_with_their_count_and_nothing_is_cleared_without_them():
    truth, said = drawn(200, 4)
    ages = np.where(np.arange(200) < 12, 4.0, 40.0)
    found = found_by(subgroups, answering(truth, said, age=ages))
    children = [f for f in found if f.subject == "age: under 18"]
    assert children
    assert {f.verdict for f in children} == {Verdict.COULD_NOT_RUN}
    n = int((truth[:12] == "ill").sum())
    assert f"{n} of this group with 'ill'" in children[0].estimate.note
    assert "fewer than 10 patients" in children[0].estimate.note
    fine = replace(found[0], subject="sex: F", estimate=Estimate(0, -0.01, 0.01, 0.95, "m", 9, 9))
    all_of_it = Findings((fine, *children), {"subgroups": "?"})
    assert fine.verdict is Verdict.CLEARED
    assert all_of_it.verdict("subgroups") is Verdict.INCONCLUSIVE


def test_one_class_alone_is_compared_where_the_other_is_missing():
    # Sex is known of the ill only, as in many collections.
    truth, said = drawn(300, 5)
    sex = np.where(truth == "ill", sexes(300), None)
    found = found_by(subgroups, answering(truth, said, sex=sex))
    able = {(f.subject, f.statistic.split(":")[0]) for f in found if f.estimate.is_defined}
    assert ("sex: F", "sensitivity of 'ill'") in able
    assert not any(s.startswith("area") for _, s in able)
    assert {f.subject for f in found} == {"sex: F", "sex: M", "sex: not known"}


def test_nothing_known_says_what_to_do():
    truth, said = drawn(50, 1)
    with pytest.raises(HurdleError, match="add the columns to the manifest"):
        found_by(subgroups, answering(truth, said))


def test_ages_are_cut_where_it_was_fixed_beforehand():
    assert age_groups(np.array([0, 17.9, 18, 65, 65.1])).tolist() == [
        "under 18",
        "under 18",
        "18 to 65",
        "18 to 65",
        "over 65",
    ]


def test_the_findings_make_a_table_in_json():
    truth, said = drawn(120, 6)
    columns = {"sex": sexes(120), "view": "PA", "source": np.where(np.arange(120) % 3, "x", "y")}
    found = tuple(subgroups(answering(truth, said, **columns)))
    assert {f.subject.split(":")[0] for f in found} == {"sex", "source"}
    json.dumps(Findings(found, {"subgroups": "?"}).to_dict(), allow_nan=False)


@pytest.mark.full
def test_at_most_one_in_twenty_alike_groups_is_hit():
    hits = 0
    for seed in range(100):
        truth, said = drawn(150, seed)
        columns = {"sex": sexes(150, seed), "age": np.random.default_rng(seed).uniform(20, 90, 150)}
        hits += any(f.verdict is Verdict.HIT for f in subgroups(answering(truth, said, **columns)))
    assert hits <= 5
