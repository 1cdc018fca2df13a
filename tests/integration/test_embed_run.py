"""A run's features of several collections: files, numbers and words."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError, RunError
from hurdles.runs.features import COLUMNS, _evenly, embed_run
from hurdles.runs.run import Run
from hurdles.training.prediction import embed


@pytest.fixture(scope="module")
def images(phantom, other_phantom) -> Manifest:
    own, other = Manifest.load(phantom).frame, Manifest.load(other_phantom).frame
    own, other = own.assign(source="here"), other.assign(source="there")
    other["image"] = "there/" + other["image"]
    return Manifest(pd.concat([own, other], ignore_index=True))


@pytest.fixture(scope="module")
def found(finished, images, folder, options):
    return embed_run(finished, images, out=folder / "embedding", limit=30, options=options)


def test_the_table_has_a_row_per_image_and_places_for_those_drawn(found, images):
    table = pd.read_csv(found.folder / "embedding.csv")
    assert list(table.columns) == list(COLUMNS)
    assert table["image"].tolist() == images.frame["image"].tolist()
    assert table[["x", "y"]].notna().all(axis=1).sum() == found.n_drawn == 30
    there = table["source"] == "there"
    assert (there & table["x"].notna()).sum() == min(there.sum(), 15)


def test_seen_images_are_those_of_training_and_validation(found, finished):
    table = pd.read_csv(found.folder / "embedding.csv").set_index("image")
    split = finished.manifest.frame.set_index("image")["split"]
    own = table.loc[split.index, "seen"]
    assert own[split != "test"].all()
    assert not own[split == "test"].any()
    assert found.n_seen == table["seen"].sum()


def test_the_features_are_the_networks(found, finished, images, options):
    from hurdles.runs.images import prepare_for

    with np.load(found.folder / "features.npz") as saved:
        names, features = saved["images"].tolist(), saved["features"]
    assert names == images.frame["image"].tolist()
    prepared = prepare_for(finished, images, options)
    assert features == pytest.approx(embed(finished.network(), prepared.pixels), abs=1e-5)


def test_probes_are_of_pixels_and_features_and_say_what_they_rest_on(found):
    told = json.loads((found.folder / "embedding.json").read_text())
    assert told == json.loads(json.dumps(found.to_dict()))
    assert list(told["probes"]) == ["pixels as decoded", "features of the network"]
    # There are nine patients elsewhere: too few to say anything, and that is said.
    for probes in found.probes.values():
        assert "too few: there (9)" in probes[0].auc.note
    text = "\n".join(found.lines())
    assert "undefined" in text
    assert f"{found.n_seen} of {found.n_images} images were seen" in text


def test_the_picture_is_a_picture(found):
    assert found.figure.read_bytes()[:4] == b"\x89PNG"


def test_a_collection_with_a_mark_is_told_and_its_classes_with_it(
    finished, phantom, options, tmp_path
):
    """Half of the patients become another hospital's; nothing else tells them apart."""
    frame = Manifest.load(phantom).frame
    patients = {p: i % 2 for i, p in enumerate(sorted(frame["patient"].unique()))}
    frame["source"] = [("a", "b")[patients[p]] for p in frame["patient"]]
    result = embed_run(finished, Manifest(frame), out=tmp_path, options=options)
    every = result.probes["features of the network"][0].auc
    assert every.is_defined
    assert every.low <= 0.5 <= every.high
    assert every.n_images == len(frame)


def test_nothing_is_written_where_it_cannot_be_done(finished, images, options, tmp_path):
    with pytest.raises(EvaluationError, match="no projection is called 'pca'"):
        embed_run(finished, images, out=tmp_path / "a", method="pca", options=options)
    with pytest.raises(EvaluationError, match="3 images cannot be laid out"):
        embed_run(finished, images.select([n < 3 for n in range(len(images))]),
                  out=tmp_path / "a", options=options)  # fmt: skip
    unfinished = Run(shutil.copytree(finished.path, tmp_path / "copy"))
    (unfinished.path / "meta.json").unlink()
    with pytest.raises(RunError, match="is not finished"):
        embed_run(unfinished, images, out=tmp_path / "a", options=options)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("sizes", "limit", "kept"),
    [
        ((50, 50), 20, (10, 10)),
        ((3, 50), 20, (3, 17)),
        ((3, 5, 90), 12, (3, 4, 5)),
        ((4, 4), 99, (4, 4)),
    ],
)
def test_the_picture_has_room_for_small_collections(sizes, limit, kept):
    sources = [str(i) for i, n in enumerate(sizes) for _ in range(n)]
    rows = _evenly(sources, limit, seed=0)
    assert len(set(rows.tolist())) == len(rows) <= limit
    assert tuple(np.bincount(np.array(sources)[rows].astype(int))) == kept
