"""Trials: what is tried and how often, and the file of those that are finished.

Every trial is known by its name, and seeded by it. Beside shortcuts, faults are planted for the
hurdles that look at tables and files: a known number of cases. Lines are only ever added to the
file, so that a kill costs the trials under way.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.material import Material
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import RegistryError, RunError, TruncatedImageError
from hurdles.findings.finding import Beyond, Finding, Limit
from hurdles.findings.limits import CALIBRATED
from hurdles.phantom import SHORTCUTS
from hurdles.registry import Registry

#: Not a shortcut: nothing is planted.
NOTHING = ""
#: Phantoms from which limits are set, and others that are held against them.
CALIBRATION, FRESH = "calibration", "fresh"
#: Kinds of models that are trained on cohorts: a network of seconds, scikit-learn behind a
#: function, and a larger network.
MODELS = ("small", "pipeline", "resnet-18")
#: Of these, those from which no limit is set: whether the others' limits hold for them is the
#: question.
TRANSFER = ("resnet-18",)
#: Patients of the cohorts for the fault of a test part too small, which is clean before.
_LARGE = 600


@dataclass(frozen=True)
class Trial:
    """One cohort that is drawn and looked at.

    `kind` is ``data`` (hurdles for data), one of `MODELS` (it is trained, hurdles for models) or
    ``network`` (a network is trained and only its AUC is wanted). `part` is ``calibration``,
    ``fresh``, drawn from other phantoms, or the name of a real collection. Without `disease`, the
    classes differ in nothing but what is planted: a shortcut, a fault, or nothing. `strength` is
    that of the shortcut, 0 to 1; of a fault, how many cases. `repeat` counts from 0.

    Examples
    --------
    >>> trial = Trial("data", "fresh", 240, True, "marker", 0.6, 3)
    >>> trial.name
    'data/fresh/240/disease/marker/0.6/3'
    >>> Trial.parse(trial.name) == trial
    True
    """

    kind: str
    part: str
    patients: int
    disease: bool
    plant: str
    strength: float
    repeat: int

    @property
    def condition(self) -> Trial:
        """The same without its repeat and its size."""
        return replace(self, repeat=0, patients=0)

    @property
    def is_real(self) -> bool:
        """True where images of a public collection are drawn."""
        return self.part not in (CALIBRATION, FRESH)

    @property
    def name(self) -> str:
        """Everything about it, in words that `parse` reads."""
        difference = "disease" if self.disease else "alike"
        planted = self.plant or "nothing"
        return (
            f"{self.kind}/{self.part}/{self.patients}/{difference}/{planted}/"
            f"{self.strength:g}/{self.repeat}"
        )

    @classmethod
    def parse(cls, name: str) -> Trial:
        """Read a name."""
        words = name.split("/")
        if len(words) != len(fields(cls)):
            raise RegistryError(f"{name!r} is not the name of a trial.")
        kind, part, patients, difference, plant, strength, repeat = words
        planted = NOTHING if plant == "nothing" else plant
        has_disease = difference == "disease"
        return cls(kind, part, int(patients), has_disease, planted, float(strength), int(repeat))

    def pool(self, pools: int) -> int:
        """Return which of so many pools of phantoms it is drawn from: they take turns."""
        return self.repeat % pools

    def seed(self, base: int) -> int:
        """Return its seed, within 32 bits: the same wherever and whenever it is run."""
        return int.from_bytes(hashlib.sha256(f"{base}/{self.name}".encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Profile:
    """Settings of how much is tried; everything is drawn from `seed`."""

    #: ``full``, ``fast``, or a test's own.
    name: str
    #: Side of the phantoms in pixels.
    size: int = 96
    #: Pools for calibration, and as many for fresh cohorts; each has three hospitals of its own.
    pools: int = 2
    #: Patients of a pool, and how many of them are rendered with every shortcut as well.
    pool_patients: int = 3000
    planted_patients: int = 800
    #: In a cohort that a network reads a shortcut of alone, and in one of real images.
    patients: int = 240
    #: Sizes of all other cohorts, each from every pool; rates are of them together.
    sizes: tuple[int, ...] = (120, 400)
    #: For data, and for each kind of model: cohorts without a shortcut for the limits (but for
    #: those of `TRANSFER`), as many fresh ones, and cohorts with each shortcut at its reference
    #: strength.
    data: tuple[int, int] = (250, 72)
    models: tuple[tuple[str, int, int], ...] = (
        ("small", 250, 72),
        ("pipeline", 250, 72),
        ("resnet-18", 60, 9),
    )
    #: Fresh cohorts whose classes differ in nothing at all.
    alike: int = 250
    #: Cohorts for data with a shortcut at each other strength.
    graded: int = 4
    #: Strengths.
    grid: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    #: Networks for each strength at which a shortcut can give an AUC of 0.8.
    networks: int = 3
    #: Cohorts for each fault. Fewer than 17 cannot show 80 %, however many are seen.
    faults: int = 18
    #: For data and for networks `small`: cohorts of each real collection without a shortcut, and
    #: with each.
    real: tuple[tuple[str, int, int], ...] = (("data", 250, 18), ("small", 54, 18))
    #: Names; empty: every shortcut that is registered.
    shortcuts: tuple[str, ...] = ()
    #: Of training.
    epochs: int = 6
    seed: int = 0

    @property
    def efforts(self) -> dict[str, tuple[int, int]]:
        """Return how much is tried of each kind, data first."""
        models = {kind: (null, power) for kind, null, power in self.models}
        return {"data": self.data, **models}

    @property
    def planted(self) -> tuple[str, ...]:
        """Names of the shortcuts."""
        return self.shortcuts or tuple(SHORTCUTS.names())


#: The profiles by name. A smaller one is a part of a larger: going on with that asks for the rest.
PROFILES: dict[str, Profile] = {
    "full": Profile("full"),
    "half": Profile(
        "half",
        data=(126, 36),
        # Of a ResNet-18 one a shortcut of each size and pool.
        models=(("small", 126, 36), ("pipeline", 126, 36), ("resnet-18", 12, 4)),
        alike=126,
        networks=2,
        faults=9,
        real=(("data", 126, 9), ("small", 27, 9)),
    ),
    "fast": Profile(
        "fast",
        pools=1,
        pool_patients=320,
        planted_patients=320,
        patients=80,
        sizes=(80,),
        data=(10, 5),
        models=(("small", 2, 1),),
        alike=5,
        graded=2,
        grid=(0.6, 1.0),
        networks=1,
        faults=3,
        real=(("data", 9, 3), ("small", 9, 3)),
        shortcuts=("marker", "noise", "body-size"),
        epochs=4,
    ),
}


def calibration_trials(profile: Profile, kinds: Iterable[str]) -> list[Trial]:
    """Return the trials from which limits are set: disease, and nothing planted."""
    setting = (kind for kind in kinds if kind not in TRANSFER)
    return [t for kind in setting for t in _trials(profile, kind, CALIBRATION, NOTHING, 0.0)]


def network_trials(profile: Profile) -> list[Trial]:
    """Return the trials that show how well a network reads a shortcut alone.

    A shortcut of strength s that is read perfectly gives an AUC of 0.5 + s / 2 on average, so
    strengths below 0.6 need no network.
    """
    return [
        Trial("network", FRESH, profile.patients, False, plant, strength, repeat)
        for plant in profile.planted
        for strength in profile.grid
        if strength >= 0.6
        for repeat in range(profile.networks)
    ]


def fresh_trials(
    profile: Profile,
    kinds: Iterable[str],
    references: Mapping[str, float],
    *,
    faults: Mapping[str, tuple[int, ...]],
    real: Iterable[str],
) -> list[Trial]:
    """Return the trials that measure: false alarms, power, faults, and these real collections."""
    kinds, size = tuple(kinds), profile.patients

    def data(disease: bool, plant: str, strength: float, repeats: int) -> list[Trial]:
        # What a test part can resolve is only amiss where a cohort was large enough before.
        n = _LARGE if plant == "few-tested" and len(profile.sizes) > 1 else size
        return [Trial("data", FRESH, n, disease, plant, strength, r) for r in range(repeats)]

    trials = [t for kind in kinds for t in _trials(profile, kind, FRESH, NOTHING, 0.0)]
    if "data" in kinds:
        trials += data(False, NOTHING, 0.0, profile.alike)
        for plant, numbers in faults.items():
            for number in numbers:
                trials += data(True, plant, float(number), profile.faults)
    for plant in profile.planted:
        reference = references[plant]
        for strength in profile.grid if "data" in kinds else ():
            if strength != reference:
                trials += data(True, plant, strength, profile.graded)
        trials += [t for kind in kinds for t in _trials(profile, kind, FRESH, plant, reference)]
    planted = {NOTHING: 0.0} | {plant: references[plant] for plant in profile.planted}
    return trials + [
        Trial(kind, collection, size, False, plant, strength, repeat)
        for collection in real
        for kind, null, power in profile.real
        if kind in kinds
        for plant, strength in planted.items()
        for repeat in range(power if plant else null)
    ]


def by_turns(trials: Sequence[Trial]) -> list[Trial]:
    """Return them in an order in which each condition's come evenly, wherever one stops."""
    of_condition = Counter(trial.condition for trial in trials)
    return sorted(trials, key=lambda t: ((t.repeat + 0.5) / of_condition[t.condition], t.name))


