"""False alarms and power of every hurdle, each a proportion of cohorts with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from hurdles.auditing.calibrate.faults import FAULTS
from hurdles.auditing.calibrate.journal import Record
from hurdles.auditing.calibrate.limits import Limits, verdict_of
from hurdles.auditing.calibrate.trials import Trial
from hurdles.evaluation.bounds import wilson
from hurdles.findings.finding import Verdict

#: Stands for all hurdles of a kind together.
ANY = "any of them"
#: The AUC that a shortcut gives a network where power is judged.
REFERENCE_AUC = 0.8
#: False alarms at most, power at least.
GOALS = (0.05, 0.8)

_GREYS = ("brightness", "blur", "jpeg", "inversion", "noise", "hospital")
_EVERY = ("marker", "border", "body-size", *_GREYS)
#: Which shortcuts a hurdle is meant to see; no other pair is a promise.
MEANT: Mapping[str, tuple[str, ...]] = {
    "confounders": ("body-size", "hospital"),
    "files": ("marker", "border", "jpeg", "inversion"),
    "pixels": _EVERY,
    "views": _EVERY,
    "lungs-removed": _EVERY,
    "source": ("hospital",),
    "elsewhere": _EVERY,
    "attention": ("marker", "border"),
    "perturbations": ("marker", "brightness", "blur", "jpeg", "noise"),
    "hospital-swap": ("hospital", "blur", "noise", "brightness"),
}

#: Patients from which on a cohort without a shortcut is also clean for these hurdles: a small test
#: part is rightly named, and so is a network that was trained for seconds and is too sure of it.
CLEAN_FROM: Mapping[str, float] = {"size": 600, "calibration": math.inf, "stability": math.inf}

#: Columns of the table of rates.
COLUMNS: dict[str, str] = {
    "kind": "data or model",
    "part": "fresh (phantoms) or real (images of one collection)",
    "hurdle": "name, or all of the kind together",
    "plant": "shortcut or fault; empty where nothing is planted",
    "strength": "of the shortcut, 0 to 1; of a fault, the number of cases",
    "disease": "whether the classes differ in a disease",
    "patients": "in each cohort",
    "cohorts": "how many were drawn",
    "hit": "in how many the hurdle was hit",
    "inconclusive": "in how many it was inconclusive",
    "cleared": "in how many it was cleared; of all together: every one of them",
    "could_not_run": "in how many it said nothing; counted as not hit",
    "share": "hit / cohorts",
    "low": "lower end of Wilson's 95 % interval",
    "high": "upper end",
    "judged": "whether a goal holds for this row",
    "goal": "at most 0.05 for false alarms, at least 0.8 for power; empty where none is judged",
    "result": "met, missed, or not shown (missed, but the interval holds the goal)",
}


def references_from(records: Sequence[Record]) -> tuple[dict[str, float], pd.DataFrame]:
    """Return the strength at which each shortcut's power is judged, and the networks' AUCs.

    It is the weakest at which networks reach a mean AUC of 0.8 from the shortcut alone; 1.0 where
    they never do.
    """
    areas = areas_table(records)
    references = {}
    for plant, rows in areas.groupby("plant", sort=False):
        enough = rows.loc[rows["auc"] >= REFERENCE_AUC, "strength"]
        references[str(plant)] = float(enough.min()) if len(enough) else 1.0
    return references, areas


def areas_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the mean AUC of networks: plant, strength, auc, lowest, highest, networks."""
    rows = [
        {"plant": t.plant, "strength": t.strength, "auc": r.auc}
        for r in records
        for t in [Trial.parse(r.trial)]
    ]
    frame = pd.DataFrame(rows, columns=["plant", "strength", "auc"])
    found = frame.groupby(["plant", "strength"], sort=False)["auc"]
    return found.agg(["mean", "min", "max", "count"]).reset_index().rename(
        columns={"mean": "auc", "min": "lowest", "max": "highest", "count": "networks"}
    )  # fmt: skip


def rates_table(
    records: Sequence[Record], limits: Limits, references: Mapping[str, float]
) -> pd.DataFrame:
    """Return the share of cohorts that hit each hurdle, one row per hurdle and condition."""
    groups: dict[Trial, list[Record]] = {}
    for record in records:
        groups.setdefault(Trial.parse(record.trial).condition, []).append(record)
    rows = [
        row
        for condition, members in groups.items()
        for row in _rows(condition, members, limits, references)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(
    condition: Trial, members: list[Record], limits: Limits, references: Mapping[str, float]
) -> Iterator[dict[str, object]]:
    hurdles = members[0].asked
    verdicts = {h: [verdict_of(h, r.found, limits) for r in members] for h in hurdles}
    joined = [h for h in hurdles if condition.patients >= CLEAN_FROM.get(h, 0)]
    if len(joined) > 1:
        verdicts[ANY] = [_joined([verdicts[h][i] for h in joined]) for i in range(len(members))]
    for hurdle, each in verdicts.items():
        rate = wilson(each.count(Verdict.HIT), len(each))
        goal = _goal(condition, hurdle, references)
        yield {
            "kind": condition.kind,
            "part": condition.part,
            "hurdle": hurdle,
            "plant": condition.plant,
            "strength": condition.strength,
            "disease": condition.disease,
            "patients": condition.patients,
            "cohorts": len(each),
            "hit": each.count(Verdict.HIT),
            "inconclusive": each.count(Verdict.INCONCLUSIVE),
            "cleared": each.count(Verdict.CLEARED),
            "could_not_run": each.count(Verdict.COULD_NOT_RUN),
            "share": rate.value,
            "low": rate.low,
            "high": rate.high,
            "judged": goal != "",
            "goal": goal,
            "result": _result(goal, rate.value, rate.low, rate.high),
        }


def _joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict of several hurdles together."""
    for loudest in (Verdict.HIT, Verdict.INCONCLUSIVE):
        if loudest in verdicts:
            return loudest
    said = {v for v in verdicts if v is not Verdict.SHOWN}
    return said.pop() if len(said) == 1 else Verdict.INCONCLUSIVE


def _goal(condition: Trial, hurdle: str, references: Mapping[str, float]) -> str:
    most, least = GOALS
    if not condition.plant:
        # Each hurdle by itself is to be quiet; all of them together need not be.
        clean = condition.patients >= CLEAN_FROM.get(hurdle, 0)
        return f"<= {most:g}" if clean and hurdle != ANY else ""
    if condition.plant in FAULTS:
        return f">= {least:g}" if FAULTS.get(condition.plant).seen_by == hurdle else ""
    if condition.strength != references.get(condition.plant):
        return ""
    meant = hurdle == ANY or condition.plant in MEANT.get(hurdle, ())
    return f">= {least:g}" if meant else ""


def _result(goal: str, share: float, low: float, high: float) -> str:
    if not goal:
        return ""
    if goal.startswith("<="):
        if share <= GOALS[0]:
            return "met"
        return "missed" if low > GOALS[0] else "not shown"
    if share >= GOALS[1]:
        return "met"
    return "missed" if high < GOALS[1] else "not shown"
