"""Limits from cohorts without a shortcut, and how often hurdles are hit when held against them.

A hurdle has many findings, and it is hit if one of them is. So the limits of its findings are set
together: the deciding end of each interval is standardized by its median over the cohorts and by
how far its upper tail reaches from there, and the largest of a cohort's findings is what is counted
(the maximum that Westfall and Young 1993 resample). How many cohorts may lie beyond is chosen so
that the share among all such cohorts is at most 1.5 % with 90 % confidence (a tolerance limit,
Wilks 1941).

False alarms and power are proportions of cohorts, each with its interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hurdles._version import __version__
from hurdles.calibrating.trials import (
    FAULTS,
    FRESH,
    MODELS,
    Measured,
    Record,
    Trial,
    is_calibrated,
)
from hurdles.data.files import write_text
from hurdles.evaluation.bounds import exact_share
from hurdles.evaluation.comparisons import holm
from hurdles.evaluation.estimate import Estimate
from hurdles.findings.finding import Beyond, Finding, Limit, Verdict
from hurdles.findings.table import Findings

Limits = Mapping[tuple[str, str], Limit]

#: What says nothing at all: no limit is stricter, however narrow the intervals were.
FLOORS: dict[str, float] = {
    "confounders": 0.5,
    "pixels": 0.5,
    "views": 0.0,
    "lungs-removed": 0.0,
    "perturbations": 0.0,
    "acquisition": 0.0,
}
#: Hurdles whose findings are a list of their own, each with a limit. What others find is named by
#: the images at hand (columns, classes, hospitals), so all of it is held against one limit.
PER_SUBJECT = ("pixels", "views", "lungs-removed", "perturbations")
#: Share of cohorts without a shortcut that may hit a hurdle, and how sure that is to be.
SHARE, CONFIDENCE = 0.015, 0.9
#: Findings are made comparable by the distance of this quantile from the median: by deviations one
#: finding with a long tail (answers that hardly ever flip) would loosen the limits of all others.
_TAIL = 0.975
#: That distance at least, in the findings' own units (AUC, shares): less of it matters to nobody.
_LEAST_SPREAD = 0.02


def allowed_beyond(cohorts: int, *, share: float = SHARE, confidence: float = CONFIDENCE) -> int:
    """Return how many cohorts may lie beyond a limit, so that few of all cohorts do."""
    from scipy.special import bdtr  # the binomial distribution, without all of scipy.stats

    counts = np.arange(cohorts + 1)
    return int((bdtr(counts, cohorts, share) <= 1 - confidence).sum()) - 1


def limits_from(records: Sequence[Record], shipped: Limits) -> dict[tuple[str, str], Limit]:
    """Return all limits: calibrated ones from these cohorts, the others as they are.

    Cohorts of all sizes are one sample; of several kinds of models the laxest limit holds.
    No calibration sets margins: a calibrated limit keeps that of its hurdle.
    """
    bounds: dict[str, dict[str, float]] = {}
    sides: dict[str, Beyond] = {}
    cohorts: dict[str, list[int]] = {}
    for members in _by_condition(records).values():
        measured = pd.DataFrame(
            [
                (m.hurdle, r.trial, m.subject, m.bound, m.beyond)
                for r in members
                for m in r.found
                if m.beyond and m.fixed is None
            ],
            columns=["hurdle", "trial", "subject", "bound", "beyond"],
        )
        for name, rows in measured.groupby("hurdle", sort=False):
            hurdle = str(name)
            # Several findings of one subject share a limit, so the worst of them counts.
            table = rows.pivot_table(
                index="trial", columns="subject", values="bound", aggfunc="max", dropna=False
            ).reindex([r.trial for r in members])
            sides[hurdle] = Beyond(rows["beyond"].iloc[0])
            cohorts.setdefault(hurdle, []).append(len(table))
            if hurdle not in PER_SUBJECT:
                table = table.max(axis=1).to_frame("")
            subjects = bounds.setdefault(hurdle, {})
            for subject, bound in _joint_limits(table).items():
                subjects[subject] = max(subjects.get(subject, -math.inf), bound)
    limits = {k: v for k, v in shipped.items() if k[0] not in bounds or not is_calibrated(v)}
    for hurdle, subjects in bounds.items():
        of_others = {} if list(subjects) == [""] else {"": max(subjects.values())}
        for subject, bound in (subjects | of_others).items():
            limit = _limit(hurdle, bound, sides[hurdle], cohorts[hurdle])
            before = shipped.get((hurdle, subject)) or shipped.get((hurdle, ""))
            if before is not None and before.has_margin:
                limit = replace(limit, margin=before.clears, margin_source=before.margin_source)
            limits[hurdle, subject] = limit
    return limits


def _by_condition(records: Sequence[Record]) -> dict[Trial, list[Record]]:
    groups: dict[Trial, list[Record]] = {}
    for record in records:
        groups.setdefault(Trial.parse(record.trial).condition, []).append(record)
    return groups


def _joint_limits(table: pd.DataFrame) -> dict[str, float]:
    """Return for each subject the end that few cohorts pass in any of them."""
    values = table.to_numpy(dtype=float)
    measured = ~np.isnan(values).all(axis=0)
    names = [str(c) for c, t in zip(table.columns, measured, strict=True) if t]
    values = values[:, measured]
    if not names:
        return {}
    center = np.nanmedian(values, axis=0)
    spread = np.maximum(np.nanquantile(values, _TAIL, axis=0) - center, _LEAST_SPREAD)
    height = np.where(np.isnan(values), -np.inf, values - center) / spread
    beyond = max(allowed_beyond(len(values)), 0)
    most = float(np.sort(height.max(axis=1))[-1 - beyond])
    return dict(zip(names, (center + most * spread).tolist(), strict=True))


def _limit(hurdle: str, bound: float, beyond: Beyond, numbers: Sequence[int]) -> Limit:
    fewest, kinds = min(numbers), len(numbers)
    # Rounded away from the cohorts, so that none of them comes to lie beyond.
    lax = math.ceil(bound * 1000 - 1e-9) / 1000
    if hurdle in FLOORS:
        floor = FLOORS[hurdle] if beyond is Beyond.ABOVE else -FLOORS[hurdle]
        lax = max(lax, floor)
    # Where none lies beyond, that many still may; rounded up to a tenth of a percent.
    most = math.ceil(1000 * max(SHARE, 1 - (1 - CONFIDENCE) ** (1 / fewest)) - 1e-9) / 1000
    each = f"{fewest} cohorts" if kinds == 1 else f"{fewest} of each of {kinds} kinds of models"
    source = (
        f"calibrate-audit: at most {most:.1%} of cohorts without a shortcut lie beyond in any "
        f"finding of it, with 90 % confidence; {each}, hurdles {__version__}"
    )
    return Limit(lax if beyond is Beyond.ABOVE else -lax, source, beyond)


def write_limits(limits: Limits, path: Path) -> Path:
    """Write limits as the file that ships, and return the path."""
    import tomli_w

    tables: dict[str, dict[str, dict[str, object]]] = {}
    for (hurdle, subject), limit in limits.items():
        entry: dict[str, object] = {
            "value": limit.value,
            "beyond": str(limit.beyond),
            "source": limit.source,
        }
        if limit.has_margin:
            entry |= {"margin": limit.clears, "margin_source": limit.margin_source}
        tables.setdefault(hurdle, {})[subject] = entry
    plain = {h: t[""] if list(t) == [""] else _hoisted(t) for h, t in tables.items()}
    write_text(path, _HEAD + tomli_w.dumps(plain))
    return path


_HEAD = """\
# What statistics are held against. A hurdle is hit where the whole interval lies beyond the limit
# (value), cleared where all of it lies within the margin, and inconclusive otherwise. Where there
# is no margin, the limit is the margin. `hurdles calibrate-audit` replaces the limits that are its
# own; margins are kept.

