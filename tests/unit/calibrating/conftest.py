"""A calibration small enough for a test, with hurdles of its own."""

from __future__ import annotations

import sys

import pytest

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.calibrating.trials import Profile

#: Hurdles whose answers are known beforehand, in a module that a new process can import too.
HURDLES = '''
import numpy as np

from hurdles.auditing.hurdle import data_hurdle, model_hurdle
from hurdles.evaluation.estimate import Estimate
from hurdles.findings.finding import Finding, Limit

PROVISIONAL = Limit(0.5, "provisional: not yet calibrated")


def finding(hurdle, subject, value, half, limit, n):
    estimate = Estimate(value, value - half, value + half, 0.95, "normal", n, n)
    return Finding(hurdle, subject, "number", estimate, limit)


@data_hurdle("greys", question="Do the classes differ in their corners' grey?")
def greys(material):
    """Difference of the classes in each corner, in deviations."""
    first = material.labels == material.manifest.labels[0]
    side = material.pixels.shape[1] // 4
    for name, part in (("left", slice(None, side)), ("right", slice(-side, None))):
        grey = material.pixels[:, :side, part].mean(axis=(1, 2))
        error = np.sqrt(grey[first].var() / first.sum() + grey[~first].var() / (~first).sum())
        value = abs(grey[first].mean() - grey[~first].mean()) / max(error, 1e-9)
        yield finding("greys", name, value, 1.96, PROVISIONAL, len(material))


@data_hurdle("wolf", question="Is it there?")
def wolf(material):
    """Fire always."""
    yield finding("wolf", "", 1.0, 0.0, Limit(0.0, "by definition"), len(material))


@data_hurdle("blind", question="Is nothing there?")
def blind(material):
    """Fire never."""
    yield finding("blind", "", 0.0, 0.1, PROVISIONAL, len(material))


@model_hurdle("sure", question="Is it right?")
def sure(subject):
    """Share of test images that are named rightly."""
    right = float((subject.test.y_true == subject.test.y_pred).mean())
    yield finding("sure", "", right, 0.1, PROVISIONAL, len(subject.test))
'''
MODULE = "known_hurdles_of_a_test"


@pytest.fixture
def known_hurdles(tmp_path, monkeypatch):
    """Name of a module that registers greys, wolf, blind and sure; forgotten afterwards."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(HURDLES)
    monkeypatch.syspath_prepend(str(folder))
    before = [(r, dict(r._items)) for r in (DATA_HURDLES, MODEL_HURDLES)]
    yield MODULE
    sys.modules.pop(MODULE, None)
    for registry, items in before:
        registry._items.clear()
        registry._items.update(items)


@pytest.fixture
def tiny():
    """A profile of a few dozen patients and trials."""
    return Profile(
        "tiny", size=64, pools=1, pool_patients=32, planted_patients=32, patients=12, sizes=(12,),
        data=(6, 4), models=(), alike=2, graded=1,
        grid=(0.2, 1.0), networks=0, faults=1, real=(("data", 6, 2),), shortcuts=("marker",),
        epochs=1,
    )  # fmt: skip
