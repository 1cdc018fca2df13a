"""What the user said of splits, patients and settings: used, or its loss said."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from words_cases import Said, case, command

_SPLIT = "A split that was given is used"
_PATIENTS = "Who is one person is named"
_ROAD = "The first commands run as written; a refusal ends with the command to type"
_RESUME = "A run goes on with what it was begun with, or not at all"
_SMALL = """name = "small"
[preparation]
size = 32
[training]
epochs = 1
[evaluation]
resamples = 100
"""


class _Place:
    """A folder with phantoms, a recipe that trains in a second, and hurdles to run there."""

    def __init__(self, folder: Path) -> None:
        from hurdles.phantom import write_phantom

        self.folder = folder
        self.images = write_phantom(folder / "phantom", 60, seed=1, size=64).frame
        self.recipe()

    def recipe(self, more: str = "") -> None:
        (self.folder / "small.toml").write_text(_SMALL + more)

    def table(self, frame: pd.DataFrame, name: str = "x.csv") -> None:
        frame.to_csv(self.folder / name, index=False)

    def folders(self, parts: list[str] | None = None, name: str = "images") -> None:
        """Lay the images out by class, below folders of a split if there is one."""
        for number, row in enumerate(self.images.itertuples()):
            part = parts[number % len(parts)] if parts else "."
            target = self.folder / name / part / row.label / Path(row.path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(row.path, target)

    def hurdles(self, *words: str) -> Said:
        return command(*words, cwd=self.folder)

    def run(self, data: str, *words: str) -> Said:
        return self.hurdles("run", "small.toml", "--data", data, "--out", "r", *words)

    def learnt(self, tested: pd.Series) -> str:
        """Say how many of these images stand in the run's training or validation part."""
        path = self.folder / "r" / "manifest.csv"
        if not path.is_file():
            return "nothing was trained"
        used = pd.read_csv(path, dtype="str", keep_default_na=False)
        names = used["image"].map(lambda name: Path(name).name)
        wrong = names.isin(tested) & (used["split"] != "test")
        return f"{int(wrong.sum())} of {len(tested)} test images were trained or chosen on"


@contextmanager
def _place() -> Iterator[_Place]:
    with tempfile.TemporaryDirectory() as folder:
        yield _Place(Path(folder))


def _of(parts: list[str], wanted: str, images: pd.DataFrame) -> pd.Series:
    chosen = [parts[n % len(parts)] == wanted for n in range(len(images))]
    return images.loc[chosen, "path"].map(lambda path: Path(path).name)


@case(
    _SPLIT,
    "folders train/ and test/, small recipe",
    "0 of 34 test images were trained or chosen on",
)
def folders_of_a_split() -> str:
    parts = ["test", "train", "train"]
    with _place() as place:
        place.recipe('[split]\nmissing_patients = "one-each"\n')
        place.folders(parts)
        place.run("images")
        return place.learnt(_of(parts, "test", place.images))


@case(
    _SPLIT,
    "the same, parted anew because the recipe says so",
    "said on the terminal and on the first screen",
)
def another_scheme() -> str:
    with _place() as place:
        place.recipe('[split]\nscheme = "patient"\nmissing_patients = "one-each"\n')
        place.folders(["test", "train", "train"])
        said = place.run("images")
        page = (place.folder / "r" / "report.html").read_text(encoding="utf-8")
        first = page.partition('id="data"')[0]
        places = [
            n for n, text in (("terminal", said.out), ("screen", first)) if "NOT used" in text
        ]
        both = len(places) == 2
        return "said on the terminal and on the first screen" if both else f"said on: {places}"


@case(
    _SPLIT,
    "a split column that is empty in one row of 102",
    "refused, with the command that parts anew",
    lambda text: "1 of 102 images have no split" in text and "split.scheme=patient" in text,
)
def a_column_half_filled() -> str:
    with _place() as place:
        place.table(place.images.assign(split=["", *["train", "test"] * 50, "train"]))
        said = place.run("x.csv")
        return said.err.strip() if said.code else place.learnt(pd.Series(dtype=str))


