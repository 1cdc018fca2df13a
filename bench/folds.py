"""Folds: how often intervals of cross-validated measures hold the truth, by simulation.

Small studies are drawn, a logistic regression (that of scikit-learn's defaults) is trained on each
of five folds, and every image is answered by the one that did not see its patient. Features are
normal, so that the true AUC and accuracy of every model are known exactly. Two things may be meant
by the truth:

- *expected*: the mean performance of models trained on so many patients, over all studies;
- *these models*: the mean performance of the very models that were trained in this study.

    python bench/folds.py --studies 2000 --out docs/results/folds

goes on where it was interrupted (``--state``), and writes ``folds.md`` and ``folds.csv``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri
from scipy.stats import t as student

from hurdles.evaluation.bounds import proportion_bounds
from hurdles.evaluation.delong import auc_bounds
from hurdles.evaluation.folds import training_factor, wider_level, within_auc
from hurdles.evaluation.statistics import PatientTable

Floats = NDArray[np.float64]
LEVEL = 0.95
#: Studies that are written down together.
BLOCK = 100
#: How many times as wide as the interval of patients alone.
TIMES = (1.0, 1.15, 1.3, 1.5)
FEATURES = 10
#: Correlation between the features of images of one patient.
WITHIN = 0.5


class Setting(NamedTuple):
    """One population, and how it is studied."""

    patients: int
    best: float  # AUC of the best linear score
    images: int = 5  # 1 to so many for each patient
    share: float = 0.4  # of the patients who have the class
    unstable: float = 0.0  # SD of what chance adds to a model's weights, as a share of their length
    k: int = 5

    @property
    def name(self) -> str:
        """As the tables call it."""
        images = "1 image" if self.images == 1 else f"1-{self.images} images"
        chance = f", training by chance {self.unstable:g}" if self.unstable else ""
        folds = f", {self.k} folds" if self.k != 5 else ""
        folds += f", {100 * self.share:g} % sick" if self.share != 0.4 else ""
        return f"{self.patients} patients, {images}, best AUC {self.best:g}{chance}{folds}"


SETTINGS = (
    *(Setting(n, best) for n in (60, 120, 250, 400) for best in (0.75, 0.9, 0.97)),
    *(Setting(n, best, images=1) for n in (60, 250) for best in (0.75, 0.9)),
    *(Setting(n, 0.9, unstable=0.5) for n in (60, 120, 250)),
    Setting(120, 0.9, k=10),
    Setting(120, 0.9, share=0.15),
)


class Study(NamedTuple):
    """One study: its answers, and what its models are truly worth."""

    table: PatientTable
    folds: NDArray[np.intp]
    true_auc: float  # mean over its models
    true_accuracy: float


def drawn(setting: Setting, rng: np.random.Generator) -> Study:
    """Draw a study and train its models."""
    n, k = setting.patients, setting.k
    shift = np.zeros(FEATURES)
    shift[0] = math.sqrt(2) * ndtri(setting.best)
    sick = np.arange(n) < round(n * setting.share)
    images = rng.integers(1, setting.images + 1, size=n)
    person = np.repeat(np.arange(n), images)
    own = rng.normal(size=(n, FEATURES)) * math.sqrt(WITHIN)
    x = own[person] + rng.normal(size=(len(person), FEATURES)) * math.sqrt(1 - WITHIN)
    x += np.where(sick[person, None], shift, 0.0)
    y = sick[person]
    # By patient, every class dealt out alike; scikit-learn's own way takes longer than the models.
    fold = np.empty(n, dtype=np.intp)
    for group in (np.flatnonzero(sick), np.flatnonzero(~sick)):
        fold[rng.permutation(group)] = np.arange(len(group)) % k
    tested, prob, truths = fold[person], np.empty(len(person)), []
    for number in range(k):
        train, test = tested != number, tested == number
        weights, bias = fitted(x[train], y[train])
        if setting.unstable:
            chance = rng.normal(size=FEATURES) / math.sqrt(FEATURES)
            weights = weights + setting.unstable * np.linalg.norm(weights) * chance
        prob[test] = expit(x[test] @ weights + bias)
        truths.append(worth(weights, bias, shift, setting.share))
    truth = np.where(y, "sick", "well")
    answers = np.where(prob >= 0.5, "sick", "well")
    both = np.column_stack([prob, 1 - prob])
    table = PatientTable(("sick", "well"), truth, answers, both, person, n)
    auc, accuracy = np.mean(truths, axis=0)
    return Study(table, tested, float(auc), float(accuracy))


def fitted(x: Floats, y: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Return weights and bias of scikit-learn's `LogisticRegression()`, in a tenth of its time.

    Newton's method on the same penalized likelihood; checking arguments takes scikit-learn longer.
    """
    design = np.column_stack([x, np.ones(len(x))])
    penalty = np.append(np.ones(x.shape[1]), 0.0)
    found = np.zeros(len(penalty))
    for _ in range(100):
        p = expit(design @ found)
        slope = design.T @ (p - y) + penalty * found
        curve = (design.T * (p * (1 - p))) @ design + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found -= step
        if np.abs(step).max() < 1e-10:
            return found[:-1], float(found[-1])
    raise ArithmeticError("Newton's method does not converge on a simulated study.")


