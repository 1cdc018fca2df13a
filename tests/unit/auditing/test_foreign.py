"""Subjects from elsewhere: tables of predictions, and models that can be asked."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.foreign import LIMITS_NOTE, Request, answers_subject, model_subject
from hurdles.auditing.hurdle import run_hurdles
from hurdles.auditing.material import Capability
from hurdles.auditing.model import MODEL_HURDLES
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import EvaluationError, HurdleError, ManifestError, ModelError
from hurdles.evaluation.macro import macro_auc
from hurdles.findings.finding import Verdict
from hurdles.foreign.function import FunctionModel
from hurdles.phantom.cohort import write_phantom
from hurdles.progress import Options

LABELS = ("COVID-19", "Normal")
NEEDING_MORE = {"views", "lungs-removed", "attention", "perturbations", "acquisition"}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, 24, seed=1, size=64, classes=LABELS)
    return Manifest.load(folder / "manifest.csv")


@pytest.fixture
def options(tmp_path):
    return Options(cache=tmp_path / "cache")


def predicted(images: Manifest, seed=0, **more) -> pd.DataFrame:
    frame = images.frame
    noise = np.random.default_rng(seed).normal(size=len(frame))
    p = 1 / (1 + np.exp(-2 * (frame["label"] == "COVID-19") + 1 - noise))
    table = frame[["image", "label", "patient", "sex", "age"]].assign(p=p)
    return table.rename(columns={"p": "COVID-19"}).assign(Normal=1 - p, **more)


def some(images: Manifest, start: int, stop: int) -> Manifest:
    return Manifest(images.frame.iloc[start:stop])


def saved(table: pd.DataFrame, tmp_path, name="p.csv"):
    path = tmp_path / name
    table.to_csv(path, index=False)
    return path


def dark(x):
    p = np.clip(1 - x.mean(axis=(1, 2)), 0, 1)
    return np.column_stack([p, 1 - p])


class TestPredictionsAlone:
    def test_what_needs_more_could_not_run_by_name(self, phantom, tmp_path, options):
        path = saved(predicted(phantom), tmp_path)
        subject, about = answers_subject(path, Request("ward"), options=options)
        assert subject.capabilities == frozenset()
        assert about["limits"] == LIMITS_NOTE
        findings = run_hurdles(MODEL_HURDLES, subject)
        for hurdle in NEEDING_MORE:
            (row,) = findings.of(hurdle)
            assert row.verdict is Verdict.COULD_NOT_RUN
            assert row.estimate.note.startswith("it needs ")
            assert not row.is_fault
        (source,) = findings.of("source")  # it asks answers alone, but of a table with sources
        assert "name the sources" in source.estimate.note
        assert all(row.verdict is not Verdict.COULD_NOT_RUN for row in findings.of("calibration"))
        assert len(findings.of("subgroups")) > 1

    def test_numbers_are_those_of_the_table(self, phantom, tmp_path, options):
        table = predicted(phantom)
        subject, _ = answers_subject(saved(table, tmp_path), Request("x"), options=options)
        np.testing.assert_allclose(subject.test.y_prob[:, 0], table["COVID-19"])

        assert len(np.unique(subject.test.groups)) == phantom.frame["patient"].nunique()

    def test_terms_of_patients_are_understood(self, phantom, tmp_path, options):
        table = predicted(phantom)
        table["sex"] = table["sex"].map({"F": "female", "M": "male"})
        table["age"] = table["age"].map(lambda a: f"{a:.0f}Y", na_action="ignore")
        subject, _ = answers_subject(saved(table, tmp_path), Request("x"), options=options)
        frame = subject.material.manifest.frame
        assert frame["sex"].tolist() == phantom.frame["sex"].tolist()
        np.testing.assert_allclose(frame["age"].astype(float), phantom.frame["age"].round(0))

    def test_a_term_that_is_none_names_the_table(self, phantom, tmp_path, options):
        table = predicted(phantom)
        table["age"] = table["age"].astype(object)
        table.loc[0, "age"] = "old"
        with pytest.raises(ManifestError, match=r"p\.csv.*'age' is not a number"):
            answers_subject(saved(table, tmp_path), Request("x"), options=options)

    def test_a_row_without_an_answer_is_left_out_and_said(self, phantom, tmp_path, options):
        table = predicted(phantom)
        table.loc[[3, 5], ["COVID-19", "Normal"]] = np.nan
        subject, about = answers_subject(saved(table, tmp_path), Request("x"), options=options)
        assert len(subject.test) == len(phantom) - 2
        assert f"2 of {len(phantom)} test images have no usable answer" in about["notes"]
        assert len(subject.material.manifest.exclusions) == 2

    def test_of_a_split_the_test_part_is_judged(self, phantom, tmp_path, options):
        parts = np.where(np.arange(len(phantom)) % 3 == 0, "val", "test")
        subject, _ = answers_subject(
            saved(predicted(phantom, split=parts), tmp_path), Request("x"), options=options
        )
        assert len(subject.test) == (parts == "test").sum()
        assert len(subject.validation) == (parts == "val").sum()
        with pytest.raises(EvaluationError, match="no image is of the part test"):
            answers_subject(
                saved(predicted(phantom, split="train"), tmp_path), Request("x"), options=options
            )

    def test_decisions_beside_probabilities_show_their_threshold(self, phantom, tmp_path, options):
        table = predicted(phantom)
        decisions = np.where(table["COVID-19"] >= 0.3, *LABELS)
        path = saved(table.assign(prediction=decisions), tmp_path)
        subject, about = answers_subject(path, Request("x"), options=options)
        assert subject.decided(subject.test.y_prob).tolist() == decisions.tolist()
        assert "those of a threshold: COVID-19 from" in about["notes"]
        table.loc[:, "prediction"] = "Normal"
        table.loc[table["COVID-19"].idxmin(), "prediction"] = "COVID-19"
        subject, about = answers_subject(saved(table, tmp_path), Request("x"), options=options)
        assert subject.decide is None
        assert "no threshold explains it" in about["notes"]

    def test_other_seeds_are_siblings(self, phantom, tmp_path, options):
        first = saved(predicted(phantom), tmp_path)
        seeds = [saved(predicted(phantom, k).sample(frac=1), tmp_path, f"{k}.csv") for k in (1, 2)]
        subject, _ = answers_subject(first, Request("x"), seeds=seeds, options=options)
        rows = run_hurdles(MODEL_HURDLES, subject, names=["stability"]).of("stability")
        assert rows[0].details["seeds"] == 3
        auc = macro_auc(subject.siblings[0]).value
        assert rows[0].details["areas"][1] == pytest.approx(auc)
        short = saved(predicted(phantom, 3).iloc[2:], tmp_path, "short.csv")
        with pytest.raises(HurdleError, match=r"short\.csv does not answer what"):
            answers_subject(first, Request("x"), seeds=[short], options=options)


class TestPredictionsWithImages:
    def test_images_open_more_hurdles(self, phantom, tmp_path, options):
        path = saved(predicted(phantom).sample(frac=1, random_state=1), tmp_path)
        subject, _ = answers_subject(path, Request("ward", phantom), options=options)
        assert subject.capabilities == {Capability.IMAGES}
        assert subject.test.frame["image"].tolist() == phantom.frame["image"].tolist()
        np.testing.assert_allclose(subject.test.y_prob[:, 0], predicted(phantom)["COVID-19"])
        views = run_hurdles(MODEL_HURDLES, subject, names=["views"]).of("views")
        full = next(row for row in views if row.subject == "full image")
        assert "learnt crosswise" in full.estimate.note

    def test_training_images_need_no_prediction(self, phantom, tmp_path, options):
        frame = phantom.frame.assign(split=np.where(np.arange(len(phantom)) % 2, "test", "train"))
        table = predicted(phantom)[(frame["split"] == "test").to_numpy()]
        images = Manifest(frame)
        subject, about = answers_subject(
            saved(table, tmp_path), Request("ward", images), options=options
        )
        assert len(subject.material.rows(Split.TRAIN)) == (len(phantom) + 1) // 2
        assert "no usable answer" not in about.get("notes", "")

    def test_another_collection_takes_its_rows_from_the_same_table(
        self, phantom, tmp_path, options
    ):
        half = len(phantom) // 2
        here, there = some(phantom, 0, half), some(phantom, half, len(phantom))
        path = saved(predicted(phantom), tmp_path)
        request = Request("here", here, {"there": there})
        subject, _ = answers_subject(path, request, options=options)
        assert len(subject.test) == half
        (other,) = subject.elsewhere
        np.testing.assert_allclose(
            other.predictions.y_prob[:, 0], predicted(phantom)["COVID-19"][half:]
        )


class TestModels:
    def test_a_function_is_asked_by_one_road(self, phantom, options):
        model = FunctionModel(dark, LABELS, size=64)
        subject, about = model_subject(model, Request("ward", phantom), options=options)
        assert subject.capabilities == {Capability.IMAGES, Capability.ANSWERS}
        assert "is not known" in about["training"]
        np.testing.assert_array_equal(subject.test.y_prob, subject.reference)
        rows = run_hurdles(MODEL_HURDLES, subject, names=["attention"]).of("attention")
        assert [row.subject for row in rows] == ["occlusion"]
        assert rows[0].verdict is Verdict.SHOWN

    def test_copies_of_training_images_are_left_out(self, phantom, options):
        known = some(phantom, 0, 4)
        model = FunctionModel(dark, LABELS, size=64)
        request = Request("ward", phantom, trained_on=[known])
        subject, about = model_subject(model, request, options=options)
        assert len(subject.test) == len(phantom) - 4
        seen = f"4 of {len(phantom)} images of ward show what dark was trained on and are left out"
        assert seen in about["training"]
        with pytest.raises(HurdleError, match="all test images of w show what dark"):
            model_subject(model, Request("w", known, trained_on=[known]), options=options)

    def test_that_no_copy_was_recognized_does_not_say_that_there_is_none(self, phantom, options):
        images, known = some(phantom, 4, len(phantom)), some(phantom, 0, 4)
        model = FunctionModel(dark, LABELS, size=64)
        request = Request("ward", images, trained_on=[known])
        _, about = model_subject(model, request, options=options)
        none = f"none of {len(images)} images of ward was recognized as one that dark was trained"
        assert none in about["training"]

    def test_images_of_public_collections_are_counted_among_those_tested(
        self, phantom, options, monkeypatch
    ):
        monkeypatch.setattr(
            "hurdles.auditing.foreign.public_images", lambda images, options: {"nih": len(images)}
        )
        parts = np.resize(["test", "validation", "train"], len(phantom)).astype(object)
        images = replace(phantom, frame=phantom.frame.assign(split=parts))
        n = int((parts == "test").sum())
        model = FunctionModel(dark, LABELS, size=64)
        _, about = model_subject(model, Request("ward", images), options=options)
        assert f"{n} of {n} test images stand in public" in about["training"]

    def test_classes_that_it_does_not_know_are_named(self, phantom, options):
        model = FunctionModel(dark, ("sick", "well"), size=64)
        with pytest.raises(ManifestError, match="knows none of the images' classes"):
            model_subject(model, Request("ward", phantom), options=options)


class TestFunctions:
    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (lambda x: x.mean((1, 2)), r"shape \(3,\) for 3 images"),
            (lambda x: np.full((3, 2), np.nan), r"returns \[nan, nan\]"),
            (lambda x: np.full((3, 2), [3.0, -2.0]), "within -2 and 3"),
            (lambda x: np.full((3, 2), [0.9, 0.9]), "sum to 1.8 to 1.8"),
            (lambda x: 1 / 0, "ZeroDivisionError"),
            (lambda x: sys.exit(0), "SystemExit"),
            (lambda x: np.full((3, 2), 0.5 + 0j), "complex numbers"),
            (lambda x: [["a", "b"]] * 3, "ValueError"),
        ],
    )
    def test_what_is_no_probability_is_refused(self, returned, message):
        model = FunctionModel(returned, LABELS, size=32, name="mine")
        with pytest.raises(ModelError, match=message):
            model.ask(np.zeros((3, 32, 32), np.uint8))

    def test_batches_change_nothing(self):
        pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32), dtype=np.uint8)
        one, many = (FunctionModel(dark, LABELS, size=32, batch=b) for b in (1, 64))
        np.testing.assert_allclose(one.ask(pixels), many.ask(pixels), rtol=1e-6)

    def test_one_class_or_no_size_is_refused(self):
        for labels, more in ((["a"], {}), (["a", "a"], {}), ("ab", {}), (LABELS, {"size": 4})):
            with pytest.raises(ModelError):
                FunctionModel(dark, labels, **more)
