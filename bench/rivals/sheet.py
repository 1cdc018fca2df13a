"""The page: what either tells apart, where ShortKit-ML is better first, and every count."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

import pandas as pd
from rates import (
    AGREEING,
    ALIKE,
    ALL,
    ANY,
    CLEAN,
    CONVERGENCE,
    HURDLES,
    LEVELS,
    NOISE,
    PLANTED,
    RIVAL,
    select,
)
from subjects import IMAGES, INVENTED, PATIENTS, STRENGTHS

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.calibrating.limits import GOALS_OF_ALL, NEVER_CLEAN
from hurdles.calibrating.trials import Record, Trial
from hurdles.evaluation.bounds import mover_difference
from hurdles.evaluation.estimate import Estimate
from hurdles.training.machine import environment, in_words

#: What ShortKit-ML was given, in words.
GIVEN = {
    "test, hospital": "tested images, by hospital",
    "all, hospital": "all images, by hospital",
    "test, class": "tested images, no group",
    "all, class": "all images, no group",
    "test, carriers": "tested images, by who carries the mark",
}
#: What a user has: nobody knows who carries a mark that nobody knows of.
USUAL = ("test, hospital", "all, hospital", "test, class", "all, class")
#: Verdicts of several methods that the page shows; the CSV has all.
OVERALL = (
    *(
        f"{methods}: {level}"
        for methods in (
            "default, indicator_count",
            "quick start, indicator_count",
            "published, indicator_count",
            "quick start, majority_vote",
            "quick start, weighted_risk",
            "meta, meta_classifier",
        )
        for level in LEVELS
    ),
    f"convergence: {AGREEING} of {len(CONVERGENCE)}",
)
HEADS = ("clean", "classes alike", "planted", "told apart")


class Contrast(NamedTuple):
    """What one verdict says of clean cohorts and of planted ones."""

    given: str
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

    @property
    def shares(self) -> str:
        """Both shares, rounded."""
        return f"{self.planted.value:.0%} of planted cohorts, {self.clean.value:.0%} of clean ones"

    @property
    def name(self) -> str:
        """The method of ShortKit-ML, and what it was given."""
        return f"`{self.method}` ({GIVEN[self.given]})"

    @property
    def is_single(self) -> bool:
        """True of one method, and not of several together."""
        return ":" not in self.method and self.method != ANY


def sheet(table: pd.DataFrame, records: Sequence[Record], answers: Mapping[str, dict]) -> str:
    """Return the page in Markdown."""
    cohorts = {name: a for name, a in answers.items() if not name.startswith(NOISE)}
    paragraphs = [
        "# Side by side with ShortKit-ML",
        *_introduction(records, cohorts),
        "## Where ShortKit-ML is better",
        *_better(table, records, cohorts),
        "## Verdicts of all methods together",
        *_overall(table),
        "## Method by method",
        *_singly(table),
        "## Shortcut by shortcut",
        *_by_shortcut(table),
        "## Told who carries the mark",
        *_of_carriers(table),
        "## Noise",
        *_of_noise(table),
        "## What each looks at",
        *_reach(cohorts),
        *_made(records, answers),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _introduction(records: Sequence[Record], cohorts: Mapping[str, dict]) -> Iterator[str]:
    trials = [Trial.parse(r.trial) for r in records]
    clean = sum(not t.plant and t.disease for t in trials)
    alike = sum(not t.plant and not t.disease for t in trials)
    planted = sum(bool(t.plant) for t in trials)
    plants = len({t.plant for t in trials if t.plant})
    tested, all_images = (
        median(a["answers"][f"{part}, hospital"]["images"] for a in cohorts.values())
        for part in ("test", "all")
    )
    strengths = " or ".join(f"{strength:g}" for strength in STRENGTHS)
    yield (
        "[ShortKit-ML](https://github.com/criticaldata/ShortKit-ML) looks for shortcuts in "
        "embeddings; hurdles asks the model about images. Both were put before the same "
        f"{len(records)} networks `small`, each trained on a cohort of {PATIENTS} phantom patients "
        f"of 96 pixels: {clean} cohorts have a disease and nothing planted; in {planted}, one "
        f"shortcut of {plants} goes with the disease at strength {strengths}; in {alike}, the "
        "classes differ in nothing."
    )
    yield (
        f"hurdles had the limits that ship{_without(records)}, and images of other patients, among "
        "whom the shortcut points to no class. ShortKit-ML had what the same network's last layer "
        "is given, of about "
        f"{tested:.0f} tested images or of all {all_images:.0f} of the cohort, the class, and the "
        "hospital as the group; all its settings are its defaults. A method counts as flagged by "
        "`method_flag` of the package's own benchmark, or, where that does not know it or cannot "
        "read its report (`gce`), at moderate or high risk."
    )
    each = Counter((t.plant, t.strength) for t in trials if t.plant).values()
    often = "each as often as any other" if len(set(each)) == 1 else f"{min(each)} to {max(each)}"
    yield (
        "A verdict is worth what it tells apart: the share of planted cohorts in which it alarms, "
        "less the share of clean ones. Shares are with exact 95 % intervals (Clopper-Pearson), "
        "differences with MOVER's; several shortcuts together are this mixture of them, "
        f"{often}. Research use only; not a medical device."
    )


def _without(records: Sequence[Record]) -> str:
    """Name the hurdles that were not asked about every network."""
    missing = [h for h in (*MODEL_HURDLES, *DATA_HURDLES) if any(h not in r.asked for r in records)]
    return (
        f" (without {_listed(f'`{name}`' for name in missing)} in some cohorts)" if missing else ""
    )


def contrasts(
    table: pd.DataFrame, tool: str, *, plant: str = ALL, strength: str = ""
) -> list[Contrast]:
    """Return every verdict of a tool, on clean cohorts and on planted ones."""

    def shares(**truth: str) -> dict[tuple[str, str], Estimate]:
        rows = select(table, tool=tool, **truth).to_dict("records")
        return {(str(row["input"]), str(row["method"])): _estimate(row) for row in rows}

    clean = shares(truth=CLEAN)
    planted = shares(truth=PLANTED, plant=plant, strength=strength)
    return [Contrast(*key, clean[key], planted[key]) for key in clean if key in planted]


def _estimate(row: Mapping[str, float]) -> Estimate:
    n = int(row["cohorts"])
    return Estimate(row["share"], row["low"], row["high"], 0.95, "Clopper-Pearson", n, n)


def _all_hurdles(table: pd.DataFrame, **planted: str) -> Contrast:
    found = contrasts(table, HURDLES, **planted)
    (together,) = (c for c in found if (c.given, c.method) == ("model", ANY))
    return together


def _usual(table: pd.DataFrame, **planted: str) -> list[Contrast]:
    return [c for c in contrasts(table, RIVAL, **planted) if c.given in USUAL]


def _better(
    table: pd.DataFrame, records: Sequence[Record], cohorts: Mapping[str, dict]
) -> Iterator[str]:
    ours = median(r.seconds for r in records)
    theirs = median(a["answers"]["test, hospital"]["seconds"] for a in cohorts.values())
    together, others = _all_hurdles(table), _usual(table)
    ahead = sorted((c for c in others if c.gain > together.gain), key=lambda c: -c.gain)
    best = max(others, key=lambda c: c.gain)
    lines = [
        "It needs a table of embeddings alone: no image, no model to ask, no lungs. hurdles has no "
        "hurdle that takes that.",
        f"Its methods together took {theirs:.1f} processor seconds a cohort (median, tested "
        f"images), hurdles' hurdles for a model {ours:.1f}.",
    ]
    if ahead:
        named = "; ".join(f"{c.name} {c.words}" for c in ahead[:3])
        lines.append(
            f"{len(ahead)} of its {len(others)} verdicts tell more apart than hurdles' hurdles for "
            f"a model together ({together.words}). The most: {named}. They are the best of so many "
            "on these very cohorts."
        )
    else:
        lines.append(
            f"None of its {len(others)} verdicts tells more apart than hurdles' hurdles for a "
            f"model together ({together.words}). Its best, of so many on these very cohorts, is "
            f"{best.name}: {best.words}."
        )
    for plant in _plants(table):
        own = _all_hurdles(table, plant=plant)
        here = [c for c in _usual(table, plant=plant) if c.gain > own.gain]
        if here:
            top = max(here, key=lambda c: c.gain)
            lines.append(
                f"`{plant}`: {len(here)} of them tell more apart than hurdles' hurdles for a model "
                f"together ({own.shares}); the most {top.name} ({top.shares})."
            )
    yield "\n".join(f"- {line}" for line in lines)


def _plants(table: pd.DataFrame) -> list[str]:
    plants = select(table, truth=PLANTED)["plant"]
    return [plant for plant in dict.fromkeys(plants) if plant != ALL]


def _overall(table: pd.DataFrame) -> Iterator[str]:
    rows = [
        [f"hurdles, {c.method}", words, *_four(table, HURDLES, c)]
        for c in contrasts(table, HURDLES)
        for words in [{"model": "a model", "data": "the data"}[c.given]]
        if c.method == ANY
    ]
    found = _usual(table)
    rows += [
        [f"`{c.method}`", GIVEN[c.given], *_four(table, RIVAL, c)]
        for method in OVERALL
        for c in found
        if c.method == method and c.given != "all, class"
    ]
    yield (
        f"Of hurdles, {_listed(f'`{name}`' for name in NEVER_CLEAN)} are not counted: they name "
        "faults that clean cohorts have. ShortKit-ML's overall assessment goes by a set of methods "
        "(its default, its README's quick start, the 13 of its published tables, the six of its "
        "bundled meta-classifier) and by a condition; `indicator_count` is its default. "
        f"`convergence` is that of its own false-positive analysis: {AGREEING} of "
        f"{_listed(f'`{name}`' for name in CONVERGENCE)} flag. Where no "
        "group is given, as in its quick start, it takes the class for the group."
    )
    yield _table(["verdict", "of", *HEADS], rows)


def _four(table: pd.DataFrame, tool: str, contrast: Contrast) -> list[str]:
    key = {"tool": tool, "input": contrast.given, "method": contrast.method}
    return [
        _share(select(table, truth=CLEAN, **key)),
        _share(select(table, truth=ALIKE, **key)),
        _share(select(table, truth=PLANTED, plant=ALL, strength="", **key)),
        contrast.words,
    ]


def _share(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[0]
    if row["silent"] == row["cohorts"]:
        return "did not run"
    return f"{row['flagged']}/{row['cohorts']} [{100 * row['low']:.0f}, {100 * row['high']:.0f} %]"


def _singly(table: pd.DataFrame) -> Iterator[str]:
    yield "hurdles' hurdles for a model:"
    own = [c for c in contrasts(table, HURDLES) if c.given == "model" and c.is_single]
    yield _table(["hurdle", *HEADS], ([f"`{c.method}`", *_four(table, HURDLES, c)] for c in own))
    most = GOALS_OF_ALL[0]
    for given in ("test, hospital", "all, hospital"):
        found = [c for c in _usual(table) if c.given == given and c.is_single]
        above = sum(c.clean.low > most for c in found)
        yield (
            f"ShortKit-ML, {GIVEN[given]}. {above} of {len(found)} methods alarm in more than "
            f"{most:.0%} of clean cohorts, whole interval above that."
        )
        yield _table(
            ["method", *HEADS], ([f"`{c.method}`", *_four(table, RIVAL, c)] for c in found)
        )


def _by_shortcut(table: pd.DataFrame) -> Iterator[str]:
    ours = [c for c in contrasts(table, HURDLES) if c.is_single and c.given == "model"]
    theirs = [c for c in _usual(table) if c.given == "test, hospital"]
    lines = [
        ("hurdles for a model, any", HURDLES, "model", ANY),
        ("hurdles for data, any", HURDLES, "data", ANY),
        *((f"`{c.method}`", HURDLES, "model", c.method) for c in ours),
        *(
            (f"ShortKit-ML `{c.method}`", RIVAL, c.given, c.method)
            for c in theirs
            if c.is_single or c.method in (*OVERALL[:4], OVERALL[-1])
        ),
    ]
    plants, rows = _plants(table), []
    for words, tool, given, method in lines:
        key = {"tool": tool, "input": given, "method": method}
        cells = [
            _share(select(table, truth=PLANTED, plant=plant, strength="", **key))
            for plant in plants
        ]
        rows.append([words, _share(select(table, truth=CLEAN, **key)), *cells])
    yield f"Both strengths together; ShortKit-ML with {GIVEN['test, hospital']}. The CSV has each."
    yield _table(["", "clean", *plants], rows)


def _of_carriers(table: pd.DataFrame) -> Iterator[str]:
    strength = f"{INVENTED:g}"
    yield (
        "ShortKit-ML examines attributes that its user knows of. So it was told which of the "
        f"tested images carry what is planted, at strength {strength}. In clean cohorts it was "
        "told of a mark that goes with the class just so, but is in no image, so that no network "
        "can have read it: what flags both sees that the attribute goes with the class, and not "
        "that the network reads it. Nobody told hurdles; its row is for comparison."
    )
    together = _all_hurdles(table, strength=strength)
    rows = [["hurdles for a model, any", *_three(together)]]
    rows += [
        [f"`{c.method}`", *_three(c)]
        for c in contrasts(table, RIVAL, strength=strength)
        if c.given == "test, carriers" and (c.is_single or c.method in OVERALL)
    ]
    yield _table(["", "mark in no image", "mark that is planted", "told apart"], rows)


def _three(contrast: Contrast) -> list[str]:
    def counted(share: Estimate) -> str:
        n = share.n_images
        return f"{share.value * n:.0f}/{n} [{100 * share.low:.0f}, {100 * share.high:.0f} %]"

    return [counted(contrast.clean), counted(contrast.planted), contrast.words]


def _of_noise(table: pd.DataFrame) -> Iterator[str]:
    rows = select(table, truth=NOISE)
    if rows.empty:
        yield "Not yet measured."
        return
    dimensions = sorted(rows["plant"].unique(), key=int)
    sentences = []
    for d in dimensions:
        here = select(rows, plant=d, input="test, dealt")
        always = here.loc[here["flagged"] == here["cohorts"], "method"]
        names = [f"`{method}`" for method in always if ":" not in method]
        if names:
            verb = "flags" if len(names) == 1 else "flag"
            sentences.append(f"Of {d} dimensions, {_listed(names)} {verb} every set.")
    yield (
        f"Normal embeddings of {IMAGES:,} images, as many as in ShortKit-ML's own false-positive "
        "test, in two classes and two groups that chance deals: there is nothing to find. hurdles "
        "has no hurdle that takes this. " + " ".join(sentences)
    )
    methods = [m for m in dict.fromkeys(rows["method"]) if ":" not in m or m in OVERALL]
    lines = [
        [
            f"`{method}`",
            *(
                _share(select(rows, plant=d, input=given, method=method))
                for given in ("test, dealt", "test, class")
                for d in dimensions
            ),
        ]
        for method in methods
    ]
    heads = [f"{d} dimensions, {g}" for g in ("groups", "no groups") for d in dimensions]
    yield _table(["", *heads], lines)


def _reach(cohorts: Mapping[str, dict]) -> Iterator[str]:
    yield "\n".join(
        f"- {line}"
        for line in (
            "`hbac`, `frequency`, `gce` and `early_epoch_clustering` look at embeddings and "
            "classes, never at a group: features of a network that knows the classes tell them, "
            "by disease or by a marker. `sis` asks how few features do, and whether those tell "
            "the group as well.",
            "`probe`, `statistical`, `geometric` and `bias_direction_pca` ask whether features "
            "tell the group. That sees an attribute by which the network does not answer, too, "
            "and none that has no name.",
            "`equalized_odds`, `demographic_parity`, `intersectional`, `groupdro` and `ssa` train "
            "a classifier on the features, and hold the gap between groups against a fixed number, "
            "however few images a group has.",
            "All of them count images; a patient with two counts twice.",
            "`causal_effect` flags an attribute that says *little* of the class: it judges the "
            "attribute, not the network.",
            "`sis` adds a line to the risk indicators whichever way it decides, so it counts in "
            "`indicator_count` and `majority_vote` even where it flags nothing.",
            "hurdles alters, covers and moves what is seen and asks again. It needs no name of "
            "the shortcut, but the images, and something to ask.",
        )
    )
    lines = [
        "Left out: `vae` trains a network of its own on images; `gradcam_mask_overlap` and SpRAy "
        "need heat-maps, the first also masks of the shortcut; `cav` needs sets of images of a "
        "concept; `generative_cvae` gives no verdict; `multi_attribute` is for several attributes; "
        "`ssa` of all images, for it takes as long as all others together.",
    ]
    silent: dict[tuple[str, str], list[str]] = {}
    for answer in cohorts.values():
        for given, verdicts in answer["answers"].items():
            for method, verdict in verdicts["methods"].items():
                if verdict["flagged"] is None:
                    silent.setdefault((method, given), []).append(str(verdict["why"]))
    for (method, given), reasons in silent.items():
        lines.append(
            f"`{method}`, {GIVEN[given]}, did not run in {len(reasons)} of {len(cohorts)} cohorts: "
            f"{reasons[0]}"
        )
    yield "\n".join(f"- {line}" for line in lines)


def _made(records: Sequence[Record], answers: Mapping[str, dict]) -> Iterator[str]:
    versions = next(iter(answers.values()))["versions"]
    theirs = ", ".join(f"{name} {number}" for name, number in versions.items())
    areas = [r.auc for r in records if r.auc is not None and Trial.parse(r.trial).disease]
    made = datetime.now(UTC).date().isoformat()
    yield (
        f"AUC on tested images, of networks on cohorts with a disease: {min(areas):.2f} to "
        f"{max(areas):.2f}, median {median(areas):.2f}."
    )
    yield (
        f"Made by `make rivals`: {in_words(environment())}; {theirs} in an environment of its own; "
        f"{platform.system()}, {made}."
    )


def _listed(words: Iterable[str]) -> str:
    names = list(words)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(heads), *lines[1:]])