@case(
    _SPLIT,
    "a given split with one patient in two parts",
    "refused",
    lambda text: "in more than one split" in text,
)
def a_given_split_parts_a_patient() -> str:
    with _place() as place:
        place.table(
            place.images.assign(patient=[str(n // 2) for n in range(len(place.images))]).assign(
                split=["train", "train", "test"] * 34
            )
        )
        said = place.run("x.csv")
        return said.err.strip().splitlines()[-2] if said.code else "trained without a word"


@case(
    _PATIENTS,
    "every id under two hospitals",
    "named before training, and counted as one with --join-patients",
)
def ids_under_two_sources() -> str:
    with _place() as place:
        frame = place.images.assign(patient=[str(n // 3) for n in range(len(place.images))])
        place.table(frame.assign(source=["A", "B"] * 51))
        said = place.run("x.csv")
        named = "under several sources" in said.err.partition("Training")[0]
        joined = place.hurdles("manifest", "x.csv", "--join-patients", "--json")
        if joined.code:
            return f"{'named' if named else 'not named'}; no --join-patients"
        n = json.loads(joined.out)["patients"]
        if named and n == 34:
            return "named before training, and counted as one with --join-patients"
        return f"named: {named}, joined: {n}"


@case(_PATIENTS, "34 ids of one hospital, the source empty in every third row", "34 patients")
def source_empty_in_some_rows() -> str:
    with _place() as place:
        frame = place.images.assign(patient=[str(n // 3) for n in range(len(place.images))])
        place.table(frame.assign(source=["A", "", "A"] * 34))
        return (
            f"{json.loads(place.hurdles('manifest', 'x.csv', '--json').out)['patients']} patients"
        )


@case(
    _PATIENTS,
    "a run on images without patients, on the terminal",
    "by image, since no patient is known",
    lambda text: "by image, since no patient is known" in text and " patients;" not in text,
)
def no_patient_is_known() -> str:
    with _place() as place:
        place.recipe('[split]\nmissing_patients = "one-each"\n')
        place.folders()
        return place.run("images").out.splitlines()[0]


@case(_PATIENTS, "the same, n_patients in the JSON", "None")
def no_patient_in_the_json() -> str:
    with _place() as place:
        place.recipe('[split]\nmissing_patients = "one-each"\n')
        place.folders()
        return str(json.loads(place.run("images", "--json").out)["n_patients"])


@case(
    _ROAD,
    "class folders that name no patient: run small-data on them",
    "refused before an image is decoded, with the command to type",
)
def missing_patients() -> str:
    with _place() as place:
        place.folders()
        said = place.hurdles("run", "small-data", "--data", "images", "--out", "r")
        typed = said.err.strip().splitlines()[-1]
        whole = "hurdles run small-data --data images --out r --missing-patients one-each"
        early = "Reading images" not in said.err
        if early and typed.endswith(whole):
            return "refused before an image is decoded, with the command to type"
        return f"{'before' if early else 'after'} decoding: {typed}"


@case(_ROAD, "--set training.epochs=2", "2 epochs")
def a_setting_typed() -> str:
    with _place() as place:
        said = place.run("phantom", "--set", "training.epochs=2")
        if said.code:
            return " ".join(re.sub(r"[^\w .:'-]", " ", said.err).split())[-60:]
        return f"{len(pd.read_csv(place.folder / 'r' / 'history.csv'))} epochs"


@case(
    _ROAD,
    "three large classes and twelve of one image",
    "refused before an image is decoded",
    lambda text: text.startswith("before decoding") and "classes have no test image" in text,
)
def classes_too_small_to_test() -> str:
    with _place() as place:
        labels = [
            row.label if n < 90 else f"odd {n}" for n, row in enumerate(place.images.itertuples())
        ]
        place.images["label"] = labels
        place.table(place.images.assign(patient=[str(n) for n in range(len(labels))]))
        said = place.run("x.csv")
        if not said.code:
            return "trained, and tested without twelve of fifteen classes"
        when = "after" if "Reading images" in said.err else "before"
        lines = said.err.strip().splitlines()
        refusal = next((line for line in lines if "Error" in line), lines[0])
        return f"{when} decoding: {refusal}"


def _resumed(place: _Place, data: str, *words: str) -> str:
    place.run("phantom")
    said = place.run(data, "--resume", *words)
    return "refused" if said.code == 2 and "was begun with" in said.err else "taken for the same"


@case(_RESUME, "--resume with other images", "refused")
def resumed_with_other_images() -> str:
    with _place() as place:
        place.folders(name="other")
        return _resumed(place, "other")


@case(_RESUME, "--resume with other labels", "refused")
def resumed_with_other_labels() -> str:
    with _place() as place:
        return _resumed(place, "phantom", "--label", "Normal=other")


@case(_RESUME, "--resume with the same images", "taken for the same")
def resumed_with_the_same() -> str:
    with _place() as place:
        return _resumed(place, "phantom")
