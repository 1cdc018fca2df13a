"""How often `views` is wrong where the probe learns crosswise on the test images.

The limits of `views` were calibrated on probes that learn on training images. Of a model from
elsewhere there are often none, and the probe learns on the test images themselves. Phantom cohorts
without a shortcut are put through the hurdle so, with a disease (a hit is a false alarm) and with
classes that differ in nothing (an interval that leaves 0.5 out is wrong). Cohorts of one setting
are drawn from one pool of 1,000 patients, and share some.

    python bench/crosswise.py --out runs/crosswise > docs/results/views-crosswise.txt
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from hurdles.auditing.material import Subject
from hurdles.auditing.model.views import views
from hurdles.calibrating.cohorts import Planting, Pool, draw_materials
from hurdles.calibrating.worker import one_thread
from hurdles.evaluation.bounds import patient_share
from hurdles.findings.finding import Finding, Verdict

#: Patients, whether there is a disease, cohorts.
SETTINGS = ((80, True, 60), (200, True, 40), (60, False, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of phantoms")
    parser.add_argument("--share", type=float, default=1.0, help="of the cohorts")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    pool = Pool(chosen.out, seed=77, patients=1000, planted_patients=0, size=96)
    with one_thread():
        for task in pool.tasks(()):
            pool.make(*task)
        for patients, disease, count in SETTINGS:
            cohorts = range(max(1, round(count * chosen.share)))
            report(patients, disease, [judged(pool, patients, disease, n) for n in cohorts])


def judged(pool: Pool, patients: int, disease: bool, number: int) -> list[Finding]:
    """Return what `views` says of one cohort of test images alone."""
    (drawn,) = draw_materials(pool, Planting(disease), [patients], seed=1000 * patients + number)
    frame = drawn.manifest.frame.assign(split="test")
    material = replace(drawn, manifest=replace(drawn.manifest, frame=frame))
    labels = tuple(material.manifest.labels)
    answers = material.predictions(labels, np.full((len(material), len(labels)), 0.5))
    subject = Subject("nothing but answers", None, material, None, answers)
    return [row for row in views(subject) if row.estimate.is_defined]


def report(patients: int, disease: bool, cohorts: list[list[Finding]]) -> None:
    """Print how often each view is hit and cleared, and how often its interval is wrong."""
    kind = "with a disease" if disease else "classes alike"
    any_hit = [any(row.verdict is Verdict.HIT for row in rows) for rows in cohorts]
    share = patient_share(any_hit, np.arange(len(cohorts)), exact=True).percent()
    print(f"{len(cohorts)} cohorts of {patients} patients, {kind}: {sum(any_hit)} hit, {share}")
    for number, first in enumerate(cohorts[0]):
        rows = [cohort[number] for cohort in cohorts]
        areas = [row.estimate for row in rows]
        counts = [sum(row.verdict is v for row in rows) for v in (Verdict.HIT, Verdict.CLEARED)]
        words = f"  {first.subject:22s} level {first.estimate.level:.4f}"
        words += f"  mean AUC {np.mean([a.value for a in areas]):.3f}"
        words += f"  hit {counts[0]:3d}  cleared {counts[1]:3d}" if first.limit else " " * 20
        if not disease:
            above, below = sum(a.low > 0.5 for a in areas), sum(a.high < 0.5 for a in areas)
            words += f"  interval above 0.5: {above:3d}, below: {below:3d}"
        print(words.rstrip(), flush=True)
    print()


if __name__ == "__main__":
    main()
