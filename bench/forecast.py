"""How far forecasts of unlabeled places are off, on phantoms and on public collections.

Small networks are trained on phantoms with a shortcut (every kind, two strengths) and on public
collections (normal against not normal), and asked about places whose truth is known but not shown
to the estimators: where the shortcut is as it was, absent or reversed, another class is rare, or
the equipment is another; and the other collections. Phantoms of one kind of shortcut are one
collection, from hospitals and patients of their own; public collections that share images are one.
What is said of a place was fitted, and its interval measured, without its collection and without
the model's.

    HURDLES_DATA=PATHS python bench/forecast.py --out runs/forecast [--repeats 2] [--page]

Every finished model is a file in --out, so that the same command goes on where it was stopped, and
more repeats add to those that are there. Writes docs/results/forecast.md and forecast.csv, and
src/hurdles/evaluation/forecast.toml, which ships.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from hurdles._version import __version__
from hurdles.auditing.forecasting import outlooks
from hurdles.auditing.loading import material_of
from hurdles.auditing.material import Elsewhere, Material, Model, Subject
from hurdles.calibrating.worker import one_thread, trained
from hurdles.data.files import replacing, write_text
from hurdles.data.manifest import Manifest
from hurdles.data.reading import read_manifest
from hurdles.data.sets import relabeled
from hurdles.data.split import split
from hurdles.data.vocabulary import MissingPatients, Split
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.outcomes import (
    COMBINATION,
    FORECAST,
    GOAL,
    LEAST_COLLECTIONS,
    LEVEL,
    Outcomes,
    Reliability,
    Track,
    combined,
    estimators_of,
    to_toml,
)
from hurdles.evaluation.places import Target
from hurdles.phantom import (
    Case,
    ImageParameters,
    PatientParameters,
    Rendered,
    Shortcut,
    draw_cohort,
    render,
)
from hurdles.progress import Options

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SHIPPED = ROOT / "src" / "hurdles" / "evaluation" / "forecast.toml"
SIZE, EPOCHS, SAMPLES = 80, 10, 20
CLASSES = ("COVID-19", "Normal")
#: Patients inside and at a place; inside, more are tested than usual, since forecasts rest on them.
INSIDE, THERE, FRACTIONS = 200, 100, (0.5, 0.15, 0.35)
#: What phantoms are planted with; each is a collection.
KINDS = (
    "nothing", "marker", "brightness", "noise", "hospital", "body-size", "blur", "border", "jpeg",
    "inversion",
)  # fmt: skip
#: By turns: how strongly a shortcut follows the class.
STRENGTHS = (0.5, 0.9)
#: Images of a public collection at most, drawn as they come.
SHARED_IMAGES = 300
NOT_NORMAL = "Not normal"
#: Collections whose images are partly the same count as one: they are never held against one
#: another, and what is said of one was fitted without the other.
SAME_IMAGES = {"radiography-database": "kermany"}
SHARE = f"{100 * LEVEL:.0f} %"
NORMAL = {"Normal", "No Finding", "No finding"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of what is finished")
    parser.add_argument("--repeats", type=int, default=2, help="models of each collection")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no model after these")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if not chosen.page:
        with one_thread():
            for name, make in _units(chosen.repeats):
                file = chosen.out / f"{name}.csv"
                if file.exists() or time.monotonic() - began > 60 * chosen.minutes:
                    continue
                rows = make()
                with replacing(file) as part:
                    rows.to_csv(part, index=False, lineterminator="\n")
                print(f"{name}: {len(rows)} rows, {time.monotonic() - began:.0f} s", flush=True)
    files = sorted(chosen.out.glob("*.csv"))
    frame = pd.concat([pd.read_csv(file) for file in files], ignore_index=True).round(4)
    frame.to_csv(RESULTS / "forecast.csv", index=False, lineterminator="\n")
    outcomes = Outcomes(frame)
    known = outcomes.reliabilities()
    about = _about(outcomes)
    write_text(SHIPPED, to_toml(known, about))
    write_text(RESULTS / "forecast.md", "\n".join(page(outcomes, known, about)) + "\n")


def _units(repeats: int) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    """Yield every model to be trained; first one of each collection, then the second."""
    for repeat in range(repeats):
        for kind, name in zip_longest(KINDS, _shared_names()):
            if kind:
                yield f"planted-{kind}-{repeat}", partial(_planted, kind, repeat)
            if name:
                yield f"shared-{name}-{repeat}", partial(_shared, name, repeat)


# --- phantoms ------------------------------------------------------------------------------------


def _planted(kind: str, repeat: int) -> pd.DataFrame:
    """Train on phantoms with a shortcut and hold forecasts of several places against the truth."""
    number = KINDS.index(kind)
    seed = 50_000 + 1000 * number + 10 * repeat
    strength = STRENGTHS[(number + repeat) % len(STRENGTHS)]

    def cases(
        count: int,
        *,
        to: str = CLASSES[0],
        strength: float = strength,
        share: float = 0.5,
        seed: int = seed,
        first: int = 0,
    ) -> list[Case]:
        planted = None if kind == "nothing" else Shortcut(kind, strength, target=to)
        drawn = draw_cohort(first + 2 * count, seed=seed, classes=CLASSES, shortcut=planted)[first:]
        wanted = {CLASSES[0]: round(share * count), CLASSES[1]: count - round(share * count)}
        kept = []
        for case in drawn:
            if wanted[case.patient.label] > 0:
                wanted[case.patient.label] -= 1
                kept.append(case)
        return kept

    own, other = 2 * INSIDE, seed + 1  # patients of the inside are no one's place
    places = {"alike": cases(THERE, first=own), "other equipment": cases(THERE, seed=other)}
    if kind != "nothing":
        places["absent"] = cases(THERE, strength=0.0, first=own)
        places["reversed"] = cases(THERE, to=CLASSES[1], first=own)
    rare = cases(THERE, strength=0.0, share=0.25, seed=other)
    places["absent, other equipment, rare"] = rare
    inside = _phantoms(f"{kind}-{repeat}", cases(INSIDE), seed)
    inside = _parted(inside, seed)
    others = [_phantoms(name, drawn, seed) for name, drawn in places.items()]
    return _outcomes("planted", kind, repeat, inside, others, [kind] * len(others))


@lru_cache(maxsize=4000)
def _rendered(patient: PatientParameters, image: ImageParameters) -> Rendered:
    """Render an image once: the places of one model differ in who carries the shortcut."""
    return render(patient, image, size=SIZE)


def _phantoms(name: str, cases: Sequence[Case], seed: int) -> Material:
    pairs = [(case, *pair) for case in cases for pair in case.rows()]
    made = [_rendered(case.patient, image) for case, image, _ in pairs]
    frame = pd.DataFrame([row for _, _, row in pairs])
    frame = frame[["image", "label", "patient", "source", "view", "sex", "age"]]
    frame["path"] = "/" + frame["image"]
    masks = np.stack([each.mask > 127 for each in made])
    return Material(
        name, Manifest(frame), np.stack([m.pixels for m in made]), masks=masks, seed=seed
    )


# --- public collections --------------------------------------------------------------------------


def _shared_names() -> list[str]:
    if not os.environ.get("HURDLES_DATA"):
        print("HURDLES_DATA names no folder: public collections are left out", flush=True)
        return []
    return ["kermany", "darkcovidnet", "radiography-database", "montgomery", "shenzhen"]


def _shared(name: str, repeat: int) -> pd.DataFrame:
    """Train on one public collection, normal against not normal, and forecast the others."""
    inside = replace(_parted(_collection(name), repeat), name=f"{name}-{repeat}")
    others = [_collection(other) for other in _shared_names() if _one_of(other) != _one_of(name)]
    collections = [_one_of(each.name) for each in others]
    return _outcomes("shared", _one_of(name), repeat, inside, others, collections)


def _one_of(name: str) -> str:
    """Return the collection that a public one counts as."""
    return SAME_IMAGES.get(name, name)


@cache
def _collection(name: str) -> Material:
    tuberculosis = name in ("montgomery", "shenzhen")
    manifest = read_manifest("montgomery-shenzhen" if tuberculosis else name)
    if tuberculosis:
        rows = manifest.frame["source"] == name
        manifest = Manifest(manifest.frame[rows].reset_index(drop=True))
    if name == "radiography-database":
        rows = manifest.frame["label"] != "Viral Pneumonia"
        manifest = Manifest(manifest.frame[rows].reset_index(drop=True))
    names = {label: "Normal" if label in NORMAL else NOT_NORMAL for label in manifest.labels}
    manifest = relabeled(manifest, names)
    drawn = np.random.default_rng(7).permutation(len(manifest))[:SHARED_IMAGES]
    frame = manifest.frame.iloc[np.sort(drawn)].reset_index(drop=True)
    return material_of(Manifest(frame), name=name, options=Options(), size=SIZE)


# --- both ----------------------------------------------------------------------------------------


def _parted(material: Material, seed: int) -> Material:
    manifest = split(
        material.manifest,
        fractions=FRACTIONS,
        seed=seed,
        missing_patients=MissingPatients.ONE_EACH,
    )
    return replace(material, manifest=manifest, seed=seed)


def _outcomes(
    origin: str,
    home: str,
    repeat: int,
    inside: Material,
    others: Sequence[Material],
    collections: Sequence[str],
) -> pd.DataFrame:
    model = trained("small", inside, epochs=EPOCHS, seed=repeat)

    def answers(images: Material) -> Elsewhere:
        return Elsewhere(images, images.predictions(model.labels, _asked(model, images)))

    parts = [answers(inside.take(inside.rows(p))) for p in (Split.VALIDATION, Split.TEST)]
    subject = Subject(
        inside.name,
        model,
        inside,
        parts[0].predictions,
        parts[1].predictions,
        elsewhere=[answers(each) for each in others],
    )
    tables = []
    for outlook, collection in zip(outlooks(subject, samples=SAMPLES), collections, strict=True):
        table = outlook.row()
        table.insert(0, "origin", origin)
        table.insert(1, "home", home)
        table.insert(2, "collection", collection)
        table.insert(3, "model", inside.name)
        table.insert(4, "place", outlook.name)
        came = [outlook.came(Target(target)) for target in table["target"]]
        table["came"] = [each.value if each else np.nan for each in came]
        table["came_low"] = [each.low if each else np.nan for each in came]
        table["came_high"] = [each.high if each else np.nan for each in came]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _asked(model: Model, images: Material) -> np.ndarray:
    return model.ask(images.pixels, images.masks)


# --- the page ------------------------------------------------------------------------------------


def _about(outcomes: Outcomes) -> str:
    models = outcomes.frame["model"].nunique()
    made = datetime.now(UTC).date().isoformat()
    return (
        f"bench/forecast.py: {len(outcomes.of(Target.AUC))} places of {models} models `small` "
        f"({SIZE} pixels, {EPOCHS} epochs), hurdles {__version__}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, {made}"
    )


def page(
    outcomes: Outcomes, known: dict[tuple[Target, str], Reliability], about: str
) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Forecasts of unlabeled places"
    yield ""
    yield _answer(known)
    yield ""
    yield from _verdicts(known)
    yield ""
    yield (
        "Models of phantoms with a planted shortcut are held against places where it is as inside, "
        "absent or reversed, where a class is rare or frequent, or whose equipment is another; "
        "models of public collections (normal against not normal) against the other collections. "
        "What came is known, and shown to no estimator. Intervals and the combination were made "
        "without the collection of the place and without that of the model. A mean miss has "
        "Student's 95 % interval over collections; the share of intervals that held is with the "
        "exact 95 % interval for as many places as the collections are worth. Either is made over "
        "the places' collections and over the models', and the wider one stands here. What came is "
        "itself "
        f"measured on {_sizes(outcomes)}, so that a perfect forecast would miss, too: by "
        f"{_floor(outcomes)} on average."
    )
    for target in Target:
        table = outcomes.of(target)
        yield from _target_lines(target, table, known)
    yield ""
    yield "[forecast.csv](forecast.csv) has every forecast and what came."
    yield ""
    yield f"Made by {about}."


def _answer(known: dict[tuple[Target, str], Reliability]) -> str:
    """Return the first line: whether the goal was reached, for either target."""
    text = "; ".join(f"{target}: {_verdict(known[target, COMBINATION])}" for target in Target)
    goal = f"a mean miss of at most {GOAL} and {SHARE} intervals that hold {SHARE}"
    return f"**Goal: {goal}, on planted and on shared collections. {text[0].upper()}{text[1:]}.**"


def _verdict(each: Reliability) -> str:
    """Return whether the goal was reached; where the intervals do not say so, that."""
    missed = any(track.is_missed for track in each.tracks)
    return "reached" if each.is_supported else "missed" if missed else "not shown"


def _verdicts(known: dict[tuple[Target, str], Reliability]) -> Iterator[str]:
    """Yield the numbers that the answer rests on, and why there may be none."""
    for target in Target:
        yield f"- The combination, {target}: {known[target, COMBINATION].record}."
    few = [
        f"{track.collections} {track.origin}"
        for track in known[Target.AUC, COMBINATION].tracks
        if track.collections < LEAST_COLLECTIONS
    ]
    if few:
        yield (
            f"- From {LEAST_COLLECTIONS} collections on there is a {SHARE} interval by order "
            f"statistics. The {' and '.join(few)} collections alone have none: theirs are made of "
            "all collections together, and whether they hold at hospitals is seen, not promised. "
            "So the goal cannot be reached with so few."
        )
    yield (
        "- Estimators and their constants (weights of at most 20 times the mean, ten patients' "
        "worth of images, priors) were there before these outcomes. Two views were thought of on "
        "phantoms with a marker, so that those are no fresh ground for it."
    )


def _sizes(outcomes: Outcomes) -> str:
    counts = outcomes.of(Target.AUC)["n_there"]
    return f"{int(counts.min())} to {int(counts.max())} images"


def _floor(outcomes: Outcomes) -> str:
    """Return the mean miss that the truth's own standard error makes, roughly."""
    floors = []
    for target in Target:
        table = outcomes.of(target)
        error = (table["came_high"] - table["came_low"]) / (2 * 1.96)
        floors.append(f"{float(np.sqrt(2 / np.pi) * error.mean()):.3f} ({target})")
    return " and ".join(floors)


