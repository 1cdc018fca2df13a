"""ShortKit-ML's verdicts on embeddings, asked as its README asks.

    pip install -r bench/peers/shortkit.txt   # into an environment of its own
    python bench/peers/shortkit.py FOLDER [PROCESS OF]

Every FILE.npz in FOLDER holds ``embeddings`` (n, d), ``labels`` (n,) 0 or 1, ``tested`` (n,) bool,
and where there are any, in whole numbers (n,): groupings, each as ``group.NAME``, -1 where a group
is not known, and a second attribute ``other``. FILE.json gets the answers, of the tested images and
of all, by each grouping and without one: what each method flags by the package's own rule
(``method_flag`` of its benchmark), its risk, its indicators, or why it did not run; and the overall
assessment of its sets of methods under its conditions. All settings are its defaults. A FILE.json
that is there is not made again; of several processes, number PROCESS from 0 takes every OF-th file.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from shortcut_detect import ConditionContext, ShortcutDetector, create_condition
from shortcut_detect.benchmark.method_utils import ALL_METHODS, method_flag

#: Sets of methods whose overall assessment is asked: its default, that of its README's quick start,
#: that of its published tables, and that which its meta-classifier was trained on.
SETS = {
    "default": ["hbac", "probe", "statistical"],
    "quick start": ["hbac", "probe", "statistical", "geometric", "equalized_odds"],
    "published": list(ALL_METHODS),
    "meta": ["probe", "statistical", "hbac", "geometric", "frequency", "gce"],
}
#: Those that need no training of their own; the first is its default.
CONDITIONS = ("indicator_count", "majority_vote", "weighted_risk", "meta_classifier")
LEVELS = ("HIGH", "MODERATE", "LOW")
PACKAGES = ("shortkit-ml", "numpy", "scikit-learn", "torch")


def results_of(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray | None, other: np.ndarray | None, without=()
):
    """Return the result of each method, by name, as the package returns it."""
    every = [name for name in (*ALL_METHODS, "early_epoch_clustering") if name not in without]
    if groups is None:  # as in the quick start: the labels are the groups
        detector = ShortcutDetector(methods=every)
        return detector.fit(x, y).get_results()
    # SSA learns from images with a known attribute about others: half of them, drawn once.
    order = np.random.default_rng(0).permutation(len(x))
    splits = {"train_l": np.sort(order[::2]), "train_u": np.sort(order[1::2])}
    detector = ShortcutDetector(methods=[name for name in every if name != "intersectional"])
    detector.fit(x, y, group_labels=groups, splits=splits, extra_labels={"spurious": groups})
    results = dict(detector.get_results())
    if other is not None:  # a second attribute would ask other methods once for each
        both = {"group": groups, "other": other}
        crossed = ShortcutDetector(methods=["intersectional"])
        results |= crossed.fit(x, y, group_labels=groups, extra_labels=both).get_results()
    loader = {"embeddings": x, "labels": y, "attributes": {"group": groups}}
    causal = ShortcutDetector.from_loaders({"causal_effect": loader})
    return results | causal.get_results()


def plain(method: str, result: dict) -> dict[str, object]:
    """Return what a method said, in words for JSON; `flagged` is None where it did not run."""
    if not result.get("success"):
        return {"flagged": None, "why": str(result.get("error", "no result"))}
    risk = str(result.get("risk_value") or "none given")
    # `method_flag` reads a dict as the report of `gce`, which is none, so that it never flags: the
    # rule that it means, moderate or high risk, is that for methods which it does not know.
    known = method in ALL_METHODS and method != "gce"
    flagged = method_flag(method, result) if known else risk in ("moderate", "high")
    return {"flagged": bool(flagged), "risk": risk, "indicators": result.get("risk_indicators", [])}


def overall(methods: list[str], condition: str, results: dict) -> str:
    """Return HIGH, MODERATE or LOW, as `ShortcutDetector.summary` writes it of these methods."""
    said = create_condition(condition).assess(ConditionContext(methods, results)).splitlines()[0]
    (level,) = (word for word in LEVELS if f"{word} RISK" in said)
    return level


def verdicts(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray | None, other: np.ndarray | None, without=()
):
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what did not run says so in its result
        results = results_of(x, y, groups, other, without)
        levels = {
            name: {condition: overall(methods, condition, results) for condition in CONDITIONS}
            for name, methods in SETS.items()
        }
    methods = {name: plain(name, result) for name, result in results.items()}
    seconds = round(time.process_time() - began, 3)
    return {"images": len(x), "methods": methods, "overall": levels, "seconds": seconds}


def answers(file: Path) -> dict[str, object]:
    with np.load(file) as held:
        arrays = dict(held)
    parts = {"test": arrays["tested"]}
    if not arrays["tested"].all():
        parts["all"] = np.ones_like(arrays["tested"])
    groupings = {name.partition(".")[2]: name for name in arrays if name.startswith("group.")}
    answer: dict[str, object] = {}
    for part, rows in parts.items():
        x, y = arrays["embeddings"][rows].astype(float), arrays["labels"][rows]
        other = arrays["other"][rows] if "other" in arrays else None
        answer[f"{part}, class"] = verdicts(x, y, None, None)
        for name, array in groupings.items():
            groups = arrays[array][rows]
            if (groups >= 0).all():
                # SSA takes as long as all others together: of the tested images alone.
                without = () if part == "test" else ("ssa",)
                answer[f"{part}, {name}"] = verdicts(x, y, groups, other, without)
    return answer


def main() -> None:
    process, of = map(int, sys.argv[2:4] or (0, 1))
    files = sorted(Path(sys.argv[1]).glob("*.npz"))[process::of]
    todo = [file for file in files if not file.with_suffix(".json").exists()]
    versions = {name: version(name) for name in PACKAGES}
    for number, file in enumerate(todo, 1):
        record = {"versions": versions, "answers": answers(file)}
        part = file.with_suffix(".part")
        part.write_text(json.dumps(record, indent=1), "utf-8")
        part.replace(file.with_suffix(".json"))
        print(f"{number}/{len(todo)} {file.stem}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
