"""Our own code beside the libraries that could take its place: differences, times, decisions.

Random inputs and edge cases (one class, nothing named, ties, no or every success, several images
a patient) are given to both; the page ``docs/results/libraries.md`` says what came of it. Times
are processor seconds on one thread, the best of three. statsmodels and faiss are no dependencies:
what they are not installed for is left out, and the page says so. ``--before SRC`` loads what a
library has replaced from an earlier version; without it those rows are left out.

    git worktree add ../before 4babfbf
    pip install statsmodels faiss-cpu
    OMP_NUM_THREADS=1 python bench/libraries.py --before ../before/src
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hurdles

OUT = Path(__file__).resolve().parents[1] / "docs" / "results" / "libraries.md"
PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "torch", "captum", "statsmodels",
            "faiss-cpu")  # fmt: skip
CLASSES = ("ill", "well", "other")

#: What stays without a library to hold it against, and why.
KEPT = {
    "DeLong's variance over patients, intervals of the AUC": "no Python package takes several "
    "images of a patient, or a patient with images of both classes (Obuchowski); with one image "
    "each, R's pROC gives the same",
    "the design effect, and the widest interval where nothing is wrong": "surveys have them, "
    "scikit-learn, SciPy and statsmodels have not",
    "calibration error without its bias": "packages give the biased one, without an interval",
    "training, to the bit": "a resumed run must be the run that was not stopped; the loops of "
    "Lightning and MONAI do not promise it",
    "the grey table of DICOM": "pydicom applies single steps; what order, what is missing, and "
    "what is refused is ours, and tests hold it against DCMTK",
    "registry, collections": "a dictionary with a good message; what is known of public data",
}


@dataclass(frozen=True)
class Pair:
    """What came of one comparison: the largest difference, and seconds of either."""

    ours: str
    library: str
    compared: str
    difference: str
    seconds: tuple[float, float]
    decision: str


@dataclass(frozen=True)
class Before:
    """An earlier version's modules, which need nothing that has moved."""

    source: Path | None

    def module(self, name: str) -> ModuleType | None:
        """Return a module of `hurdles.evaluation` as it was; None without an earlier version."""
        if self.source is None:
            return None
        path = self.source / "hurdles" / "evaluation" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"before_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="the src folder of an earlier version")
    parser.add_argument("--only", default="", help="comparisons with this in their name")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn warns of every undefined score
    pairs, left_out = [], []
    for compare in (scores, auc, binomials, tests, calibration, probe, distances, hashes, heat):
        if chosen.only in compare.__name__:
            try:
                pairs += list(compare(Before(chosen.before)))
            except ImportError as error:
                left_out.append(f"{compare.__name__}: {error}")
    text = page(pairs, left_out)
    print(text)
    if not chosen.only:
        OUT.write_text(text, encoding="utf-8")


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and its processor seconds, the best of three."""
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
    return result, best


def beside(
    ours: Callable[[], Any], library: Callable[[], Any]
) -> tuple[str, tuple[float, float], float]:
    """Return the largest difference of two lists of numbers in words, both times, and itself."""
    (one, first), (two, second) = timed(ours), timed(library)
    a, b = (np.asarray(x, dtype=float).ravel() for x in (one, two))
    if (np.isnan(a) != np.isnan(b)).any():
        return "one is undefined where the other is not", (first, second), math.inf
    apart = float(np.nanmax(np.abs(a - b), initial=0.0))
    return ("none" if apart == 0 else f"{apart:.1e}"), (first, second), apart


def tables(count: int, seed: int = 0) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Yield truth, answers and probabilities of sets, the odd ones among them."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        n = int(rng.integers(1, 150))
        truth = rng.integers(0, 1 if k % 10 == 0 else 3, n)
        logits = rng.normal(size=(n, 3)) + 2 * np.eye(3)[truth] * (k % 4)
        if k % 10 == 1:
            logits[:, 0] = -9  # never named
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        p = np.round(p, 1) if k % 3 == 0 else p  # ties
        yield np.array(CLASSES)[truth], np.array(CLASSES)[p.argmax(axis=1)], p


def scores(before: Before) -> Iterator[Pair]:
    from sklearn import metrics

    from hurdles.evaluation.statistics import PatientTable

    names = ("sensitivity", "specificity", "ppv", "npv", "f1")
    drawn = list(tables(200))

    def library() -> list[float]:
        values = []
        for truth, answers, _ in drawn:
            a, b = truth == "ill", answers == "ill"
            nan = {"zero_division": math.nan}
            f1 = metrics.f1_score(a, b, **nan) if a.any() else math.nan
            values += [metrics.recall_score(a, b, **nan), metrics.recall_score(~a, ~b, **nan)]
            values += [metrics.precision_score(a, b, **nan), metrics.precision_score(~a, ~b, **nan)]
            values.append(f1)
        return values

    compared = "200 sets of 1 to 149 images, five scores of one class"
    if old := before.module("scores"):
        functions = [getattr(old, f"{name}_score") for name in names]
        words, seconds, _ = beside(
            lambda: [f(t, a, positive="ill") for t, a, _ in drawn for f in functions], library
        )
        yield Pair(
            "`evaluation.scores` (352 lines)", "scikit-learn, `zero_division=nan`", compared, words,
            seconds, "**taken**: a second way to the same numbers; tests hold what reports print "
            "against scikit-learn",
        )  # fmt: skip

    def ours() -> list[float]:
        values = []
        for truth, answers, p in drawn:
            alone = np.arange(len(truth))
            table = PatientTable(CLASSES, truth, answers, p, alone, len(truth))
            ones = np.ones((1, len(truth)))
            values += [float(table.statistic(name, "ill").at(ones)[0]) for name in names]
        return values

    words, seconds, _ = beside(ours, library)
    yield Pair(
        "`evaluation.statistics`", "scikit-learn, `zero_division=nan`", compared, words, seconds,
        "kept: all resamples of patients at once, and sums by patient for the intervals",
    )  # fmt: skip


def auc(before: Before) -> Iterator[Pair]:
    del before
    from sklearn.metrics import roc_auc_score

    from hurdles.evaluation import statistics

    drawn = [(t == "ill", p[:, 0]) for t, _, p in tables(200) if 0 < (t == "ill").sum() < len(t)]
    words, seconds, _ = beside(
        lambda: [statistics.auc(t, p) for t, p in drawn],
        lambda: [roc_auc_score(t, p) for t, p in drawn],
    )
    yield Pair(
        "`evaluation.statistics.auc`", "scikit-learn, `roc_auc_score`",
        f"{len(drawn)} sets, with ties", words, seconds,
        "kept: whole numbers are summed, so that epochs of one AUC stay equal to the last bit",
    )  # fmt: skip


def binomials(before: Before) -> Iterator[Pair]:
    del before
    from scipy.stats import binom, binomtest

    from hurdles.evaluation.bounds import exact_bounds, wilson_bounds
    from hurdles.evaluation.sample_size import _binomial

    counts = [(k, n) for n in (1, 2, 10, 33, 436) for k in sorted({0, 1, n // 2, n - 1, n})]
    compared = f"{len(counts)} counts, none and all among them"
    words, seconds, _ = beside(
        lambda: [wilson_bounds(k / n, n) for k, n in counts],
        lambda: [tuple(binomtest(k, n).proportion_ci(method="wilson")) for k, n in counts],
    )
    yield Pair(
        "`evaluation.bounds.wilson_bounds`", "SciPy, `binomtest`", compared, words, seconds,
        "kept, five lines: SciPy takes whole numbers alone, and images are divided by the design "
        "effect",
    )  # fmt: skip
    whole = [(np.arange(n) < k) * 1.0 for k, n in counts]
    words, seconds, _ = beside(
        lambda: [exact_bounds(x, np.ones(len(x))) for x in whole],
        lambda: [tuple(binomtest(k, n).proportion_ci(method="exact")) for k, n in counts],
    )
    yield Pair(
        "`evaluation.bounds.exact_bounds`", "SciPy, `binomtest`", compared, words, seconds,
        "kept, three lines of SciPy's own beta function: as above",
    )  # fmt: skip
    odds = [(n, p) for n in (1, 33, 400) for p in (0, 5e-324, 1e-12, 0.15, 0.85, 1 - 1e-16, 1)]
    words, seconds, _ = beside(
        lambda: np.concatenate([_binomial(n, p) for n, p in odds]),
        lambda: np.concatenate([binom.pmf(np.arange(n + 1), n, p) for n, p in odds]),
    )
    yield Pair(
        "chances of `evaluation.sample_size`", "SciPy, `binom.pmf`",
        f"{len(odds)} distributions, the smallest p among them", words, seconds,
        "kept, three lines: older SciPy that we allow is not finite at the smallest p",
    )  # fmt: skip


def tests(before: Before) -> Iterator[Pair]:
    del before
    from scipy.stats import binomtest, permutation_test

    from hurdles.evaluation.comparisons import holm, mcnemar, sign_flip

    rng = np.random.default_rng(1)
    answers = [(rng.random(n) < 0.8, rng.random(n) < 0.7) for n in (1, 5, 33, 100, 400)]

    def by_binomial() -> list[float]:
        only = [(int((a & ~b).sum()), int((b & ~a).sum())) for a, b in answers]
        return [binomtest(x, x + y).pvalue if x + y else 1.0 for x, y in only]

    words, seconds, _ = beside(lambda: [mcnemar(a, b).p_value for a, b in answers], by_binomial)
    yield Pair(
        "`evaluation.comparisons.mcnemar`", "SciPy, `binomtest`",
        "5 pairs of models on 1 to 400 images", words, seconds,
        "kept: it is the sign flip below with one image a patient",
    )  # fmt: skip
    few = [rng.integers(-3, 4, n) for n in (3, 8, 12)]

    def permuted() -> list[float]:
        options = {"permutation_type": "samples", "n_resamples": 10_000}
        return [permutation_test((x, 0 * x), lambda a, b, axis: (a - b).sum(axis=axis),
                                 vectorized=True, **options).pvalue for x in few]  # fmt: skip

    words, seconds, _ = beside(lambda: [sign_flip(x)[0] for x in few], permuted)
    many = rng.integers(-3, 4, 2000)
    _, long = timed(lambda: sign_flip(many))
    yield Pair(
        "`evaluation.comparisons.sign_flip`", "SciPy, `permutation_test`", "3 to 12 patients",
        words, seconds, "kept: the convolution is exact for any number of patients "
        f"({long:.3f} s for 2,000), where SciPy must draw at random",
    )  # fmt: skip
    families = [rng.random(n) ** 3 for n in (1, 2, 5, 40)]
    from statsmodels.stats.contingency_tables import mcnemar as theirs
    from statsmodels.stats.multitest import multipletests

    words, seconds, _ = beside(
        lambda: np.concatenate([holm(p.tolist()) for p in families]),
        lambda: np.concatenate([multipletests(p, method="holm")[1] for p in families]),
    )
    yield Pair(
        "`evaluation.comparisons.holm`", "statsmodels, `multipletests`", "4 families of 1 to 40",
        words, seconds, "kept, eight lines: statsmodels would be a new dependency for them, and "
        "takes no NaN; SciPy has no Holm",
    )  # fmt: skip
    squares = [np.array([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]])
               for a, b in answers]  # fmt: skip
    words, seconds, _ = beside(
        lambda: [mcnemar(a, b).p_value for a, b in answers[1:]],
        lambda: [theirs(square, exact=True).pvalue for square in squares[1:]],
    )
    yield Pair(
        "`evaluation.comparisons.mcnemar`", "statsmodels, `mcnemar`", "4 pairs of models", words,
        seconds, "kept: as above",
    )  # fmt: skip


def calibration(before: Before) -> Iterator[Pair]:
    del before
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import brier_score_loss

    from hurdles.evaluation.calibration import (
        brier_error,
        calibration_intercept,
        calibration_slope,
    )
    from hurdles.evaluation.predictions import Predictions

    rng = np.random.default_rng(2)
    drawn = []
    for n in (60, 200, 1000):
        logit = rng.normal(0, 2, n)
        ill = rng.random(n) < 1 / (1 + np.exp(-logit / 2))
        p = 1 / (1 + np.exp(-logit))
        names = [str(i) for i in range(n)]
        truth = np.where(ill, "ill", "well").tolist()
        prob = np.stack([p, 1 - p], axis=1)
        table = Predictions.from_arrays(
            ["ill", "well"], y_true=truth, y_prob=prob, images=names, groups=names
        )
        drawn.append((table, ill, logit))
    words, seconds, _ = beside(
        lambda: [brier_error(t).value for t, _, _ in drawn],
        lambda: [brier_score_loss(t.y_true == "ill", t.y_prob[:, 0], scale_by_half=False)
                 for t, _, _ in drawn],
    )  # fmt: skip
    yield Pair(
        "`evaluation.calibration.brier_error`", "scikit-learn, `brier_score_loss`",
        "3 sets of two classes", words, seconds,
        "kept, one line: the interval needs the images' own distances",
    )  # fmt: skip
    words, seconds, _ = beside(
        lambda: [calibration_slope(t).value for t, _, _ in drawn],
        lambda: [LogisticRegression(C=math.inf, tol=1e-10).fit(x[:, None], y).coef_[0, 0]
                 for _, y, x in drawn],
    )  # fmt: skip
    yield Pair(
        "`evaluation.calibration.calibration_slope`", "scikit-learn, `LogisticRegression`",
        "3 sets of two classes", words, seconds,
        "kept: scikit-learn has no slope that several classes share, no offset, no variance",
    )  # fmt: skip
    import statsmodels.api as sm

    words, seconds, _ = beside(
        lambda: [calibration_intercept(t, "ill").value for t, _, _ in drawn],
        lambda: [sm.GLM(y.astype(float), np.ones(len(y)), family=sm.families.Binomial(), offset=x)
                 .fit().params[0] for _, y, x in drawn],
    )  # fmt: skip
    yield Pair(
        "`evaluation.calibration.calibration_intercept`", "statsmodels, `GLM`",
        "3 sets of two classes", words, seconds,
        "kept: a new dependency for one class of models, whose cluster variance is another",
    )  # fmt: skip


def probe(before: Before) -> Iterator[Pair]:
    from sklearn.model_selection import StratifiedGroupKFold

    from hurdles.evaluation.probing import fit_predict, out_of_fold, patient_folds, thumbnails
    from hurdles.evaluation.statistics import auc as plain_auc
    from hurdles.phantom import Shortcut, phantom_cohort

    drawn = []
    for seed in range(8):
        planted = {"shortcut": Shortcut("marker", 0.5)} if seed % 2 else {}
        cohort = phantom_cohort(200, seed=seed, size=64, classes=("COVID-19", "Normal"), **planted)
        labels = cohort.frame["label"].to_numpy(dtype=str)
        groups = cohort.frame["patient"].to_numpy(dtype=str)
        drawn.append((thumbnails(cohort.pixels).astype(float), labels, groups))
    rng = np.random.default_rng(3)
    for n, width in ((400, 512), (1000, 512)):
        labels = np.array(["COVID-19", "Normal"])[rng.integers(0, 2, n)]
        features = rng.normal(size=(n, width)) @ (rng.normal(size=(width, width)) / width)
        features[:, :9] += 0.02 * (labels == "Normal")[:, None]
        drawn.append((features, labels, np.array([f"p{i // 2}" for i in range(n)])))

    def areas(probe: Callable[..., NDArray[np.float64]]) -> list[float]:
        return [plain_auc(y == "COVID-19", probe(x, y, g)[:, 0]) for x, y, g in drawn]

    compared = "AUC of 8 cohorts of 200 phantoms by 16x16 pixels, two sets of 512 features"
    if old := before.module("probing"):
        words, seconds, _ = beside(lambda: areas(old.out_of_fold), lambda: areas(out_of_fold))
        yield Pair(
            "solver of `evaluation.probing` (90 lines)",
            "scikit-learn, `StandardScaler` and `LogisticRegression`", compared, words, seconds,
            "**taken**, on the same folds and penalties: nothing that the audit judges by moves "
            "beyond the third digit, for tens of milliseconds a cohort",
        )  # fmt: skip

    def theirs() -> list[float]:
        values = []
        for x, y, g in drawn:
            # Only the folds are exchanged, so that the difference is theirs.
            p = np.empty(len(y))
            dealt = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(x, y, g)
            for train, test in dealt:
                p[test] = fit_predict(x[train], y[train], g[train], x[test])[:, 0]
            values.append(plain_auc(y == "COVID-19", p))
        return values

    first, seconds_ours = timed(lambda: areas(out_of_fold))
    second = areas(lambda x, y, g: out_of_fold(x, y, g, seed=1))
    third, _ = timed(theirs)
    _, folds_ours = timed(lambda: [patient_folds(y, g, 5) for _, y, g in drawn])
    _, folds_theirs = timed(
        lambda: [list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(x, y, g))
                 for x, y, g in drawn]
    )  # fmt: skip
    apart = float(np.abs(np.subtract(first, third)).max())
    seeds = float(np.abs(np.subtract(first, second)).max())
    yield Pair(
        "`evaluation.probing.patient_folds`", "scikit-learn, `StratifiedGroupKFold`", compared,
        f"{apart:.1e} ({seeds:.1e} between two of our own seeds)", (folds_ours, folds_theirs),
        f"kept, 20 lines: the fits take {seconds_ours:.2f} s, scikit-learn's dealing alone "
        f"{folds_theirs:.2f} s, and every limit that was calibrated would be of other folds",
    )  # fmt: skip


def distances(before: Before) -> Iterator[Pair]:
    del before
    from sklearn.neighbors import NearestNeighbors

    from hurdles.evaluation.decisions import nearest_distances

    rng = np.random.default_rng(4)
    known = rng.normal(size=(3000, 128)).astype(np.float32)
    features = np.concatenate([known[:5], rng.normal(size=(500, 128)).astype(np.float32)])

    def theirs() -> NDArray[np.float64]:
        one, two = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (known, features))
        fitted = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(one)
        return np.asarray(fitted.kneighbors(two)[0][:, -1])

    words, seconds, _ = beside(lambda: nearest_distances(known, features), theirs)
    yield Pair(
        "`evaluation.decisions.nearest_distances`", "scikit-learn, `NearestNeighbors`",
        "505 images among 3,000 of 128 features", words, seconds,
        "kept, ten lines: limits of rejection that were written down stay what they are",
    )  # fmt: skip


def hashes(before: Before) -> Iterator[Pair]:
    del before
    import faiss

    from hurdles.copies.similarity import near_pairs

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(5)
    n = 30_000
    bits = rng.integers(0, 2, (n, 256), dtype=np.uint8)
    for copy in range(n // 10):
        bits[-1 - copy] = bits[copy]
        bits[-1 - copy, rng.choice(256, int(rng.integers(0, 60)), replace=False)] ^= 1
        bits[-1 - copy] ^= copy % 3 == 0
    rows = np.packbits(bits, axis=1)
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(n, 4)

    def search(index: Any) -> set[tuple[int, int]]:
        index.add(rows)
        pairs = set()
        for query in (rows, ~rows):
            ends, _, values = index.range_search(np.ascontiguousarray(query), 49)
            first = np.repeat(np.arange(n), np.diff(ends.astype(int)))
            pairs |= {(i, j) for i, j in zip(first.tolist(), values.tolist(), strict=True) if i < j}
        return pairs

    def ours() -> set[tuple[int, int]]:
        values = near_pairs(words, workers=1)
        return set(zip(values.a.tolist(), values.b.tolist(), strict=True))

    mine, seconds = timed(ours)
    for name, index, why in (
        ("`IndexBinaryFlat`", lambda: faiss.IndexBinaryFlat(256),
         "kept: it finds all, but its time grows with the square: {:.0f} minutes for a million "
         "hashes and one of their six pairs of views"),
        ("`IndexBinaryMultiHash`", lambda: faiss.IndexBinaryMultiHash(256, 16, 16),
         "kept: it knows one partition, and finds fewer"),
    ):  # fmt: skip
        theirs, other = timed(lambda index=index: search(index()))
        yield Pair(
            "`data.near.near_pairs`", f"faiss, {name}",
            f"{n:,} hashes, a tenth of them copies, within 48 of 256 bits",
            f"{len(mine):,} and {len(theirs):,} pairs, {len(mine & theirs):,} of both",
            (seconds, other), why.format(other * (1e6 / n) ** 2 / 60),
        )  # fmt: skip


def heat(before: Before) -> Iterator[Pair]:
    del before
    import torch
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
    from torch import nn

    from hurdles.explanation.maps import grad_cam, integrated_gradients, occlusion
    from hurdles.models import ModelSpec, build
    from hurdles.models.network import last_convolution

    torch.set_num_threads(1)
    spec = ModelSpec("baseline", CLASSES, size=224)
    network = build(spec, seed=0).eval().to(memory_format=torch.channels_last)
    x, target = torch.rand(1, 1, 224, 224), torch.tensor([1])

    class Odds(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = network(images)
            others = torch.cat([logits[:, :1], logits[:, 2:]], dim=1)
            return logits[:, 1] - others.logsumexp(dim=1)

    odds, grey = Odds(), x.mean()

    def by_captum() -> Any:
        values = IntegratedGradients(odds).attribute(
            x, torch.full_like(x, float(grey)), n_steps=16, method="riemann_middle",
            internal_batch_size=1,
        )  # fmt: skip
        return values[0, 0].clamp(min=0).detach()

    def occluded() -> Any:
        values = Occlusion(odds).attribute(
            x, (1, 32, 32), strides=(1, 16, 16), baselines=float(grey), perturbations_per_eval=4
        )
        return values[0, 0, 8::16, 8::16].clamp(min=0).detach()

    def cam() -> Any:
        layer = LayerGradCam(network, last_convolution(network))
        return layer.attribute(x, target=1, relu_attributions=True)[0, 0].detach()

    frozen = "one image of 224 pixels, baseline network"
    network.requires_grad_(False)
    words, seconds, _ = beside(lambda: integrated_gradients(network, x, target), by_captum)
    yield Pair(
        "`explanation.gradients.integrated_gradients`", "captum, `IntegratedGradients`", frozen,
        words, seconds, "kept, four lines: the same, not faster, and captum is no dependency",
    )  # fmt: skip
    words, seconds, _ = beside(lambda: occlusion(network, x, target), occluded)
    yield Pair(
        "`explanation.occlusion.occlusion`", "captum, `Occlusion`", frozen, words, seconds,
        "kept: the same where the size is a multiple of 14 cells, else captum's windows do not "
        "cover the image in equal parts; it would save 15 lines for a new dependency",
    )  # fmt: skip
    network.requires_grad_(True)  # captum has no gradient otherwise
    words, seconds, _ = beside(lambda: grad_cam(network, x, target), cam)
    yield Pair(
        "`explanation.gradcam.grad_cam`", "captum, `LayerGradCam`", frozen, words, seconds,
        "kept: it works with frozen weights, leaves no gradient behind, skips most of the "
        "backward pass and refuses a layer that runs twice",
    )  # fmt: skip


def page(pairs: list[Pair], left_out: list[str]) -> str:
    """Return the page as Markdown."""
    lines = [
        "# Libraries beside our own code",
        "",
        "What `bench/libraries.py` gave to both, the largest difference of what came out, and "
        "processor seconds of either for all of it on one thread (the best of three).",
        "",
        "| ours | library | on | largest difference | ours, s | library, s | decision |",
        "|---|---|---|---|--:|--:|---|",
    ]
    for pair in pairs:
        times = [
            f"{seconds:.4f}" if seconds < 0.1 else f"{seconds:.2f}" for seconds in pair.seconds
        ]
        cells = [pair.ours, pair.library, pair.compared, pair.difference, *times, pair.decision]
        lines.append("| " + " | ".join(cells) + " |")
    if left_out:
        lines += ["", "Not all was compared: " + "; ".join(left_out) + "."]
    lines += ["", "## Kept, with nothing to hold it against", "", "| ours | why |", "|---|---|"]
    lines += [f"| {what} | {why} |" for what, why in KEPT.items()]
    made = datetime.now(UTC).date().isoformat()
    values = [f"{name} {number}" for name in PACKAGES if (number := _version(name))]
    lines += [
        "",
        f"Made by `python bench/libraries.py --before SRC` with hurdles {hurdles.__version__}, "
        f"{', '.join(values)}; Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {_processor()}, {made}.",
    ]
    return "\n".join(lines) + "\n"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    names = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    models = [line.partition(":")[2].strip() for line in names if line.startswith("model name")]
    return models[0] if models else platform.processor() or "processor not known"


if __name__ == "__main__":
    main()
