"""A linear head on features of somebody's encoder, from the matrix to the audit."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hurdles import api
from hurdles.cli import app
from hurdles.data.manifest import Manifest
from hurdles.errors import ManifestError, ModelError, OutputError, RunError, SplitError
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.evaluation import evaluate as measured
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Verdict
from hurdles.phantom.cohort import write_phantom
from hurdles.runs.heads import load_head


def encoded(manifest: Manifest, *, of_source: float = 0.0, seed: int = 0) -> np.ndarray:
    """Return features that tell the class, and the source as far as is wanted."""
    rng = np.random.default_rng(seed)
    frame = manifest.frame
    values = rng.normal(size=(len(frame), 12))
    labels, sources = (pd.factorize(frame[c], sort=True)[0] for c in ("label", "source"))
    values[np.arange(len(frame)), labels] += 2.5
    values[np.arange(len(frame)), 6 + sources] += of_source
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def cohort(folder):
    return write_phantom(folder / "headed", 60, seed=4, size=64)


@pytest.fixture(scope="module")
def table(folder, cohort):
    return folder / "headed" / "manifest.csv"


@pytest.fixture
def features(tmp_path, cohort):
    np.savez(
        tmp_path / "e.npz",
        features=encoded(cohort),
        images=cohort.frame["image"].to_numpy(dtype=str),
    )
    return tmp_path / "e.npz"


@pytest.fixture
def fitted(features, table, tmp_path, options):
    return api.fit_head(
        features, data=table, out=tmp_path / "head", encoder="theirs", options=options
    )


def test_the_folder_holds_what_was_done(fitted, tmp_path):
    test = Predictions.load(tmp_path / "head" / "predictions.csv")
    images = Manifest.load(tmp_path / "head" / "manifest.csv")
    assert test.frame["image"].tolist() == images.part("test").frame["image"].tolist()
    assert set(test.groups).isdisjoint(images.part("train").groups)
    assert fitted.evaluation.get("accuracy").value >= 0.7
    assert fitted.evaluation.get("accuracy") == measured(test).get("accuracy")
    stored = json.loads((tmp_path / "head" / "evaluation.json").read_text())
    assert Evaluation.from_dict(stored).get("auc", "Normal") == fitted.evaluation.get(
        "auc", "Normal"
    )
    again = load_head(tmp_path / "head")
    assert again.about == fitted.about
    assert again.about["use"] == "research use only; not a medical device"
    assert len(again.about["features"]["sha256"]) == 64


def test_order_and_names_give_the_same(fitted, cohort, table, tmp_path, options):
    np.save(tmp_path / "plain.npy", encoded(cohort))
    plain = api.fit_head(tmp_path / "plain.npy", data=table, out=tmp_path / "two", options=options)
    assert plain.evaluation.estimates == fitted.evaluation.estimates
    assert any("in the order of the table" in note for note in plain.evaluation.notes)
    turned = cohort.frame["image"].to_numpy(dtype=str)[::-1]
    (tmp_path / "ids.txt").write_text("\n".join(turned))
    np.save(tmp_path / "turned.npy", encoded(cohort)[::-1])
    named = api.fit_head(
        tmp_path / "turned.npy", data=table, out=tmp_path / "three", ids=tmp_path / "ids.txt",
        options=options,
    )  # fmt: skip
    assert named.evaluation.estimates == fitted.evaluation.estimates


def test_what_the_encoder_has_seen_is_not_known_unless_it_is_named(
    fitted, features, cohort, table, tmp_path, options
):
    assert any("which images theirs has seen is not known" in n for n in fitted.evaluation.notes)
    tested = Manifest.load(tmp_path / "head" / "manifest.csv").part("test").frame
    known = tested.groupby("label").head(1)
    Manifest(known.reset_index(drop=True)).save(tmp_path / "known.csv")
    less = api.fit_head(
        features, data=table, out=tmp_path / "less", trained_on=tmp_path / "known.csv",
        options=options,
    )  # fmt: skip
    left = Manifest.load(tmp_path / "less" / "manifest.csv")
    assert less.evaluation.n_images < fitted.evaluation.n_images
    assert set(known["image"]).isdisjoint(left.frame["image"])
    assert left.exclusions["reason"].str.startswith("seen by the encoder").all()
    Manifest(tested.reset_index(drop=True)).save(tmp_path / "all.csv")
    with pytest.raises(RunError, match="none is left of"):
        api.fit_head(
            features, data=table, out=tmp_path / "none", trained_on=tmp_path / "all.csv",
            options=options,
        )  # fmt: skip


@pytest.mark.full
def test_the_audit_uses_the_features(folder, tmp_path, options):
    """A source that was planted in the features is found, and none where there is none."""
    many = write_phantom(folder / "many", 105, seed=5, size=64)
    people = pd.factorize(many.frame["patient"])[0]
    parts = np.array(["train", "validation", "test", "test", "test", "test", "test"])
    frame = many.frame.assign(split=parts[people % 7], source=np.array(["one", "two"])[people % 2])
    images = Manifest(frame.drop_duplicates("patient").reset_index(drop=True))
    images.save(tmp_path / "split.csv")
    areas = {}
    for strength in (0.0, 5.0):
        np.save(tmp_path / "e.npy", encoded(images, of_source=strength))
        head = tmp_path / f"head-{strength:g}"
        api.fit_head(tmp_path / "e.npy", data=tmp_path / "split.csv", out=head, options=options)
        wanted = ["source", "calibration", "subgroups", "lungs-removed"]
        found = api.audit(head, hurdles=wanted, out=tmp_path / "page.html", options=options)
        rows = {row.hurdle: row for row in found.rows if "plain" not in row.subject}
        assert rows["lungs-removed"].verdict is Verdict.COULD_NOT_RUN
        assert "can be asked about altered images" in rows["lungs-removed"].estimate.note
        judged = [r for r in found.rows if r.hurdle == "source" and "features" in r.subject]
        areas[strength] = [row.estimate.value for row in judged]
        assert rows["calibration"].estimate.is_defined
    assert len(areas[0.0]) == len(areas[5.0]) == 3  # within each class
    assert min(areas[5.0]) > 0.95
    assert np.mean(areas[0.0]) < 0.7
    assert "theirs" not in (tmp_path / "page.html").read_text()


def test_the_command_prints_what_it_did(features, table, tmp_path):
    words = ["fit-head", str(features), "--data", str(table), "--out", str(tmp_path / "head"), "-q"]
    result = CliRunner().invoke(app, [*words, "--encoder", "RAD-DINO"])
    assert result.exit_code == 0, result.output
    assert "Linear head on 12 features of RAD-DINO." in result.stdout
    assert "penalty C = " in result.stdout
    assert "could not be excluded" in result.stdout
    assert "not a medical device" in result.stdout
    again = CliRunner().invoke(app, [*words, "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["head"]["features"]["shape"][1] == 12


class TestRefusals:
    def test_features_of_other_images(self, cohort, table, tmp_path, options):
        np.save(tmp_path / "e.npy", encoded(cohort)[:-1])
        with pytest.raises(ModelError, match=r"rows of features for \d+ images"):
            api.fit_head(tmp_path / "e.npy", data=table, out=tmp_path / "h", options=options)
        assert not (tmp_path / "h").exists()

    def test_images_without_patients(self, features, cohort, tmp_path, options):
        Manifest(cohort.frame.assign(patient=None)).save(tmp_path / "m.csv")
        with pytest.raises((ManifestError, SplitError), match="patient"):
            api.fit_head(features, data=tmp_path / "m.csv", out=tmp_path / "h", options=options)
        fitted = api.fit_head(
            features, data=tmp_path / "m.csv", out=tmp_path / "h", missing_patients="one-each",
            options=options,
        )  # fmt: skip
        assert fitted.evaluation.n_patients == 0

    def test_an_output_that_is_an_input(self, features, table, tmp_path, options):
        (tmp_path / "h").mkdir()
        inside = features.rename(tmp_path / "h" / "features.npz")
        with pytest.raises(OutputError, match=r"features\.npz is read by this command"):
            api.fit_head(inside, data=table, out=tmp_path / "h", options=options)

    def test_a_folder_without_a_head(self, tmp_path):
        with pytest.raises(ModelError, match="holds no head"):
            load_head(tmp_path)

    def test_images_elsewhere_without_features(self, fitted, other_phantom, tmp_path, options):
        with pytest.raises(ModelError, match="images have no row of features"):
            api.audit(tmp_path / "head", on=other_phantom, hurdles=["elsewhere"], options=options)
