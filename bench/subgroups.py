"""Pipelines of clean cohorts for either sex, where `subgroups` says that they differ.

Pipelines of `hurdles calibrate-audit` are trained on clean cohorts of 400 phantoms, as there, and
asked about 2,000 other phantoms of the same pool: sensitivity and specificity for each sex, with
Wilson's interval by patient. The phantoms are those that a calibration rendered.

    python bench/subgroups.py runs/calibration > docs/results/subgroups.txt
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.calibrating import worker
from hurdles.calibrating.trials import PROFILES, fresh_trials
from hurdles.evaluation.bounds import patient_share


def main() -> None:
    """Write a line for each cohort and sex."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of a calibration")
    parser.add_argument("--cohorts", type=int, default=6)
    chosen = parser.parse_args()
    worker.register_hurdles()
    profile = PROFILES["full"]
    plan = worker.Plan(
        chosen.out, profile, tuple(DATA_HURDLES.names()), tuple(MODEL_HURDLES.names())
    )
    references = dict.fromkeys(profile.planted, 1.0)
    trials = fresh_trials(profile, ["pipeline"], references, faults={}, real=())
    large = [trial for trial in trials if not trial.plant and trial.patients == 400]
    say = sys.stdout.write
    say("pipelines of clean cohorts of 400 patients, on 2,000 others: share [95 %] by patient\n")
    with worker.one_thread():
        for trial in large[: chosen.cohorts]:
            known, others = worker.draw(plan, trial, [400, 2000])
            model = worker.trained("pipeline", known, epochs=1, seed=trial.seed(0))
            right = (model.ask(others.pixels)[:, 0] > 0.5) == (others.labels == model.labels[0])
            for sex in ("F", "M"):
                of_sex = (others.manifest.frame["sex"] == sex).to_numpy()
                shares = []
                for name, label in zip(("sensitivity", "specificity"), model.labels, strict=True):
                    rows = np.flatnonzero(of_sex & (others.labels == label))
                    e = patient_share(right[rows], others.groups[rows])
                    shares.append(f"{name} {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]")
                one = f"cohort {trial.repeat:2d}  {sex}  {of_sex.sum():5d} images"
                say(f"{one}  {'  '.join(shares)}\n")


if __name__ == "__main__":
    main()
