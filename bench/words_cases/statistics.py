"""What numbers are said: forecasts, intervals beside p-values, ends that decide, the undefined."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from words_cases import case, command

FORECAST = "A forecast adds squared effects, not areas"
AGREE = "Interval and p-value of one row agree"
ENDS = "Where one end decides, it errs no more often than it says"
NEAR = "Intervals near 1 are neither far too wide nor too narrow"
UNDEFINED = "What is undefined is said to be"
SIGN = "A heat-map without sign is for no class"
SPEED = "A mean area of many classes takes seconds"


def _first(text: str) -> float:
    return float(re.findall(r"-?\d+\.\d+|nan", text)[0])


# What it returns is imported late, from whichever version is asked.
def _table(scores: NDArray[np.float64], truth: list[str], each: int = 1):  # type: ignore[no-untyped-def] # of either version
    """Return predictions of two classes a and b, `each` images a patient."""
    from hurdles.evaluation.predictions import Predictions

    n = len(truth)
    return Predictions.from_arrays(
        ["a", "b"],
        y_true=truth,
        y_prob=np.column_stack([scores, 1 - scores]),
        images=[f"i{k:04d}" for k in range(n)],
        groups=[f"p{k // each:04d}" for k in range(n)],
    )


def _signs(
    lung: float, shortcut: float, n: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    sick = np.repeat([1.0, 0.0], n)
    return rng.normal(size=2 * n) + lung * sick, rng.normal(size=2 * n) + shortcut * sick


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


@case(
    FORECAST,
    "two independent normal signs, d 2 and 1: area inside 0.944, of the blind view 0.762",
    "0.896 (+-0.01): what is left where the blind view's sign has nothing to do with the class",
    lambda text: abs(_first(text) - 0.896) < 0.01,
)
def forecast_of_two_signs() -> str:
    from hurdles.evaluation.forecast import forecast_auc

    lungs, seen = _signs(2, 1, 4000, 0)
    truth = ["a"] * 4000 + ["b"] * 4000
    found = forecast_auc(_table(_logistic(2 * lungs + seen), truth), _table(_logistic(seen), truth))
    return f"{found.value:.3f}"


@case(
    FORECAST,
    "a blind view that knows nothing, mean of 200 sets of 60 images; area inside 0.760",
    "0.760 (+-0.01)",
    lambda text: abs(_first(text) - 0.760) < 0.01,
)
def forecast_with_a_blind_view_that_knows_nothing() -> str:
    from hurdles.evaluation.forecast import forecast_auc

    truth, found = ["a"] * 30 + ["b"] * 30, []
    for seed in range(200):
        lungs, seen = (_logistic(x) for x in _signs(1, 0, 30, seed))
        found.append(forecast_auc(_table(lungs, truth), _table(seen, truth)).value)
    return f"{np.nanmean(found):.3f}"


@case(
    FORECAST,
    "a model whose area inside is 1",
    "undefined: a perfect area has no finite effect",
    lambda text: text.startswith("undefined"),
)
def forecast_of_a_perfect_area() -> str:
    from hurdles.evaluation.forecast import forecast_auc

    truth, blind = ["a"] * 30 + ["b"] * 30, _logistic(_signs(0, 1, 30, 0)[1])
    return str(forecast_auc(_table(np.linspace(0.9, 0.1, 60), truth), _table(blind, truth)))


def _row(right_a: list[int], right_b: list[int], each: int = 1) -> str:
    from hurdles.evaluation.comparisons import compare

    tables = (
        _table(np.where(right, 0.9, 0.1), ["a"] * len(right), each) for right in (right_a, right_b)
    )
    found = compare(*tables, metrics=["accuracy"])[0]
    return f"{found.difference}, p = {found.p_value:.4f}"


def _agrees(text: str) -> bool:
    low, high, p = (float(x) for x in re.findall(r"-?\d+\.\d+", text)[1:])
    return (low <= 0 <= high) == (p > 0.05)


@case(
    AGREE,
    "accuracy: 5 of 40 images right by one model only, none by the other only (p = 0.0625)",
    "the interval holds 0",
    _agrees,
)
def five_images_of_forty() -> str:
    return _row([1] * 40, [0] * 5 + [1] * 35)


@case(
    AGREE,
    "accuracy of 60 pairs of models, 1 to 4 images a patient: rows where interval and p disagree",
    "0",
)
def rows_that_disagree() -> str:
    wrong = 0
    for seed in range(60):
        rng, n = np.random.default_rng(seed), 48
        each = 1 + seed % 4
        lead = np.repeat(rng.random(n // each) < 0.25, each)
        a, b = (rng.random((2, n)) < [[0.9], [0.85]]).astype(int)
        wrong += not _agrees(_row(a.tolist(), np.where(lead, 0, b).tolist(), each))
    return str(wrong)


@case(
    ENDS,
    "10 images whose answers flip with a chance of 3.4 %: how often the lower end passes 3.4 %, "
    "at a nominal 0.23 %",
    "0.23 % at most",
    lambda text: _first(text) <= 0.23,
)
def false_hits_of_flips() -> str:
    from types import SimpleNamespace

    from hurdles.auditing.model.alterations import Flips

    material = SimpleNamespace(level=0.95, groups=np.arange(10).astype(str))
    chance, level_of = 0.0, 11
    for k in range(11):
        found = Flips.share(
            SimpleNamespace(material=material, flipped=np.arange(10) < k),  # type: ignore[arg-type] # stands for one
            of=level_of,
        )
        if found.low > 0.034:
            chance += math.comb(10, k) * 0.034**k * 0.966 ** (10 - k)
    return f"{100 * chance:.2f} %"


@case(
    NEAR,
    "two models of area 0.99 on 30 + 70 images that share 95 % of their noise: mean width of the "
    "difference's interval, and coverage",
    "at most twice DeLong's 0.02; 93 % or more",
    lambda text: _first(text) <= 0.04 and float(text.split()[-2]) >= 93,
)
def difference_of_areas_near_one() -> str:
    from scipy.special import ndtri

    from hurdles.evaluation.delong import AUC, compare_aucs

    rng, widths, held = np.random.default_rng(0), [], 0
    sick = np.arange(100) < 30
    for _ in range(200):
        shared, areas = rng.normal(size=100), []
        for _ in range(2):
            noise = math.sqrt(0.95) * shared + math.sqrt(0.05) * rng.normal(size=100)
            score = math.sqrt(2) * ndtri(0.99) * sick + noise
            areas.append(AUC.of(np.where(sick, "x", "y"), score, positive="x"))
        found = compare_aucs(*areas).difference
        widths.append(found.high - found.low)
        held += found.low <= 0 <= found.high
    return f"{np.mean(widths):.3f}, held in {held / 2:.1f} %"


@case(
    NEAR,
    "AUC of 20 + 100 patients with 5 images (correlation 0.3) of whom 1 in 20 sick ones looks well",
    "held in 93 % or more",
    lambda text: _first(text) >= 93,
)
def area_where_some_sick_look_well() -> str:
    from scipy.special import ndtr

    from hurdles.evaluation.delong import AUC, auc_bounds

    rng, held, groups = np.random.default_rng(0), 0, np.repeat(np.arange(120), 5)
    sick, true = groups < 20, 0.95 * ndtr(4 / math.sqrt(2)) + 0.025
    for _ in range(200):
        shows = sick & ~(rng.random(120) < 0.05)[groups]
        noise = math.sqrt(0.3) * rng.normal(size=120)[groups]
        noise += math.sqrt(0.7) * rng.normal(size=600)
        area = AUC.of(
            np.where(sick, "x", "y"), 4 * shows + noise, positive="x", groups=groups.astype(str)
        )
        low, high, _ = auc_bounds(area)
        held += low <= true <= high
    return f"{held / 2:.1f} %"


@case(
    UNDEFINED,
    "diagnostic odds ratio of a model that never says the class",
    "undefined: 0/0",
    lambda text: text.startswith("undefined") and "0/0" in text,
)
def odds_of_a_class_never_said() -> str:
    from hurdles.evaluation.evaluation import evaluate

    table = _table(np.full(100, 0.1), ["a"] * 5 + ["b"] * 95)
    return str(evaluate(table).get("diagnostic_odds_ratio", "a"))


def _slope(scores: list[float], truth: str) -> str:
    from hurdles.evaluation.calibration import calibration_slope

    return str(calibration_slope(_table(np.array(scores), list(truth))))


@case(
    UNDEFINED,
    "calibration intercept of probabilities of 0 and 1",
    "undefined",
    lambda text: text.startswith("undefined"),
)
def intercept_of_hard_answers() -> str:
    from hurdles.evaluation.calibration import calibration_intercept

    table = _table(np.repeat([1.0, 0.0], 20), list("a" * 18 + "b" * 20 + "a" * 2))
    return str(calibration_intercept(table, "a"))


@case(
    UNDEFINED,
    "calibration slope of a model that takes each class for the other",
    "undefined: perfectly the wrong way round",
    lambda text: text.startswith("undefined") and "wrong way" in text,
)
def slope_of_an_inverted_model() -> str:
    return _slope([0.9, 0.7, 0.4, 0.2] * 5, "bbaa" * 5)


@case(
    UNDEFINED,
    "calibration slope where two classes touch at one probability (quasi-separation)",
    "undefined, but not called perfect",
    lambda text: text.startswith("undefined") and "perfect" not in text,
)
def slope_of_classes_that_touch() -> str:
    return _slope([0.9, 0.5, 0.5, 0.2] * 5, "aabb" * 5)


@case(
    UNDEFINED,
    "Brier score of three patients, one of whom is named wrongly for certain",
    "the interval lies within [0, 2]",
    lambda text: all(0 <= float(x) <= 2 for x in re.findall(r"-?\d+\.\d+", text)),
)
def brier_of_three_patients() -> str:
    from hurdles.evaluation.calibration import brier_error

    return str(brier_error(_table(np.array([1.0, 0.9, 0.0]), list("aaa"))))


@case(
    UNDEFINED,
    "calibration error of a model that was certain and right five times",
    "0, and an interval that is no point",
    lambda text: text.startswith("0.000 [0.000, ") and not text.endswith(" 0.000]"),
)
def calibration_error_of_five_certain_answers() -> str:
    from hurdles.evaluation.calibration import calibration_error

    return str(calibration_error(_table(np.array([1.0, 1, 1, 0, 0]), list("aaabb"))))


@case(
    SIGN,
    "`hurdles explain RUN IMAGE --method smoothgrad --target COVID-19`",
    "refused: there is no map of one class alone",
    lambda text: text.startswith("exit 2") and "for or against" in text,
)
def smoothgrad_for_a_class() -> str:
    import tempfile
    from pathlib import Path

    from hurdles.phantom.cohort import write_phantom
    from hurdles.recipe.recipe import Recipe

    tiny = Recipe(
        name="tiny",
        description="Is there a network to explain?",
        preparation={"size": 32},
        split={"fractions": (0.5, 0.25, 0.25)},
        training={"epochs": 1},
    )
    with tempfile.TemporaryDirectory() as folder:
        run, made, recipe = (Path(folder) / name for name in ("run", "made", "tiny.toml"))
        write_phantom(made, 24, seed=1, size=64)
        recipe.write_text(tiny.to_toml(), encoding="utf-8")
        cache = ("--cache", str(Path(folder) / "cache"), "-q")
        command("run", recipe, "--data", made / "manifest.csv", "--out", run, *cache)
        image = str(next(made.rglob("*.png")))
        asked = ("--method", "smoothgrad", "--target", "COVID-19", "--out", f"{folder}/e.png")
        said = command("explain", run, image, *asked, *cache)
    return f"exit {said.code}: {' '.join((said.err or said.out).replace(image, 'IMAGE').split())}"


@case(
    SPEED,
    "macro_auc of 100,000 images of 100,000 patients, 14 classes: seconds of the processor",
    "below 5 s",
    lambda text: _first(text) < 5,
)
def mean_area_of_fourteen_classes() -> str:
    import time

    from hurdles.evaluation.macro import macro_auc
    from hurdles.evaluation.predictions import Predictions

    rng, n, names = np.random.default_rng(0), 100_000, [f"c{i:02d}" for i in range(14)]
    truth = rng.integers(0, 14, n)
    logits = rng.normal(size=(n, 14))
    logits[np.arange(n), truth] += 1
    table = Predictions.from_arrays(
        names,
        y_true=[names[t] for t in truth],
        y_prob=np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
        images=[str(i) for i in range(n)],
        groups=[str(i) for i in range(n)],
    )
    start = time.process_time()
    macro_auc(table)
    return f"{time.process_time() - start:.1f} s"
