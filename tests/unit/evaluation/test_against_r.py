"""Agreement with R: pROC, rms and the tests of its own, where R and both packages are installed."""

from __future__ import annotations

import math
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from hurdles.evaluation.bounds import exact_share, wilson_bounds
from hurdles.evaluation.calibration import (
    brier_error,
    calibration_intercept,
    calibration_slope,
)
from hurdles.evaluation.comparisons import holm, mcnemar
from hurdles.evaluation.delong import AUC, compare_aucs, logit_bounds
from hurdles.evaluation.predictions import Predictions

pytestmark = pytest.mark.full

#: Prints one number a line, as ``name value``.
PROGRAM = """
suppressPackageStartupMessages({library(pROC); library(rms)})
say <- function(name, value) cat(name, format(as.numeric(value), digits = 17), "\\n")
t <- read.csv(commandArgs(TRUE)[1])
a <- roc(t$y, t$a, levels = c(0, 1), direction = "<")
b <- roc(t$y, t$b, levels = c(0, 1), direction = "<")
other <- t[t$part == 1, ]
c <- roc(other$y, other$b, levels = c(0, 1), direction = "<")
say("auc", auc(a)); say("variance", var(a, method = "delong"))
say("covariance", cov(a, b, method = "delong"))
paired <- roc.test(a, b, method = "delong", paired = TRUE)
say("z", paired$statistic); say("p", paired$p.value)
apart <- roc.test(a, c, method = "delong", paired = FALSE)
say("t", apart$statistic)
logit <- log(t$p / (1 - t$p))
fit <- lrm(t$y ~ logit, x = TRUE, y = TRUE, eps = 1e-12)
say("slope", coef(fit)[2]); say("slope.error", sqrt(vcov(fit)[2, 2]))
say("slope.sandwich", sqrt(vcov(robcov(fit))[2, 2]))
say("slope.robust", sqrt(vcov(robcov(fit, t$patient))[2, 2]))
whole <- val.prob(t$p, t$y, pl = FALSE)
say("val.slope", whole["Slope"]); say("val.brier", whole["Brier"]); say("val.auc", whole["C (ROC)"])
say("intercept", coef(glm(t$y ~ offset(logit), binomial, control = list(epsilon = 1e-14))))
say("mcnemar", binom.test(3, 14)$p.value)
say("holm", p.adjust(c(0.011, 0.04, 0.03, 0.5), "holm"))
say("exact", binom.test(4, 40)$conf.int)
say("wilson", prop.test(4, 40, correct = FALSE)$conf.int)
say("logit.low", ci.auc(a, method = "delong"))
"""


def _missing() -> str:
    """Return the reason why R cannot be compared with; empty where it can."""
    if shutil.which("Rscript") is None:
        return "R (Rscript) is not installed"
    found = 'for (p in c("pROC", "rms")) if (!requireNamespace(p, quietly = TRUE)) cat(p, "")'
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", found], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"Rscript does not run: {done.stderr.strip()[-200:]}"
    return f"R has no package {done.stdout.strip()}" if done.stdout.strip() else ""


@pytest.fixture(scope="module")
def drawn():
    """Scores of two models on 90 images of 60 patients, with ties, and probabilities."""
    rng = np.random.default_rng(4)
    patient = np.concatenate([np.arange(60), np.arange(30)])
    own = rng.normal(size=60)[patient]
    logit = 0.8 * own + 0.6 * rng.normal(size=90) - 0.4
    y = (rng.random(90) < 1 / (1 + np.exp(-1.4 * logit))).astype(int)
    a = np.round(logit + rng.normal(size=90), 1)
    b = np.round(0.5 * logit + rng.normal(size=90), 1)
    p = 1 / (1 + np.exp(-logit))
    part = (np.arange(90) >= 30).astype(int)
    return pd.DataFrame({"y": y, "a": a, "b": b, "p": p, "patient": patient, "part": part})