def _target_lines(
    target: Target, table: pd.DataFrame, known: dict[tuple[Target, str], Reliability]
) -> Iterator[str]:
    origins = list(dict.fromkeys(table["origin"]))
    came = table.groupby("origin")["came"].agg(["min", "max"])
    spans = ", ".join(f"{o} {came.loc[o, 'min']:.2f} to {came.loc[o, 'max']:.2f}" for o in origins)
    yield ""
    yield f"## {'Accuracy' if target is Target.ACCURACY else 'AUC'}"
    yield ""
    yield f"What came: {spans}."
    yield ""
    heads = [f"{o}: {what}" for o in origins for what in ("mean miss", f"{SHARE} intervals held")]
    yield f"| estimator | half width | {' | '.join(heads)} |"
    yield "|---|---|" + "---|" * len(heads)
    for (of, name), each in known.items():
        if of is not target:
            continue
        tracks = {track.origin: track for track in each.tracks}
        cells = [cell for origin in origins for cell in _cells(tracks.get(origin))]
        yield f"| {name} | {each.reach:.3f} | {' | '.join(cells)} |"
    yield ""
    weights = known[target, COMBINATION].combination
    assert weights is not None
    used = [f"{weight:.2f} of {name}" for name, weight in weights.weights.items() if weight > 0.005]
    yield (
        f"The combination that ships, fitted to all of these: a constant {weights.constant:.3f}, "
        f"{weights.by_separation:.3f} by how well the place is told from the inside, and of the "
        f"losses foreseen {', '.join(used) or 'none'}."
    )
    yield ""
    yield from _places(target, table)


