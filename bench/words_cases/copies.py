"""Whether "never seen" is checked: one radiograph twice in a run, a test, a check, a lineage."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from words_cases import case, command

_POINT = "“Never seen” is checked"


def _chests(folder: Path, n: int, size: int = 128) -> list[Path]:
    """Draw one image of each of n patients; return their files by class."""
    from hurdles.phantom.cohort import write_phantom

    frame = write_phantom(folder, n, seed=11, size=size, classes=("COVID-19", "Normal")).frame
    alone = frame[~frame["patient"].duplicated()]
    return [Path(path) for path in alone.sort_values("label")["path"]]


def _copy(
    path: Path, to: Path, *, mirrored: bool = False, cut: float = 0.0, size: int = 150
) -> None:
    import cv2
    import numpy as np

    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    edge = round(cut * len(image))
    image = image[edge : len(image) - edge, edge : len(image) - edge]
    image = image[:, ::-1] if mirrored else image
    to.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(to), cv2.resize(np.ascontiguousarray(image), (size, size)),
                [cv2.IMWRITE_JPEG_QUALITY, 85])  # fmt: skip


def _recipe(folder: Path, scheme: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(
        'name = "copies"\n[preparation]\nsize = 64\n'
        f'[split]\nscheme = "{scheme}"\nmissing_patients = "one-each"\n'
        "[training]\nepochs = 1\n[evaluation]\nresamples = 100\n"
    )
    return path


def _own(folder: Path, *, given: bool) -> Path:
    """Write 40 images and a copy of each in class folders; a given split parts image and copy."""
    made = folder / "images"
    for number, path in enumerate(_chests(folder / "drawn", 40)):
        part = made / ("train" if number % 4 else "val") if given else made
        _copy(path, part / path.parent.name / f"a{number}.jpg", size=128)
        part = made / "test" if given else made
        _copy(path, part / path.parent.name / f"b{number}.jpg", mirrored=number % 2 == 1)
    return made


def _trained(folder: Path, *, given: bool) -> tuple[Path, str]:
    os.environ["HURDLES_CACHE"] = str(folder / "cache")
    done = command("run", _recipe(folder, "given" if given else "patient"),
                   "--data", _own(folder, given=given), "--out", folder / "run")  # fmt: skip
    return folder / "run", done.out + done.err


@case(_POINT, "40 images and a copy of each, patients not known: copies of tested images that were "
      "trained or chosen on", "0 of the tested images")  # fmt: skip
def kept_together() -> str:
    import pandas as pd

    with TemporaryDirectory() as name:
        run, said = _trained(Path(name), given=False)
        if not (run / "manifest.csv").is_file():
            return said.strip().splitlines()[-1]
        frame = pd.read_csv(run / "manifest.csv")
    frame["chest"] = frame["image"].str.extract(r"[ab](\d+)\.jpg")
    learnt = set(frame.loc[frame["split"] != "test", "chest"])
    tested = frame[frame["split"] == "test"]
    return f"{int(tested['chest'].isin(learnt).sum())} of the tested images"


@case(_POINT, "a given split whose 40 test images are all copies of images learnt from",
      "40 of 40 named on the terminal; the page does not say “never seen”")  # fmt: skip
def given_split() -> str:
    with TemporaryDirectory() as name:
        run, said = _trained(Path(name), given=True)
        if not (run / "report.html").is_file():
            return said.strip().splitlines()[-1]
        page = (run / "report.html").read_text("utf-8")
    named = re.search(r"(\d+ of \d+) test images show the same", said)
    first = f"{named[1]} named on the terminal" if named else "nothing on the terminal"
    return f"{first}; the page {'says' if 'never seen' in page else 'does not say'} “never seen”"


@case(_POINT, "evaluate on 10 copies of training images (resized, mirrored, cropped by 6 %) and 10 "
      "others", "10 left out, each with the image that it copies")  # fmt: skip
def left_out_of_a_test() -> str:
    import pandas as pd

    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HURDLES_CACHE"] = str(folder / "cache")
        chests = _chests(folder / "drawn", 44)
        others = [*chests[:5], *chests[-5:]]
        for number, path in enumerate(chests[5:-5]):
            part = ("test", "val", "train", "train")[number % 4]
            _copy(path, folder / "images" / part / path.parent.name / f"a{number}.jpg", size=128)
            if part == "train" and number < 20:
                _copy(path, folder / "new" / path.parent.name / f"b{number}.jpg",
                      mirrored=number % 2 == 1, cut=0.06 * (number % 4 == 2))  # fmt: skip
        for number, path in enumerate(others):
            _copy(path, folder / "new" / path.parent.name / f"c{number}.jpg")
        run = folder / "run"
        command("run", _recipe(folder, "given"), "--data", folder / "images", "--out", run)
        done = command("evaluate", run, "--on", folder / "new", "--name", "new", "--json")
        table = run / "manifest.new.exclusions.csv"
        if not table.is_file():
            tested = json.loads(done.out)["n_images"] if done.out else done.err.strip()
            return f"none left out, {tested} images tested"
        reasons = pd.read_csv(table)["reason"]
    named = reasons.str.contains(r"it shows train/.*a\d+\.jpg").all()
    return f"{len(reasons)} left out, " + ("each with the image that it copies" if named else "no")


@case(_POINT, "check on 12 images and a re-encoded copy of 3 in the same class, patients not known",
      "hit, 3 pairs")  # fmt: skip
def within_a_class() -> str:
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HURDLES_CACHE"] = str(folder / "cache")
        for number, path in enumerate(_chests(folder / "drawn", 12)):
            _copy(path, folder / "images" / path.parent.name / f"a{number}.jpg", size=128)
            if number < 3:
                _copy(path, folder / "images" / path.parent.name / f"b{number}.jpg")
        done = command("check", folder / "images", "--hurdle", "duplicates", "--json")
    rows = json.loads(done.out)["findings"]
    row = next(row for row in rows if row["subject"] == "within a class")
    pairs = int(row["estimate"]["value"])
    return f"{'hit' if row['limit'] and pairs else 'not judged'}, {pairs} pairs"


@case(_POINT, "lineage of 8 copies, cropped unevenly by up to 8 %, of a collection that is on this "
      "machine", "8 of 8 found, and it says that pixels were compared")  # fmt: skip
def lineage_by_pixels() -> str:
    with TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "data" / "chest_xray"
        os.environ["HURDLES_CACHE"] = str(folder / "cache")
        os.environ["HURDLES_DATA"] = str(folder / "data")
        chests = _chests(folder / "drawn", 24)
        for number, path in enumerate(chests):
            part = ("train", "val", "test")[number % 3]
            label = "NORMAL" if number % 2 else "PNEUMONIA"
            file = (
                f"IM-{number:04}-0001.jpeg" if number % 2 else f"person{number}_virus_{number}.jpeg"
            )
            _copy(path, root / part / label / file, size=128)
            if number < 8:
                _copy_unevenly(path, folder / "mine" / label / f"m{number}.jpg", number)
        done = command("lineage", folder / "mine", "--json")
        found = json.loads(done.out) if done.code == 0 else {"images": []}
        text = command("lineage", folder / "mine").out
    images = {row["image"] for row in found["images"] if row["collection"] == "kermany"}
    said = (
        "pixels were compared"
        if re.search("aligned pixels: .*kermany", text)
        else "nothing of pixels"
    )
    return f"{len(images)} of 8 found, and it says {'that ' if 'were' in said else ''}{said}"


def _copy_unevenly(path: Path, to: Path, number: int) -> None:
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    edge = [0, 0, 0, 0]
    edge[number % 4], edge[(number + 1) % 4] = round(0.08 * len(image)), round(0.03 * len(image))
    top, bottom, left, right = edge
    to.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(to), image[top : len(image) - bottom, left : len(image) - right])
