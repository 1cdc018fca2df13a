"""The limits that ship, and files of limits."""

from __future__ import annotations

import math
import re
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from hurdles.errors import RecipeError
from hurdles.findings.finding import Beyond
from hurdles.findings.limits import limit_for, load_limits

SHIPPED = load_limits()


@pytest.mark.parametrize("key", SHIPPED, ids="/".join)
def test_every_limit_that_ships_has_a_number_and_a_source_worth_the_name(key):
    limit = SHIPPED[key]
    assert math.isfinite(limit.value)
    assert len(limit.source.split()) >= 3
    assert math.isfinite(limit.clears)
    assert len(limit.margin_source.split()) >= 3
    assert limit_for(*key) == limit


def test_the_limits_of_hurdles_that_are_known_by_definition_are_there():
    assert {("duplicates", ""), ("patients", ""), ("files", "")} <= set(SHIPPED)
    assert SHIPPED["attention", ""].beyond is Beyond.BELOW


def test_a_subject_has_its_own_limit_or_that_of_all(tmp_path):
    file = tmp_path / "limits.toml"
    file.write_text('[pixels.border]\nvalue = 0.6\nsource = "s"\n[views]\nvalue = 1\nsource = "t"')
    limits = load_limits(file)
    assert set(limits) == {("pixels", "border"), ("views", "")}
    assert limits["pixels", "border"].value == 0.6


def test_a_subject_without_a_limit_of_its_own_takes_that_of_its_hurdle():
    assert limit_for("duplicates", "no such subject") == limit_for("duplicates")


def test_a_hurdle_without_a_limit_is_an_error_that_says_what_to_do():
    with pytest.raises(RecipeError, match=r"no limit for the hurdle 'nonsense' \(any subject\)"):
        limit_for("nonsense")


@pytest.mark.parametrize(
    "text",
    [
        "[views",
        "[views]\nvalue = 1",  # without a source
        '[views]\nvalue = 1\nsource = ""',
        '[views]\nvalue = nan\nsource = "a paper"',
        '[views]\nvalue = 1\nsource = "a paper"\nbeyond = "beside"',
        '[views]\nvalue = 1\nsource = "a paper"\nbeyound = "above"',
    ],
)
def test_a_file_with_a_limit_that_lacks_something_is_refused(tmp_path, text):
    file = tmp_path / "limits.toml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=r"limits\.toml holds no limits"):
        load_limits(file)


def test_findings_are_judged_again_by_calibrated_limits_alone():
    from hurdles.evaluation.estimate import Estimate
    from hurdles.findings.finding import Finding, Limit, Verdict, counted
    from hurdles.findings.limits import judged_again
    from hurdles.findings.table import Findings

    auc = Estimate(0.64, 0.62, 0.66, 0.95, "DeLong", 90, 80)
    old = Limit(0.1, "an older calibration")
    rows = (
        Finding("views", "background", "AUC", auc, old),
        Finding("views", "histogram", "AUC", auc, None),
        Finding("files", "text burnt in", "share", auc, old),
        Finding("mine", "", "AUC", auc, old),
        Finding("duplicates", "", "pairs", counted(0, n_images=9), Limit(0, "by definition")),
        Finding("confounders", "class and source", "sources", counted(0, n_images=9),
                Limit(1, "by definition: they are one thing", "below")),
    )  # fmt: skip
    names = ("confounders", "views", "files", "mine", "duplicates")
    again = judged_again(Findings(rows, dict.fromkeys(names, "What?")))
    shipped = limit_for("views", "background")
    assert again.rows[0].limit == shipped
    assert again.rows[0].verdict is shipped.judge(auc) is not Verdict.CLEARED
    assert again.rows[1:] == rows[1:]


def test_margins_are_what_their_sources_say():
    from hurdles.evaluation.forecast import expected_auc

    blind = limit_for("views").clears
    assert {limit_for(h).clears for h in ("confounders", "pixels", "lungs-removed")} == {blind}
    lost = [inside - expected_auc(inside, blind) for inside in np.arange(0.80, 0.999, 0.01)]
    assert 0.045 < max(lost) <= 0.05
    assert math.sqrt(2) * NormalDist().inv_cdf(blind) == pytest.approx(0.5, abs=0.01)
    # A mark in half as many images more of one class: its area is half a share more than chance.
    assert 0.5 + limit_for("appearance", "marks").clears / 2 == pytest.approx(blind)
    x = np.linspace(-20, 20, 100_001)
    for side in ("overconfident", "underconfident"):
        slope = limit_for("calibration", side).clears
        moved = np.abs(1 / (1 + np.exp(-x)) - 1 / (1 + np.exp(-slope * x)))
        assert 0.045 < moved.max() <= 0.05


def test_a_margin_above_its_subjects_is_that_of_all_of_them(tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text(
        '[h]\nmargin = 0.6\nmargin_source = "a choice"\n\n'
        '[h.a]\nvalue = 0.5\nsource = "x"\n\n[h.b]\nvalue = 0.55\nsource = "x"\nmargin = 0.7\n'
    )
    limits = load_limits(path)
    assert {s: limit.clears for (_, s), limit in limits.items()} == {"a": 0.6, "b": 0.7}


def test_documents_that_limits_rest_on_are_there():
    root = Path(__file__).parents[3]
    told = " ".join(f"{one.source} {one.margin_source}" for one in load_limits().values())
    named = set(re.findall(r"(?:docs|bench)/[\w/.-]+\.(?:md|py)", told))
    assert named
    assert [name for name in sorted(named) if not (root / name).is_file()] == []