def worth(weights: Floats, bias: float, shift: Floats, share: float) -> tuple[float, float]:
    """Return the exact AUC and accuracy of a linear score on new patients."""
    length = float(np.linalg.norm(weights)) or 1e-12
    apart = float(weights @ shift) / length
    found, passed = ndtr(apart + bias / length), ndtr(-bias / length)
    return float(ndtr(apart / math.sqrt(2))), float(share * found + (1 - share) * passed)


def parts_of(table: PatientTable, folds: NDArray[np.intp]) -> list[PatientTable]:
    """Return the answers of each fold."""
    made = []
    for number in range(int(folds.max()) + 1):
        rows = folds == number
        parts = (table.truth[rows], table.answers[rows], table.prob[rows], table.patients[rows])
        made.append(PatientTable(table.classes, *parts, table.n_patients))
    return made


def judged(study: Study, setting: Setting) -> dict[str, Any]:
    """Return the estimates of a study, and the bounds that each rival gives them."""
    table, k = study.table, setting.k
    parts = parts_of(table, study.folds)
    within = within_auc(parts, "sick")
    assert within is not None
    pooled = within_auc([table], "sick")
    assert pooled is not None
    right, whole = table.by_patient(table.is_right), table.by_patient(table.is_right | True)
    by_fold = np.array(
        [
            (within_auc([part], "sick").value, part.is_right.mean())  # type: ignore[union-attr]
            for part in parts
        ]
    )
    bounds: dict[str, dict[str, tuple[float, float]]] = {"AUC": {}, "accuracy": {}}
    bounds["AUC"]["pooled scores"] = auc_bounds(pooled, LEVEL)[:2]
    for times in TIMES:
        level = wider_level(LEVEL, times)
        bounds["AUC"][f"patients x {times:g}"] = auc_bounds(within, level)[:2]
        bounds["accuracy"][f"patients x {times:g}"] = proportion_bounds(right, whole, level)
    for column, name in enumerate(("AUC", "accuracy")):
        values = by_fold[:, column]
        reach = float(student.ppf((1 + LEVEL) / 2, k - 1))
        center, spread = values.mean(), values.var(ddof=1)
        for rival, factor in (("folds, t", 1 / k), ("folds, t, corrected", 1 / k + 1 / (k - 1))):
            half = reach * math.sqrt(factor * spread)
            bounds[name][rival] = (max(0.0, center - half), min(1.0, center + half))
    truths = {"AUC": study.true_auc, "accuracy": study.true_accuracy}
    values = {"AUC": within.value, "accuracy": float(right.sum() / whole.sum())}
    errors = {"AUC": within.variance, "accuracy": _variance(right, whole)}
    return {
        name: {
            "value": values[name],
            "true": truths[name],
            "variance": errors[name],
            "bounds": {rival: list(map(float, ends)) for rival, ends in bounds[name].items()},
        }
        for name in bounds
    } | {"pooled": pooled.value}


