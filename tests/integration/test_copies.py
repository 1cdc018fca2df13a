"""One radiograph twice: kept together, named where a split parts it, left out of later tests."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles import api
from hurdles.copies import finder
from hurdles.data.manifest import Manifest
from hurdles.progress import Silent
from hurdles.runs.images import prepare_for
from hurdles.runs.run import Run
from hurdles.runs.seen import seen_by


def altered(path, to, alter) -> str:
    image = alter(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    coded = cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    Path(to).write_bytes(coded.tobytes())
    return str(to)


ALTERATIONS = {
    "again": lambda x: x,
    "mirrored": lambda x: x[:, ::-1],
    "inverted": lambda x: 255 - x,
    "larger": lambda x: cv2.resize(x, (128, 128)),
}


class Heard(Silent):
    """Keep what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def alone(finished) -> pd.DataFrame:
    """Return rows of patients with one image: two drawn images of one patient are copies nearly."""
    frame = finished.manifest.frame
    return frame[~frame["patient"].duplicated(keep=False)]


@pytest.fixture
def copied(finished, tmp_path) -> Run:
    return Run(shutil.copytree(finished.path, tmp_path / "copy"))


def with_copies(manifest, rows, folder, **columns) -> Manifest:
    frame = manifest.frame
    added = [
        {**row.to_dict(), "image": f"copy {row['image']}", "patient": f"other {k}", **columns,
         "path": altered(row["path"], folder / f"{k}.jpg", list(ALTERATIONS.values())[k % 4])}
        for k, (_, row) in enumerate(rows.iterrows())
    ]  # fmt: skip
    return Manifest(pd.concat([frame, pd.DataFrame(added)], ignore_index=True))


def test_copies_stay_in_one_part_and_a_resumed_run_does_not_look_again(
    finished, alone, tiny, options, tmp_path, monkeypatch
):
    unparted = finished.manifest.with_split([""] * len(finished.manifest))
    images = with_copies(unparted, alone, tmp_path, split="")
    heard = Heard()
    run = api.run(tiny, data=images, out=tmp_path / "run", options=replace(options, progress=heard))
    sizes = ", ".join(f"{len(run.manifest.part(p))} {p}" for p in ("train", "validation", "test"))
    assert f"the split, with copies kept together: {sizes} images" in heard.lines
    where = run.manifest.frame.set_index("image")["split"]
    assert all(where[f"copy {name}"] == where[name] for name in alone["image"])
    assert "copies of images" not in run.report_path.read_text("utf-8")
    assert "that it had never seen" in run.report_path.read_text("utf-8")
    begun = shutil.copytree(run.path, tmp_path / "begun")
    for name in ("meta.json", "history.csv"):
        (begun / name).unlink()
    monkeypatch.setattr("hurdles.runs.seen.matches", None)
    monkeypatch.setattr("hurdles.runs.seen._FOUND", OrderedDict())
    again = api.run(tiny, out=begun, resume=True, options=options)
    for name in ("predictions/test.csv", "copies.csv", "split.csv", "hashes.npz"):
        assert (again.path / name).read_bytes() == (run.path / name).read_bytes()


def test_runs_of_one_process_look_for_copies_among_the_same_images_once(
    finished, tiny, options, tmp_path, monkeypatch
):
    searched = []

    def counted(images, **others):
        searched.append(len(images.pixels))
        return finder.matches(images, **others)

    monkeypatch.setattr("hurdles.runs.seen.matches", counted)
    monkeypatch.setattr("hurdles.runs.seen._FOUND", OrderedDict())
    images = finished.manifest
    runs = [
        api.run(tiny.changed(training={"seed": seed}), data=images, out=tmp_path / f"{seed}",
                options=options)
        for seed in (0, 1)
    ]  # fmt: skip
    assert searched == [len(images)]
    assert runs[0].copies_path.read_bytes() == runs[1].copies_path.read_bytes()
    fewer = images.select(np.arange(len(images)) > 0)
    api.run(tiny, data=fewer, out=tmp_path / "fewer", options=options)
    assert searched == [len(images), len(images) - 1]


def test_in_a_given_split_they_are_named_first_and_nothing_is_called_unseen(
    finished, alone, tiny, options, tmp_path
):
    learnt = alone[alone["split"] == "train"]
    images = with_copies(finished.manifest, learnt, tmp_path, split="test")
    recipe = tiny.changed(split={"scheme": "given"})
    run = api.run(recipe, data=images, out=tmp_path / "run", options=options)
    text = run.evaluation().notes[0]
    of = len(images.part("test"))
    assert text.startswith(f"{len(learnt)} of {of} test images show the same radiograph as a train")
    page = run.report_path.read_text("utf-8")
    assert page.count("test images show the same radiograph") == 1
    assert "of them copies of images that it had seen" in page
    assert "never seen" not in page
    assert text in run.meta["warnings"]


def test_copies_of_training_images_are_left_out_and_named(copied, alone, options, tmp_path):
    learnt = alone[alone["split"] != "test"]
    images = with_copies(copied.manifest.part("test"), learnt, tmp_path)
    result = api.evaluate(copied, on=images, name="more", options=options)
    assert result.n_images == len(copied.manifest.part("test"))
    exclusions = Manifest.load(copied.path / "manifest.more.csv").exclusions
    assert len(exclusions) == len(learnt)
    for reason, image, part in zip(
        exclusions["reason"], learnt["image"], learnt["split"], strict=True
    ):
        assert reason.startswith(f"seen in training: it shows {image} ({part}), similarity ")
    assert result.notes[0].startswith(f"{len(learnt)} of {len(images)} images show what was used")


def test_where_the_images_of_training_are_gone_their_hashes_stand_in(
    copied, alone, options, tmp_path
):
    learnt = alone[alone["split"] != "test"]
    images = with_copies(copied.manifest.part("test"), learnt, tmp_path)
    frame = copied.manifest.frame.assign(path="/gone/" + copied.manifest.frame["image"])
    Manifest(frame).save(copied.path / "manifest.csv")
    run = Run(copied.path)
    seen = seen_by(run, prepare_for(run, images, options), options)
    assert {f"copy {name}" for name in learnt["image"]} <= set(seen.reasons)
    assert "hashes" in seen.reasons[f"copy {learnt['image'].iloc[0]}"]
    assert "by stored hashes only" in seen.unchecked
    result = api.evaluate(run, on=images, name="more", options=options)
    assert any("by stored hashes only" in note for note in result.notes)
    run.hashes_path.unlink()
    result = api.evaluate(run, on=images, name="more", options=options)
    assert any("COULD NOT be looked for" in note for note in result.notes)


def test_files_that_were_changed_are_not_taken_for_those_of_training(
    copied, alone, options, tmp_path
):
    row = alone[alone["split"] == "train"].iloc[0]
    other = altered(alone["path"].iloc[-1], tmp_path / "other.jpg", lambda x: x)
    frame = copied.manifest.frame.copy()
    frame.loc[frame["image"] == row["image"], "path"] = other
    Manifest(frame).save(copied.path / "manifest.csv")
    images = with_copies(copied.manifest.part("test"), row.to_frame().T, tmp_path)
    run = Run(copied.path)
    seen = seen_by(run, prepare_for(run, images, replace(options, progress=Silent())), options)
    assert f"copy {row['image']}" in seen.reasons
    assert seen.unchecked.startswith("1 of the ")
