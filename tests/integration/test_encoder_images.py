"""Images that an encoder has seen: found among the test images, left out, kept, and owned up to."""

from __future__ import annotations

import json
import shutil

import cv2
import pandas as pd
import pytest
import torch

from hurdles import api
from hurdles.auditing.loading import subject_of
from hurdles.copies.lineage import Fingerprint
from hurdles.data.manifest import Manifest
from hurdles.errors import CollectionError, RecipeError, RunError
from hurdles.models.importing import imported_encoder
from hurdles.runs.run import Run
from hurdles.training.checkpoint import save_weights

COPIES = 2


@pytest.fixture(scope="module")
def cohort(other_phantom, finished, folder) -> Manifest:
    """Return other images with their split; some of the test part are copies of training images."""
    frame = Manifest.load(other_phantom).frame.copy()
    of_class = frame.groupby("label")["patient"].transform(lambda ids: pd.factorize(ids)[0])
    frame["split"] = of_class.map({0: "train", 1: "validation", 2: "test"})
    frame["patient"] = "other " + frame["patient"]  # two phantoms number their patients alike
    learnt = finished.manifest.frame
    learnt = learnt[learnt["split"] == "train"].groupby("label").head(COPIES)
    rows = []
    for n, row in enumerate(learnt.itertuples()):
        path = folder / "copied" / f"new-{n}.jpg"  # smaller, re-encoded, brighter
        path.parent.mkdir(exist_ok=True)
        pixels = cv2.resize(cv2.imread(row.path, cv2.IMREAD_GRAYSCALE), (96, 96)) * 0.8 + 20
        cv2.imwrite(str(path), pixels.astype("uint8"))
        rows.append({"image": f"new-{n}", "path": str(path), "label": row.label, "split": "test"})
    more = pd.DataFrame(rows).assign(patient=[f"new-{n}" for n in range(len(rows))], source="new")
    return Manifest(pd.concat([frame, more], ignore_index=True))


@pytest.fixture(scope="module")
def given(tiny):
    return tiny.changed(name="given", split={"scheme": "given"}, model={"freeze": ("encoder",)})


@pytest.fixture(scope="module")
def run(given, cohort, finished, folder, options) -> Run:
    return api.run(given, data=cohort, out=folder / "seen", encoder_from=finished, options=options)


@pytest.fixture(scope="module")
def alone(finished, folder):
    """Return the weights of a run away from its folder: nobody knows what they were trained on."""
    return shutil.copy(finished.path / "weights" / "best.safetensors", folder / "alone.safetensors")


@pytest.fixture(scope="module")
def learnt(finished, folder):
    """Return the table of the images that the encoder was trained on."""
    frame = finished.manifest.frame
    Manifest(frame[frame["split"] != "test"].reset_index(drop=True)).save(folder / "learnt.csv")
    return folder / "learnt.csv"


def copied(manifest: Manifest) -> set[str]:
    return {name for name in manifest.frame["image"] if name.startswith("new-")}


def test_test_images_that_the_run_before_has_seen_are_left_out(run, cohort):
    planted = len(copied(cohort))
    assert planted == 3 * COPIES
    assert not copied(run.manifest)
    reasons = run.manifest.exclusions["reason"].tolist()
    assert len(reasons) == planted
    assert all("seen by the encoder (run finished)" in reason for reason in reasons)
    assert set(run.predictions().frame["image"]) == set(run.manifest.part("test").frame["image"])
    known = run.meta["start"]["images"]
    assert (known["test_images_seen"], known["kept"], known["not_excluded"]) == (planted, False, [])
    (remark,) = run.encoder_remarks
    assert remark.startswith(f"{planted} of ")
    assert f"({COPIES} COVID-19, {COPIES} Normal, {COPIES} Pneumonia)" in remark
    for place in (run.meta["warnings"], run.evaluation().notes):
        assert remark in place
    assert "what run finished, which this run starts from" in run.report_path.read_text()


def test_what_is_left_can_be_audited_and_known_again(run, options):
    assert len(subject_of(run, options=options).tested) == len(run.predictions())
    stored = Fingerprint.load(run.hashes_path)
    assert max(map(int, stored.images)) < len(run.manifest)