def _variance(part: Floats, whole: Floats) -> float:
    p, n = part.sum() / whole.sum(), len(whole)
    return float(n / (n - 1) * ((part - p * whole) ** 2).sum() / whole.sum() ** 2)


def blocks(studies: int) -> Iterator[tuple[int, int]]:
    """Yield settings and blocks, block by block over all settings: an early stop leaves all."""
    for block in range(math.ceil(studies / BLOCK)):
        for number in range(len(SETTINGS)):
            yield number, block


def done_in(state: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the blocks that were written down; a torn last line counts as none."""
    found = {}
    for line in state.read_text(encoding="utf-8").splitlines() if state.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["setting"], row["block"]] = row
    return found


def summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each setting, measure and rival: coverage, width and what is needed."""
    lines = []
    for number, setting in enumerate(SETTINGS):
        studies = [s for row in rows if row["setting"] == number for s in row["studies"]]
        if not studies:
            continue
        for name in ("AUC", "accuracy"):
            value, true, variance = (
                np.array([s[name][key] for s in studies]) for key in ("value", "true", "variance")
            )
            expected = true.mean()
            needed = (value - expected).std() / math.sqrt(variance.mean())
            for rival in studies[0][name]["bounds"]:
                low, high = np.array([s[name]["bounds"][rival] for s in studies]).T
                center = value
                if rival == "pooled scores":
                    center = np.array([s["pooled"] for s in studies])
                held = (low <= expected) & (expected <= high)
                lines.append(
                    {
                        "setting": setting.name,
                        "measure": name,
                        "interval": rival,
                        "studies": len(studies),
                        "expected": expected,
                        "off": center.mean() - expected,
                        "training_sd": true.std(),
                        "needed": needed,
                        "covers_expected": held.mean(),
                        "covers_these_models": ((low <= true) & (true <= high)).mean(),
                        "above": (low > expected).mean(),
                        "below": (high < expected).mean(),
                        "width": (high - low).mean(),
                    }
                )
    return lines


def page(lines: list[dict[str, Any]], seconds: float, seed: int) -> str:
    """Return the page of results."""
    table = pd.DataFrame(lines)
    studies = int(table["studies"].min())
    chosen = f"patients x {math.sqrt(training_factor(5)):.3g}"
    spread = 100 * math.sqrt(0.95 * 0.05 / studies)
    text = [
        "# Intervals of cross-validated measures",
        "",
        f"{studies:,} studies were simulated for each line, seed {seed}; five folds by patient, a "
        "logistic regression each. Coverage of 95 % intervals, in percent; by chance a share of 95 "
        f"is off by {spread:.1f} points (one standard error). `bench/folds.py` wrote this page in "
        f"{seconds / 60:.0f} minutes of one core.",
        "",
        "*Expected* is the mean performance of models trained on so many patients; *these models* "
        "that of the very models of a study. *Needed* is how many times as wide the interval of "
        "patients alone would have to be, were errors normal: the standard deviation of the "
        "estimate around the expected performance, over the mean standard error over patients.",
        "",
    ]
    names = {
        "pooled scores": "pooled scores",
        "patients x 1": "patients alone",
        "patients x 1.3": "x 1.3",
        "patients x 1.5": "**x 1.5**",
        "folds, t": "folds, t",
        "folds, t, corrected": "folds, t, corrected",
    }
    for name in ("AUC", "accuracy"):
        part = table[table["measure"] == name]
        rivals = [r for r in names if r in set(part["interval"])]
        for target, title in (
            ("covers_expected", "expected performance"),
            ("covers_these_models", "performance of these models"),
        ):
            text += [f"## {name}: {title}", ""]
            text.append(
                "| study | expected | SD of training | needed | "
                + " | ".join(names[r] for r in rivals)
                + " |"
            )
            text.append("|---|--:|--:|--:|" + "--:|" * len(rivals))
            for setting, rows in part.groupby("setting", sort=False):
                by_rival = rows.set_index("interval")
                one = rows.iloc[0]
                text.append(
                    f"| {setting} | {one['expected']:.3f} | {one['training_sd']:.3f} | "
                    f"{one['needed']:.2f} | "
                    + " | ".join(f"{100 * by_rival.loc[r, target]:.1f}" for r in rivals)
                    + " |"
                )
            text.append("")
        text += [f"## {name}: mean width", ""]
        text.append("| study | " + " | ".join(names[r] for r in rivals) + " |")
        text.append("|---|" + "--:|" * len(rivals))
        for setting, rows in part.groupby("setting", sort=False):
            widths = rows.set_index("interval")["width"]
            text.append(f"| {setting} | " + " | ".join(f"{widths[r]:.3f}" for r in rivals) + " |")
        text.append("")
    text += [*conclusions(table, chosen), ""]
    return "\n".join(text)


def conclusions(table: pd.DataFrame, chosen: str) -> list[str]:
    """Return what the numbers say, in sentences made of them."""

    def between(measure: str, rival: str, target: str = "covers_expected") -> str:
        rows = table[(table["measure"] == measure) & (table["interval"] == rival)][target]
        return f"{100 * rows.min():.1f} to {100 * rows.max():.1f} %"

    alone, pooled, less = "patients x 1", "pooled scores", "patients x 1.3"
    off = table[(table["measure"] == "AUC") & (table["interval"] == pooled)]["off"]
    inside = table[(table["measure"] == "AUC") & (table["interval"] == alone)]["off"]
    needed = table[table["interval"] == alone]["needed"]
    return [
        "## What follows",
        "",
        f"- Patients alone hold the expected AUC in {between('AUC', alone)} of studies, the "
        f"expected accuracy in {between('accuracy', alone)}; hurdles' interval ({chosen}) in "
        f"{between('AUC', chosen)} and {between('accuracy', chosen)}.",
        f"- Of these models, patients alone hold the mean AUC in "
        f"{between('AUC', alone, 'covers_these_models')} and the mean accuracy in "
        f"{between('accuracy', alone, 'covers_these_models')}.",
        f"- The factor that would be needed lies between {needed.min():.2f} and "
        f"{needed.max():.2f}; Nadeau and Bengio's is {math.sqrt(training_factor(5)):.2f} for five "
        "folds.",
        f"- 1.3 times as wide as patients alone: {between('AUC', less)} and "
        f"{between('accuracy', less)}. hurdles keeps the published correction, which owes nothing "
        "to these simulations, and is the more cautious one.",
        f"- The corrected t over folds holds the expected AUC in "
        f"{between('AUC', 'folds, t, corrected')}, with four degrees of freedom.",
        f"- An AUC of pooled scores is off by {off.min():+.3f} to {off.max():+.3f} on average, "
        f"one within folds by {inside.min():+.3f} to {inside.max():+.3f}.",
        "",
        "Patients have one class each, dealt out to the folds by class. Intervals of AUCs of "
        "patients with several images are score intervals with Student's t, which is wider by "
        "itself where patients are few.",
        "",
        "Linear models on normal features are no convolutional networks: how much these vary with "
        "their training patients is not known from here.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="for each setting")
    parser.add_argument("--seed", type=int, default=0, help="everything follows from it")
    parser.add_argument("--state", type=Path, default=Path("folds.state.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/folds"))
    chosen = parser.parse_args()
    known = done_in(chosen.state)
    with chosen.state.open("a", encoding="utf-8") as state:
        if chosen.state.stat().st_size:
            state.write("\n")  # after a line that was torn
        for number, block in blocks(chosen.studies):
            if (number, block) in known:
                continue
            began = time.process_time()
            rng = np.random.default_rng([chosen.seed, number, block])
            setting = SETTINGS[number]
            studies = [judged(drawn(setting, rng), setting) for _ in range(BLOCK)]
            row = {"setting": number, "block": block, "studies": studies}
            row["seconds"] = time.process_time() - began
            known[number, block] = row
            state.write(json.dumps(row) + "\n")
            state.flush()
    rows = [row for (_, block), row in sorted(known.items()) if block * BLOCK < chosen.studies]
    lines = summed(rows)
    pd.DataFrame(lines).to_csv(chosen.out.with_suffix(".csv"), index=False, float_format="%.5f")
    text = page(lines, sum(row["seconds"] for row in rows), chosen.seed)
    chosen.out.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