"""


def _hoisted(table: dict[str, dict[str, object]]) -> dict[str, object]:
    """Write a margin that all subjects of a hurdle share once, above them."""
    margins = {(e.get("margin"), e.get("margin_source")) for e in table.values()}
    if len(margins) > 1 or margins == {(None, None)}:
        return dict(table)
    shared = {k: next(iter(table.values()))[k] for k in ("margin", "margin_source")}
    return shared | {s: {k: e[k] for k in e if k not in shared} for s, e in table.items()}


def verdict_of(hurdle: str, measured: Iterable[Measured], limits: Limits) -> Verdict:
    """Return the verdict of a hurdle on a cohort, as `Findings.verdict` gives it."""
    rows = []
    for number, m in enumerate(measured):
        limit = None
        if m.beyond and m.fixed is None:
            limit = limits.get((m.hurdle, m.subject)) or limits.get((m.hurdle, ""))
        elif m.beyond and m.fixed is not None:
            margin = m.fixed if m.margin is None else m.margin
            limit = Limit(m.fixed, "fixed", Beyond(m.beyond), margin, "fixed")
        if m.hurdle == hurdle:
            estimate = Estimate(m.value, m.low, m.high, 0.95, "", 0, 0)
            rows.append(Finding(hurdle, m.subject, str(number), estimate, limit))
    return Findings(tuple(rows), {hurdle: ""}).verdict(hurdle)


#: Stands for all hurdles of a kind together.
ANY = "any of them"
#: The AUC that a shortcut gives a network where power is judged.
REFERENCE_AUC = 0.8
#: False alarms at most, power at least: of each hurdle, and of all of a kind together.
GOALS, GOALS_OF_ALL = (0.015, 0.8), (0.05, 0.95)

_GRAYS = ("brightness", "blur", "jpeg", "inversion", "noise", "hospital")
_EVERY = ("marker", "border", "body-size", *_GRAYS)
#: Shortcuts that a hurdle is meant to see; no other pair is a promise.
TARGETS: Mapping[str, tuple[str, ...]] = {
    "confounders": ("body-size", "hospital"),
    "files": ("marker", "border", "jpeg", "inversion"),
    "pixels": _EVERY,
    "views": _EVERY,
    "lungs-removed": _EVERY,
    "elsewhere": _EVERY,
    "attention": ("marker", "border"),
    "perturbations": ("marker", "brightness", "blur", "jpeg", "noise"),
    "acquisition": ("brightness", "blur", "noise", "body-size"),
}

#: A cohort without a shortcut is not clean for these: a small test part is rightly named, a network
#: that was trained for seconds is too sure of it, and pipelines name more of the healthy women sick
#: than of the men (``docs/results/subgroups.txt``).
NEVER_CLEAN = ("size", "calibration", "subgroups", "stability")

#: Columns of the table of rates.
COLUMNS: dict[str, str] = {
    "kind": "data or model",
    "part": "fresh (phantoms) or the name of a real collection",
    "whole": "false in rows of one of several sizes",
    "hurdle": "name, or all of the kind together",
    "plant": "shortcut or fault; empty where nothing is planted",
    "strength": "of the shortcut, 0 to 1; of a fault, the number of cases",
    "disease": "whether the classes differ in a disease",
    "patients": "in each cohort; 0: all sizes together, by which goals are judged",
    "cohorts": "how many were drawn",
    "hit": "in how many the hurdle was hit",
    "inconclusive": "in how many it was inconclusive",
    "cleared": "in how many it was cleared; of all together: every one of them",
    "could_not_run": "in how many it said nothing; counted as not hit",
    "share": "hit / cohorts",
    "low": "lower end of the exact 95 % interval",
    "high": "upper end",
    "judged": "whether a goal holds for this row",
    "goal": "for false alarms at most, for power at least; empty where none is judged",
    "result": "met or missed, where the interval says so; else not shown",
    "p": "exact and two-sided, of a rate as the goal says: below 0.05 where it is met or missed",
    "p_of_all": "the same, adjusted for all goals of the table at once (Holm)",
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
    trials = [Trial.parse(record.trial) for record in records]
    rows = [(t.plant, t.strength, r.auc) for t, r in zip(trials, records, strict=True)]
    frame = pd.DataFrame(rows, columns=["plant", "strength", "auc"])
    areas = frame.groupby(["plant", "strength"], sort=False)["auc"]
    table = areas.agg(["mean", "min", "max", "count"]).reset_index()
    return table.set_axis(["plant", "strength", "auc", "lowest", "highest", "networks"], axis=1)


def rates_table(
    records: Sequence[Record], limits: Limits, references: Mapping[str, float]
) -> pd.DataFrame:
    """Return the share of cohorts that hit each hurdle, one row per hurdle and condition.

    Where a condition has cohorts of several sizes, each size has rows of its own, too.
    """
    rows: list[dict[str, object]] = []
    for condition, members in _by_condition(records).items():
        by_size: dict[int, list[Record]] = {}
        for record in members:
            by_size.setdefault(Trial.parse(record.trial).patients, []).append(record)
        if len(by_size) == 1:
            condition = replace(condition, patients=next(iter(by_size)))
        rows += _rows(condition, members, limits, references)
        for size, some in sorted(by_size.items()) if len(by_size) > 1 else ():
            rows += _rows(replace(condition, patients=size), some, limits)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.assign(p_of_all=holm(table["p"].tolist()))


def sizes_table(
    records: Sequence[Record], limits: Limits, references: Mapping[str, float], pools: int
) -> pd.DataFrame:
    """Return how often all hurdles together are hit, by size of cohort and pool of phantoms.

    One row per ``kind``, ``plant``, ``patients`` and ``pool``, of fresh phantoms with a disease for
    which a goal holds: ``cohorts`` and ``hit``, columns as in `COLUMNS`.
    """
    drawn: dict[tuple[Trial, int, int], list[Record]] = {}
    for record in records:
        trial = Trial.parse(record.trial)
        if trial.part == FRESH and trial.disease:
            draw = trial.condition, trial.patients, trial.pool(pools)
            drawn.setdefault(draw, []).append(record)
    rows = [
        row | {"patients": patients, "pool": pool}
        for (condition, patients, pool), members in drawn.items()
        for row in _rows(condition, members, limits, references)
        if row["hurdle"] == ANY and row["judged"]
    ]
    order = {kind: place for place, kind in enumerate(("data", *MODELS))}
    rows.sort(key=lambda row: order[str(row["kind"])])
    return pd.DataFrame(rows, columns=["kind", "plant", "patients", "pool", "cohorts", "hit"])


def own_limits_table(
    clean: Sequence[Record],
    fresh: Sequence[Record],
    limits: Limits,
    references: Mapping[str, float],
) -> pd.DataFrame:
    """Return how often models hit hurdles by the limits they share, and by their own kind's.

    One row per kind, hurdle and what a goal holds for (columns ``kind``, ``hurdle`` and ``what``:
    false alarms, or power over all shortcuts that it is meant to see), of fresh phantoms:
    ``cohorts``, ``shared`` and ``own`` hits. Hurdles whose hits are the same in both are left out.
    """
    of_clean, of_fresh = _by_condition(clean), _by_condition(fresh)
    kinds = [k for k in MODELS if any(condition.kind == k for condition in of_clean)]
    numbers = ["cohorts", "shared", "own"]
    tables = []
    for kind in kinds if len(kinds) > 1 else ():
        own = limits_from([r for c, rs in of_clean.items() if c.kind == kind for r in rs], limits)
        mine = [r for c, rs in of_fresh.items() if (c.kind, c.part) == (kind, FRESH) for r in rs]
        both = rates_table(mine, limits, references)
        both = both.assign(shared=both["hit"], own=rates_table(mine, own, references)["hit"])
        both = both[both["judged"].astype(bool)]
        what = np.where(both["plant"] == "", "false alarms", "power")
        groups = both.assign(what=what).groupby(["kind", "hurdle", "what"], sort=False)
        tables.append(groups[numbers].sum().reset_index())
    kept = [
        rows
        for table in tables
        for _, rows in table.groupby(["kind", "hurdle"], sort=False)
        if (rows["shared"] != rows["own"]).any()
    ]
    empty = pd.DataFrame(columns=["kind", "hurdle", "what", *numbers])
    return pd.concat(kept, ignore_index=True) if kept else empty


def _rows(
    condition: Trial,
    members: list[Record],
    limits: Limits,
    references: Mapping[str, float] | None = None,
) -> Iterator[dict[str, object]]:
    """Yield a row for each hurdle; of all together, what each cohort was asked counts.

    Nothing is judged without `references`: that is one of several sizes.
    """
    verdicts: dict[str, list[Verdict]] = {}
    together = []
    for record in members:
        each = {hurdle: verdict_of(hurdle, record.found, limits) for hurdle in record.asked}
        for hurdle, verdict in each.items():
            verdicts.setdefault(hurdle, []).append(verdict)
        counted = {v for h, v in each.items() if h not in NEVER_CLEAN}
        if len(each) > 1 and counted:
            together.append(_together(counted))
    if together:
        verdicts[ANY] = together
    for hurdle, each_cohort in verdicts.items():
        rate = exact_share(each_cohort.count(Verdict.HIT), len(each_cohort))
        whole = references is not None
        # What is only shown, or could never run, promises nothing.
        promises = set(each_cohort) - {Verdict.SHOWN, Verdict.COULD_NOT_RUN}
        goal = _goal(condition, hurdle, references) if references is not None and promises else ""
        yield {
            "kind": condition.kind,
            "part": condition.part,
            "plant": condition.plant,
            "strength": condition.strength,
            "disease": condition.disease,
            "patients": condition.patients,
            "whole": whole,
            "hurdle": hurdle,
            "cohorts": len(each_cohort),
            "hit": each_cohort.count(Verdict.HIT),
            "inconclusive": each_cohort.count(Verdict.INCONCLUSIVE),
            "cleared": each_cohort.count(Verdict.CLEARED),
            "could_not_run": each_cohort.count(Verdict.COULD_NOT_RUN),
            "share": rate.value,
            "low": rate.low,
            "high": rate.high,
            "judged": goal != "",
            "goal": goal,
            "result": _result(goal, rate),
            "p": _p_value(goal, each_cohort.count(Verdict.HIT), len(each_cohort)),
        }


def _together(verdicts: set[Verdict]) -> Verdict:
    """Return the verdict of several hurdles together."""
    if Verdict.HIT in verdicts:
        return Verdict.HIT
    judged = verdicts - {Verdict.SHOWN}
    return judged.pop() if len(judged) == 1 else Verdict.INCONCLUSIVE


def _goal(condition: Trial, hurdle: str, references: Mapping[str, float]) -> str:
    """Return what a hurdle is to reach in a condition; empty where nothing is promised."""
    most, least = GOALS_OF_ALL if hurdle == ANY else GOALS
    if not condition.plant:
        return "" if hurdle in NEVER_CLEAN else f"<= {most:g}"
    if condition.plant in FAULTS:
        return f">= {least:g}" if FAULTS.get(condition.plant).seen_by == hurdle else ""
    if condition.strength != references.get(condition.plant):
        return ""
    is_seen = hurdle == ANY or condition.plant in TARGETS.get(hurdle, ())
    return f">= {least:g}" if is_seen else ""


def _result(goal: str, rate: Estimate) -> str:
    if not goal:
        return ""
    sign, number = goal.split()
    if sign == "<=":
        met, missed = rate.high <= float(number), rate.low > float(number)
    else:
        met, missed = rate.low >= float(number), rate.high < float(number)
    return "met" if met else "missed" if missed else "not shown"


def can_be_met(goal: str, cohorts: int) -> bool:
    """Return whether so many cohorts can show a goal: none hit by false alarms, all by power."""
    best = 0 if goal.startswith("<=") else cohorts
    return _result(goal, exact_share(best, cohorts)) == "met"


def _p_value(goal: str, hit: int, cohorts: int) -> float:
    """Return the p-value to which the exact interval belongs; not-a-number without a goal."""
    from scipy.stats import binomtest

    if not goal:
        return math.nan
    share = float(goal.split()[1])
    sides = (binomtest(hit, cohorts, share, side).pvalue for side in ("less", "greater"))
    return min(1.0, 2 * float(min(sides)))
