"""What counts of a model's answers: nobody it has seen, by any name; a threshold fixed before."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links
from hurdles.errors import RunError
from hurdles.evaluation.decisions import apply, youden_threshold
from hurdles.evaluation.predictions import Predictions
from hurdles.recipe.recipe import Recipe
from hurdles.runs.run import Run
from hurdles.studies.cells import Cell
from hurdles.studies.state import answered, answers_of

LABELS = ["COVID-19", "other"]


def manifest(names: str, *, split: str, source: str) -> Manifest:
    """Return one image for each letter, of the patient of that letter; capitals are COVID-19."""
    rows = [
        {"image": f"{source}/{n}", "path": f"/{source}/{n}", "patient": n.lower(),
         "label": LABELS[n.islower()], "source": source, "split": split}
        for n in names
    ]  # fmt: skip
    return Manifest(pd.DataFrame(rows))


def said(m: Manifest, p: list[float]) -> Predictions:
    """Return probabilities of COVID-19, under labels that the collection itself uses."""
    return Predictions.from_arrays(
        LABELS,
        y_true=["Viral Pneumonia" if x == "other" else x for x in m.frame["label"]],
        y_prob=np.column_stack([p, 1 - np.array(p)]),
        images=m.frame["image"].tolist(),
        groups=m.groups.tolist(),
    )


def group(letter: str, source: str) -> str:
    return f"{source}\x1f{letter}"


@pytest.fixture
def ask(tmp_path):
    """Return a function that gives the answer of a model on a test set of four images."""
    recipe = Recipe(name="r", evaluation={"positive": "COVID-19"})
    parent = Cell("pre-training", "p", 0, recipe, train="from b")
    cell = Cell("done right", "m", 0, recipe, train="a", tests=("t",), parent=parent)
    own = Manifest(
        pd.concat([manifest("Xy", split=s, source="a").frame.assign(
            image=lambda f, s=s: f["image"] + s, path=lambda f, s=s: f["path"] + s,
            patient=lambda f, s=s: f["patient"] + s) for s in ("train", "validation", "test")])
    )  # fmt: skip
    first = manifest("q", split="train", source="b")
    runs = {}
    for name, m in (("m", own), ("p", first)):
        runs[name] = Run(tmp_path / name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(recipe.to_toml())
        m.save(tmp_path / name / "manifest.csv")
    test = manifest("ABcd", split="test", source="t")
    answers = said(test, [0.9, 0.25, 0.15, 0.6])
    threshold = youden_threshold(said(own.part("validation"), [0.3, 0.1]), "COVID-19")
    apply(answers, threshold).save(tmp_path / "m" / "predictions" / "on-t.csv")

    def answer(*pairs: tuple[str, str], extra: str = ""):
        tested = test if not extra else manifest("ABcd" + extra, split="test", source="t")
        images = SimpleNamespace(
            links=Links.between(pairs),
            tests=lambda names: {"t": tested},
            tested=lambda names: {"t": tested},
        )
        known = {cell.name: runs["m"], parent.name: runs["p"]}
        return answers_of(cell, known, images)["t"]

    return answer


class TestAnswers:
    def test_all_count_where_nobody_was_seen(self, ask):
        answer = ask()
        assert len(answer.predictions) == 4
        assert answer.seen == answer.lost == ()

    @pytest.mark.parametrize(
        ("source", "patient"), [("a", "xtrain"), ("a", "xvalidation"), ("b", "q")]
    )
    def test_who_was_in_training_validation_or_pre_training_does_not(self, ask, source, patient):
        answer = ask((group("a", "t"), group(patient, source)))
        assert answer.seen == ("t/A",)
        assert "t/A" not in answer.predictions.frame["image"].tolist()
        assert len(answer.careless) == 4

    def test_who_was_only_tested_there_does(self, ask):
        assert ask((group("a", "t"), group("xtest", "a"))).seen == ()

    def test_labels_are_those_of_the_test_set(self, ask):
        assert ask().predictions.y_true.tolist() == ["COVID-19", "COVID-19", "other", "other"]

    def test_classes_are_as_the_run_decided_them(self, ask):
        # By a threshold between 0.1 and 0.3; 0.5 would call the second image other.
        assert ask().predictions.y_pred.tolist() == [
            "COVID-19",
            "COVID-19",
            "other",
            "COVID-19",
        ]

    def test_images_without_an_answer_are_counted(self, ask):
        answer = ask(extra="e")
        assert answer.lost == ("t/e",)
        assert len(answer.predictions) == 4

    def test_nobody_is_left(self, ask):
        everyone = [(group(n, "t"), group("q", "b")) for n in "abcd"]
        answer = ask(*everyone)
        assert answer.predictions is None
        assert len(answer.seen) == 4


def test_a_damaged_table_of_rejections_is_named(tmp_path):
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "on-a.rejection.csv").write_text("image,reje", encoding="utf-8")
    with pytest.raises(RunError, match=r"on-a\.rejection\.csv is damaged"):
        answered(said(manifest("x", split="test", source="a"), [0.5]), Run(tmp_path), ["a"])