def test_a_later_test_leaves_out_what_the_encoder_has_seen(run, cohort, options):
    kept = cohort.frame["image"].str.startswith("new-") | (cohort.frame["split"] == "test")
    images = cohort.select(kept)
    result = api.evaluate(run, on=images, name="later", options=options)
    left = Manifest.load(run.path / "manifest.later.csv")
    assert result.n_images == len(left)
    assert not copied(left)
    assert "seen by the encoder, before training" in left.exclusions["reason"].iloc[-1]


def test_a_run_that_starts_from_it_knows_the_first_images_too(
    run, given, cohort, tmp_path, options
):
    third = api.run(given, data=cohort, out=tmp_path / "third", encoder_from=run, options=options)
    assert not copied(third.manifest)
    compared = third.meta["start"]["images"]["compared_with"]
    assert any(each.endswith("images of the encoder, by hashes") for each in compared)
    assert "some of the copies that were cropped are missed" in third.encoder_remarks[-1]


@pytest.mark.parametrize("by", ["images", "fingerprint"])
def test_images_may_be_named(by, alone, learnt, given, cohort, tmp_path, options):
    trained_on = learnt
    if by == "fingerprint":
        trained_on = api.fingerprint(str(learnt), out=tmp_path / "theirs.npz", name="theirs")
    done = api.run(
        given, data=cohort, out=tmp_path / "run", encoder_from=alone, trained_on=trained_on,
        options=options,
    )  # fmt: skip
    assert not copied(done.manifest)
    words = "by pixels" if by == "images" else "images of theirs, by hashes"
    assert words in done.meta["start"]["images"]["compared_with"][0]
    assert (
        Fingerprint.load(done.encoder_hashes_path)
        .images[0]
        .startswith("learnt: 1" if by == "images" else "theirs: ")
    )


def test_what_is_not_known_is_said(alone, given, cohort, tmp_path, options):
    done = api.run(given, data=cohort, out=tmp_path / "run", encoder_from=alone, options=options)
    assert copied(done.manifest), "nobody could know"
    (remark,) = done.encoder_remarks
    assert remark.startswith("That alone.safetensors has seen test images could not be excluded: ")
    assert "which images alone.safetensors has seen is not known" in remark
    assert "--trained-on" in remark
    assert remark in done.meta["warnings"]
    assert "could not be excluded" in done.report_path.read_text()


def test_public_collections_are_named(alone, given, cohort, tmp_path, options, monkeypatch):
    from hurdles.copies.lineage import fingerprint_of
    from hurdles.pixels.prepare import Preparation
    from hurdles.runs import encoders
    from hurdles.runs.images import prepare_as

    test = cohort.part("test")
    small = prepare_as(test, Preparation(64), options)
    monkeypatch.setattr(encoders, "shipped_fingerprints", lambda: [fingerprint_of(small, "nih")])
    done = api.run(given, data=cohort, out=tmp_path / "run", encoder_from=alone, options=options)
    n = len(test)
    assert (
        f"{n} of {n} test images stand in public collections (nih {n})" in done.encoder_remarks[0]
    )


def test_they_may_be_kept_by_request(given, cohort, finished, tmp_path, options):
    done = api.run(
        given, data=cohort, out=tmp_path / "run", encoder_from=finished, keep_seen=True,
        options=options,
    )  # fmt: skip
    assert len(copied(done.manifest)) == 3 * COPIES
    assert "were kept by request: the results are too good" in done.encoder_remarks[0]


def test_images_of_the_validation_part_are_counted(given, cohort, finished, tmp_path, options):
    frame = cohort.frame.copy()
    new = frame["image"].str.startswith("new-")
    frame.loc[new, "split"] = "validation"
    done = api.run(
        given, data=Manifest(frame), out=tmp_path / "run", encoder_from=finished, options=options
    )
    assert len(copied(done.manifest)) == 3 * COPIES
    assert "validation images show what run finished was trained on" in done.encoder_remarks[0]


