"""Made-up findings that look like those of a real audit; for tests and for looking at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Beyond, Evidence, Finding, Limit, Scale, counted
from hurdles.findings.table import Findings

CALIBRATED = Limit(0.58, "calibrate-audit, 200 cohorts without a shortcut, 95 % stay below")
QUESTIONS = {
    "views": "How much of the task can be done without seeing a lung?",
    "lungs-removed": "Does the model still answer when the lungs are blanked out?",
    "source": "Do the model's features tell which hospital an image is from?",
    "attention": "Does the model look at the lungs?",
    "perturbations": "Does the answer survive changes that a radiologist would not notice?",
    "calibration": "Do its probabilities mean what they say?",
    "stability": "Would another seed answer otherwise?",
}


def estimate(value: float, low: float, high: float, method: str = "DeLong") -> Estimate:
    return Estimate(value, low, high, 0.95, method, 412, 398)


def area(
    subject: str, value: float, half: float, limit: Limit | None = CALIBRATED, **more: Any
) -> Finding:
    words = "AUC of telling the class, macro"
    found = estimate(value, value - half, min(value + half, 1.0))
    return Finding("views", subject, words, found, limit, scale=Scale.AUC, **more)


def view_findings() -> list[Finding]:
    advice = "Train on images whose lungs are masked, or balance the classes within each source."
    evidence = (
        Evidence("covid/COVID-19 (12).png", "an arrow, top left"),
        Evidence("normal/NORMAL (7).png", "the letter R"),
    )
    share = Finding(
        "views",
        "without any lung",
        "share of the model's AUC above chance that the best view without a lung reaches",
        estimate(0.824, 0.741, 0.903, "MOVER-R over paired patients"),
        None,
        details={"auc_of_model": {"value": 0.981, "low": 0.968, "high": 0.99}},
        scale=Scale.SHARE,
    )
    return [
        area("metadata", 0.52, 0.05, advice=advice),
        area("border", 0.846, 0.034, advice=advice, evidence=evidence),
        area("background", 0.897, 0.03, advice=advice),
        area("outside the lungs' box", 0.81, 0.04, advice=advice),
        area("thumbnail", 0.93, 0.02, None),
        area("histogram", 0.88, 0.03, None),
        area("lungs' box", 0.957, 0.02, None),
        area("lungs", 0.962, 0.018, None),
        area("full image", 0.971, 0.016, None),
        share,
    ]


def other_findings() -> list[Finding]:
    bins = [(0.07, 0.02, 0.0, 0.06), (0.31, 0.22, 0.12, 0.37), (0.55, 0.41, 0.28, 0.55)]
    bins += [(0.78, 0.6, 0.47, 0.72), (0.97, 0.93, 0.88, 0.97)]
    reliability = [
        {"mean_probability": m, "share": s, "low": low, "high": high, "n": 82}
        for m, s, low, high in bins
    ]
    steps = [(0, 0.981, 0.0), (0.5, 0.975, 0.01), (1, 0.93, 0.06), (2, 0.71, 0.31)]
    curve = [
        {"amount": a, "auc": v, "low": v - 0.03, "high": min(v + 0.02, 1), "flipped": f}
        for a, v, f in steps
    ]
    flat = [{**point, "auc": 0.98, "low": 0.96, "high": 0.99, "flipped": 0.0} for point in curve]
    flips, swap = "share of answers that flip", Limit(0.2, "provisional: not yet calibrated")
    return [
        Finding("lungs-removed", "background only", "AUC of the model, macro",
                estimate(0.912, 0.88, 0.94), CALIBRATED, "Train on masked lungs.", scale=Scale.AUC),
        Finding("source", "within COVID-19", "AUC of telling the source from features",
                estimate(0.59, 0.48, 0.69), CALIBRATED, scale=Scale.AUC),
        Finding("attention", "grad-cam", "share of heat in the lungs over their share of the area",
                estimate(0.71, 0.64, 0.78, "bootstrap-t over patients"),
                Limit(1, "by definition: heat spread evenly over the image", Beyond.BELOW),
                "Look at the heat-maps: it looks beside the lungs.", scale=Scale.RATIO),
        Finding("attention", "integrated gradients", "share of heat in the lungs over their share "
                "of the area", undefined("its maps stay the same when the weights are shuffled "
                "(rank correlation 0.93), so they are no evidence"),
                Limit(1, "by definition: heat spread evenly over the image", Beyond.BELOW),
                scale=Scale.RATIO),
        Finding("perturbations", "blur, strong", flips, estimate(0.31, 0.26, 0.36, "Wilson"), swap,
                "Augment with blur.", details={"curve": curve}, scale=Scale.SHARE),
        Finding("perturbations", "gamma, strong", flips, estimate(0.02, 0.01, 0.05, "Wilson"),
                swap, details={"curve": flat}, scale=Scale.SHARE),
        Finding("calibration", "slope", "calibration slope", estimate(0.84, 0.63, 1.05, "sandwich"),
                Limit(1, "by definition: as sure as it is right", Beyond.BELOW),
                details={"reliability": reliability}),
        Finding("calibration", "odds", "odds ratio", estimate(12.0, 3.1, math.inf, "Woolf"), None,
                scale=Scale.RATIO),
        Finding("stability", "could not be run", "nothing", undefined("it needs the predictions of "
                "two further seeds; train them with `hurdles run --seed`"), None),
    ]  # fmt: skip


def model_findings() -> Findings:
    rows = (*view_findings(), *other_findings())
    about = {"model": "covid-small", "images": "436 tested", "hurdles": "0.4.0"}
    return Findings(rows, QUESTIONS, about)


def data_findings(hits: int) -> Findings:
    """Return findings of three hurdles for data, each with one count; the first `hits` are hit."""
    names = ("files", "patients", "duplicates")
    limit = Limit(0, "by definition: an image that is tested was not trained on")
    rows = [
        Finding(name, "", f"images with a fault of {name}",
                counted(2 if i < hits else 0, n_images=90), limit, "Drop them.",
                (Evidence("a.png", "b.png, 0.99"),) if i < hits else (), scale=Scale.COUNT)
        for i, name in enumerate(names)
    ]  # fmt: skip
    return Findings(tuple(rows), {name: f"Are the {name} sound?" for name in names})


def thumbnails() -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    ramp = np.add.outer(np.arange(96), np.arange(96)).astype(np.uint8)
    return {"covid/COVID-19 (12).png": ramp, "normal/NORMAL (7).png": 200 - ramp}
