"""Limits let few cohorts without a shortcut pass, in any of a hurdle's findings."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hurdles.calibrating.limits import (
    SHARE,
    _joint_limits,
    _p_value,
    _result,
    allowed_beyond,
    can_be_met,
    limits_from,
    own_limits_table,
    rates_table,
    sizes_table,
    verdict_of,
    write_limits,
)
from hurdles.calibrating.page import _own_limits, _sizes, hurdle_table
from hurdles.calibrating.trials import Measured, Record, Trial
from hurdles.evaluation.bounds import exact_share
from hurdles.findings.finding import Limit, Verdict
from hurdles.findings.limits import load_limits

SHIPPED = {
    ("pixels", ""): Limit(0.55, "provisional: not yet calibrated"),
    ("files", ""): Limit(0.0, "by definition: none"),
}


def is_hit(found, limits):
    return verdict_of(found[0].hurdle, found, limits) is Verdict.HIT


def cohorts(
    n, seed, *, subjects=8, hurdle="pixels", beyond="above", patients=240, raised=0.0,
    kind="data", part="calibration", plant="",
):  # fmt: skip
    """Records whose lower bounds are uniform, each subject on a scale of its own."""
    rng = np.random.default_rng(seed)
    shared = rng.uniform(size=n)
    records = []
    for i in range(n):
        found = []
        for s in range(subjects):
            # Correlated with the others, as findings on the same images are.
            u = raised + 0.5 + 0.02 * s + 0.1 * (0.5 * shared[i] + 0.5 * rng.uniform())
            low, high = (u, u + 0.1) if beyond == "above" else (-u - 0.1, -u)
            found.append(Measured(hurdle, f"s{s}", (low + high) / 2, low, high, beyond, None))
        trial = Trial(kind, part, patients, True, plant, float(bool(plant)), i)
        records.append(Record(trial.name, (hurdle,), tuple(found), None, 0.0))
    return records


@pytest.mark.parametrize(
    ("n", "share", "allowed"),
    [
        *[(44, 0.05, -1), (45, 0.05, 0), (76, 0.05, 0), (77, 0.05, 1), (200, 0.05, 5)],
        *[(152, 0.015, -1), (153, 0.015, 0), (257, 0.015, 0), (258, 0.015, 1)],
    ],
)
def test_how_many_may_lie_beyond(n, share, allowed):
    # Wilks 1941 needs log(0.1) / log(0.95) = 44.9 cohorts for the first, 77 for the second.
    assert allowed_beyond(n, share=share) == allowed


@pytest.mark.parametrize("beyond", ["above", "below"])
@pytest.mark.parametrize("subjects", [1, 8])
def test_few_of_other_null_cohorts_are_hit(beyond, subjects):
    shares = []
    for seed in range(12):
        kind = {"subjects": subjects, "beyond": beyond}
        limits = limits_from(cohorts(300, seed, **kind), SHIPPED)
        fresh = cohorts(400, 1000 + seed, **kind)
        shares.append(np.mean([is_hit(r.found, limits) for r in fresh]))
    assert np.mean(shares) <= SHARE
    assert np.mean(np.array(shares) <= SHARE) >= 0.75
    assert np.mean(shares) > 0.001  # not by limits that nothing passes


def test_without_the_family_the_promise_would_be_broken():
    """The guard taken away: each finding by itself, its own 97.5 % quantile."""
    table = np.array([[m.low for m in r.found] for r in cohorts(400, 1)])
    alone = {("pixels", f"s{s}"): Limit(float(q), "alone")
             for s, q in enumerate(np.quantile(table, 0.975, axis=0))}  # fmt: skip
    fresh = cohorts(600, 2)
    assert np.mean([is_hit(r.found, alone) for r in fresh]) > 0.05


def test_sizes_are_one_sample_the_laxest_kind_holds_and_others_get_the_laxest_subject():
    small, large = cohorts(80, 0), cohorts(80, 5, patients=600)
    one = limits_from([*small, *large], SHIPPED)
    assert "160 cohorts" in one["pixels", "s0"].source
    assert "with 90 % confidence" in one["pixels", "s0"].source
    raised = [
        *cohorts(80, 0, raised=0.1, kind="small"),
        *cohorts(80, 5, raised=0.1, kind="small", patients=600),
    ]
    both = limits_from([*small, *large, *raised], SHIPPED)
    for key, limit in one.items():
        if key[0] == "pixels":
            assert both[key].value == pytest.approx(limit.value + 0.1, abs=0.0011)
    laxest = max(v.value for (h, s), v in both.items() if h == "pixels" and s)
    assert both["pixels", ""].value == laxest


def test_limits_of_each_kind_alone_stand_beside_those_that_they_share():
    views = {"hurdle": "views", "subjects": 2}
    clean = [
        *cohorts(160, 0, kind="small", **views),
        *cohorts(160, 1, kind="pipeline", raised=0.2, **views),
    ]
    fresh = [
        *cohorts(50, 2, kind="small", part="fresh", **views),
        *cohorts(50, 3, kind="pipeline", part="fresh", raised=0.2, **views),
        # Beyond the limits of its own kind, and within those of the other one.
        *cohorts(20, 4, kind="small", part="fresh", raised=0.12, plant="marker", **views),
        *cohorts(20, 4, kind="small", part="kermany", raised=0.12, plant="marker", **views),
    ]
    limits = limits_from(clean, SHIPPED)
    table = own_limits_table(clean, fresh, limits, {"marker": 1.0}).set_index(["kind", "what"])
    assert table["hurdle"].eq("views").all()
    assert table.index.tolist() == [("small", "false alarms"), ("small", "power")]
    assert table.loc[("small", "power"), ["cohorts", "shared", "own"]].tolist() == [20, 0, 20]
    assert table.loc[("small", "false alarms"), ["cohorts", "shared"]].tolist() == [50, 0]
    assert table.loc[("small", "false alarms"), "own"] <= 2
    page = "\n".join(_own_limits(table.reset_index()))
    assert "| `views` | small | power | 0/20 [0, 17 %] | 20/20 [83, 100 %] |" in page
    assert _own_limits(table.iloc[:0].reset_index()) == []
    # One kind alone shares with nobody.
    assert own_limits_table(clean[:160], fresh, limits, {"marker": 1.0}).empty
    assert own_limits_table(clean, [], limits, {"marker": 1.0}).empty


def test_hits_are_counted_by_size_and_by_pool():
    two = {"part": "fresh", "hurdle": "views", "kind": "small"}
    drawn = [
        *cohorts(6, 2, patients=600, plant="marker", raised=1.0, **two),
        *cohorts(6, 3, plant="marker", **two),
        *cohorts(7, 0, **two),  # repeats 0 to 6: four of the first pool
        *cohorts(4, 1, patients=600, raised=1.0, **two),
        *cohorts(1, 4, plant="blur", raised=1.0, **two),
        *cohorts(2, 7, **{**two, "kind": "data"}),
        # No phantoms; classes alike; a strength at which power is not judged: none is counted.
        *cohorts(5, 5, **{**two, "part": "kermany"}),
        *renamed(cohorts(5, 6, **two), disease=False),
        *renamed(cohorts(5, 6, plant="marker", **two), strength=0.4),
    ]
    # `any of them` is of more than one hurdle, and not of those for which no cohort is clean.
    never = Measured("size", "", 1.0, 1.0, 1.0, "above", 0.0)
    drawn = [
        replace(r, asked=("views", "perturbations", "size"), found=(*r.found, never)) for r in drawn
    ]
    limits = {("views", ""): Limit(1.0, "calibrate-audit: those raised are hit")}
    table = sizes_table(drawn, limits, {"marker": 1.0, "blur": 1.0}, 2)
    small = table[table["kind"] == "small"].set_index(["plant", "patients", "pool"])
    assert small[["hit", "cohorts"]].T.to_dict("list") == {
        ("", 240, 0): [0, 4],
        ("", 240, 1): [0, 3],
        ("", 600, 0): [2, 2],
        ("", 600, 1): [2, 2],
        ("marker", 240, 0): [0, 3],
        ("marker", 240, 1): [0, 3],
        ("marker", 600, 0): [3, 3],
        ("marker", 600, 1): [3, 3],
        ("blur", 240, 0): [1, 1],
    }
    lines = "\n".join(_sizes(table)).splitlines()
    assert lines[-8:] == [
        "| of | planted | 240 patients, pool 1 | 240 patients, pool 2 | 600 patients, pool 1 "
        "| 600 patients, pool 2 |",
        "| --- | --- | --- | --- | --- | --- |",
        "| data | nothing, false alarms | 0/1 [0, 98 %] | 0/1 [0, 98 %] |  |  |",
        "| data | any shortcut, power |  |  |  |  |",
        "| small | nothing, false alarms | 0/4 [0, 60 %] | 0/3 [0, 71 %] | 2/2 [16, 100 %] "
        "| 2/2 [16, 100 %] |",
        "| small | blur | 1/1 [3, 100 %] |  |  |  |",
        "| small | marker | 0/3 [0, 71 %] | 0/3 [0, 71 %] | 3/3 [29, 100 %] | 3/3 [29, 100 %] |",
        "| small | any shortcut, power | 1/4 [1, 81 %] | 0/3 [0, 71 %] | 3/3 [29, 100 %] "
        "| 3/3 [29, 100 %] |",
    ]
    # One size from one pool has nothing beside it.
    assert _sizes(table[(table["patients"] == 240) & (table["pool"] == 0)]) == []


def renamed(records, **changes):
    return [replace(r, trial=replace(Trial.parse(r.trial), **changes).name) for r in records]


def test_rates_are_of_all_sizes_and_of_each():
    small, large = cohorts(30, 0), cohorts(20, 5, patients=600)
    limits = {("pixels", ""): Limit(0.0, "calibrate-audit: all of them are hit")}
    rates = rates_table([*small, *large], limits, {})
    rows = rates[rates["hurdle"] == "pixels"].set_index("patients")
    assert rows["cohorts"].to_dict() == {0: 50, 240: 30, 600: 20}
    assert rows["whole"].to_dict() == {0: True, 240: False, 600: False}
    assert rows["result"].to_dict() == {0: "missed", 240: "", 600: ""}
    alone = rates_table(small, limits, {})
    assert alone["patients"].tolist() == [240]
    assert alone["whole"].all()


@pytest.mark.parametrize(
    ("hit", "n", "goal", "result"),
    [
        (0, 250, "<= 0.015", "met"),
        (0, 200, "<= 0.015", "not shown"),
        (20, 250, "<= 0.015", "missed"),
        (5, 150, "<= 0.05", "not shown"),
        (72, 72, ">= 0.95", "met"),
        (60, 72, ">= 0.8", "not shown"),
        (70, 72, ">= 0.8", "met"),
        (40, 72, ">= 0.8", "missed"),
    ],
)
def test_a_goal_is_met_or_missed_where_the_interval_says_so(hit, n, goal, result):
    assert _result(goal, exact_share(hit, n)) == result
    assert (_p_value(goal, hit, n) < 0.05) == (result != "not shown")


@pytest.mark.parametrize(
    ("goal", "enough"),
    # 1 - 0.025 ** (1 / n) is at most 1.5 % from 245 on; 0.025 ** (1 / n) at least 95 % from 72 on.
    [("<= 0.015", 245), ("<= 0.05", 72), (">= 0.8", 17), (">= 0.95", 72)],
)
def test_so_many_cohorts_can_meet_a_goal(goal, enough):
    assert can_be_met(goal, enough)
    assert not can_be_met(goal, enough - 1)


def test_goals_are_held_against_chance_together():
    records = [*cohorts(250, 0, part="fresh"), *cohorts(250, 1, kind="small", part="fresh")]
    limits = {("pixels", ""): Limit(2.0, "calibrate-audit: none of them is hit")}
    rates = rates_table(records, limits, {})
    rates = rates[rates["judged"]]
    assert set(rates["result"]) == {"met"}
    # 0 of 250 at 1.5 %: twice 0.985 ** 250, once for each of two goals.
    assert rates["p"].tolist() == pytest.approx([2 * 0.985**250] * 2)
    assert rates["p_of_all"].tolist() == pytest.approx([4 * 0.985**250] * 2)


def test_what_holds_by_definition_stays_and_decides_by_itself():
    limits = limits_from(cohorts(60, 0), SHIPPED)
    assert limits["files", ""] == SHIPPED["files", ""]
    assert is_hit([Measured("files", "", 1, 1, 1, "above", 0.0)], {})
    assert not is_hit([Measured("files", "", 0, 0, 0, "above", 0.0)], {})


def test_no_limit_is_stricter_than_chance():
    records = [
        Record(r.trial, r.asked, tuple(
            Measured(m.hurdle, m.subject, 0.45, 0.3, 0.6, "above", None) for m in r.found), None, 0)
        for r in cohorts(50, 0)
    ]  # fmt: skip
    assert {v.value for (h, _), v in limits_from(records, SHIPPED).items() if h == "pixels"} == {
        0.5
    }


def test_what_is_undefined_or_not_judged_hits_nothing():
    nan = math.nan
    limits = {("pixels", ""): Limit(0.5, "one")}
    assert not is_hit([Measured("pixels", "", nan, nan, nan, "above", None)], limits)
    assert not is_hit([Measured("pixels", "", 0.9, 0.8, 1.0, "", None)], limits)
    assert is_hit([Measured("pixels", "", 0.9, 0.8, 1.0, "above", None)], limits)


def test_a_calibration_leaves_margins_as_they_are():
    margin = {"margin": 0.64, "margin_source": "a choice"}
    shipped = {("pixels", ""): Limit(0.55, "provisional: not yet calibrated", **margin)}
    limits = limits_from(cohorts(60, 0), shipped)
    assert {limit.clears for limit in limits.values()} == {0.64}
    sure = [Measured("pixels", "s0", 0.5, 0.45, 0.55, "above", None)]
    assert verdict_of("pixels", sure, limits) is Verdict.CLEARED
    unsure = [Measured("pixels", "s0", 0.5, 0.3, 0.7, "above", None)]
    assert verdict_of("pixels", [*sure, *unsure], limits) is Verdict.INCONCLUSIVE
    fixed = [Measured("slope", "", 0.95, 0.85, 1.05, "below", 0.9, 0.8)]
    assert verdict_of("slope", fixed, {}) is Verdict.CLEARED


def test_cohorts_in_which_a_finding_is_undefined_do_not_spoil_the_others():
    records = cohorts(60, 3, subjects=2)
    nan = math.nan
    first = records[0]
    lost = Measured("pixels", "s1", nan, nan, nan, "above", None)
    records[0] = Record(first.trial, first.asked, (first.found[0], lost), None, 0.0)
    values = [v.value for v in limits_from(records, SHIPPED).values()]
    assert all(math.isfinite(v) for v in values)


def test_the_file_reads_back_as_limits(tmp_path):
    limits = limits_from(cohorts(60, 0), SHIPPED)
    read = load_limits(write_limits(limits, tmp_path / "limits.toml"))
    assert read == limits
    assert read["pixels", "s0"].source.startswith("calibrate-audit")


def test_a_margin_is_one_by_its_value_or_by_its_source():
    assert Limit(0.6, "a choice", margin=0.64, margin_source="a choice").has_margin
    assert Limit(0.6, "calibrated", margin=0.6, margin_source="a choice").has_margin
    assert not Limit(0.6, "by definition").has_margin


def test_a_margin_is_kept_also_where_a_limit_comes_to_equal_it(tmp_path):
    views = cohorts(60, 0, hurdle="views", subjects=3)
    first = limits_from(views, SHIPPED)
    equal = first["views", "s1"].value
    chosen = {"margin": equal, "margin_source": "a choice"}
    shipped = {key: replace(limit, **chosen) for key, limit in first.items() if key[0] == "views"}
    path = write_limits(limits_from(views, shipped), tmp_path / "limits.toml")
    read = load_limits(path)
    assert read == shipped
    assert path.read_text("utf-8").count("margin_source") == 1  # above all of its subjects
    # The next calibration moves the limit, not the margin.
    moved = limits_from(cohorts(60, 0, hurdle="views", subjects=3, raised=0.2), read)
    assert moved["views", "s1"].value > equal
    assert {(v.clears, v.margin_source) for v in moved.values()} == {(equal, "a choice")}


def test_limits_of_too_few_cohorts_say_so():
    few, enough = (limits_from(cohorts(n, 0), SHIPPED)["pixels", "s0"].source for n in (126, 153))
    # Of 126 none lies beyond; more than 1.81 % would give that with a chance below 10 %.
    assert "at most 1.9% of cohorts" in few
    assert "at most 1.5% of cohorts" in enough


def test_findings_that_images_name_share_one_limit():
    records = cohorts(60, 0, hurdle="confounders")
    limits = limits_from(records, SHIPPED)
    assert [s for h, s in limits if h == "confounders"] == [""]
    assert sum(is_hit(r.found, limits) for r in records) == 0  # none of 60 may lie beyond


def test_hurdle_by_hurdle_what_is_not_reached_has_its_share():
    clean, planted = cohorts(30, 0), cohorts(20, 5)
    planted = renamed(planted, plant="marker", strength=0.8)
    all_hit = {("pixels", ""): Limit(-99.0, "calibrate-audit: all of them are hit")}
    rates = rates_table([*clean, *planted], all_hit, {"marker": 0.8})
    assert "| 30/30 [88, 100] *missed* | marker **20/20 [83, 100]** |" in hurdle_table(rates)
    none_hit = {("pixels", ""): Limit(99.0, "calibrate-audit: none of them is hit")}
    rates = rates_table([*clean, *planted], none_hit, {"marker": 0.8})
    assert "| 0/30 [0, 12] | marker 0/20 [0, 17] *missed* |" in hurdle_table(rates)


def test_a_finding_with_a_long_tail_does_not_loosen_the_limits_of_the_others():
    rng = np.random.default_rng(3)
    usual = rng.normal(0.1, 0.03, 200)
    rare = np.zeros(200)  # answers that hardly ever flip, and in two cohorts do
    rare[:2] = 0.015
    table = pd.DataFrame({"usual": usual, "rare": rare})
    limits = _joint_limits(table)
    assert limits["usual"] == pytest.approx(usual.max(), abs=1e-9)
    assert rare.max() <= limits["rare"] < 0.06