@pytest.fixture(scope="module")
def r(drawn, tmp_path_factory):
    """What R says of them, by name."""
    if missing := _missing():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("r")
    table, program = folder / "drawn.csv", folder / "program.R"
    drawn.to_csv(table, index=False, float_format="%.17g")
    program.write_text(PROGRAM)
    done = subprocess.run(
        ["Rscript", "--vanilla", str(program), str(table)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    return {name: [float(x) for x in values.split()] for name, values in lines}


def area(table, column):
    names = table.index.to_numpy().astype(str)
    truth = np.where(table["y"] == 1, "x", "y")
    return AUC.of(truth, table[column].to_numpy(), positive="x", groups=names)


def probabilities(table, *, by_patient):
    groups = table["patient"] if by_patient else table.index
    p = table["p"].to_numpy()
    return Predictions.from_arrays(
        ["x", "y"],
        y_true=np.where(table["y"] == 1, "x", "y").tolist(),
        y_prob=np.column_stack([p, 1 - p]),
        images=table.index.astype(str).tolist(),
        groups=groups.astype(str).tolist(),
    )


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_auc_variance_and_paired_test_are_those_of_proc(drawn, r):
    a, b = area(drawn, "a"), area(drawn, "b")
    assert [a.value] == near(r["auc"])
    assert [a.variance] == near(r["variance"])
    assert [a.covariance(b)] == near(r["covariance"])
    tested = compare_aucs(a, b)
    assert [tested.difference.value / tested.standard_error] == near(r["z"])
    assert [tested.p_value] == near(r["p"])


def test_the_unpaired_statistic_is_that_of_proc(drawn, r):
    """pROC takes Student's t for it; with one image a patient hurdles takes the normal one."""
    rows = drawn[drawn["part"] == 1]
    renamed = rows.set_index("other " + rows.index.astype(str))
    tested = compare_aucs(area(drawn, "a"), area(renamed, "b"))
    assert [tested.difference.value / tested.standard_error] == near(r["t"])
    assert tested.p_value == pytest.approx(math.erfc(abs(r["t"][0]) / math.sqrt(2)))


def test_the_logit_interval_holds_the_variance_of_proc(drawn, r):
    low, high = logit_bounds(area(drawn, "a"))
    plain_low, value, plain_high = r["logit.low"]
    reach = (math.log(high / (1 - high)) - math.log(low / (1 - low))) / 2 * value * (1 - value)
    assert reach == pytest.approx((plain_high - plain_low) / 2, rel=1e-6)


@pytest.mark.parametrize("by_patient", [False, True])
def test_slope_and_its_error_are_those_of_rms(drawn, r, by_patient):
    """The larger of the model's error and the sandwich's, over images or over patients."""
    found = calibration_slope(probabilities(drawn, by_patient=by_patient))
    assert [found.value] == pytest.approx(r["slope"], abs=1e-6)
    assert [found.value] == pytest.approx(r["val.slope"], abs=1e-4)
    n = found.n_patients
    counts = drawn["patient"].value_counts() if by_patient else np.ones(n)
    degrees = counts.sum() ** 2 / (counts**2).sum() - 1
    error = (found.high - found.value) / student.isf(0.025, degrees)
    sandwich = r["slope.robust" if by_patient else "slope.sandwich"][0] * math.sqrt(n / (n - 1))
    assert error == pytest.approx(max(sandwich, r["slope.error"][0]), rel=1e-4)


def test_intercept_and_brier_score_are_those_of_rms(drawn, r):
    table = probabilities(drawn, by_patient=True)
    assert [calibration_intercept(table, "x").value] == pytest.approx(r["intercept"], abs=1e-6)
    assert [brier_error(table).value / 2] == near(r["val.brier"])
    found = AUC.of(table.y_true, table.y_prob[:, 0], positive="x")
    assert [found.value] == near(r["val.auc"])


def test_exact_tests_and_intervals_are_those_of_r(r):
    right = np.array([True] * 3 + [False] * 11)
    assert [mcnemar(right, ~right).p_value] == near(r["mcnemar"])
    assert holm([0.011, 0.04, 0.03, 0.5]) == near(r["holm"])
    assert [exact_share(4, 40).low, exact_share(4, 40).high] == near(r["exact"])
    assert list(wilson_bounds(0.1, 40)) == near(r["wilson"])