def test_another_image_of_a_patient_counts_as_seen(given, cohort, finished, tmp_path, options):
    frame = cohort.frame.copy()
    learnt = finished.manifest.frame
    learnt = learnt[(learnt["split"] == "train") & learnt["source"].notna()].iloc[0]
    test = frame.index[(frame["split"] == "test") & ~frame["image"].str.startswith("new-")][0]
    frame = frame[~frame["image"].str.startswith("new-")].reset_index(drop=True)
    frame.loc[test, ["patient", "source"]] = [learnt["patient"], learnt["source"]]
    done = api.run(
        given, data=Manifest(frame), out=tmp_path / "run", encoder_from=finished, options=options
    )
    assert frame.loc[test, "image"] not in set(done.manifest.frame["image"])
    assert "another image of its patient" in done.manifest.exclusions["reason"].iloc[-1]


class TestRefusals:
    def test_no_test_image_is_left_of_a_class(self, given, cohort, finished, tmp_path, options):
        new = cohort.frame["image"].str.startswith("new-")
        images = cohort.select((cohort.frame["split"] != "test") | new)
        with pytest.raises(RunError, match=r"none is left of COVID-19, Normal, Pneumonia") as error:
            api.run(given, data=images, out=tmp_path / "r", encoder_from=finished, options=options)
        assert error.value.options == ("--keep-seen",)

    def test_a_list_without_an_encoder(self, given, cohort, learnt, tmp_path):
        with pytest.raises(RecipeError, match="no encoder is named"):
            api.run(given, data=cohort, out=tmp_path / "r", trained_on=learnt)
        assert not (tmp_path / "r").exists()

    def test_a_fingerprint_that_is_none(self, given, cohort, alone, tmp_path, options):
        (tmp_path / "x.npz").write_bytes(b"no")
        with pytest.raises(CollectionError, match="is no fingerprint"):
            api.run(
                given, data=cohort, out=tmp_path / "r", encoder_from=alone,
                trained_on=tmp_path / "x.npz", options=options,
            )  # fmt: skip

    def test_another_library_s_file(self, given, cohort, tmp_path):
        torch.save({}, tmp_path / "x.pt")
        with pytest.raises(RecipeError, match="bring its encoder by hurdles import-encoder"):
            api.run(given, data=cohort, out=tmp_path / "r", encoder_from=tmp_path / "x.pt")

    def test_a_recipe_that_starts_from_a_file_that_is_not_given(self, tiny, cohort, tmp_path):
        with pytest.raises(RecipeError, match="say which by --encoder-from FILE"):
            api.run(tiny.changed(model={"start": "file"}), data=cohort, out=tmp_path / "r")


@pytest.mark.full
def test_an_imported_encoder_is_started_from_and_put_on_record(cohort, tiny, tmp_path, options):
    from hurdles.models import ModelSpec, build

    state = build(ModelSpec("resnet-18", ("a", "b")), seed=3).encoder.state_dict()
    torch.save(state, tmp_path / "their.pt")
    encoder = imported_encoder(
        tmp_path / "their.pt", architecture="resnet-18", like="timm", license="CC-BY-NC-4.0",
        scaling=((0.5,), (0.25,)),
    )  # fmt: skip
    file = tmp_path / "their.safetensors"
    save_weights(file, encoder.start.weights, encoder.start.to_metadata())
    recipe = tiny.changed(
        split={"scheme": "given"},
        preparation={"size": 48},
        model={"architecture": "resnet-18", "freeze": ("encoder",)},
        training={"epochs": 1},
    )
    done = api.run(recipe, data=cohort, out=tmp_path / "run", encoder_from=file, options=options)
    assert (done.recipe.model.start, done.recipe.model.origin) == ("file", encoder.start.origin)
    assert (done.spec.mean, done.spec.std) == (0.5, 0.25)
    started = done.meta["start"]
    assert started["license"] == "CC-BY-NC-4.0"
    assert len(started["sha256"]) == 64
    page = done.report_path.read_text()
    assert "CC-BY-NC-4.0" in page
    assert "encoder their.pt (names as in timm)" in page
    again = api.run(recipe, out=tmp_path / "run", resume=True, options=options)
    assert again.meta == done.meta
    json.dumps(started)
