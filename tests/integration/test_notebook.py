"""Objects show themselves in a notebook: small, and what comes from elsewhere is escaped."""

import math

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.data.untrusted import notebook_table
from hurdles.evaluation.comparisons import compare
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.metrics import written
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding, Limit, counted
from hurdles.findings.table import Findings
from hurdles.runs.run import Run

BAD = "<script>alert(1)</script>\x1b[31m\"'&"


def predictions(p: float) -> Predictions:
    prob = np.array([[p, 1 - p]] * 8)
    names = list("abcdefgh")
    return Predictions.from_arrays(
        [BAD, "well"], y_true=[BAD, "well"] * 4, y_prob=prob, images=names, groups=names
    )


def manifest() -> Manifest:
    rows = {"image": ["a", "b", "c"], "path": ["/a", "/b", "/c"], "label": [BAD, BAD, "well"]}
    rows |= {"patient": ["1", "1", None], "source": [BAD, BAD, None]}
    rows |= {"split": ["train", "test", None]}
    return Manifest(pd.DataFrame(rows), exclusions_table([("/d", BAD)]))


def findings() -> Findings:
    found = Finding(BAD, "", "pairs", counted(3, n_images=90), Limit(0, "by name"))
    return Findings((found,), {BAD: BAD}, {"patients": BAD})


def hostile_run(tmp_path) -> Run:
    return Run(tmp_path / "<b>no run")


SHOWN = {
    "manifest": lambda _: manifest(),
    "evaluation": lambda _: evaluate(predictions(0.9)),
    "comparison": lambda _: compare(predictions(0.9), predictions(0.1))[2],
    "findings": lambda _: findings(),
    "run": hostile_run,
}


@pytest.mark.parametrize("name", SHOWN)
def test_shown_small_and_escaped(name, tmp_path):
    page = SHOWN[name](tmp_path)._repr_html_()
    assert page.startswith("<div>")
    assert page.endswith("</div>")
    assert len(page) < 20_000
    for sign in ("<script", "\x1b", "<b>"):
        assert sign not in page
    assert "&lt;" in page  # it was there, and is shown


def test_the_numbers_are_those_of_the_objects():
    page = manifest()._repr_html_()
    assert "<td>2</td><td>1</td><td>1</td><td>0</td><td>1</td>" in page  # 2 images of 1 patient
    assert "images without a patient: 1" in page
    assert "left out, see .exclusions: 1" in page
    found = evaluate(predictions(0.9))
    assert found.get("accuracy").percent() in found._repr_html_()
    one = compare(predictions(0.9), predictions(0.1))[0]
    assert one.difference.percent() in one._repr_html_()
    assert "<td>hit</td>" in findings()._repr_html_()
    assert "is not a folder" in Run("nowhere")._repr_html_()


def test_odds_are_no_percentage():
    estimate = Estimate(20.0, 5.0, math.inf, 0.95, "Woolf", 40, 40)
    assert written("diagnostic_odds_ratio", estimate) == "20.000 [5.000, inf]"


def test_many_rows_are_counted_and_not_shown():
    page = notebook_table("t", ["n"], [[n] for n in range(1000)])
    assert page.count("<tr>") == 41
    assert "960 more rows" in page
