"""Measures at a stated condition, held against other people's numbers and against slow versions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.contingency import relative_risk
from sklearn.metrics import roc_curve

from hurdles.data.manifest import UNKNOWN
from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import predictive_bounds, spread_bounds, wilson_bounds
from hurdles.evaluation.conditions import (
    CONDITIONAL,
    Conditional,
    Conditions,
    at_conditions,
    prevalences,
)
from hurdles.evaluation.evaluation import SCHEMA, Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import AtQuantile, Ranking


def of_two(truth, sick, groups=None):
    """Return a table of two classes from the flags of the sick and their probabilities."""
    p, names = np.asarray(sick, dtype=float), [str(i) for i in range(len(sick))]
    return Predictions.from_arrays(
        ["sick", "well"],
        y_true=np.where(truth, "sick", "well").tolist(),
        y_prob=np.column_stack([p, 1 - p]),
        images=names,
        groups=names if groups is None else [str(g) for g in groups],
    )


def fourfold(tp, fn, fp, tn, times=1):
    """Return a table with these counts, every image `times` times, all of the same patient."""
    truth = np.repeat([True, True, False, False], [tp, fn, fp, tn])
    sick = np.repeat([0.9, 0.01, 0.9, 0.01], [tp, fn, fp, tn])
    groups = np.repeat(np.arange(len(truth)), times)
    return of_two(np.repeat(truth, times), np.repeat(sick, times), groups)


def at(table, class_="sick", **conditions):
    """Return the estimates of one class by their measures."""
    validation = conditions.pop("validation", None)
    rows = at_conditions(table, Conditions(**conditions), validation=validation)
    return {row.measure: row.estimate for row in rows if row.class_ == class_}


class TestPrevalence:
    def test_values_and_intervals_are_those_of_a_ratio_of_proportions(self):
        """The data of Mercaldo, Lau and Zhou 2007 (ApoE.e4 and Alzheimer's disease), as R's bdpv
        has them; the standard logit interval is that of a likelihood ratio, which SciPy knows.
        """
        found = at(fourfold(240, 178, 87, 288), prevalence={"sick": 0.03})
        cases = {
            "ppv_at_prevalence": (relative_risk(240, 418, 87, 375), 0.03 / 0.97),
            "npv_at_prevalence": (relative_risk(288, 375, 178, 418), 0.97 / 0.03),
        }
        for name, (ratio, odds) in cases.items():
            ends = ratio.confidence_interval(0.95)
            expected = [odds * r / (1 + odds * r) for r in (ratio.relative_risk, *ends)]
            one = found[name]
            assert (one.value, one.low, one.high) == pytest.approx(expected, rel=1e-12)
        assert found["ppv_at_prevalence"].value == pytest.approx(0.0711, abs=5e-5)

    def test_at_its_own_prevalence_it_is_the_plain_value(self):
        table = fourfold(30, 10, 6, 54)
        found, plain = at(table, prevalence={"sick": 0.4}), evaluate(table)
        for name in ("ppv", "npv"):
            assert found[f"{name}_at_prevalence"].value == pytest.approx(
                plain.get(name, "sick").value
            )

    def test_many_images_of_a_patient_are_worth_no_more_than_one(self):
        once, often = (at(fourfold(30, 10, 6, 54, n), prevalence={"sick": 0.02}) for n in (1, 3))
        for name, one in once.items():
            assert often[name].value == pytest.approx(one.value)
            assert often[name].high - often[name].low >= 0.99 * (one.high - one.low)
            assert often[name].n_patients == 100
            assert often[name].n_images == 300

    def test_where_there_is_nothing_to_divide_by_it_says_so(self):
        nobody = of_two([True, True, False], [0.1, 0.2, 0.1])
        found = at(nobody, prevalence={"sick": 0.02})
        assert "no image is predicted as sick" in found["ppv_at_prevalence"].note
        assert found["npv_at_prevalence"].is_defined
        only = at(of_two([True, True], [0.9, 0.1]), prevalence={"sick": 0.02})
        assert not any(one.is_defined for one in only.values())
        assert all("not images of both sides" in one.note for one in only.values())

    def test_a_count_of_zero_leaves_an_end_open_and_no_point(self):
        found = at(fourfold(40, 0, 0, 60), prevalence={"sick": 0.02})
        for one in found.values():
            assert one.value == one.high == 1
            assert one.low < 0.999
            assert "0.5 is added" in one.note
        everybody = at(fourfold(40, 0, 60, 0), prevalence={"sick": 0.02})["ppv_at_prevalence"]
        assert everybody.value == pytest.approx(0.02)
        assert everybody.low < 0.02 < everybody.high

    @given(
        st.tuples(*[st.integers(0, 30)] * 4).filter(lambda n: n[0] + n[1] and n[2] + n[3]),
        st.floats(0.001, 0.999),
        st.integers(1, 3),
    )
    @settings(max_examples=80, deadline=None)
    def test_it_stays_within_its_range_and_its_interval(self, counts, share, times):
        for one in at(fourfold(*counts, times), prevalence={"sick": share}).values():
            assert not one.is_defined or 0 <= one.low <= one.value <= one.high <= 1
            assert not one.is_defined or one.low < one.high

    @pytest.mark.parametrize("share", [0, 1, -0.1, 2, math.nan])
    def test_a_prevalence_is_between_0_and_1(self, share):
        with pytest.raises(EvaluationError, match=r"the prevalence of 'sick' is .*between 0 and 1"):
            Conditions(prevalence={"sick": share})

    def test_of_a_class_that_is_not_known(self):
        with pytest.raises(EvaluationError, match=r"given of 'ill', .* classes are sick, well"):
            at(fourfold(1, 1, 1, 1), prevalence={"ill": 0.1})

    @pytest.mark.parametrize("text", ["COVID-19", "=0.1", "COVID-19=two", ""])
    def test_a_text_of_another_form(self, text):
        with pytest.raises(EvaluationError, match="is no prevalence; write CLASS=P"):
            prevalences([text])
        assert prevalences(["a=b=0.5"]) == {"a=b": 0.5}


@st.composite
def ranked(draw):
    n = draw(st.integers(2, 30))
    truth = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    scores = np.array(draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))) / 6
    patients = np.array(draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n)))
    return truth, scores, np.unique(patients, return_inverse=True)[1]


class TestThresholds:
    @given(ranked(), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 9))
    @settings(max_examples=80, deadline=None)
    def test_what_is_read_off_is_that_of_the_roc_curve_in_every_resample(self, drawn, target, seed):
        truth, scores, patients = drawn
        weights = np.random.default_rng(seed).integers(0, 3, size=(4, patients.max() + 1))
        sides = {
            "sensitivity": (Ranking.of(truth, scores, patients), truth),
            "specificity": (Ranking.of(~truth, -scores, patients), ~truth),
        }
        for name, (ranking, _) in sides.items():
            fast = AtQuantile(ranking, target).at(weights.astype(float))
            for row, value in zip(weights, fast, strict=True):
                rows = np.repeat(np.arange(len(truth)), row[patients])
                if not truth[rows].any() or truth[rows].all():
                    assert math.isnan(value)
                    continue
                false, true, _ = roc_curve(truth[rows], scores[rows], drop_intermediate=False)
                held = {"sensitivity": true[false <= 1 - target + 1e-9],
                        "specificity": 1 - false[true >= target - 1e-9]}  # fmt: skip
                assert value == pytest.approx(held[name].max(), abs=1e-12)

    def test_on_validation_images_the_threshold_keeps_the_specificity_and_is_the_lowest(self, make):
        validation, tested = make(200, seed=3), make(300, seed=4)
        rows = at_conditions(
            tested, Conditions(specificity=(0.9,), sensitivity=(0.8,)), validation=validation
        )
        for class_ in tested.classes:
            own = {row.measure: row for row in rows if row.class_ == class_}
            column = tested.classes.index(class_)
            for measure, word in (
                ("sensitivity_at_specificity", "above"),
                ("specificity_at_sensitivity", "from"),
            ):
                row = own[measure]
                assert f"p {word} " in row.basis
                assert "fixed on 200 validation images" in row.basis
            truth, scores = validation.y_true == class_, validation.y_prob[:, column]
            false, _, cuts = roc_curve(truth, scores, drop_intermediate=False)
            best = np.flatnonzero(1 - false >= 0.9)[-1]  # the lowest threshold that keeps it
            named = tested.y_prob[:, column] >= (cuts[best] + _below(scores, cuts[best])) / 2
            sick = tested.y_true == class_
            assert own["sensitivity_at_specificity"].estimate.value == named[sick].mean()
            assert own["specificity_reached"].estimate.value == (~named)[~sick].mean()

    def test_other_test_images_do_not_move_it(self, make):
        validation = make(200, seed=3)
        one, two = (
            at_conditions(make(n, seed=n), Conditions(specificity=(0.95,)), validation=validation)
            for n in (100, 150)
        )
        assert [row.basis for row in one] == [row.basis for row in two]

    def test_without_validation_images_it_is_said_and_the_interval_allows_for_it(self):
        rng = np.random.default_rng(1)
        truth = np.arange(120) < 40
        table = of_two(truth, 1 / (1 + np.exp(-(1.5 * truth + rng.normal(size=120)))))
        conditions = Conditions(specificity=(0.95,))
        rows = [r for r in at_conditions(table, conditions) if r.class_ == "sick"]
        (row,) = rows
        assert row.measure == "sensitivity_at_specificity"
        assert "read off the ROC curve of these images" in row.basis
        fixed = wilson_bounds(row.estimate.value, 40)
        assert row.estimate.low <= fixed[0]
        assert row.estimate.high >= fixed[1]
        assert row.estimate.high - row.estimate.low > 1.2 * (fixed[1] - fixed[0])
        again = at_conditions(table, conditions)
        assert [r for r in again if r.class_ == "sick"] == rows

    def test_a_perfect_model_has_an_interval(self):
        for validation in (None, fourfold(20, 0, 0, 20)):
            found = at(fourfold(20, 0, 0, 30), specificity=(0.95,), validation=validation)
            one = found["sensitivity_at_specificity"]
            assert one.value == 1
            assert one.low == pytest.approx(wilson_bounds(1, 20)[0])

    def test_a_threshold_that_nobody_reaches(self):
        validation = of_two([True, True, False, False], [0.2, 0.3, 0.1, 0.9])
        found = at(fourfold(5, 5, 0, 10), specificity=(0.95,), validation=validation)
        assert found["sensitivity_at_specificity"].value == 0
        assert found["specificity_reached"].value == 1
        assert found["sensitivity_at_specificity"].high > 0.2

    def test_one_side_only(self):
        only = of_two([True, True], [0.9, 0.1])
        one = at(only, specificity=(0.9,))["sensitivity_at_specificity"]
        assert "not both images of sick and of other classes" in one.note
        found = at(only, specificity=(0.9,), validation=fourfold(5, 1, 0, 6))
        assert found["sensitivity_at_specificity"].value == 0.5
        assert found["specificity_reached"].note == "no image of the set is other than sick"
        found = at(only, "well", specificity=(0.9,), validation=fourfold(5, 1, 1, 5))
        assert found["sensitivity_at_specificity"].note == "no image of the set is of well"
        assert found["specificity_reached"].is_defined
        one = at(fourfold(5, 1, 1, 5), specificity=(0.9,), validation=only)
        assert "no validation image is other than sick" in one["specificity_reached"].note

    def test_one_patient(self):
        table = of_two([True, True, False, False], [0.9, 0.4, 0.6, 0.1], groups=["a"] * 4)
        for name, one in at(table, specificity=(0.6,), benefit_at=(0.1,),
                            prevalence={"sick": 0.1}).items():  # fmt: skip
            assert name == "net_benefit_of_all" or one.high - one.low > 0.05

    def test_spread_bounds_are_as_wide_as_the_variance_and_never_narrower_than_a_proportion(self):
        each = np.ones(50)
        assert spread_bounds(0.8, 0.0, each) == wilson_bounds(0.8, 50)
        assert spread_bounds(0.8, 0.16 / 20, each) == pytest.approx(wilson_bounds(0.8, 20))
        low, high = spread_bounds(0.8, 0.16 / 20, 3 * each)
        assert low < wilson_bounds(0.8, 20)[0]
        assert high > wilson_bounds(0.8, 20)[1]
        assert spread_bounds(1.0, math.nan, 3 * each) == pytest.approx(wilson_bounds(1.0, 50))


def _below(scores, cut):
    lower = scores[scores < cut]
    return lower.max() if len(lower) else cut


class TestNetBenefit:
    #: Counts of the model `cancerpredmarker` in the data that ship with dcurves (Memorial Sloan
    #: Kettering; 750 patients, 105 cancers) at or above a threshold, and what its version 1.1.7
    #: for Python gives there: net benefit of the model, of all, of both at a prevalence of 2 %.
    DCURVES = (
        (0.05, 96, 320, 0.105544, 0.094737, -0.007304, -0.031579),
        (0.10, 87, 193, 0.087407, 0.044444, -0.016011, -0.088889),
        (0.20, 75, 98, 0.067333, -0.075000, -0.022939, -0.225000),
    )

    @pytest.mark.parametrize(("cut", "tp", "fp", "model", "everybody", "rare", "rare_all"), DCURVES)
    def test_values_are_those_of_dcurves(self, cut, tp, fp, model, everybody, rare, rare_all):
        table = fourfold(tp, 105 - tp, fp, 645 - fp)
        own = at(table, benefit_at=(cut,))
        assert own["net_benefit"].value == pytest.approx(model, abs=6e-7)
        assert own["net_benefit_of_all"].value == pytest.approx(everybody, abs=6e-7)
        assert own["net_benefit_over_all"].value == pytest.approx(model - everybody, abs=2e-6)
        other = at(table, benefit_at=(cut,), prevalence={"sick": 0.02})
        assert other["net_benefit"].value == pytest.approx(rare, abs=6e-7)
        assert other["net_benefit_of_all"].value == pytest.approx(rare_all, abs=6e-7)
        assert other["net_benefit_of_all"].low == other["net_benefit_of_all"].high
        assert other["net_benefit_over_all"].value == pytest.approx(rare - rare_all, abs=2e-6)

    @given(
        st.tuples(*[st.integers(0, 12)] * 4).filter(lambda n: n[0] + n[1] and n[2] + n[3]),
        st.floats(0.01, 0.99),
        st.sampled_from([None, 0.02, 0.5]),
    )
    @settings(max_examples=80, deadline=None)
    def test_intervals_hold_their_values_and_keep_their_range(self, counts, cut, prevalence):
        known = {} if prevalence is None else {"sick": prevalence}
        found = at(fourfold(*counts), benefit_at=(cut,), prevalence=known)
        for name, one in found.items():
            if name.startswith("net_benefit"):
                assert one.low <= one.value <= one.high
                certain = name == "net_benefit_of_all" and prevalence is not None
                assert certain == (one.low == one.high)
        weight = cut / (1 - cut)
        assert -weight - 1e-9 <= found["net_benefit"].low
        assert found["net_benefit"].high <= 1 + 1e-9

    def test_from_which_probability_on_one_acts_counts(self):
        table = of_two([True, False], [0.3, 0.3])
        assert at(table, benefit_at=(0.3,))["net_benefit"].value != 0
        assert at(table, benefit_at=(0.31,))["net_benefit"].value == 0


def test_every_row_says_what_it_is_and_comes_back_from_json(make):
    conditions = Conditions({"COVID-19": 0.02}, (0.95, 0.9), (0.9,), (0.1, 0.25))
    for validation in (None, make(seed=5)):
        found = evaluate(make(images_each=2), conditions=conditions, validation=validation)
        assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert SCHEMA.faults(found.to_dict()) == []
        assert found.conditional
        for row in found.conditional:
            assert f"{100 * row.at:g} %" in row.title
            assert row.basis
            assert row.written()
    assert {row.measure for row in found.conditional} == set(CONDITIONAL)
    assert all(m.name == name and m.sentence.endswith(".") for name, m in CONDITIONAL.items())


def test_a_number_that_is_none_is_null(make):
    gone = at_conditions(of_two([True], [0.9]), Conditions(specificity=(0.9,)))[0]
    plain = gone.to_dict()
    assert plain["value"] is None
    assert Conditional.from_dict(plain).to_dict() == plain
    assert "undefined" in gone.written()


def test_a_file_of_before_there_were_conditions_is_read(make):
    found = evaluate(make())
    plain = found.to_dict()
    del plain["conditional"], plain["scores"]
    before = Evaluation.from_dict(plain)
    assert before.estimates == found.estimates
    assert before.conditional == before.scores == ()


def test_where_no_patient_is_known_none_is_counted():
    table = of_two([True, False] * 4, np.linspace(0.1, 0.9, 8), [f"{UNKNOWN}{i}" for i in range(8)])
    found = evaluate(table, conditions=Conditions(specificity=(0.9,), benefit_at=(0.1,)))
    assert {row.estimate.n_patients for row in found.conditional} == {0}
    assert {one.n_patients for one in found.scores} == {0}


def test_conditions_of_one_kind_take_the_place_of_the_others():
    recipe = Conditions({"a": 0.1}, (0.95,))
    both = recipe.replaced(Conditions(specificity=(0.9,), benefit_at=(0.1,)))
    assert both == Conditions({"a": 0.1}, (0.9,), (), (0.1,))
    assert recipe.replaced(Conditions()) == recipe


def test_predictive_bounds_hold_the_truth_by_patient():
    """Nominal 95 %, three images a patient that nearly always agree; by image it would be 80 %."""
    rng, held = np.random.default_rng(0), []
    truth = 0.02 * 0.8 / (0.02 * 0.8 + 0.98 * 0.1)
    for _ in range(300):
        found, false = (3.0 * (rng.random(n) < p) for n, p in ((40, 0.8), (80, 0.1)))
        sides = (found, np.full(40, 3.0)), (false, np.full(80, 3.0))
        low, high = predictive_bounds(*sides, 0.02)
        held.append(low <= truth <= high)
    assert np.mean(held) > 0.92


@pytest.mark.parametrize("validated", [False, True])
def test_decisions_have_no_threshold_to_choose(validated):
    table = of_two([True] * 20 + [False] * 20, [1.0] * 18 + [0.0] * 20 + [1.0] * 2)
    rows = at_conditions(
        table,
        Conditions(specificity=(0.9,), sensitivity=(0.9,), benefit_at=(0.2,)),
        validation=table if validated else None,
    )
    moved = [row for row in rows if "benefit" not in row.measure]
    assert len(moved) == (8 if validated else 4)
    assert not any(row.estimate.is_defined for row in moved)
    assert all("decisions" in row.estimate.note for row in moved)
    benefits = [row for row in rows if "benefit" in row.measure]
    assert all(row.estimate.is_defined for row in benefits)
    said = {row.measure for row in benefits if "acting on the decisions" in row.basis}
    assert said == {"net_benefit", "net_benefit_over_all"}


def test_one_probability_between_is_enough_for_a_threshold():
    table = of_two([True] * 20 + [False] * 20, [1.0] * 18 + [0.4] * 2 + [0.0] * 18 + [0.9] * 2)
    assert at(table, specificity=(0.9,))["sensitivity_at_specificity"].is_defined