def _cells(track: Track | None) -> tuple[str, str]:
    if track is None:
        return ("", "")
    if not track.miss.is_defined:
        return (f"no interval: {track.collections} collection", f"{track.places} places")
    silent = f"; nothing of {track.silent}" if track.silent else ""
    if not track.held.is_defined:
        return str(track.miss), f"no interval{silent}"
    held = round(track.held.value * track.held.n_images)
    return (
        str(track.miss),
        f"{held}/{track.held.n_images} {_percent(track.held)}{silent}",
    )


def _percent(share: Estimate) -> str:
    return f"[{100 * share.low:.0f}, {100 * share.high:.0f} %]"


def _places(target: Target, table: pd.DataFrame) -> Iterator[str]:
    """Yield what came and the mean of forecast less what came, by kind of place or collection."""
    names = estimators_of(table)
    table = table.assign(**{FORECAST + COMBINATION: combined(target, table)})
    names.append(COMBINATION)
    yield "Mean of what came, and of forecasts less what came, by place:"
    yield ""
    yield f"| place | places | inside | came | {' | '.join(names)} |"
    yield "|---|---|---|---|" + "---|" * len(names)
    for (origin, place), rows in table.groupby(["origin", "place"], sort=False):
        off = [rows[FORECAST + name] - rows["came"] for name in names]
        cells = [f"{each.mean():+.3f}" if each.notna().any() else "" for each in off]
        yield (
            f"| {origin}, {place} | {len(rows)} | {rows['inside'].mean():.3f} | "
            f"{rows['came'].mean():.3f} | {' | '.join(cells)} |"
        )


if __name__ == "__main__":
    main()
