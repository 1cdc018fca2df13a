"""Tables of predictions for the tests of `hurdles.evaluation`."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from hurdles.evaluation.predictions import Predictions

sys.path.insert(0, str(Path(__file__).parent))

CLASSES = ["COVID-19", "Normal", "Viral pneumonia"]


def build(n=120, *, images_each=1, seed=0, skill=1.5, classes=CLASSES, prior=(0.2, 0.4, 0.4)):
    """Return predictions of n images, `images_each` per patient, by a model of some skill.

    The truth depends on n and `images_each` alone: two seeds are two models on the same images.
    """
    known = np.random.default_rng(99)
    patients = -(-n // images_each)
    truth = np.repeat(known.choice(classes, patients, p=prior), images_each)[:n]
    right = (truth[:, None] == np.array(classes)) * skill
    logits = right + np.random.default_rng(seed).normal(size=(n, len(classes)))
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions.from_arrays(
        classes,
        y_true=truth.tolist(),
        y_prob=prob,
        images=[f"image {i}" for i in range(n)],
        groups=[f"patient {i // images_each}" for i in range(n)],
    )


def copies(table, times):
    """Return the table with every image `times` times, all of the same patient."""
    frame = table.frame.loc[table.frame.index.repeat(times)].reset_index(drop=True)
    frame["image"] = [f"{name} ({i})" for i, name in enumerate(frame["image"])]
    return Predictions(frame)


@pytest.fixture
def make():
    return build


@pytest.fixture
def repeat_images():
    return copies


@pytest.fixture
def answers():
    """Make a table of images of one class, each named rightly or not."""

    def make(right, groups=None, label="x"):
        right = np.asarray(right, dtype=bool)
        names = [str(i) for i in range(len(right))]
        return Predictions.from_arrays(
            ["x", "y"],
            y_true=[label] * len(right),
            y_prob=np.where(right[:, None] == (label == "x"), [0.9, 0.1], [0.2, 0.8]),
            images=names,
            groups=names if groups is None else [str(g) for g in groups],
        )

    return make


@pytest.fixture
def scikit_learn():
    """Return the measures of scikit-learn under our names: ``score(name, truth, second, class_)``.

    The second argument is what was named, or for an AUC the scores; NaN is what is undefined.
    """
    from sklearn import metrics

    def score(name, truth, second, class_=None):
        if name == "accuracy":
            return metrics.accuracy_score(truth, second)
        if name == "balanced_accuracy":
            return metrics.recall_score(truth, second, labels=np.unique(truth), average="macro")
        positive = truth == class_
        if name == "auc":
            both = 0 < positive.sum() < len(positive)
            return metrics.roc_auc_score(positive, second) if both else math.nan
        if name == "average_precision":
            some = positive.any()
            return metrics.average_precision_score(positive, second) if some else math.nan
        named, nan = second == class_, {"zero_division": math.nan}
        recall = metrics.recall_score(positive, named, **nan)
        if name == "f1":
            # With no image of the class scikit-learn counts what was named so as 0.
            return metrics.f1_score(positive, named, **nan) if positive.any() else math.nan
        if name == "diagnostic_odds_ratio":
            (tn, fp), (fn, tp) = counts = metrics.confusion_matrix(positive, named, labels=[0, 1])
            if any(not side.any() for side in (*counts, *counts.T)):
                return math.nan
            tn, fp, fn, tp = (n + 0.5 * (counts.min() == 0) for n in (tn, fp, fn, tp))
            return tp * tn / (fp * fn)
        return {
            "sensitivity": lambda: recall,
            "miss_rate": lambda: 1 - recall,
            "specificity": lambda: metrics.recall_score(~positive, ~named, **nan),
            "ppv": lambda: metrics.precision_score(positive, named, **nan),
            "npv": lambda: metrics.precision_score(~positive, ~named, **nan),
        }[name]()

    return score
