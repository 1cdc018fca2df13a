"""The page: what either tells apart, where ShortKit-ML is better first, and every count."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

import pandas as pd
from rates import ALIKE, ALL, ANY, CLEAN, HURDLES, NOISE, PLANTED, RIVAL, select
from subjects import IMAGES, INVENTED, PATIENTS, STRENGTHS

from hurdles.calibrating.limits import NEVER_CLEAN
from hurdles.calibrating.trials import Record, Trial
from hurdles.evaluation.bounds import mover_difference
from hurdles.evaluation.estimate import Estimate
from hurdles.training.machine import environment, in_words

#: What ShortKit-ML was asked, in words.
ASKED = {
    "test, groups": "tested images, group = hospital",
    "all, groups": "all images, group = hospital",
    "test, labels": "tested images, no group given",
    "all, labels": "all images, no group given",
    "test, told": "tested images, group = who carries it",
    "all, told": "all images, group = who carries it",
}
#: Overall assessments that the page shows; the table has all.
OVERALL = tuple(
    f"{methods}: {level}"
    for methods in (
        "default, indicator_count",
        "quick start, indicator_count",
        "published, indicator_count",
        "quick start, majority_vote",
        "quick start, weighted_risk",
        "meta, meta_classifier",
    )
    for level in ("HIGH", "MODERATE or HIGH")
)
#: Goal of hurdles: of all together, at most so many false alarms.
MOST = 0.05


class Told(NamedTuple):
    """How well one verdict tells planted cohorts from clean ones."""

    asked: str
    method: str
    clean: Estimate
    planted: Estimate

    @property
    def gain(self) -> float:
        """Power minus false alarms."""
        return self.planted.value - self.clean.value

    @property
    def words(self) -> str:
        """The gain with its interval (MOVER, of two independent shares)."""
        low, high = mover_difference(self.planted, self.clean, 0.0)
        return f"{self.gain:+.2f} [{low:+.2f}, {high:+.2f}]"


def sheet(table: pd.DataFrame, records: Sequence[Record], answers: Mapping[str, dict]) -> str:
    """Return the page in Markdown."""
    paragraphs = [
        "# Side by side with ShortKit-ML",
        *_introduction(records, answers),
        "## Where ShortKit-ML is better",
        *_better(table, records, answers),
        "## Overall verdicts",
        *_verdicts(table),
        "## Method by method",
        *_methods(table),
        "## Shortcut by shortcut",
        *_shortcuts(table),
        "## Told which images carry it",
        *_told(table),
        "## Noise",
        *_noise(table),
        "## What each looks at",
        *_looks(answers),
        *_made(records, answers),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _introduction(records: Sequence[Record], answers: Mapping[str, dict]) -> Iterator[str]:
    trials = [Trial.parse(r.trial) for r in records]
    clean = sum(not t.plant and t.disease for t in trials)
    alike = sum(not t.plant and not t.disease for t in trials)
    planted = sum(bool(t.plant) for t in trials)
    names = {t.plant for t in trials if t.plant}
    tested = median(a["answers"]["test, groups"]["images"] for a in _cohorts(answers))
    yield (
        "[ShortKit-ML](https://pypi.org/project/shortkit-ml/) looks for shortcuts in embeddings; "
        "hurdles asks the model about images. Both were put before the same "
        f"{len(records)} networks `small`, each trained on a cohort of {PATIENTS} phantom patients "
        f"of 96 pixels: {clean} cohorts have a disease and nothing planted, in {planted} one of "
        f"{len(names)} shortcuts goes with the disease at strength "
        f"{' or '.join(f'{s:g}' for s in STRENGTHS)}, and in {alike} the classes differ in nothing. "
        "hurdles was asked with the limits that ship, and with images of a second set of hospitals "
        "where the shortcut points to no class. ShortKit-ML was given the features before the same "
        f"network's last layer (about {tested:.0f} tested images, or all of the cohort, trained on "
        "or not), the class, and the hospital as the group; all its settings are its defaults. A "
        "method counts as flagged by `method_flag` of the package's own benchmark."
    )
    yield (
        "A verdict is worth what it tells apart: the share of planted cohorts in which it alarms, "
        "minus the share of clean ones. Shares are with exact intervals of 95 % "
        "(Clopper-Pearson), differences with MOVER's; of all shortcuts together they are of this "
        "mixture of shortcuts. Research use only; not a medical device."
    )


def _cohorts(answers: Mapping[str, dict]) -> list[dict]:
    return [a for name, a in answers.items() if not name.startswith(NOISE)]


def told_apart(table: pd.DataFrame, tool: str, plant: str = ALL, strength: str = "") -> list[Told]:
    """Return every verdict of a tool on clean cohorts and on planted ones."""
    keyed = {
        truth: {
            (str(row["asked"]), str(row["method"])): _estimate(row)
            for row in select(table, tool=tool, truth=truth, **more).to_dict("records")
        }
        for truth, more in ((CLEAN, {}), (PLANTED, {"plant": plant, "strength": strength}))
    }
    both = [key for key in keyed[CLEAN] if key in keyed[PLANTED]]
    return [Told(*key, keyed[CLEAN][key], keyed[PLANTED][key]) for key in both]


def _estimate(row: Mapping[str, object]) -> Estimate:
    n = int(row["cohorts"])  # type: ignore[call-overload]
    share = (float(row[name]) for name in ("share", "low", "high"))  # type: ignore[arg-type]
    return Estimate(*share, 0.95, "Clopper-Pearson", n, n)


def _battery(table: pd.DataFrame, plant: str = ALL, strength: str = "") -> Told:
    found = told_apart(table, HURDLES, plant, strength)
    (battery,) = (t for t in found if (t.asked, t.method) == ("model", ANY))
    return battery


def _better(
    table: pd.DataFrame, records: Sequence[Record], answers: Mapping[str, dict]
) -> Iterator[str]:
    ours = median(r.seconds for r in records)
    theirs = median(a["answers"]["test, groups"]["seconds"] for a in _cohorts(answers))
    lines = [
        "It needs embeddings and a table alone: no image, no model to ask, no lungs. hurdles has no "
        "hurdle for embeddings without images.",
        f"All its methods together took {theirs:.1f} s a cohort (median, tested images), hurdles' "
        f"hurdles for a model {ours:.1f} s, on one thread each.",
    ]
    battery, others = _battery(table), _fair(told_apart(table, RIVAL))
    ahead = sorted((t for t in others if t.gain > battery.gain), key=lambda t: -t.gain)
    best = max(others, key=lambda t: t.gain)
    if ahead:
        named = "; ".join(f"{_name(t)} {t.words}" for t in ahead[:3])
        lines.append(
            f"{len(ahead)} of its {len(others)} verdicts tell more apart than hurdles' hurdles for "
            f"a model together ({battery.words}): {named}."
        )
    else:
        lines.append(
            f"None of its {len(others)} verdicts tells more apart than hurdles' hurdles for a model "
            f"together ({battery.words}); its best is {_name(best)}, {best.words}, the best of so "
            "many on these very cohorts."
        )
    for plant in _plants(table):
        own = _battery(table, plant)
        here = [t for t in _fair(told_apart(table, RIVAL, plant)) if t.gain > own.gain]
        if here:
            top = max(here, key=lambda t: t.gain)
            lines.append(
                f"`{plant}`: {len(here)} of them tell more apart than hurdles for a model together "
                f"({_pair(own)}), most of all {_name(top)} ({_pair(top)})."
            )
    yield "\n".join(f"- {line}" for line in lines)


def _fair(found: Sequence[Told]) -> list[Told]:
    """Return verdicts that are asked without being told what no user is told."""
    return [t for t in found if not t.asked.endswith("told")]


def _name(told: Told) -> str:
    return f"`{told.method}` ({ASKED[told.asked]})"


def _pair(told: Told) -> str:
    return f"{told.planted.value:.0%} of planted cohorts, {told.clean.value:.0%} of clean ones"


def _plants(table: pd.DataFrame) -> list[str]:
    plants = select(table, truth=PLANTED)["plant"]
    return [p for p in dict.fromkeys(plants) if p != ALL]


def _verdicts(table: pd.DataFrame) -> Iterator[str]:
    ours = told_apart(table, HURDLES)
    rows = [
        [
            f"hurdles for {'data' if t.asked == 'data' else 'a model'}, {t.method}",
            "",
            *_three(table, HURDLES, t),
        ]
        for t in ours
        if t.method == ANY
    ]
    for method in OVERALL:
        for t in _fair(told_apart(table, RIVAL)):
            if t.method == method and t.asked in ("test, groups", "all, groups", "test, labels"):
                rows.append([f"`{method}`", ASKED[t.asked], *_three(table, RIVAL, t)])
    yield (
        "hurdles' hurdles together, without "
        f"{_listed(f'`{name}`' for name in NEVER_CLEAN)}, which name faults that clean cohorts have. "
        "ShortKit-ML's overall assessment goes by the set of methods (its default, its README's "
        "quick start, the 13 of its published tables, those of its bundled meta-classifier) and by "
        "the condition; `indicator_count` is its default. Where no group is given, it takes the "
        "class for the group, as in its quick start."
    )
    yield _table(["verdict", "asked of", "clean", "classes alike", "planted", "told apart"], rows)


def _three(table: pd.DataFrame, tool: str, told: Told) -> list[str]:
    alike = select(table, tool=tool, truth=ALIKE, asked=told.asked, method=told.method)
    planted = select(
        table,
        tool=tool,
        truth=PLANTED,
        plant=ALL,
        strength="",
        asked=told.asked,
        method=told.method,
    )
    clean = select(table, tool=tool, truth=CLEAN, asked=told.asked, method=told.method)
    return [*(_share(rows) for rows in (clean, alike, planted)), told.words]


def _share(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[0]
    if row["silent"] == row["cohorts"]:
        return "did not run"
    return f"{row['flagged']}/{row['cohorts']} [{100 * row['low']:.0f}, {100 * row['high']:.0f} %]"


def _methods(table: pd.DataFrame) -> Iterator[str]:
    rows = [
        [f"hurdles: `{t.method}`", *_three(table, HURDLES, t)]
        for t in told_apart(table, HURDLES)
        if t.asked == "model" and t.method != ANY
    ]
    heads = ["clean", "classes alike", "planted", "told apart"]
    yield "hurdles' hurdles for a model, singly:"
    yield _table(["hurdle", *heads], rows)
    for asked in ("test, groups", "all, groups"):
        found = [t for t in told_apart(table, RIVAL) if t.asked == asked and ":" not in t.method]
        high = [t for t in found if t.clean.low > MOST]
        low = [t for t in found if t.clean.high <= MOST]
        yield (
            f"ShortKit-ML, {ASKED[asked]}: of {len(found)} methods, {len(high)} alarm in more than "
            f"{MOST:.0%} of clean cohorts as far as the interval says, {len(low)} in at most that; "
            "of the rest so few cohorts do not say."
        )
        yield _table(
            ["method", *heads], ([f"`{t.method}`", *_three(table, RIVAL, t)] for t in found)
        )


def _shortcuts(table: pd.DataFrame) -> Iterator[str]:
    plants = _plants(table)
    yield "Both strengths together; the table has each."
    lines: list[tuple[str, str, str, str]] = [
        ("hurdles for a model, any of them", HURDLES, "model", ANY),
        ("hurdles for data, any of them", HURDLES, "data", ANY),
    ]
    single = [t for t in told_apart(table, HURDLES) if t.asked == "model" and t.method != ANY]
    lines += [
        (f"hurdles: `{t.method}`", HURDLES, "model", t.method)
        for t in single
        if t.method not in NEVER_CLEAN
    ]
    for asked in ("test, groups",):
        lines += [
            (f"ShortKit-ML: `{t.method}`", RIVAL, asked, t.method)
            for t in told_apart(table, RIVAL)
            if t.asked == asked and (":" not in t.method or t.method in OVERALL[:4])
        ]
    rows = []
    for words, tool, asked, method in lines:
        key = {"tool": tool, "asked": asked, "method": method}
        cells = [
            _share(select(table, truth=PLANTED, plant=plant, strength="", **key))
            for plant in plants
        ]
        rows.append([words, _share(select(table, truth=CLEAN, **key)), *cells])
    yield _table(["", "clean", *plants], rows)


def _told(table: pd.DataFrame) -> Iterator[str]:
    yield (
        f"ShortKit-ML checks attributes that its user knows of. At strength {INVENTED:g}, told which "
        "of the tested images carry the mark, it was asked about that. In clean cohorts it was told "
        "of a mark that goes with the class in the same way and that no image shows, so that no "
        "network can have read it: a method that flags both knows that the attribute goes with the "
        "class, and not that the network reads it. hurdles is told of no mark; its row is for "
        "comparison."
    )
    strength = f"{INVENTED:g}"
    battery = _battery(table, ALL, strength)
    rows = [["hurdles for a model, any of them", *_two(battery)]]
    rows += [
        [f"`{t.method}`", *_two(t)]
        for t in told_apart(table, RIVAL, ALL, strength)
        if t.asked == "test, told" and (":" not in t.method or t.method in OVERALL)
    ]
    yield _table(["", "a mark that no image shows", "the mark that is planted", "told apart"], rows)


def _two(told: Told) -> list[str]:
    return [*(_counted(e) for e in (told.clean, told.planted)), told.words]


def _counted(share: Estimate) -> str:
    n = share.images
    return f"{round(share.value * n)}/{n} [{100 * share.low:.0f}, {100 * share.high:.0f} %]"


def _noise(table: pd.DataFrame) -> Iterator[str]:
    rows = select(table, truth=NOISE)
    dimensions = sorted(rows["plant"].unique(), key=int)
    most = [f"{d} dimensions" for d in dimensions]
    here = select(rows, asked="test, labels")
    always = {
        d: [f"`{m}`" for m in _always(select(rows, plant=d)) if ":" not in m] for d in dimensions
    }
    yield (
        f"Embeddings drawn from a normal distribution, {IMAGES} images, two classes and two groups "
        "dealt by chance: there is nothing to find. hurdles has no hurdle that takes this. "
        + " ".join(
            f"Of {d} dimensions, {_listed(names)} flag{'s' if len(names) == 1 else ''} every set."
            for d, names in always.items()
            if names
        )
    )
    methods = [m for m in dict.fromkeys(rows["method"]) if ":" not in m or m in OVERALL]
    lines = []
    for method in methods:
        cells = [
            _share(select(rows, plant=d, asked="test, groups", method=method)) for d in dimensions
        ]
        cells += [_share(select(here, plant=d, method=method)) for d in dimensions]
        lines.append([f"`{method}`", *cells])
    yield _table(
        ["", *(f"{m}, with groups" for m in most), *(f"{m}, no groups" for m in most)], lines
    )


def _always(rows: pd.DataFrame) -> list[str]:
    rows = select(rows, asked="test, groups")
    return rows.loc[rows["flagged"] == rows["cohorts"], "method"].tolist()


def _looks(answers: Mapping[str, dict]) -> Iterator[str]:
    yield "\n".join(
        f"- {line}"
        for line in (
            "`hbac`, `frequency`, `sis`, `gce` and `early_epoch_clustering` look at embeddings and "
            "classes alone, never at the group: where the network knows the classes apart, so do "
            "its features, whether by disease or by a marker.",
            "`probe`, `statistical`, `geometric` and `bias_direction_pca` ask whether features tell "
            "the group. They can know an attribute that the network does not answer by, and cannot "
            "find one that nobody has named.",
            "`equalized_odds`, `demographic_parity`, `intersectional`, `groupdro` and `ssa` train a "
            "classifier of their own on the features and compare groups; where a group has few "
            "images, the gap is noise against a fixed limit.",
            "`causal_effect` flags an attribute that says *little* of the class: that is a check of "
            "the attribute, not of the network.",
            "No method of ShortKit-ML states an interval; `statistical` corrects for the features "
            "that it tests.",
            "hurdles alters, covers and moves what is seen and asks the network again, so it needs "
            "no name of the shortcut; it needs the images, and the network.",
        )
    )
    silent: dict[str, str] = {}
    for answer in _cohorts(answers):
        for asked, said in answer["answers"].items():
            for method, verdict in said["methods"].items():
                if verdict["flagged"] is None and asked.endswith(", groups"):
                    silent.setdefault(method, str(verdict["why"]))
    lines = [
        "`vae` needs images and trains a network of its own on them; `gradcam_mask_overlap` and "
        "SpRAy need heat-maps, and the first masks of the shortcut; `cav` needs sets of images of a "
        "concept. They are no verdicts on embeddings.",
        "`generative_cvae` gives no verdict. `multi_attribute` is a condition for several attributes.",
    ]
    lines += [f"`{method}` did not run in some cohorts: {why}" for method, why in silent.items()]
    yield "Left out, or silent:"
    yield "\n".join(f"- {line}" for line in lines)


def _made(records: Sequence[Record], answers: Mapping[str, dict]) -> Iterator[str]:
    versions = next(iter(answers.values()))["versions"]
    theirs = ", ".join(f"{name} {number}" for name, number in versions.items())
    areas = [r.auc for r in records if r.auc is not None and not Trial.parse(r.trial).plant]
    made = datetime.now(UTC).date().isoformat()
    yield (
        f"Networks of cohorts without a shortcut had an AUC of {min(areas):.2f} to {max(areas):.2f} "
        "on tested images."
    )
    yield (
        f"Made by `make rivals` with {theirs} in an environment of its own; "
        f"{in_words(environment())}; {platform.system()}, {made}."
    )


def _listed(words: Iterator[str] | Sequence[str]) -> str:
    names = list(words)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(heads), *lines[1:]])
