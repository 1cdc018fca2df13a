"""What is shown and not judged may be left out, and what is judged stays as it is."""

from dataclasses import replace

import numpy as np
import pytest

from hurdles.auditing.data import DATA_HURDLES
from hurdles.auditing.hurdle import run_hurdles
from hurdles.auditing.material import Elsewhere
from hurdles.auditing.model import MODEL_HURDLES


def middle(pixels, _):
    return pixels[:, 30:60, 30:60].mean(axis=(1, 2)) / 20 - 6


def judged(findings):
    rows = [row for row in findings.rows if row.limit is not None]
    return {(row.subject, row.statistic): (row.estimate, row.limit, row.uncleared) for row in rows}


@pytest.mark.parametrize(
    "name", ["views", "lungs-removed", "perturbations", "acquisition", "elsewhere"]
)
def test_a_model_is_judged_alike(name, phantoms, reading):
    def found(judged_only):
        home, away = (replace(phantoms(seed=s), judged_only=judged_only) for s in (1, 2))
        whole = np.full((len(away), 2), 0.5)
        there = Elsewhere(away, away.predictions(("COVID-19", "Normal"), whole))
        return run_hurdles(MODEL_HURDLES, reading(home, middle, [there]), names=[name])

    every, few = found(False), found(True)
    assert judged(few) == judged(every) != {}
    assert len(few.rows) < len(every.rows)


def test_data_are_judged_alike(phantoms):
    every, few = (
        run_hurdles(DATA_HURDLES, replace(phantoms(), judged_only=only), names=["pixels"])
        for only in (False, True)
    )
    assert judged(few) == judged(every) != {}
    assert len(few.rows) < len(every.rows)