def _trials(profile: Profile, kind: str, part: str, plant: str, strength: float) -> Iterator[Trial]:
    """Yield the trials of one condition: each pool in turn, and each size from every pool."""
    null, power = profile.efforts[kind]
    for repeat in range(power if plant else null):
        size = profile.sizes[repeat // profile.pools % len(profile.sizes)]
        yield Trial(kind, part, size, True, plant, strength, repeat)


Change = Callable[[Material, int, np.random.Generator], Material]


class Fault(NamedTuple):
    """Fault of a collection, in words, with the hurdle for data that is to see it.

    `numbers` says how many cases are planted, one number in each condition, by
    ``plant(material, number, generator)``.
    """

    description: str
    seen_by: str
    numbers: tuple[int, ...]
    plant: Change


#: Every fault by name.
FAULTS: Registry[Fault] = Registry("fault")


def fault_numbers(hurdles: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the faults that one of these hurdles is to see, with how many cases are planted."""
    faults = {name: FAULTS.get(name) for name in FAULTS}
    return {name: fault.numbers for name, fault in faults.items() if fault.seen_by in hurdles}


def _fault(
    name: str, description: str, *, seen_by: str, numbers: tuple[int, ...]
) -> Callable[[Change], Change]:
    def keep(change: Change) -> Change:
        FAULTS.register(name)(Fault(description, seen_by, numbers, change))
        return change

    return keep


@_fault(
    "patient-in-two-parts",
    "patients with an image in training and one in the test part",
    seen_by="patients",
    numbers=(1, 5),
)
def _leaked_patients(material: Material, number: int, rng: np.random.Generator) -> Material:
    frame = material.manifest.frame.copy()
    here = frame["split"] == Split.TRAIN.value
    several = frame[here & frame.duplicated("patient", keep=False)].drop_duplicates("patient")
    frame.loc[rng.permutation(several.index)[:number], "split"] = Split.TEST.value
    return replace(material, manifest=Manifest(frame))


@_fault(
    "copies-in-two-parts",
    "images of the training part that are also in the test part, saved again as another patient's",
    seen_by="duplicates",
    numbers=(1, 5),
)
def _copies_across_parts(material: Material, number: int, rng: np.random.Generator) -> Material:
    train = rng.permutation(material.rows(Split.TRAIN))[:number]
    return _with_copies(material, train, rng, split=Split.TEST)


@_fault(
    "copies-with-two-labels",
    "images that are there twice, once in each class",
    seen_by="duplicates",
    numbers=(1, 5),
)
def _copies_across_classes(material: Material, number: int, rng: np.random.Generator) -> Material:
    train = rng.permutation(material.rows(Split.TRAIN))[:number]
    return _with_copies(material, train, rng, split=Split.TRAIN, relabeled=True)


@_fault("unreadable", "files that cannot be read to their end", seen_by="files", numbers=(1, 5))
def _unreadable(material: Material, number: int, rng: np.random.Generator) -> Material:
    lost = rng.permutation(len(material))[:number]
    frame = material.manifest.frame
    failures = {
        str(frame["image"].iloc[i]): TruncatedImageError("the file ends early.") for i in lost
    }
    kept = material.take(np.setdiff1d(np.arange(len(material)), lost))
    return replace(kept, failures=failures)


@_fault("inverted", "images with dark bone among others", seen_by="files", numbers=(5, 20))
def _inverted(material: Material, number: int, rng: np.random.Generator) -> Material:
    pixels = material.pixels.copy()
    rows = rng.permutation(len(pixels))[:number]
    pixels[rows] = 255 - pixels[rows]
    return replace(material, pixels=pixels)


@_fault("few-tested", "a test part of so many patients", seen_by="size", numbers=(10, 20))
def _few_tested(material: Material, number: int, rng: np.random.Generator) -> Material:
    frame = material.manifest.frame
    tested = frame["split"] == Split.TEST.value
    kept = rng.permutation(frame.loc[tested, "patient"].unique())[:number]
    return material.take((~tested | frame["patient"].isin(list(kept))).to_numpy())


def _with_copies(
    material: Material,
    rows: np.ndarray,
    rng: np.random.Generator,
    *,
    split: Split,
    relabeled: bool = False,
) -> Material:
    import cv2

    copies = material.manifest.frame.iloc[rows].copy()
    copies["image"] = "copy-" + copies["image"]
    copies["path"] = "/" + copies["image"]
    copies["patient"] = "copy-" + copies["patient"]
    copies["split"] = split.value
    if relabeled:
        first, second = material.manifest.labels[:2]
        copies["label"] = np.where(copies["label"] == first, second, first)
    # As a second collection has them: JPEG once more, a little darker or lighter.
    again = []
    for image in material.pixels[rows]:
        toned = np.clip(image * rng.uniform(0.9, 1.1) + rng.uniform(-8, 8), 0, 255)
        _, coded = cv2.imencode(".jpg", toned.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 80])
        again.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8))
    frame = pd.concat([material.manifest.frame, copies], ignore_index=True)
    pixels = np.concatenate([material.pixels, np.stack(again)])
    masks = material.masks
    if masks is not None:
        masks = np.concatenate([masks, masks[rows]])
    facts = pd.concat([material.facts, material.facts.iloc[rows]], ignore_index=True)
    return replace(material, manifest=Manifest(frame), pixels=pixels, masks=masks, facts=facts)


@dataclass(frozen=True)
class Measured:
    """Part of a finding that decides its verdict, whatever the limit will be.

    Numbers are NaN where the estimate is undefined. `beyond` is empty where the finding is not
    judged; `fixed` is the limit where it holds by definition or from a paper, None where it is
    calibrated; within `margin` it is cleared.
    """

    hurdle: str
    subject: str
    value: float
    low: float
    high: float
    beyond: str
    fixed: float | None
    margin: float | None = None

    @classmethod
    def of(cls, finding: Finding) -> Measured:
        """Take from a finding what is needed."""
        estimate, limit = finding.estimate, finding.limit
        numbers = (finding.hurdle, finding.subject, estimate.value, estimate.low, estimate.high)
        if limit is None:
            return cls(*numbers, "", None)
        fixed = None if is_calibrated(limit) else limit.value
        return cls(*numbers, str(limit.beyond), fixed, limit.clears)

    @property
    def is_defined(self) -> bool:
        """True where there is a number."""
        return not math.isnan(self.value)

    @property
    def bound(self) -> float:
        """The deciding end of the interval, turned so that higher is worse; NaN if undefined."""
        return self.low if self.beyond == Beyond.ABOVE else -self.high


@dataclass(frozen=True)
class Record:
    """Result of a trial, known by its name: the hurdles that were asked, and every finding.

    `auc` is that of the model on images that it never saw, where one was trained; `instructions`
    are the processor's, which decide the bits of what is trained.
    """

    trial: str
    asked: tuple[str, ...]
    found: tuple[Measured, ...]
    auc: float | None
    seconds: float
    instructions: str = ""

    def differs_from(self, other: Record) -> set[str]:
        """Return the hurdles, of those that both were asked, that found other numbers there.

        ``"auc"`` stands for the model itself.
        """
        numbers = ("value", "low", "high")

        def of(record: Record, hurdle: str) -> list[tuple[str, NDArray[np.float64]]]:
            rows = [m for m in record.found if m.hurdle == hurdle and m.beyond]
            return [(m.subject, np.array([getattr(m, n) for n in numbers])) for m in rows]

        differ = set()
        for hurdle in set(self.asked) & set(other.asked):
            one, two = of(self, hurdle), of(other, hurdle)
            if [subject for subject, _ in one] != [subject for subject, _ in two] or not all(
                np.allclose(x, y, rtol=1e-6, atol=1e-6, equal_nan=True)
                for (_, x), (_, y) in zip(one, two, strict=True)
            ):
                differ.add(hurdle)
        one_area, other_area = (math.nan if a is None else a for a in (self.auc, other.auc))
        if not np.allclose(one_area, other_area, atol=1e-6, equal_nan=True):
            differ.add("auc")
        return differ

    def to_json(self) -> str:
        """Return one line, with infinity as text and NaN as null."""
        return json.dumps(_plain(asdict(self)), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read what `to_json` wrote."""
        plain = json.loads(line)
        for row in plain["found"]:
            for key in ("value", "low", "high"):
                row[key] = math.nan if row[key] is None else float(row[key])
        measured = tuple(Measured(**row) for row in plain["found"])
        plain |= {"asked": tuple(plain["asked"]), "found": measured}
        return cls(**plain)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


class Journal:
    """Records in a file, one a line, under a first line that says what they are of.

    `about` holds the settings by which cohorts are drawn, for JSON. A file with trials of another
    calibration raises `RunError`.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        head = json.dumps({"about": dict(about)}, sort_keys=True)
        if not path.exists():
            write_text(path, head + "\n")
            return
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines()
        if not lines or lines[0] != head:
            raise RunError(
                f"{path} holds trials of another calibration (settings of its cohorts differ), or "
                "other things; give another --out."
            )
        if whole != text:  # killed within a line
            write_text(path, whole)
        for line in lines[1:]:
            record = Record.from_json(line)
            self.records[record.trial] = record

    def answers(self, name: str, hurdles: Iterable[str]) -> bool:
        """Return whether a trial is there and was asked about all of these hurdles."""
        return name in self.records and set(hurdles) <= set(self.records[name].asked)

    def add(self, record: Record) -> None:
        """Append a record; of two of one trial, the later one counts."""
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(record.to_json() + "\n")
        self.records[record.trial] = record

    def among(self, names: Iterable[str]) -> list[Record]:
        """Return the records of these trials, in this order, as far as they are there."""
        return [self.records[name] for name in names if name in self.records]


def is_calibrated(limit: Limit) -> bool:
    """Return whether a limit comes from a calibration, or is to come from one."""
    return limit.source.startswith(("provisional", CALIBRATED))
